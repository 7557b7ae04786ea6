"""What devices subscribed to: the filters of one Session, and who of a listener hears a topic.

One `Subscriptions` per MQTT Session, one `Listeners` per listener, which `MQTT.publish` asks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thinbridge.protocols.mqtt import topics
from thinbridge.protocols.mqtt.subscribe import QOS, RETAIN_AS_PUBLISHED, RETAIN_HANDLING
from thinbridge.protocols.mqtt.topics import Levels

if TYPE_CHECKING:
    from thinbridge.protocols.mqtt.session import MQTTSession

ALWAYS, IF_NEW = 0, 1
"""Retain Handling (MQTT 5 §3.8.3.1): what is retained is sent at every SUBSCRIBE, or if the subscription is new."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a Session asked for with one filter. No Local needs nothing of us: what devices publish goes to functions,
    and comes back to none (MQTT-3.8.3-3)."""

    qos: int = 0
    retain_as_published: bool = False
    """Pass the RETAIN flag on (MQTT 5 §3.8.3.1)."""
    retain_handling: int = ALWAYS
    number: int = 0
    """Subscription Identifier; 0: none."""

    @classmethod
    def of(cls, options: int, number: int) -> "Subscription":
        """From the options byte of a SUBSCRIBE; 3.1.1's has a QoS only."""
        return cls(options & QOS, options & RETAIN_AS_PUBLISHED != 0, (options & RETAIN_HANDLING) >> 4, number)


@dataclass(frozen=True, slots=True)
class Match:
    """What all subscriptions that take a topic say together: it is sent once (MQTT-3.3.4-2; 3.1.1: MQTT-3.3.5-1)."""

    qos: int
    """The highest that was granted."""
    retain_as_published: bool
    numbers: tuple[int, ...] = ()
    """The Subscription Identifiers (MQTT-3.3.4-3, MQTT-3.3.4-4)."""

    @classmethod
    def of(cls, subscriptions: Sequence[Subscription]) -> "Match":
        """What they say, at least one."""
        return cls(
            max(one.qos for one in subscriptions),
            any(one.retain_as_published for one in subscriptions),
            tuple(one.number for one in subscriptions if one.number),
        )


class Listeners:
    """Who listens to what on one listener, by the levels before the first wildcard of their filters."""

    def __init__(self) -> None:
        self._by_beginning: dict[str, dict[MQTTSession, int]] = {}

    def add(self, session: "MQTTSession", levels: Levels) -> None:
        """One more of its filters begins like this one."""
        sessions = self._by_beginning.setdefault(topics.fixed(levels), {})
        sessions[session] = sessions.get(session, 0) + 1

    def remove(self, session: "MQTTSession", levels: Levels) -> None:
        """One fewer."""
        beginning = topics.fixed(levels)
        sessions = self._by_beginning[beginning]
        sessions[session] -= 1
        if not sessions[session]:
            del sessions[session]
        if not sessions:
            del self._by_beginning[beginning]

    def of(self, topic: str) -> "list[MQTTSession]":
        """All Sessions that may hear a topic; each asks its own `Subscriptions`."""
        found: dict[MQTTSession, None] = {}
        for beginning in topics.beginnings(topic):
            found.update(dict.fromkeys(self._by_beginning.get(beginning, ())))
        return list(found)


class Subscriptions:
    """The filters of one Session.

    Args:
        session: whose they are.
        listeners: told of them.
        limit: how many.
    """

    __slots__ = ("_all", "_limit", "_listeners", "_session", "_wild")

    def __init__(self, session: "MQTTSession", listeners: Listeners, limit: int) -> None:
        self._session, self._listeners = session, listeners
        self._limit = limit
        self._all: dict[str, tuple[Levels, Subscription]] = {}
        self._wild: dict[str, Levels] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, text: str) -> bool:
        return text in self._all

    @property
    def full(self) -> bool:
        """There is room for those that are there already, only."""
        return len(self._all) >= self._limit

    def add(self, text: str, subscription: Subscription) -> None:
        """Subscribe, in place of an older one with the same filter (MQTT-3.8.4-3)."""
        known = self._all.get(text)
        levels = known[0] if known is not None else tuple(text.split("/"))
        self._all[text] = levels, subscription
        if known is None:
            self._listeners.add(self._session, levels)
            if "+" in levels or "#" in levels:
                self._wild[text] = levels

    def remove(self, text: str) -> bool:
        """Unsubscribe, by the filter's very characters (MQTT-3.10.4-1); False: there was none."""
        known = self._all.pop(text, None)
        if known is None:
            return False
        self._wild.pop(text, None)
        self._listeners.remove(self._session, known[0])
        return True

    def clear(self) -> None:
        """The Session is over."""
        for text in list(self._all):
            self.remove(text)

    def match(self, topic: str) -> Match | None:
        """What the subscriptions say that take this topic name; None: none does."""
        found = list(self._matching(topic))
        return Match.of(found) if found else None

    def _matching(self, topic: str) -> Iterator[Subscription]:
        if topic in self._all and topic not in self._wild:
            yield self._all[topic][1]
        for text, levels in self._wild.items():
            if topics.matches(levels, topic):
                yield self._all[text][1]
