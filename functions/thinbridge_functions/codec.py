"""CloudEvents over HTTP, the handler's side: a request becomes an `Event`, an answer becomes a response.

Called by `serving`, `pushing` and `testing`. The bridge has a codec of its own, made for its hot path; the two share
`thinbridge.contract` and are each other's oracle in the tests. Clauses are of the CloudEvents HTTP binding 1.0.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from thinbridge import contract
from thinbridge_functions.answers import BINARY, JSON, NAME, canonical
from thinbridge_functions.event import Event

STRUCTURED: Final = "application/cloudevents+json"

_PLAIN = re.compile(r"[!#$&-~]*")  # U+0021..U+007E but `"` and `%`: what every receiver reads alike in a header
_MEDIA_TYPE = re.compile(r"[ -~]*")
_REQUIRED = ("id", "source", "type")


class Response(NamedTuple):
    """An HTTP answer, before the web framework at hand makes it its own."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class NotAnEvent(Exception):  # noqa: N818
    """The message is no CloudEvent; `str()` is one line that says what is missing."""


def encode(attributes: Mapping[str, str], data: bytes) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """Headers and body of an event: binary where every header reads alike to everyone, else structured JSON.

    The Go SDK and the 1.x Python SDK don't undo percent-encoding, so nothing that needs it goes into a header; and
    data is always base64 in JSON, so that its bytes are never altered.
    """
    content_type = attributes.get("datacontenttype", BINARY)
    context = {name: value for name, value in attributes.items() if name != "datacontenttype"}
    if _MEDIA_TYPE.fullmatch(content_type) and all(map(_PLAIN.fullmatch, context.values())):
        return (*((f"ce-{name}", value) for name, value in context.items()), ("content-type", content_type)), data
    document = {**attributes, "datacontenttype": content_type, "data_base64": base64.b64encode(data).decode()}
    return (("content-type", STRUCTURED),), json.dumps(document).encode()


def decode(headers: Iterable[tuple[str, str]], body: bytes) -> Event:
    """The event that a message carries; its mode is its Content-Type's (§3).

    Args:
        headers: names in any case; values as WSGI and ASGI frameworks give them, each byte one character.
        body: the whole body.

    Raises:
        NotAnEvent: it carries none, or a broken one.
    """
    values = {name.lower(): value for name, value in headers}
    content_type = values.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == STRUCTURED:
        return _structured(body)
    if media_type.startswith("application/cloudevents"):
        raise NotAnEvent(f"{STRUCTURED} or binary mode, please: other event formats and batches are not taken")
    attributes = {name[3:]: _header(name, value) for name, value in values.items() if name.startswith("ce-")}
    attributes.pop("datacontenttype", None)  # §3.1.3.1: it is the Content-Type, never a ce- header
    if content_type:
        attributes["datacontenttype"] = content_type
    return _event(attributes, body)


def _event(attributes: dict[str, str], data: bytes) -> Event:
    missing = [name for name in ("specversion", *_REQUIRED) if not attributes.get(name)]
    if missing:
        raise NotAnEvent(f"not a CloudEvent: no {', '.join(missing)} (send a ce-{missing[0]} header, or {STRUCTURED})")
    if attributes["specversion"] != contract.SPECVERSION:
        raise NotAnEvent("CloudEvents specversion 1.0, please")
    return Event(attributes, data)


def _header(name: str, value: str) -> str:
    """An attribute's value from its header (§3.1.3.2): undo the quoted-string, then percent-decode exactly once."""
    if not NAME.fullmatch(name, 3):
        raise NotAnEvent("a ce- header whose name no CloudEvents attribute can have")
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    try:
        return unquote_to_bytes(value.encode("latin-1")).decode()
    except UnicodeError:
        raise NotAnEvent("a ce- header that is no UTF-8") from None


def _structured(body: bytes) -> Event:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise NotAnEvent(f"{STRUCTURED}, but the body is no JSON") from None
    if not isinstance(document, dict):
        raise NotAnEvent(f"{STRUCTURED}, but the body is no JSON object")
    data = _structured_data(document)
    attributes = {name: _json_value(name, value) for name, value in document.items() if value is not None}
    return _event(attributes, data)


def _structured_data(document: dict[str, Any]) -> bytes:
    """Take the data out of a JSON event, and say which media type it has (CloudEvents JSON format §3.1)."""
    encoded = document.pop("data_base64", None)
    if encoded is not None:
        if "data" in document:
            raise NotAnEvent("data and data_base64 exclude each other")
        try:
            return base64.b64decode(encoded, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise NotAnEvent("data_base64 is no base64") from None
    if "data" not in document:
        return b""
    value = document.pop("data")
    content_type = document.get("datacontenttype")
    if content_type is None:
        document["datacontenttype"] = JSON  # §3.1: data without a type is JSON
    elif isinstance(value, str) and not _is_json(str(content_type)):
        return _utf8(value)
    return json.dumps(value).encode()


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # JSON can say half a surrogate pair, UTF-8 can't
        raise NotAnEvent("data is no text") from None


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type.endswith(("/json", "+json"))


def _json_value(name: str, value: object) -> str:
    if isinstance(value, str | int):
        try:
            return canonical({name: value})[name]
        except ValueError:
            raise NotAnEvent("an attribute whose name or value CloudEvents does not allow") from None
    raise NotAnEvent("attributes are strings, integers or booleans")
