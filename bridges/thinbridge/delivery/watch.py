"""One timer for every deadline of a `Delivery`.

A timer per attempt costs as much as the parsing of its answer, and nearly none ever fires. So attempts only carry
their due time; one timer is set to the nearest of them, and when it fires it looks at all.
"""

import asyncio
from math import inf
from typing import Final, Generic, Protocol, TypeVar

GRAIN: Final = 0.01
"""Seconds between two looks, at least: thousands of deadlines that are a millisecond apart cost a hundred looks a
second, and none is more than this late."""


class Watched(Protocol):
    """Something with a deadline."""

    due: float
    """Loop time; `inf`: none now."""

    def expired(self, now: float) -> None:
        """`due` has passed; sets the next one, or leaves the watch."""

    def cancel(self) -> None:
        """Everything ends; leaves the watch."""


W = TypeVar("W", bound=Watched)


class Watch(Generic[W]):
    """Everything that is under way, and when the first of it is due.

    Args:
        loop: whose time and timer it runs on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: set[W] = set()
        self._next = inf
        self._timer: asyncio.TimerHandle | None = None

    def add(self, watched: W) -> None:
        """Watch it, from its present `due` on; again after `due` came nearer."""
        self._watched.add(watched)
        if watched.due < self._next:
            self._arm(watched.due)

    def discard(self, watched: W) -> None:
        """Forget it."""
        self._watched.discard(watched)

    def watched(self) -> list[W]:
        """Everything that is under way."""
        return list(self._watched)

    def close(self) -> list[W]:
        """Stop the timer; what is left, to be ended by the caller."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._next = None, inf
        return list(self._watched)

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = when
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        self._timer, self._next = None, inf
        for watched in [watched for watched in self._watched if watched.due <= now]:
            if watched in self._watched:  # the end of one may be the end of another
                watched.expired(now)
        nearest = min((watched.due for watched in self._watched), default=inf)
        if nearest < self._next:
            self._arm(max(nearest, now + GRAIN))
