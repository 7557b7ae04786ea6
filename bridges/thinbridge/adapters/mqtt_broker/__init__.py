"""MQTT by way of a broker: the bridge is a client of the broker that a team already runs, on paho-mqtt.

What is published to the topics that it subscribes to becomes the same events as from `mqtt://`; the broker keeps each
message until the sink has accepted it, since its acknowledgement waits for that. Found through the registry.

    settings    keys, checked
    endpoint    the parts below, joined
    link        a connection that is made again, with paho in it; wire is its socket, websocket another's layer
    consumer    what comes under one client id
    window      what is not acknowledged yet, and the order of the acknowledgements
    devices     whose sessions messages belong to
    messages    paho's messages in our codec's words, and back
    outbox      what functions send
    replicas    who has which client id, and who takes over from the dead; presence is how they hear of each other
    tls         the files of TLS
"""

from typing import ClassVar

from thinbridge.adapters.mqtt_broker.endpoint import BrokerEndpoint
from thinbridge.adapters.mqtt_broker.settings import BrokerSettings
from thinbridge.protocols.base import Adapter, Endpoint, Limits, Transport
from thinbridge.protocols.mqtt import MQTT

__all__ = ["BrokerSettings", "MQTTBroker", "MQTTSBroker"]


class MQTTBroker(Adapter):
    """`mqtt+broker://`: a broker over TCP, or over WebSocket."""

    name: ClassVar[str] = "mqtt+broker"
    transport = Transport.STREAM
    port = 1883
    listens = False
    event_types = (MQTT.event_types[0],)  # a will is the broker's to publish: it comes as a message
    Settings = BrokerSettings
    settings: BrokerSettings

    def endpoint_at(self, host: str, port: int, limits: Limits) -> Endpoint:
        """The endpoint at a broker."""
        return BrokerEndpoint(
            self.name, self.endpoint, (host, port), self.settings, self.counters, self.session_id, limits
        )


class MQTTSBroker(MQTTBroker):
    """`mqtts+broker://`: the same over TLS."""

    name = "mqtts+broker"
    port = 8883
