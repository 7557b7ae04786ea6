"""When sessions are due: one heap, and one alarm of the loop, for all sessions of an endpoint. `shell.py` owns it."""

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable
from typing import Any

from thinbridge.protocols.base import Session

Entry = list[Any]
"""When, a number (so that a heap never compares sessions), and the session: None once it is armed anew or over. So what
still lies in the heap keeps no session in memory; asyncio cancels its own timers in the same way."""

WHEN, _NUMBER, _SESSION = range(3)

SLACK = 64
"""Entries that nobody waits for any more may be as many as the others, and these more: then they are swept out. A
session that is armed now for a second, now for minutes, would otherwise leave one in the heap each time."""


class Timers:
    """At most one timer a session.

    Args:
        due: serves a session whose time has come; it is armed no longer.
    """

    def __init__(self, due: Callable[[Session, float], None]) -> None:
        self.armed: dict[Session, Entry] = {}
        """What each session is armed for; read it, `shell.py` does so on every message."""
        self._due = due
        self._heap: list[Entry] = []
        self._numbers = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None
        self._rings = math.inf  # when the alarm does; while it does, -inf: who is armed then needs no other

    def arm(self, session: Session, when: float) -> None:
        """Serve it at `when`, instead of at what it was armed for."""
        self.disarm(session)
        entry = self.armed[session] = [when, next(self._numbers), session]
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self.armed) + SLACK:
            self._heap[:] = self.armed.values()
            heapq.heapify(self._heap)
        self._wind()

    def disarm(self, session: Session) -> None:
        """Serve it no more."""
        entry = self.armed.pop(session, None)
        if entry is not None:
            entry[_SESSION] = None

    def stop(self) -> None:
        """Nothing rings any more."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._rings = -math.inf

    def _wind(self) -> None:
        """Set the alarm for the first of the heap, unless it rings before that."""
        if not self._heap or self._heap[0][WHEN] >= self._rings:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._rings = self._heap[0][WHEN]
        # The next whole millisecond: uvloop counts in them, rounds, and would ring too early a hundred times over.
        tick = (math.floor(self._rings * 1000) + 1) / 1000
        self._alarm = asyncio.get_running_loop().call_at(tick, self._ring)

    def _ring(self) -> None:
        """Serve all that are due, then set the alarm for the next, whatever became of these."""
        now = asyncio.get_running_loop().time()
        self._rings = -math.inf
        try:
            while self._heap and self._heap[0][WHEN] <= now:
                session = heapq.heappop(self._heap)[_SESSION]
                if session is not None:
                    del self.armed[session]
                    self._due(session, now)
        finally:
            self._rings = math.inf
            self._wind()
