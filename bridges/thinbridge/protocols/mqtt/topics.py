"""Topic names and filters (MQTT 3.1.1 and 5 §4.7): what is valid, what matches, what a Session subscribed to."""

import re
from dataclasses import dataclass
from typing import Final

MAX_BYTES: Final = 1024
"""Bytes of a topic name or filter: device topics are tens of bytes; it becomes an event's `subject` and a header."""

MAX_LEVELS: Final = 64
"""Levels of one: matching walks them (CVE-2021-33176 was a broker without such a limit)."""

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_PLANES = tuple(chr(plane << 16 | end) for plane in range(1, 17) for end in (0xFFFE, 0xFFFF))


def is_clean(text: str) -> bool:
    """No controls, surrogates, noncharacters: MQTT 5 §1.5.4 lets a receiver refuse them, an event can't have them."""
    if text.isprintable():
        return True
    return not _FORBIDDEN.search(text) and not any(end in text for end in _PLANES)


def is_name(topic: str) -> bool:
    """A topic name to publish to: not empty, within the limits, no wildcards (MQTT-3.3.2-2, MQTT-4.7.3-1)."""
    return (
        0 < len(topic) <= MAX_BYTES
        and "#" not in topic
        and "+" not in topic
        and topic.count("/") < MAX_LEVELS
        and is_clean(topic)
        and (topic.isascii() or len(topic.encode()) <= MAX_BYTES)
    )


def is_filter(text: str) -> bool:
    """A topic filter; a wildcard stands for whole levels, `#` only for the last (MQTT-4.7.1-2, MQTT-4.7.1-3)."""
    if not is_name(text.replace("+", "x").replace("#", "x")):
        return False
    *levels, last = text.split("/")
    return (
        all("#" not in level for level in levels)
        and (last == "#" or "#" not in last)
        and all(level == "+" or "+" not in level for level in (*levels, last))
    )


def matches(levels: tuple[str, ...], topic: str) -> bool:
    """Whether a filter, split at `/`, takes a topic name."""
    if topic.startswith("$") and levels[0] in ("+", "#"):
        return False  # MQTT-4.7.2-1
    names = topic.split("/")
    if levels[-1] == "#":
        if len(names) < len(levels) - 1:  # `a/#` takes `a` as well (§4.7.1.2)
            return False
    elif len(names) != len(levels):
        return False
    return all(level in ("#", "+", name) for level, name in zip(levels, names, strict=False))


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a Session asked for with one filter."""

    qos: int
    """Granted: 0 or 1."""
    retain_as_published: bool = False
    """Pass the RETAIN flag on (MQTT 5 §3.8.3.1)."""


class Subscriptions:
    """The filters of one Session; at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._exact: dict[str, Subscription] = {}
        self._wild: dict[str, tuple[tuple[str, ...], Subscription]] = {}

    def __len__(self) -> int:
        return len(self._exact) + len(self._wild)

    def add(self, text: str, subscription: Subscription) -> bool:
        """Subscribe, in place of an older one with the same filter (MQTT-3.8.4-3); False: there are too many."""
        if text not in self._exact and text not in self._wild and len(self) >= self._limit:
            return False
        if "+" in text or "#" in text:
            self._wild[text] = tuple(text.split("/")), subscription
        else:
            self._exact[text] = subscription
        return True

    def remove(self, text: str) -> bool:
        """Unsubscribe; False: there was none."""
        return (self._exact.pop(text, None) or self._wild.pop(text, None)) is not None

    def match(self, topic: str) -> Subscription | None:
        """The subscription with the highest QoS of all that take this topic name (MQTT-3.3.5-1)."""
        best = self._exact.get(topic)
        for levels, subscription in self._wild.values():
            if (best is None or subscription.qos > best.qos) and matches(levels, topic):
                best = subscription
        return best
