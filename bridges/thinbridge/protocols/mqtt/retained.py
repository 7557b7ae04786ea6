"""The last value of each topic that a function retained, for devices that subscribe later (§3.3.1.3).

One per listener: Sessions come and go, values stay (3.1.1: MQTT-3.1.2-7). Only functions put them in: what a device
publishes with RETAIN goes to a function, as `mqttretain`.
"""

from thinbridge.protocols.mqtt import topics
from thinbridge.protocols.mqtt.message import Publication
from thinbridge.protocols.mqtt.topics import Levels


class Retained:
    """Publications by topic.

    Args:
        limit: how many.
        octets: bytes of them.
    """

    def __init__(self, limit: int, octets: int) -> None:
        self._limit, self._max_octets = limit, octets
        self._octets = 0
        self._values: dict[str, Publication] = {}

    def __len__(self) -> int:
        return len(self._values)

    def keep(self, publication: Publication, now: float) -> bool:
        """Keep it in place of the topic's older value (MQTT-3.3.1-5), whatever its QoS (3.1.1: MQTT-3.3.1-7).

        One without data takes it away, and is not kept (MQTT-3.3.1-6, MQTT-3.3.1-7; 3.1.1: MQTT-3.3.1-10,
        MQTT-3.3.1-11).

        Returns:
            False: there is no room for it, and the older value stays.
        """
        if not publication.data:
            self._remove(publication.topic)
            return True
        if not self._has_room(publication):
            self._expire(now)
            if not self._has_room(publication):
                return False
        self._remove(publication.topic)
        self._values[publication.topic] = publication
        self._octets += publication.size
        return True

    def _has_room(self, publication: Publication) -> bool:
        older = self._values.get(publication.topic)
        count, octets = (0, 0) if older is None else (1, older.size)
        return len(self._values) - count < self._limit and (
            self._octets - octets + publication.size <= self._max_octets
        )

    def get(self, topic: str, now: float) -> Publication | None:
        """A topic's value; one that has expired is gone (MQTT-3.3.2-5)."""
        value = self._values.get(topic)
        if value is not None and value.expires is not None and now >= value.expires:
            self._remove(topic)
            return None
        return value

    def matching(self, levels: Levels) -> list[str]:
        """The topics with a value that a filter takes; most filters of devices are the name of one."""
        if "+" not in levels and "#" not in levels:
            topic = "/".join(levels)
            return [topic] if topic in self._values else []
        beginning = topics.fixed(levels)  # which is compared faster
        return [topic for topic in self._values if topic.startswith(beginning) and topics.matches(levels, topic)]

    def _expire(self, now: float) -> None:
        for topic in list(self._values):
            self.get(topic, now)

    def _remove(self, topic: str) -> None:
        value = self._values.pop(topic, None)
        if value is not None:
            self._octets -= value.size
