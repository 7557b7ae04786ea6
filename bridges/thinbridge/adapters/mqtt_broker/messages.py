"""What paho hands over in the words of our own codec, and what goes out in paho's. No socket, no state.

`cloudevents` reads a PUBLISH and `message` writes one by the rules of the terminated endpoint, so that functions can't
tell the two ways from one another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from thinbridge.errors import DecodeError
from thinbridge.protocols.mqtt import cloudevents, properties, topics
from thinbridge.protocols.mqtt.cloudevents import Message
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.message import Publication, expiry_of, properties_of

_NAMES: Final[Mapping[str, int]] = {
    "MessageExpiryInterval": properties.MESSAGE_EXPIRY,
    "ContentType": properties.CONTENT_TYPE,
    "ResponseTopic": properties.RESPONSE_TOPIC,
    "CorrelationData": properties.CORRELATION_DATA,
    "UserProperty": properties.USER,
}
"""paho's names of the properties that mean something to an event."""

_PAIR: Final = 4
"""Bytes of a User Property on the wire beside its text."""


def publish_of(message: MQTTMessage) -> Publish | None:
    """A received PUBLISH; None: its topic can be no event's `subject`."""
    try:
        topic = message.topic
    except UnicodeDecodeError:
        return None
    if not (topics.is_name(topic) and topics.is_taken(topic)):
        return None
    values = _values(message.properties) if message.properties is not None else properties.NONE
    return Publish(topic, bytes(message.payload), message.qos, message.retain, message.dup, message.mid, values)


def _values(given: Properties) -> Mapping[int, Any]:
    values: dict[int, Any] = {}
    for name, number in _NAMES.items():
        value = getattr(given, name, None)
        if value is not None:
            values[number] = value
    users = values.get(properties.USER)
    if users is not None and len(users) > properties.MAX_REPEATED:
        values[properties.USER] = users[: properties.MAX_REPEATED]
    return values


def read(publish: Publish, structured_311: bool) -> Message:
    """What a PUBLISH says as an event.

    Nobody can be told that it claims to be an event and is none, or names what can't be: its publisher has the broker's
    acknowledgement already. So it is a plain message then, and whoever gets it sees all of it.
    """
    if not publish.properties:
        return cloudevents.structured_or_plain(publish) if structured_311 else cloudevents.plain(publish)
    try:
        return cloudevents.read(publish)
    except DecodeError:
        return cloudevents.plain(publish)


def size_of(publish: Publish) -> int:
    """Bytes of a PUBLISH, about."""
    size = len(publish.topic) + len(publish.data)
    values = publish.properties
    if values:
        size += len(values.get(properties.CORRELATION_DATA, b"")) + len(values.get(properties.RESPONSE_TOPIC, ""))
        for name, value in values.get(properties.USER, ()):
            size += _PAIR + len(name) + len(value)
    return size


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A PUBLISH to the broker."""

    topic: str
    data: bytes
    qos: int
    retain: bool
    properties: Mapping[int, Any]

    @property
    def size(self) -> int:
        """Bytes that it holds, about; at least its packet's."""
        return Publication(self.topic, self.data, self.qos, properties=self.properties).size

    def paho(self) -> Properties | None:
        """Its properties, as paho takes them."""
        if not self.properties:
            return None
        given = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's are untyped
        for name, number in _NAMES.items():
            if number in self.properties:
                setattr(given, name, self.properties[number])
        return given


def outgoing(
    topic: str, content_type: str | None, data: bytes, attributes: Mapping[str, str], correlation: bytes | None
) -> Outgoing:
    """What a function sends, as a PUBLISH; its reply event chooses QoS (1 unless it does), RETAIN and expiry."""
    qos, expiry = attributes.get("mqttqos", "1"), expiry_of(attributes)
    values = properties_of(content_type, attributes, correlation)
    return Outgoing(
        topic,
        data,
        int(qos) if qos in ("0", "1", "2") else 1,
        attributes.get("mqttretain") == "true",
        values if expiry is None else {**values, properties.MESSAGE_EXPIRY: expiry},
    )
