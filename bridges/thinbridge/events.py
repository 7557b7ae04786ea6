"""CloudEvents over HTTP: an event to header lines and a body, and back; on the way of every message.

Called by `delivery` (requests out, answers in), by the inbox (what is posted to a session) and by `mapping`, which
makes events. Values are text and data is bytes, never parsed and never altered: a device's payload leaves as it came.
Clauses are those of the CloudEvents HTTP protocol binding and JSON event format, both 1.0.

No header can be injected: names pass `is_attribute_name`, and a value that is not visible ASCII is percent-encoded
(binary mode) or escaped (structured mode).
"""

import json
import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from thinbridge.contract import SPECVERSION
from thinbridge.errors import DecodeError
from thinbridge.routes import Content

STRUCTURED_TYPE: Final = "application/cloudevents+json"

_ANY_FORMAT: Final = "application/cloudevents"
_BATCH: Final = "application/cloudevents-batch"
_REQUIRED: Final = ("id", "source", "specversion", "type")

_IDENTITY: Final = "!#$&'()*+,/:;<=>?@[\\]^`{|}"
"""What HTTP binding §3.1.3.2 leaves as it is, beside the letters, digits and `-._~` that `quote` never touches."""
_UNENCODED: Final = bytes(byte for byte in range(0x21, 0x7F) if byte not in b'"%')
"""§3.1.3.2; what deleting these bytes leaves is found four times faster than by a regular expression."""
OVERHEAD: Final = 1024
"""Bytes of an event that holds nothing, about."""
HEADER_ROOM: Final = 4096
"""Characters of values beyond which `AUTO` is structured: servers refuse a header field over 8 kB (gunicorn: 8190), or
all of them over 8 kB (nginx), and a device chooses how long its topic or path is."""
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]").search
"""What a String attribute must not hold (CloudEvents §3.1: controls, surrogates, noncharacters of the first plane)."""
_NAME: Final = re.compile(r"[a-z0-9]{1,64}").fullmatch
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)


def is_attribute_name(name: str) -> bool:
    """Whether a name may be an attribute's: `[a-z0-9]`, not `data` (CloudEvents §3.1), at most 64 characters.

    The specification only advises 20; the bound here keeps a stranger's name from filling a header.
    """
    return _NAME(name) is not None and name != "data"


class _Prefixes(dict[str, str]):
    """Attribute name → how its header line begins; remembers the first names it sees, which are the contract's."""

    SIZE: Final = 512

    def __missing__(self, name: str) -> str:
        if not is_attribute_name(name):
            raise ValueError(f"no attribute name: {name!r}")
        prefix = f"ce-{name}: "
        if len(self) < self.SIZE:
            self[name] = prefix
        return prefix


class _Names(dict[bytes, str]):
    """A `ce-` header's name → the attribute's; remembers as `_Prefixes` does."""

    def __missing__(self, header: bytes) -> str:
        name = _name(header[3:].decode("latin-1"))
        if len(self) < _Prefixes.SIZE:
            self[header] = name
        return name


_PREFIX: Final = _Prefixes()
_NAMES: Final = _Names()


