"""CloudEvents that devices send and are sent, as far as that is the same in every protocol: what is valid, and JSON.

The bindings of the protocols use it (`mqtt.cloudevents`, `coap.cloudevents`). Clauses are those of CloudEvents 1.0 and
of its JSON event format.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from thinbridge import contract
from thinbridge.errors import DecodeError

REQUIRED: Final = frozenset(("id", "source", "specversion", "type"))
JSON: Final = "application/cloudevents+json"

_NAME: Final = re.compile("[a-z0-9]{1,64}")
_BRIDGE: Final = re.compile("(.*:)?(//[^/]*)?/apis/v1/namespaces/[^/]*/bridges/")
"""The path of a bridge's `source` (`contract.source`), whatever stands in front of it."""
_ENDS: Final = "".join(chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF))
_UNFIT: Final = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_ENDS}]")
"""What a String must not hold (§3.1): controls, surrogates, noncharacters."""
_KEPT: Final = contract.OWNED | frozenset(contract.REPLY_ATTRIBUTES)
"""Names that are between functions and bridges: no device is sent them."""


def is_name(name: str) -> bool:
    """Whether an attribute may be called so (§3.1)."""
    return _NAME.fullmatch(name) is not None and name != "data"


def is_clean(text: str) -> bool:
    """Whether an attribute may have such a value (§3.1)."""
    return text.isprintable() or not _UNFIT.search(text)


def checked(event: dict[str, str]) -> Mapping[str, str]:
    """The attributes of a device's own event: valid by §3, and not pretending to come from a bridge.

    Raises:
        DecodeError: `event_invalid` or `event_forged`.
    """
    if event.get("specversion") != contract.SPECVERSION or not all(event.get(name) for name in REQUIRED):
        raise invalid()
    if not all(is_name(name) and is_clean(value) for name, value in event.items()):
        raise invalid()
    if event["type"].startswith(contract.TYPE_PREFIX) or _BRIDGE.match(event["source"]):
        raise DecodeError("event_forged")
    return event


def invalid() -> DecodeError:
    """It claims to be an event, and is none."""
    return DecodeError("event_invalid")


def from_json(data: bytes) -> tuple[str | None, bytes, Mapping[str, str]]:
    """A device's own event in the JSON event format: `datacontenttype`, data, all other attributes.

    Raises:
        DecodeError: `event_invalid` or `event_forged`.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise invalid() from None
    if not isinstance(document, dict):
        raise invalid()
    content_type, payload = _payload(document)
    attributes = {name: _text(value) for name, value in document.items() if value is not None}
    return content_type, payload, checked(attributes)


def _payload(document: dict[str, Any]) -> tuple[str | None, bytes]:
    """`datacontenttype` and the bytes of `data` or `data_base64` (JSON format §3.1)."""
    media: Any = document.pop("datacontenttype", None)
    encoded = document.pop("data_base64", None)
    has_data = document.get("data") is not None
    data = document.pop("data", None)
    if media is not None and not (isinstance(media, str) and media.isascii() and media.isprintable()):
        raise invalid()
    if encoded is not None:
        if has_data or not isinstance(encoded, str):
            raise invalid()
        try:
            return media, base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise invalid() from None
    if not has_data:
        return media, b""
    try:
        if isinstance(data, str) and not is_json(media or "application/json"):
            return media, data.encode()
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return media or "application/json", text.encode()
    except (ValueError, RecursionError):  # a lone surrogate, a number that JSON has no word for
        raise invalid() from None


def is_json(media_type: str) -> bool:
    """Whether data of a media type is JSON (JSON format §3.1)."""
    return media_type.partition(";")[0].strip().lower().endswith(("/json", "+json"))


def _text(value: Any) -> str:
    """An attribute's canonical text (§3.1): strings, integers, booleans."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise invalid()


def to_json(event: Mapping[str, str], content_type: str | None, data: bytes) -> bytes:
    """An event for a device, in the JSON event format; what is between functions and bridges is left out.

    Args:
        event: its attributes.
        content_type: of the data.
        data: JSON and text stay readable (`data`), all else is `data_base64`.
    """
    said = {name: value for name, value in event.items() if name not in _KEPT and name != "datacontenttype"}
    if content_type is not None:
        said["datacontenttype"] = content_type
    head = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return head[:-1] + _member(content_type or "application/json", data) + b"}"


def _refuse(constant: str) -> None:
    """NaN and Infinity, which Python reads and JSON does not know."""
    raise ValueError(constant)


def _member(content_type: str, data: bytes) -> bytes:
    """`data` or `data_base64`; JSON goes in byte by byte as the function wrote it."""
    if not data:
        return b""
    try:
        if is_json(content_type):
            json.loads(data.decode(), parse_constant=_refuse)
            return b',"data":' + data
        if content_type.startswith("text/"):
            return b',"data":' + json.dumps(data.decode(), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        pass  # it is not what it says
    return b',"data_base64":"' + base64.b64encode(data) + b'"'
