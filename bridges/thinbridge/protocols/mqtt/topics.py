"""Topic names and filters (MQTT 3.1.1 and 5 §4.7): what is well-formed, what is taken, what matches what.

Two questions for both: is it what the standard calls a name or a filter (if not, the packet is malformed), and does it
keep within our limits (if not, it is refused)?
"""

from collections.abc import Iterator
from typing import Final

# What an event can't have, MQTT 5 §1.5.4 lets a receiver refuse.
from thinbridge.protocols.cloudevents import is_clean as is_clean

Levels = tuple[str, ...]
"""A filter, split at `/`."""

MAX_BYTES: Final = 1024
"""Bytes of a topic name or filter: device topics are tens of bytes; it becomes an event's `subject` and a header."""

MAX_LEVELS: Final = 64
"""Levels of one: matching walks them (CVE-2021-33176 was a broker without such a limit)."""


def is_name(topic: str) -> bool:
    """A topic name: not empty, no wildcards (MQTT-3.3.2-2, MQTT-4.7.0-1, MQTT-4.7.3-1; 3.1.1: MQTT-4.7.1-1)."""
    return topic != "" and "#" not in topic and "+" not in topic


def is_filter(text: str) -> bool:
    """A topic filter: a wildcard stands for a whole level, `#` only for the last.

    MQTT-4.7.1-1, MQTT-4.7.1-2; 3.1.1: MQTT-4.7.1-2, MQTT-4.7.1-3.
    """
    if not text:
        return False
    *levels, last = text.split("/")
    return (
        all("#" not in level for level in levels)
        and (last == "#" or "#" not in last)
        and all(level == "+" or "+" not in level for level in (*levels, last))
    )


def is_taken(text: str) -> bool:
    """A name or filter within our limits."""
    return (
        len(text) <= MAX_BYTES
        and text.count("/") < MAX_LEVELS
        and is_clean(text)
        and (text.isascii() or len(text.encode()) <= MAX_BYTES)
    )


def is_ours(topic: str) -> bool:
    """A topic that something may be published to by us, whoever named it: not `$…`, the server's own (§4.7.2)."""
    return is_name(topic) and is_taken(topic) and not topic.startswith("$")


def matches(levels: Levels, topic: str) -> bool:
    """Whether a filter, split at `/`, takes a topic name; wildcards are supported (3.1.1: MQTT-3.8.3-2)."""
    if topic.startswith("$") and levels[0] in ("+", "#"):
        return False  # MQTT-4.7.2-1
    names = topic.split("/")
    if levels[-1] == "#":
        if len(names) < len(levels) - 1:  # `a/#` takes `a` as well (§4.7.1.2)
            return False
    elif len(names) != len(levels):
        return False
    # character by character: MQTT-4.7.3-4
    return all(level in ("#", "+", name) for level, name in zip(levels, names, strict=False))


def covers(wide: Levels, narrow: Levels) -> bool:
    """Whether a filter takes every topic that another one takes; a name is a filter, too."""
    for index, level in enumerate(wide):
        if level == "#":
            return True
        if index == len(narrow):
            return False
        other = narrow[index]
        if other == "#" or level not in ("+", other):
            return False
    return len(wide) == len(narrow)


def fixed(levels: Levels) -> str:
    """The levels before a filter's first wildcard: with them begins every topic that it takes."""
    end = next((index for index, level in enumerate(levels) if level in ("+", "#")), len(levels))
    return "/".join(levels[:end])


def beginnings(topic: str) -> Iterator[str]:
    """What `fixed` of a filter can be that takes a topic: its first levels, none to all of them."""
    yield ""
    end = topic.find("/")
    while end >= 0:
        yield topic[:end]
        end = topic.find("/", end + 1)
    yield topic
