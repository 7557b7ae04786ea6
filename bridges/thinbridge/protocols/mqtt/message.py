"""What a function sends to devices: from an event's attributes to a `Publication`, and to the copy that a device gets.

Made by `downlink`, by `MQTT.publish`, and by the adapter for brokers. What a function sent is as foreign as what a
device sends: values that MQTT can't carry are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from thinbridge import contract
from thinbridge.protocols.mqtt import properties, topics
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.properties import Properties
from thinbridge.protocols.mqtt.subscriptions import Match

_MAX_TEXT: Final = 8192
"""Characters of a text that goes to a device: MQTT's strings end at 65,535 bytes (§1.5.4)."""

PAIR: Final = 160
"""Bytes of a User Property beside its text, about: a tuple and two strings."""

_MAX_EXPIRY: Final = 0xFFFFFFFF

_STEERING = frozenset((*contract.REPLY_ATTRIBUTES, "etag", "maxage", "location", "contentrange"))
"""Attributes that say how to answer, not what: they stay here."""

_QOS: Final = {"0": 0, "1": 1, "2": 2}


@dataclass(frozen=True, slots=True)
class Publication:
    """Something to publish, whoever hears it."""

    topic: str
    data: bytes
    qos: int
    retain: bool = False
    properties: Properties = field(default_factory=lambda: properties.NONE)
    expires: float | None = None
    """When it need not be sent any more, in the time of `now` (MQTT-3.3.2-5)."""

    @property
    def size(self) -> int:
        """Bytes that it holds, about, with its properties: a payload may be the least of it."""
        size = 256 + len(self.topic) + len(self.data)
        values = self.properties
        if values:
            size += len(values.get(properties.CONTENT_TYPE, "")) + len(values.get(properties.CORRELATION_DATA, b""))
            for name, value in values.get(properties.USER, ()):
                size += PAIR + len(name) + len(value)
        return size


@dataclass(slots=True)
class Message(Publish):
    """A publication on its way to one device; 3.1.1 leaves its properties out. DUP is its own (MQTT-3.3.1-3)."""

    push: int = 0
    """The push to report on; 0: a reply, or reported already."""
    size: int = 0
    """Bytes that it holds while it waits, about; 0: it does not."""
    expires: float | None = None
    """See `Publication`."""


def publication(
    topic: str,
    content_type: str | None,
    data: bytes,
    attributes: Mapping[str, str],
    now: float,
    qos: int = 1,
    correlation: bytes | None = None,
) -> Publication:
    """What an answer or a push says.

    Args:
        topic: where it goes.
        content_type: media type of the data.
        data: the payload.
        attributes: those of its event, empty for a bare body: `mqttqos`, `mqttretain`, `mqttexpiry` steer.
        now: monotonic seconds.
        qos: unless `mqttqos` says otherwise.
        correlation: the Correlation Data of the request that it answers.
    """
    expiry = expiry_of(attributes)
    return Publication(
        topic,
        data,
        _QOS.get(attributes.get("mqttqos", ""), qos),
        attributes.get("mqttretain") == "true",
        properties_of(content_type, attributes, correlation),
        None if expiry is None else now + expiry,
    )


def expiry_of(attributes: Mapping[str, str]) -> int | None:
    """Seconds after which nobody needs it any more; None: it matters for ever."""
    expiry = attributes.get("mqttexpiry", "")
    return min(int(expiry), _MAX_EXPIRY) if expiry.isdecimal() and len(expiry) < 20 else None


def properties_of(content_type: str | None, attributes: Mapping[str, str], correlation: bytes | None) -> Properties:
    """What MQTT 5 carries beside the payload; attributes as the CloudEvents MQTT binding §3.1.3 has them."""
    values: dict[int, Any] = {}
    if content_type and len(content_type) <= _MAX_TEXT and topics.is_clean(content_type):
        values[properties.CONTENT_TYPE] = content_type
    if correlation is not None:
        values[properties.CORRELATION_DATA] = correlation  # as it came (MQTT-3.3.2-16)
    users = [
        (name, value)
        for name, value in attributes.items()
        if name not in _STEERING and len(value) <= _MAX_TEXT and topics.is_clean(value)
    ]
    if users:
        values[properties.USER] = users[: properties.MAX_REPEATED]
    return values


def copy(publication: Publication, match: Match, *, retained: bool = False, push: int = 0) -> Message:
    """The copy for a device whose subscriptions match.

    Args:
        publication: what is published.
        match: what the subscriptions ask for.
        retained: it is sent because of a new subscription (MQTT-3.3.1-8 of 3.1.1), not because it is new.
        push: the push to report on.
    """
    values = publication.properties
    if match.numbers:
        values = {**values, properties.SUBSCRIPTION_ID: list(match.numbers)}
    return Message(
        publication.topic,
        publication.data,
        min(match.qos, publication.qos),  # MQTT-3.8.4-8; 3.1.1: MQTT-3.8.4-6
        # MQTT-3.3.1-12, MQTT-3.3.1-13; 3.1.1: MQTT-3.3.1-9
        retained or (publication.retain and match.retain_as_published),
        properties=values,
        push=push,
        expires=publication.expires,
    )
