"""Looks at bridges when they are due: never twice at once at the same one, again and again until it is settled."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as Count

from thinbridge.errors import ThinbridgeError
from thinbridge.telemetry import fields

log = logging.getLogger("thinbridge.controller")

Key = tuple[str, str]
"""Namespace and name."""

Look = Callable[[str, str], bool | None]
"""Takes one look, in a thread: True when ready, False while there is something to wait for, None if it is gone."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to look where no event says so; all in seconds."""

    settled: float = 300.0
    """At what is ready: drift that no watch shows (ConfigMaps, addresses of routes' sinks) is repaired by then. A look
    is a dozen requests: a thousand bridges make 40 a second."""
    waiting: float = 3.0
    """At what is not: why a pod does not start is told by the pod, which is not watched."""
    failed: float = 1.0
    """After the first failure in a row; doubles with each."""
    failed_max: float = 60.0
    """And no longer than that."""
    workers: int = 4
    """Looks at a time."""


class Metrics:
    """What `/metrics` of the controller shows."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self.looks: Final = Count(
            "thinbridge_controller_reconciles", "Looks at a bridge.", ["outcome"], registry=self.registry
        )
        self.seconds: Final = Histogram(
            "thinbridge_controller_reconcile_seconds", "How long a look takes.", registry=self.registry
        )
        self.bridges: Final = Gauge(
            "thinbridge_controller_bridges", "Bridges, by whether they are ready.", ["ready"], registry=self.registry
        )


class Worker:
    """The queue of bridges to look at.

    Args:
        look: takes one look.
        pace: how often.
        metrics: counted into.
    """

    def __init__(self, look: Look, pace: Pace, metrics: Metrics) -> None:
        self._look, self._pace, self._metrics = look, pace, metrics
        self._queue: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._later: dict[Key, asyncio.TimerHandle] = {}
        self._failures: Counter[Key] = Counter()
        self._ready: dict[Key, bool] = {}

    def add(self, key: Key) -> None:
        """Have a look taken soon: one, however often it is asked for."""
        if key in self._busy:
            self._again.add(key)  # what is looked at now may have been read before the event
        elif key not in self._queued:
            self._queued.add(key)
            self._queue.put_nowait(key)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._pace.workers):
                    group.create_task(self._work())
        finally:
            for timer in self._later.values():
                timer.cancel()

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._queued.discard(key)
            self._busy.add(key)
            if timer := self._later.pop(key, None):
                timer.cancel()
            pause = await self._one(key)
            self._busy.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            elif pause is not None:
                self._later[key] = asyncio.get_running_loop().call_later(pause, self.add, key)

    async def _one(self, key: Key) -> float | None:
        """Take one look; seconds until the next, None: there is nothing left to look at."""
        started = time.monotonic()
        try:
            ready = await asyncio.to_thread(self._look, *key)
        except Exception as error:  # whatever a look runs into must not end the controller
            return self._failed(key, error)
        finally:
            self._metrics.seconds.observe(time.monotonic() - started)
        del self._failures[key]
        self._count(key, ready)
        if ready is None:
            return None
        return self._pace.settled if ready else self._pace.waiting

    def _failed(self, key: Key, error: Exception) -> float:
        pause: float = min(self._pace.failed * 2 ** self._failures[key], self._pace.failed_max)
        self._failures[key] += 1
        self._metrics.looks.labels("failed").inc()
        unexpected = None if isinstance(error, ThinbridgeError) else error
        log.warning(
            "look failed, again soon",
            exc_info=unexpected,
            extra=fields(bridge="/".join(key), error=str(error), seconds=pause),
        )
        return pause

    def _count(self, key: Key, ready: bool | None) -> None:
        outcome = "gone" if ready is None else "ready" if ready else "waiting"
        self._metrics.looks.labels(outcome).inc()
        if ready is None:
            self._ready.pop(key, None)
        else:
            if self._ready.get(key) != ready:
                log.info("bridge", extra=fields(bridge="/".join(key), ready=ready))
            self._ready[key] = ready
        for value in (True, False):
            count = sum(one is value for one in self._ready.values())
            self._metrics.bridges.labels(str(value).lower()).set(count)
