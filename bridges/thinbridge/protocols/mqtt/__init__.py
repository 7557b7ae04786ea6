"""MQTT 3.1.1 and 5, terminated by the bridge: devices connect to it as to a broker; there is none.

A PUBLISH becomes an event; its PUBACK or PUBREC waits until the sink has accepted it. A device hears what functions
answer and what is pushed to it, and nothing from other devices. Nothing that the standards don't have is asked of a
client (3.1.1: MQTT-7.0.0-2). Found through the registry; driven by `thinbridge.shells.stream`.

    wire, properties                   bytes ↔ values
    codec, subscribe, connect          bytes ↔ packets, both versions
    reasons, topics                    codes, names and filters
    greeting, grants                   a connection until its CONNECT is answered, and what it is granted
    connection, aliases                one that was accepted: clocks, topic aliases, packets on their way out
    session, wills, presence           an MQTT Session, which outlives its connections; what is told of its life
    uplink                             what the device publishes:
        inbound, unheard                 the window of acknowledgements; those that were lost
        cloudevents                      events of its own making
        exchanges                        what waits for its answer, and where answers go
    downlink                           what the device hears:
        subscriptions, message           who listens to what; from a function's answer to a copy of it
        outbound                         the queue, the device's acknowledgements, resends
    templates, retained, flaps         what a listener's Sessions share: allowed topics, last values, takeovers
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, NamedTuple

from thinbridge import contract
from thinbridge.errors import DecodeError, SettingsError
from thinbridge.protocols.base import (
    Carriers,
    Decision,
    Entropy,
    EventType,
    Outbound,
    Path,
    Protocol,
    Session,
    Transport,
)
from thinbridge.protocols.mqtt import message, reasons, templates, topics
from thinbridge.protocols.mqtt.connect import Connect
from thinbridge.protocols.mqtt.flaps import Flaps
from thinbridge.protocols.mqtt.greeting import Greeting
from thinbridge.protocols.mqtt.message import Publication
from thinbridge.protocols.mqtt.retained import Retained
from thinbridge.protocols.mqtt.session import MQTTSession, device_of
from thinbridge.protocols.mqtt.subscriptions import Listeners
from thinbridge.protocols.mqtt.templates import Templates

__all__ = ["MQTT", "Greeting", "MQTTSession", "MQTTSettings"]


@dataclass(frozen=True)
class MQTTSettings:
    """Keys of an `mqtt://` listener."""

    max_packet: int = 262_144
    """Bytes of a packet from a device; larger ones are refused before they are kept (0x95). Device messages are small;
    events above 256 KiB do not pass most sinks."""
    connect_max: int = 4096
    """Bytes of a CONNECT: nobody is authenticated yet. A client id, credentials and a will fit."""
    connect_timeout: float = 5.0
    """Seconds from the connection to a whole CONNECT, so that silent connections don't pile up."""
    packet_timeout: float = 60.0
    """Seconds for a packet that has begun: 256 KiB pass at 4.4 kB/s, a byte a second does not."""
    window: int = 64
    """QoS 1 and 2 messages of one connection that may wait for their PUBACK or PUBREC (MQTT 5: the Receive Maximum
    announced): wider than clients' usual 20, so that a PINGREQ behind a full client window is still read."""
    held: int = 1_048_576
    """Bytes of a Session's messages without an answer, as their packets have them, before reading pauses: a full window
    of 16 kB messages. 3.1.1 has no Receive Maximum, so what is past the window counts too. While reading pauses, no
    PINGREQ is answered."""
    qos0_open: int = 256
    """QoS 0 messages of one Session that may wait for their answers; more are dropped, counted, as QoS 0 allows."""
    session_expiry: int = 86_400
    """Seconds that a Session without a connection is kept at most: a device that sleeps for a night finds its own.
    It lives in memory, so a restart ends it anyway."""
    offline_sessions: int = 10_000
    """Sessions without a connection; over it the one that is offline for longest ends (about 6 kB each, at most 35 kB
    with `replies`, and what is queued)."""
    keep_alive: int = 3600
    """Seconds: the longest keep-alive that a MQTT 5 client is granted (Server Keep Alive), so that a dead connection
    is found within the 90 minutes. 3.1.1 clients choose their own."""
    topic_aliases: int = 16
    """Topic aliases on a connection, each way (MQTT 5): each keeps one topic of up to 1 kB; a device has few topics."""
    subscriptions: int = 100
    """Topic filters of a Session; every message to the device is matched against those with wildcards."""
    outbound_queue: int = 100
    """Messages kept for a device that is offline or slow; more are refused (BUSY)."""
    outbound_bytes: int = 1_048_576
    """Bytes of them, properties included."""
    outbound_window: int = 32
    """QoS 1 and 2 messages to a device without its acknowledgement; its own Receive Maximum may be smaller."""
    retained: int = 1000
    """Topics of the listener whose last value is retained for devices that subscribe later; for others it is refused
    (BUSY), since functions choose them and can be told."""
    retained_bytes: int = 524_288
    """Bytes of them: half of what may wait for a slow device, so that subscribing to everything does not cut it off."""
    may_subscribe: tuple[str, ...] = ("#",)
    """Topic filters that a device's subscriptions have to lie within; `{deviceid}` and `{clientid}` stand for its own
    name as one level. What it can't subscribe to can't be sent to it. By default everything: a device hears only what
    the bridge sends to it, so there is nobody to listen to."""
    may_publish: tuple[str, ...] = ("#",)
    """The same for topics that it publishes to, its will's included. By default everything: routes say where to."""
    response_info: str = ""
    """Response Information for MQTT 5 clients that ask for it: where to make their Response Topics, such as
    `answers/{clientid}`. By default none: most know their own topics."""
    takeovers: int = 15
    """Takeovers of one client identifier within a minute, before newcomers are refused (0x9F): two devices with one
    name would throw each other out for ever. 0: any number."""
    replies: int = 64
    """Exchanges of a Session whose Response Topic is remembered after the PUBACK: for a later answer (mode `later`)
    and for what is pushed to the exchange; over it the oldest is forgotten."""
    replies_bytes: int = 8192
    """Bytes of their Response Topics and Correlation Data, of those that wait for a later answer and of the others:
    a topic and a UUID of 128 bytes together, 64 times. Correlation Data may have 65,535; over it the oldest is
    forgotten, and one that is larger alone is not remembered."""
    on_refused: str = "ack"
    """What a 3.1.1 device hears when the function refuses its message: `ack`, a PUBACK (the function saw it), or
    `close`, which makes clients send it again, and the bridge try it again."""
    structured_311: bool = False
    """Read 3.1.1 payloads as CloudEvents in JSON (CloudEvents MQTT binding §3.2): 3.1.1 has no content type, so
    a listener must say that its devices send them. What is none is a plain message: 3.1.1 has no way to refuse it."""

    def __post_init__(self) -> None:
        """Check what MQTT itself bounds."""
        for key in ("window", "outbound_window"):
            if not 0 < getattr(self, key) <= 0xFFFF:
                raise SettingsError(key, getattr(self, key), "a number from 1 to 65535 (MQTT 5 §3.1.2.11.3)")
        if self.on_refused not in ("ack", "close"):
            raise SettingsError("on_refused", self.on_refused, "ack or close")
        templates.check("may_subscribe", self.may_subscribe)
        templates.check("may_publish", self.may_publish)
        if self.response_info:
            templates.check("response_info", [self.response_info])
            if not topics.is_ours(self.response_info):
                raise SettingsError("response_info", self.response_info, "a topic without wildcards")


