"""What a device's PUBLISH says as an event: its own CloudEvent (CloudEvents MQTT binding v1.0), or a plain message.

Called by the session for every PUBLISH that has properties, or whose listener reads 3.1.1 payloads as events.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from thinbridge.errors import DecodeError
from thinbridge.protocols import cloudevents
from thinbridge.protocols.mqtt import properties, reasons, topics
from thinbridge.protocols.mqtt.codec import Publish

_STRUCTURED: Final = "application/cloudevents"
_CODES: Final = {"event_invalid": reasons.PAYLOAD_FORMAT, "event_forged": reasons.IMPLEMENTATION}


@dataclass(slots=True)
class Message:
    """A PUBLISH in the words of `Inbound`."""

    data: bytes
    content_type: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    event: Mapping[str, str] | None = None
    response: str | None = None
    correlation: bytes | None = None
    expires: float | None = None


def flags(publish: Publish) -> dict[str, str]:
    """`mqttqos`, and `mqttretain` and `mqttdup` where set."""
    attributes = {"mqttqos": str(publish.qos)}
    if publish.retain:
        attributes["mqttretain"] = "true"
    if publish.dup:
        attributes["mqttdup"] = "true"
    return attributes


_PLAIN: Final[tuple[Mapping[str, str], ...]] = tuple(
    flags(Publish("", b"", first >> 1 & 3, first & 1 == 1, first & 8 == 8)) for first in range(16)
)


def plain(publish: Publish) -> Message:
    """A message without properties: its attributes are shared, made once for each combination of flags."""
    return Message(publish.data, None, _PLAIN[publish.dup << 3 | publish.qos << 1 | publish.retain])


def read(publish: Publish) -> Message:
    """A MQTT 5 PUBLISH.

    Raises:
        DecodeError: it names what can't be (the code is for its PUBACK), or claims to be an event and is none.
    """
    values = publish.properties
    message = Message(publish.data, _content_type(values), flags(publish))
    message.response = _response(values)
    if message.response is not None:
        message.correlation = values.get(properties.CORRELATION_DATA)
    message.expires = values.get(properties.MESSAGE_EXPIRY)
    users: Sequence[tuple[str, str]] = values.get(properties.USER, ())
    if (message.content_type or "").lower().startswith(_STRUCTURED):
        read_structured(message)
    elif users and cloudevents.REQUIRED.issubset(name for name, _ in users):
        users = _read_binary(message, users)
    if users:  # unaltered, in their order: MQTT-3.3.2-17, MQTT-3.3.2-18; a will's: MQTT-3.1.3-10
        message.attributes = {**message.attributes, "mqttuserprops": json.dumps(users, separators=(",", ":"))}
    return message


def _response(values: Mapping[int, Any]) -> str | None:
    """A Response Topic is published to: not `$…`, which is the server's own (§4.7.2), and within the limits."""
    topic: str | None = values.get(properties.RESPONSE_TOPIC)
    if topic is not None and not topics.is_ours(topic):
        raise DecodeError("response_topic_invalid", reasons.TOPIC_INVALID)
    return topic


def _content_type(values: Mapping[int, Any]) -> str | None:
    """A Content Type becomes an HTTP header, unaltered (MQTT-3.3.2-20): printable, short."""
    value: str | None = values.get(properties.CONTENT_TYPE)
    if value and not (value.isascii() and value.isprintable() and len(value) <= 256):
        raise DecodeError("content_type_invalid", reasons.PAYLOAD_FORMAT)
    return value or None


def _read_binary(message: Message, users: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Binary mode (§3.1): User Properties that can be attributes are; the others are returned."""
    event: dict[str, str] = {}
    others: list[tuple[str, str]] = []
    for name, value in users:
        if cloudevents.is_name(name) and name not in event and name != "datacontenttype":
            event[name] = value
        elif name != "datacontenttype":  # Content Type says it (§3.1.1); some list it here too
            others.append((name, value))
    try:
        message.event = cloudevents.checked(event)
    except DecodeError as error:
        raise _coded(error) from None
    return others


def structured_or_plain(publish: Publish) -> Message:
    """A 3.1.1 PUBLISH of a listener that reads payloads as events: what is none, or a forged one, is a plain message.

    3.1.1's PUBACK can't say no: refused, the message would be acknowledged, and neither sink nor dead letter saw it.
    """
    message = plain(publish)
    try:
        read_structured(message)
    except DecodeError:
        return plain(publish)
    return message


def read_structured(message: Message) -> None:
    """Structured mode (§3.2), JSON: the payload is the whole event.

    Raises:
        DecodeError: it is none, or in a format that is not JSON.
    """
    kind = (message.content_type or "").split(";")[0].strip().lower()
    if kind not in ("", _STRUCTURED, cloudevents.JSON):
        raise _invalid()  # batches do not exist in MQTT (§3), other formats are not ours to read
    try:
        message.content_type, message.data, message.event = cloudevents.from_json(message.data)
    except DecodeError as error:
        raise _coded(error) from None


def _coded(error: DecodeError) -> DecodeError:
    """With the reason code of its PUBACK."""
    return DecodeError(error.reason, _CODES[error.reason])


def _invalid() -> DecodeError:
    return _coded(cloudevents.invalid())
