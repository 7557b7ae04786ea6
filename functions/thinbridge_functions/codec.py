"""CloudEvents over HTTP, the handler's side: a request becomes an `Event`, an answer becomes a response.

Called by `serving`, `pushing` and `testing`. The bridge has a codec of its own, made for its hot path; the two share
`thinbridge.contract` and are each other's oracle in the tests. Clauses are of the CloudEvents HTTP binding 1.0.
"""

import json
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from thinbridge import contract
from thinbridge_functions.answers import BINARY, JSON, canonical

STRUCTURED: Final = "application/cloudevents+json"
_ANY_FORMAT: Final = "application/cloudevents"

_PLAIN = re.compile(r"[!#$&-~]*")
"""U+0021..U+007E without `"` and `%`: what every receiver reads alike in a header (§3.1.3.2)."""
_MEDIA_TYPE = re.compile(rf"(?!{_ANY_FORMAT})[ -~]*", re.IGNORECASE)
"""What may stand as Content-Type: a type of CloudEvents' own would change the mode."""
_REQUIRED: Final = ("specversion", "id", "source", "type")

Headers = tuple[tuple[str, str], ...]


class Response(NamedTuple):
    """An HTTP answer, before the web framework at hand makes it its own."""

    status: int
    headers: Headers = ()
    body: bytes = b""


class NotAnEvent(Exception):
    """The message is no CloudEvent; `str()` is one line for whoever sent it."""


def encode(attributes: Mapping[str, str], data: bytes) -> tuple[Headers, bytes]:
    """Headers and body of an event: binary where every header reads alike to everyone, else structured JSON.

    The Go SDK and the 1.x Python SDK don't undo percent-encoding, so what would need it never goes into a header;
    and data is always base64 in JSON, so that its bytes are never altered.
    """
    context = dict(attributes)
    content_type = context.pop("datacontenttype", BINARY)
    if _MEDIA_TYPE.fullmatch(content_type) and all(map(_PLAIN.fullmatch, context.values())):
        return (*((f"ce-{name}", value) for name, value in context.items()), ("content-type", content_type)), data
    document = context | {"datacontenttype": content_type, "data_base64": b2a_base64(data, newline=False).decode()}
    return (("content-type", STRUCTURED),), json.dumps(document).encode()


def decode(headers: Iterable[tuple[str, str]], body: bytes) -> tuple[dict[str, str], bytes]:
    """Attributes and data of the event that a message carries; its Content-Type says in which mode (§3).

    Args:
        headers: names in any case; values as WSGI and ASGI frameworks give them, one character a byte.
        body: the whole body.

    Raises:
        NotAnEvent: it carries none, or a broken one.
    """
    fields = {name.lower(): value for name, value in headers}
    content_type = fields.get("content-type", "").strip()
    if content_type.lower().startswith(_ANY_FORMAT):
        return _from_json(content_type, body)
    names = [name[3:] for name in fields if name.startswith("ce-") and name != "ce-datacontenttype"]
    attributes = {name: _from_header(fields[f"ce-{name}"]) for name in names}
    if content_type:
        attributes["datacontenttype"] = _utf8(content_type.encode("latin-1"))
    return _checked(attributes), body


def _checked(attributes: dict[str, Any]) -> dict[str, str]:
    missing = [name for name in _REQUIRED if attributes.get(name) in (None, "")]
    if missing:
        raise NotAnEvent(f"not a CloudEvent, no {', '.join(missing)}: send ce-{missing[0]}, … headers or {STRUCTURED}")
    if attributes["specversion"] != contract.SPECVERSION:
        raise NotAnEvent("only CloudEvents specversion 1.0 is taken")
    try:
        return canonical(attributes)
    except ValueError as error:
        raise NotAnEvent(str(error)) from None


def _from_header(value: str) -> str:
    """An attribute's value (§3.1.3.2): undo the quoted-string, then percent-decode exactly once."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
    return _utf8(unquote_to_bytes(value.encode("latin-1")))


def _utf8(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise NotAnEvent("a header is no UTF-8") from None


def _from_json(content_type: str, body: bytes) -> tuple[dict[str, str], bytes]:
    if content_type.partition(";")[0].strip().lower() != STRUCTURED:
        raise NotAnEvent(f"only {STRUCTURED} and binary mode are taken: no batches, no other formats")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise NotAnEvent(f"{STRUCTURED}, but the body is no JSON") from None
    if not isinstance(document, dict):
        raise NotAnEvent(f"{STRUCTURED}, but the body is no JSON object")
    data = _data_of(document)
    attributes = {name: value for name, value in document.items() if value is not None}
    for name, value in attributes.items():
        if not isinstance(value, str | int):
            raise NotAnEvent(f"attribute {name!r} is no string, integer or boolean")
    return _checked(attributes), data


def _data_of(document: dict[str, Any]) -> bytes:
    """Take the data's member out of a JSON event; data alone is JSON, so it says so (JSON format §3.1)."""
    encoded = document.pop("data_base64", None)
    if "data" not in document:
        return b"" if encoded is None else _base64(encoded)
    if encoded is not None:
        raise NotAnEvent("data and data_base64 exclude each other")
    data = document.pop("data")
    if document.get("datacontenttype") is None:
        document["datacontenttype"] = JSON
    media_type = str(document["datacontenttype"]).partition(";")[0].strip().lower()
    try:
        if isinstance(data, str) and not media_type.endswith(("/json", "+json")):
            return data.encode()
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError):  # half a surrogate pair, a number that is none
        raise NotAnEvent("data can't be written as UTF-8 text or JSON") from None


def _base64(encoded: Any) -> bytes:
    try:
        return a2b_base64(encoded, strict_mode=True)
    except (TypeError, ValueError):
        raise NotAnEvent("data_base64 is no base64") from None