class Allowed(NamedTuple):
    """The topics of one device."""

    subscribe: Templates
    publish: Templates


class Entry(NamedTuple):
    """Where a CONNECT leads."""

    session: MQTTSession
    present: bool
    """It was there before (Session Present)."""
    ended: MQTTSession | None = None
    """The one that it ended; it has something to say."""


class MQTT(Protocol):
    """A listener; holds the Sessions by client identifier."""

    name: ClassVar[str] = "mqtt"
    transport = Transport.STREAM  # MQTT-4.2-1; 3.1.1: MQTT-7.1.1-1
    port = 1883
    carriers = Carriers(
        # MQTT-6.0.0 names no ports: 80 and 443 are WebSocket's, and root's; 8083 and 8084 are what EMQX made usual
        schemes={"mqtts": ("tls", 8883), "mqtt+ws": ("ws", 8083), "mqtt+wss": ("wss", 8084)},
        alpn=("mqtt",),
        subprotocols=("mqtt", "mqttv3.1"),  # MQTT-6.0.0-4; the second was usual before 3.1.1 had a name
        path="/mqtt",
    )
    event_types = (
        EventType(contract.MQTT_MESSAGE, "a message that a device published", contract.MQTT_ATTRIBUTES),
        EventType(contract.MQTT_WILL, "the will of a device that was lost", contract.MQTT_ATTRIBUTES),
        EventType(contract.SESSION_OPENED, "a device has connected", ("mqttversion", "mqttpresent")),
        EventType(contract.SESSION_CLOSED, "its connection is gone", ("mqttversion", "mqttreason")),
    )
    Settings = MQTTSettings
    settings: MQTTSettings

    def __init__(self, settings: MQTTSettings, entropy: Entropy, name: str = "") -> None:
        super().__init__(settings, entropy, name)
        self.sessions: dict[str, MQTTSession] = {}
        """By client identifier, connected or not."""
        self.offline: dict[str, MQTTSession] = {}
        """Those without a connection, the one that is offline for longest first."""
        self.listeners = Listeners()
        self.retained = Retained(settings.retained, settings.retained_bytes)
        self._flaps = Flaps(settings.takeovers)
        self._allowed: Allowed | None = None  # the same for all devices, where no template asks for a name
        if not any(templates.asks(text) for text in (*settings.may_subscribe, *settings.may_publish)):
            self._allowed = self.allowed("", "")

    def open(self, key: Hashable, path: Path, now: float) -> Session:
        """A connection's first session: it waits for the CONNECT."""
        return Greeting(self, path, now)

    def enter(self, connect: Connect, decision: Decision, path: Path, now: float) -> Entry:
        """The Session that a CONNECT is for (MQTT-3.1.2-5, MQTT-3.1.2-6, MQTT-3.1.3-2; 3.1.1: MQTT-3.1.2-4).

        Raises:
            DecodeError: the client identifier belongs to somebody else, or too many want it; or its will may not be.
        """
        if connect.will is not None:
            device = device_of(connect, decision, path)
            if not self.allowed(device, connect.client_id).publish.allow(connect.will.topic):
                raise DecodeError("will_not_allowed", reasons.NOT_AUTHORIZED)
        found = self.sessions.get(connect.client_id)
        if found is None:
            return Entry(MQTTSession(self, connect, decision, path), present=False)  # 3.1.1: MQTT-3.2.2-3
        if found.identity != (decision.identity or path.identity):
            raise DecodeError("takeover_refused", reasons.CLIENT_ID_INVALID)
        if found.connected and not self._flaps.takeover(connect.client_id, now):
            raise DecodeError("takeover_flapping", reasons.CONNECTION_RATE)
        if found.resumable and not connect.clean:
            return Entry(found, present=True)  # MQTT-3.2.2-3; 3.1.1: MQTT-3.2.2-2
        # MQTT-3.1.2-4, MQTT-3.1.4-4, MQTT-3.2.2-2; 3.1.1: MQTT-3.1.2-6, MQTT-3.1.4-3, MQTT-3.2.2-1
        found.replaced(now)
        return Entry(MQTTSession(self, connect, decision, path), present=False, ended=found)

    def allowed(self, device: str, client_id: str) -> Allowed:
        """The topics that a device may use."""
        if self._allowed is not None:
            return self._allowed
        settings = self.settings
        return Allowed(
            Templates(settings.may_subscribe, device, client_id), Templates(settings.may_publish, device, client_id)
        )

    def retain(self, publication: Publication, now: float) -> bool:
        """Keep a value for those who subscribe later; False: there is no room."""
        kept = self.retained.keep(publication, now)
        if not kept:
            self.counters["retained_full"] += 1
        return kept

    def publish(self, subject: str, outbound: Outbound, now: float) -> Iterable[Session]:
        """Send to every Session with a subscription that takes the topic; lazily, since there may be thousands."""
        if not topics.is_ours(subject):
            return ()
        sent = message.publication(subject, outbound.content_type, outbound.data, outbound.attributes, now)
        if sent.retain:  # MQTT-3.3.1-8; 3.1.1: MQTT-3.3.1-12
            self.retain(sent, now)
        return (session for session in self.listeners.of(subject) if session.hear(sent, now))

    def overflow(self) -> MQTTSession | None:
        """Too many Sessions without a connection (never one with: MQTT-4.1.0-1): the one to end, idle ones first."""
        if len(self.offline) <= self.settings.offline_sessions:
            return None
        oldest = list(islice(self.offline.values(), 16))
        return next((session for session in oldest if not session.busy), oldest[0])
