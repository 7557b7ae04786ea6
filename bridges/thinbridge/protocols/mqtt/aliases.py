"""Topic Aliases of one connection, both ways (MQTT 5 §3.3.2.3.4); none outlives it (MQTT-3.3.2-7)."""

from thinbridge.errors import DecodeError
from thinbridge.protocols.mqtt import properties, reasons, topics, wire
from thinbridge.protocols.mqtt.codec import Publish


class Incoming:
    """Aliases that a client has set.

    Args:
        limit: the Topic Alias Maximum that it was told (MQTT-3.3.2-12).
    """

    __slots__ = ("_limit", "_topics")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._topics: dict[int, str] = {}

    def topic(self, publish: Publish) -> str:
        """The topic of a PUBLISH, by its alias if it has one; it may be empty where there is none.

        Raises:
            DecodeError: no such alias.
        """
        alias: int | None = publish.properties.get(properties.TOPIC_ALIAS)
        if alias is None:
            return publish.topic
        if not 0 < alias <= self._limit:
            raise DecodeError("alias_invalid", reasons.ALIAS_INVALID)  # MQTT-3.3.2-8, MQTT-3.3.2-9, MQTT-3.2.2-17
        if publish.topic:
            self._topics[alias] = publish.topic[: topics.MAX_BYTES + 1]  # what is too long is refused by less of it
        elif alias not in self._topics:
            raise wire.protocol_error()  # it stands for nothing
        return self._topics[alias]


class Outgoing:
    """Aliases that we set for a client, each for good: the first topics get them.

    Args:
        limit: the lower of our own and its Topic Alias Maximum (MQTT-3.1.2-26, MQTT-3.1.2-27, MQTT-3.3.2-11).
    """

    __slots__ = ("_aliases", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._aliases: dict[str, int] = {}

    def find(self, topic: str) -> int:
        """The topic's alias; 0: none."""
        return self._aliases.get(topic, 0)

    def next(self) -> int:
        """An alias that is free; 0: none."""
        return len(self._aliases) + 1 if len(self._aliases) < self._limit else 0

    def set(self, topic: str, alias: int) -> None:
        """The client has been told."""
        self._aliases[topic] = alias
