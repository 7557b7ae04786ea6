"""One network connection of an MQTT Session: its framing, its clocks, and what its CONNECT agreed on."""

from thinbridge.errors import DecodeError
from thinbridge.protocols.base import Path
from thinbridge.protocols.mqtt import properties, reasons, topics, wire
from thinbridge.protocols.mqtt.codec import Publish

GRACE = 1.5
"""Keep-alive intervals without a packet after which a client is lost (MQTT-3.1.2-22; 3.1.1: MQTT-3.1.2-24)."""


class Connection:
    """A connection whose CONNECT was accepted.

    Args:
        path: where it is.
        v5: MQTT 5, else 3.1.1.
        keep_alive: seconds; 0: none.
        framer: cuts its bytes into packets.
        aliases: topic aliases that the client may use.
        now: monotonic seconds.
    """

    __slots__ = ("_aliases", "_aliases_max", "_begun", "_framer", "_heard", "_silence", "path", "v5")

    def __init__(self, path: Path, v5: bool, keep_alive: int, framer: wire.Framer, aliases: int, now: float) -> None:
        self.path, self.v5 = path, v5
        self._framer = framer
        self._silence = keep_alive * GRACE
        self._heard = now
        self._begun: float | None = None  # when the packet that is incomplete began
        self._aliases: dict[int, str] = {}
        self._aliases_max = aliases

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
        """The topic of a PUBLISH, by its alias if it has one (MQTT 5 §3.3.2.3.4).

        Raises:
            DecodeError: no such alias, or nothing that may be published to.
        """
        topic = publish.topic
        if publish.properties:
            alias: int | None = publish.properties.get(properties.TOPIC_ALIAS)
            if alias is not None:
                topic = self._alias(alias, topic)
        if not topics.is_name(topic):
            raise DecodeError("topic_invalid", reasons.TOPIC_INVALID)
        return topic

    def _alias(self, alias: int, topic: str) -> str:
        if not 0 < alias <= self._aliases_max:
            raise DecodeError("alias_invalid", reasons.ALIAS_INVALID)  # MQTT-3.3.2-8, -9
        if topic:
            self._aliases[alias] = topic
        elif alias not in self._aliases:
            raise wire.protocol_error()  # MQTT-3.3.2-7: an alias that stands for nothing
        return topic or self._aliases[alias]

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
