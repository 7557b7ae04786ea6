"""One network connection of an MQTT Session: framing, clocks, what its CONNECT agreed on, what goes out by it."""

from dataclasses import replace
from math import ceil

from thinbridge.errors import DecodeError
from thinbridge.protocols.base import Path
from thinbridge.protocols.mqtt import aliases, codec, properties, reasons, topics, wire
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.message import Message

GRACE = 1.5
"""Keep-alive intervals without a packet after which a client is lost (MQTT-3.1.2-22; 3.1.1: MQTT-3.1.2-24)."""


class Connection:
    """A connection whose CONNECT was accepted.

    Args:
        path: where it is.
        v5: MQTT 5, else 3.1.1.
        keep_alive: seconds; 0: none.
        max_packet: bytes of a packet that we read.
        now: monotonic seconds.
    """

    __slots__ = (
        "_begun", "_chunks", "_framer", "_heard", "_silence", "aliases", "max_outgoing", "outgoing", "path",
        "receive_maximum", "v5", "verbose",
    )  # fmt: skip

    def __init__(self, path: Path, v5: bool, keep_alive: int, max_packet: int, now: float) -> None:
        self.path, self.v5 = path, v5
        self.aliases = aliases.Incoming(0)
        self.outgoing = aliases.Outgoing(0)
        self.max_outgoing = wire.MAX_REMAINING + 5
        """The client's Maximum Packet Size."""
        self.receive_maximum = 0xFFFF
        """The client's."""
        self.verbose = v5
        """It wants Reason Strings everywhere (Request Problem Information, MQTT-3.1.2-29)."""
        self._framer = wire.Framer(max_packet, strict=v5)
        self._silence = keep_alive * GRACE
        self._heard = now
        self._begun: float | None = None  # when the packet that is incomplete began
        self._chunks: list[bytes] = []

    # --- in ------------------------------------------------------------------------------------------------------

    def feed(self, data: bytes, now: float) -> list[tuple[int, bytes]]:
        """The packets that are complete now; look at `error` after them."""
        packets = self._framer.feed(data)
        if packets:
            self._heard = now
            self._begun = None
        if self._begun is None and self._framer.partial:
            self._begun = now
        return packets

    @property
    def error(self) -> DecodeError | None:
        """What is wrong with the bytes that follow."""
        return self._framer.error

    def topic(self, publish: Publish) -> str:
        """The topic of a PUBLISH, by its alias if it has one.

        Raises:
            DecodeError: no such alias, or no topic name.
        """
        topic = self.aliases.topic(publish) if publish.properties else publish.topic
        if not topic and self.v5:
            raise wire.protocol_error()  # MQTT 5 §3.3.2.1
        if not topics.is_name(topic):
            raise DecodeError("topic_invalid", reasons.MALFORMED)  # MQTT-3.3.2-2, MQTT-4.7.3-1
        return topic

    # --- out -----------------------------------------------------------------------------------------------------

    def send(self, packet: bytes) -> bool:
        """A packet goes out; False: it is larger than the client takes, and does not (MQTT-3.1.2-24)."""
        if len(packet) > self.max_outgoing:
            return False
        self._chunks.append(packet)
        return True

    def acknowledge(self, kind: int, packet_id: int, reason: int, text: str = "") -> None:
        """A PUBACK, PUBREC, PUBREL or PUBCOMP, with its Reason String where that is wanted and fits."""
        if not text:
            self.send(codec.encode_ack(kind, packet_id, reason, self.v5))
            return
        packet = codec.encode_ack(kind, packet_id, reason, self.v5, text if self.verbose else "")
        if not self.send(packet):  # MQTT-3.4.2-2, MQTT-3.5.2-2
            self.send(codec.encode_ack(kind, packet_id, reason, self.v5))

    def goodbye(self, reason: int, text: str) -> None:
        """A DISCONNECT, which only MQTT 5's servers send, with its Reason String if it fits (MQTT-3.14.2-3)."""
        if self.v5 and not self.send(codec.encode_disconnect(reason, True, text if self.verbose else "")):
            self.send(codec.encode_disconnect(reason, True))

    def publish(self, message: Message, now: float) -> bool:
        """A PUBLISH goes out, by an alias of its topic if there is one; False: it is larger than the client takes."""
        if not self.v5:
            return self.send(codec.encode_publish(message, False))
        publish: Publish = message
        if message.expires is not None:
            left = max(0, ceil(message.expires - now))  # MQTT-3.3.2-6
            publish = replace(message, properties={**message.properties, properties.MESSAGE_EXPIRY: left})
        alias = self.outgoing.find(message.topic)
        if alias:
            values = {**publish.properties, properties.TOPIC_ALIAS: alias}
            return self.send(codec.encode_publish(replace(publish, topic="", properties=values), True))
        alias = self.outgoing.next()
        if alias:
            values = {**publish.properties, properties.TOPIC_ALIAS: alias}
            if self.send(codec.encode_publish(replace(publish, properties=values), True)):
                self.outgoing.set(message.topic, alias)
                return True
        return self.send(codec.encode_publish(publish, True))

    def take(self) -> bytes:
        """What goes out now."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data

    # --- time ----------------------------------------------------------------------------------------------------

    def overdue(self, now: float, packet_timeout: float) -> DecodeError | None:
        """Why the connection has to end now, if it has to."""
        if self._silence and now >= self._heard + self._silence:
            return DecodeError("keep_alive_timeout", reasons.KEEP_ALIVE_TIMEOUT)
        if self._begun is not None and now >= self._begun + packet_timeout:
            return DecodeError("packet_timeout", reasons.KEEP_ALIVE_TIMEOUT)
        return None

    def excuse(self, now: float) -> None:
        """Reading was paused: the silence was ours."""
        self._heard = now
        if self._begun is not None:
            self._begun = now

    def next_timer(self, packet_timeout: float) -> float | None:
        """When `overdue` is to be asked."""
        silent = self._heard + self._silence if self._silence else None
        if self._begun is None:
            return silent
        slow = self._begun + packet_timeout
        return slow if silent is None else min(silent, slow)