class Event:
    """A CloudEvent whose values are their canonical strings.

    Args:
        own: its context attributes, but for the shared ones; `datacontenttype` is always its own.
        data: the payload; empty is the same as none.
        shared: attributes that it has in common with others; none of `own` is among them.
    """

    __slots__ = ("data", "own", "shared")

    def __init__(self, own: dict[str, str], data: bytes = b"", shared: "Shared | None" = None) -> None:
        self.own = own
        self.data = data
        self.shared = shared

    @property
    def attributes(self) -> dict[str, str]:
        """Every context attribute, `id`, `source`, `type`, `specversion` and `datacontenttype` among them."""
        return self.own if self.shared is None else self.shared.attributes | self.own

    @property
    def size(self) -> int:
        """Bytes that it holds, about: its data, its own attributes, and what Python takes for any event."""
        return OVERHEAD + len(self.data) + len("".join(self.own.values()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and (self.attributes, self.data) == (other.attributes, other.data)

    __hash__ = None  # type: ignore[assignment]  # its attributes may change

    def __repr__(self) -> str:
        return f"Event({self.attributes!r}, {self.data!r})"


class Shared:
    """Attributes that many events have in common: all messages of a session. Their header lines are made once.

    Args:
        attributes: names that are attribute names, without `datacontenttype`; not to be changed any more.
    """

    __slots__ = ("attributes", "lines", "plain", "size")

    def __init__(self, attributes: dict[str, str]) -> None:
        text = "".join(attributes.values())
        self.attributes = attributes
        self.lines = _lines(attributes)
        """Header lines, each with its CRLF; only for use where `plain`."""
        self.plain = _is_plain(text)
        """Whether every value can be a header's as it is."""
        self.size = len(text)


def encode(event: Event, content: Content = Content.AUTO) -> tuple[str, bytes]:
    """An event as the header lines and the body of a request, or of a response.

    A `datacontenttype` that can't be a Content-Type (not printable ASCII, or a CloudEvents media type itself, which
    would change the mode) makes any event structured.

    Args:
        event: what to send; its names must be attribute names, `mapping` and `decode` see to that.
        content: the mode; `AUTO` is binary where every value goes unencoded, since most receivers don't decode,
            and where headers have room for them.

    Returns:
        Lines that end in CRLF each, without the blank line and without Content-Length; then the body.

    Raises:
        ValueError: a name is no attribute name: a mistake of ours.
    """
    values, shared = event.own.copy(), event.shared
    content_type = values.pop("datacontenttype", None)
    if content is Content.STRUCTURED or (content_type is not None and not _is_content_type(content_type)):
        return _structured(event)
    text = "".join(values.values())
    size = len(text) if shared is None else len(text) + shared.size
    if size > HEADER_ROOM and content is Content.AUTO:
        return _structured(event)
    if not _is_plain(text) or not (shared is None or shared.plain):
        if content is Content.AUTO:
            return _structured(event)
        values = {name: quote(value, _IDENTITY, errors="replace") for name, value in event.attributes.items()}
        values.pop("datacontenttype", None)
        shared = None
    lines = _lines(values) if shared is None else shared.lines + _lines(values)
    if content_type is not None:
        lines += f"content-type: {content_type}\r\n"
    return lines, event.data


def _lines(values: dict[str, str]) -> str:
    return "".join([f"{_PREFIX[name]}{value}\r\n" for name, value in values.items()])


def _is_plain(text: str) -> bool:
    """Whether a header can hold it as it is (HTTP binding §3.1.3.2)."""
    return not text.encode(errors="surrogatepass").translate(None, _UNENCODED)


def _is_content_type(value: str) -> bool:
    return value.isascii() and value.isprintable() and value[:23].lower() != _ANY_FORMAT


def _structured(event: Event) -> tuple[str, bytes]:
    document = event.attributes
    for name in document:
        _PREFIX[name]
    if event.data:
        document = document | {"data_base64": b2a_base64(event.data, newline=False).decode()}
    return f"content-type: {STRUCTURED_TYPE}\r\n", json.dumps(document, separators=(",", ":")).encode()


def decode(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> Event | None:
    """The event that a message carries; the mode goes by Content-Type (HTTP binding §3), else by `ce-specversion`.

    Args:
        headers: names in lower case, as ASGI and `Answer` have them; of equal names the last counts.
        body: the whole body.

    Returns:
        The event, or None: it carries none. `datacontenttype` is there only if the sender named one.

    Raises:
        DecodeError: it claims to be an event and is none: a format we don't know, a batch, a required attribute
            missing, a value with control characters, JSON that is none.
    """
    fields = dict(headers)
    content_type = fields.get(b"content-type", b"")
    if content_type[:23].lower() == b"application/cloudevents":
        return _from_json(content_type.decode("latin-1").lower(), body)
    if b"ce-specversion" not in fields:
        return None
    attributes = {}
    try:
        for name, value in fields.items():
            if name.startswith(b"ce-") and name != b"ce-datacontenttype":
                attributes[_NAMES[name]] = (_unquoted(value) if b"%" in value or b'"' in value else value).decode()
        if content_type:
            attributes["datacontenttype"] = content_type.decode()
    except UnicodeDecodeError:
        raise DecodeError("attribute is no UTF-8") from None
    return Event(_checked(attributes), body)


def _unquoted(value: bytes) -> bytes:
    """A header value as HTTP binding §3.1.3.2 decodes it: the quoted-string, then the percent-encoding, once."""
    if len(value) > 1 and value[:1] == value[-1:] == b'"':
        value = _QUOTED_PAIR.sub(rb"\1", value[1:-1])
    return unquote_to_bytes(value)


def _name(name: str) -> str:
    if not is_attribute_name(name):
        raise DecodeError("no attribute name")
    return name


def _checked(attributes: dict[str, str]) -> dict[str, str]:
    if not all(map(attributes.get, _REQUIRED)):
        raise DecodeError("required attribute missing")
    if attributes["specversion"] != SPECVERSION:
        raise DecodeError("unknown specversion")
    text = "".join(attributes.values())
    if not (text.isascii() and text.isprintable()) and _CONTROL(text):
        raise DecodeError("control character in attribute")
    return attributes


def _from_json(content_type: str, body: bytes) -> Event:
    media_type = content_type.partition(";")[0].strip()
    if media_type != STRUCTURED_TYPE:
        raise DecodeError("event batch" if media_type.startswith(_BATCH) else "unknown event format")
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        raise DecodeError("event is no JSON") from None
    if not isinstance(members, dict):
        raise DecodeError("event is no JSON object")
    missing = object()
    data, encoded = members.pop("data", missing), members.pop("data_base64", None)
    attributes = {_name(name): _scalar(value) for name, value in members.items() if value is not None}
    if encoded is not None:
        if data is not missing:
            raise DecodeError("both data and data_base64")
        return Event(_checked(attributes), _from_base64(encoded))
    if data is missing:
        return Event(_checked(attributes))
    attributes.setdefault("datacontenttype", "application/json")  # JSON format §3.1: what `data` alone means
    return Event(_checked(attributes), _from_member(data, attributes["datacontenttype"]))


def _scalar(value: Any) -> str:
    """A JSON value as the canonical string of its CloudEvents type (§3.1): strings, booleans, integers."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise DecodeError("attribute is no string, boolean or integer")


def _from_base64(value: Any) -> bytes:
    try:
        return a2b_base64(value, strict_mode=True)
    except (Base64Error, ValueError, TypeError):
        raise DecodeError("data_base64 is no base64") from None


def _from_member(data: Any, content_type: str) -> bytes:
    """The bytes of `data` (JSON format §3.1): text as it is, anything else, and all of a JSON type, as JSON."""
    media_type = content_type.partition(";")[0].strip().lower()
    try:
        if isinstance(data, str) and not media_type.endswith(("/json", "+json")):
            return data.encode()
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:  # a lone surrogate, or a number that is none
        raise DecodeError("data can't be written") from None
