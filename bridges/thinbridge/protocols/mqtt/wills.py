"""A device's will: what is reported if it is lost (§3.1.2.5)."""

from dataclasses import dataclass

from thinbridge import contract
from thinbridge.protocols.base import Inbound
from thinbridge.protocols.mqtt import cloudevents, properties
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.connect import Connect


@dataclass(frozen=True, slots=True)
class Will:
    """A will that was read, and is kept with the connection (MQTT-3.1.2-7; 3.1.1: MQTT-3.1.2-8)."""

    topic: str
    message: cloudevents.Message
    qos: int
    delay: float
    """Seconds after the loss; a device that is back by then was not lost (MQTT-3.1.3-9)."""

    def inbound(self, exchange: int) -> Inbound:
        """The device was lost: its event."""
        message = self.message
        return Inbound(
            exchange,
            contract.MQTT_WILL,
            self.topic,
            message.attributes,
            message.content_type,
            message.data,
            at_least_once=self.qos > 0,
            wants_reply=False,
            expires=message.expires,
            event=message.event,
        )


def read(connect: Connect) -> Will | None:
    """The will of a CONNECT, None if it has none.

    Raises:
        DecodeError: it claims to be an event and is none, or names what can't be.
    """
    will = connect.will
    if will is None:
        return None
    # its RETAIN goes along: MQTT-3.1.2-14, MQTT-3.1.2-15; 3.1.1: MQTT-3.1.2-16, MQTT-3.1.2-17
    message = cloudevents.read(Publish(will.topic, will.data, will.qos, will.retain, False, 0, will.properties))
    return Will(will.topic, message, will.qos, float(will.properties.get(properties.WILL_DELAY, 0)))
