"""What paho hands over in the words of our own codec, and what goes out in paho's. No socket, no state.

`cloudevents` reads a PUBLISH and `message` writes one by the rules of the terminated endpoint, so that functions can't
tell the two ways from one another.
"""

from collections.abc import Mapping
from typing import Any, Final

from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from thinbridge.errors import DecodeError
from thinbridge.protocols.mqtt import cloudevents, codec, properties, topics
from thinbridge.protocols.mqtt.cloudevents import Message
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.message import Publication

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


def paho_properties(publication: Publication, now: float) -> Properties | None:
    """The properties of what goes out, as paho takes them; of its expiry, what is left (MQTT-3.3.2-6 is the same)."""
    values = dict(publication.properties)
    if publication.expires is not None:
        values[properties.MESSAGE_EXPIRY] = max(0, round(publication.expires - now))
    if not values:
        return None
    given = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's are untyped
    for name, number in _NAMES.items():
        if number in values:
            setattr(given, name, values[number])
    return given


def octets_of(publication: Publication) -> int:
    """Bytes of its packet."""
    publish = Publish(publication.topic, publication.data, publication.qos, packet_id=1)
    publish.properties = {**publication.properties, properties.MESSAGE_EXPIRY: 0}
    return len(codec.encode_publish(publish, True))
