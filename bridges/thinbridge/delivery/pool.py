"""Connections to one sink: kept alive, last in first out, each with one request at a time.

Used by `handle`; made by `Delivery`. The hot path is `acquire`, which takes one from the stack, and `release`. Only
opening a connection takes a task.
"""

import asyncio
import ssl
from collections import OrderedDict
from socket import gaierror
from typing import Any, Protocol

from thinbridge.delivery.http import Connection
from thinbridge.delivery.request import build
from thinbridge.delivery.retry import Failure
from thinbridge.delivery.room import Room
from thinbridge.delivery.sink import Sink
from thinbridge.delivery.terms import DeliveryLimits
from thinbridge.events import Event
from thinbridge.routes import Content


class Waiter(Protocol):
    """Who wants a connection. Exactly one of both is called, unless `Pool.forget` came first."""

    def connected(self, connection: Any) -> None:
        """It is yours until its answer is complete."""

    def failed(self, failure: Failure) -> None:
        """There is none for you."""


class Pool:
    """The connections to one sink.

    The stack keeps few connections busy when there is little to do; the rest of them are closed by a sweep that runs
    twice in `limits.idle` and takes whatever nobody used since the last one.

    Args:
        sink: where to.
        limits: how many, and for how long.
        room: where long answers have their turns.
        loop: whose timers and tasks are used.
    """

    def __init__(self, sink: Sink, limits: DeliveryLimits, room: Room, loop: asyncio.AbstractEventLoop) -> None:
        self.sink = sink
        self.limits = limits
        self.room = room
        self._loop = loop
        self._connections: set[Connection] = set()
        self._free: list[Connection] = []
        self.waiting: OrderedDict[Waiter, None] = OrderedDict()
        """Who waits for a connection, the oldest first; its length is all that others look at."""
        self._opening: dict[asyncio.Task[Connection], Waiter | None] = {}  # None: for whoever waits longest
        self._for_anyone = 0
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def size(self) -> int:
        """Connections that are open or opening."""
        return len(self._connections) + len(self._opening)

    def write(self, event: Event, content: Content, now: float) -> bytes:
        """An event as a request, with what proves to the sink who we are."""
        sink = self.sink
        return build(sink, event, content, sink.token.line(now) if sink.token is not None else "")

    def acquire(self, waiter: Waiter) -> Connection | None:
        """A free connection at once, or None: `waiter` is called when there is one, the oldest first."""
        while self._free:
            connection = self._free.pop()
            if not connection.closing:
                return connection
        self.waiting[waiter] = None
        self._refill()
        return None

    def renew(self, waiter: Waiter) -> None:
        """Open a connection for this waiter alone: the one it had was stale, so others may be as well."""
        self._open(waiter)

    def forget(self, waiter: Waiter) -> None:
        """It does not wait any more; a connection that is being opened for it is for anyone."""
        self.waiting.pop(waiter, None)
        for task, owner in self._opening.items():
            if owner is waiter:
                self._opening[task] = None
                self._for_anyone += 1

    def release(self, connection: Connection) -> None:
        """A connection is free: for the oldest who waits, else onto the stack."""
        if self.waiting:
            self.waiting.popitem(last=False)[0].connected(connection)
            return
        connection.resting = False
        self._free.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self.limits.idle / 2, self._sweep)

    def drop(self, connection: Connection) -> None:
        """A connection is gone; a new one takes its place if anybody waits."""
        if connection in self._connections:
            self._connections.discard(connection)
            if connection in self._free:
                self._free.remove(connection)
            self._refill()

    async def close(self) -> None:
        """Close everything, after everybody was told; returns when all sockets are closed."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        tasks, connections = list(self._opening), list(self._connections)
        for task in tasks:
            task.cancel()
        for connection in connections:
            connection.abandon()
        await asyncio.gather(*tasks, *(connection.gone for connection in connections), return_exceptions=True)

    def _refill(self) -> None:
        missing = len(self.waiting) - self._for_anyone
        for _ in range(min(missing, self.limits.connections - self.size)):
            self._open(None)

    def _open(self, waiter: Waiter | None) -> None:
        task = self._loop.create_task(self._connect())
        self._opening[task] = waiter
        self._for_anyone += waiter is None
        task.add_done_callback(self._opened)

    async def _connect(self) -> Connection:
        async with asyncio.timeout(self.limits.connect):
            _, connection = await self._loop.create_connection(
                lambda: Connection(self, self._loop.create_future()),
                self.sink.host,
                self.sink.port,
                ssl=self.sink.tls,
            )
        return connection

    def _opened(self, task: asyncio.Task[Connection]) -> None:
        waiter = self._opening.pop(task)
        self._for_anyone -= waiter is None
        if task.cancelled():
            return
        failure = _failure(task.exception())
        if failure is None and task.result().closing:  # uvloop may tell us of its end before it tells us of it
            failure = Failure.LOST
        if failure is None:
            connection = task.result()
            self._connections.add(connection)
            if waiter is None:
                self.release(connection)
            else:
                waiter.connected(connection)
            return
        if waiter is None and self.waiting:
            waiter = self.waiting.popitem(last=False)[0]
        if waiter is not None:
            waiter.failed(failure)
        self._refill()

    def _sweep(self) -> None:
        for connection in [connection for connection in self._free if connection.resting]:
            connection.abandon()
        for connection in self._free:
            connection.resting = True
        self._sweeper = self._loop.call_later(self.limits.idle / 2, self._sweep) if self._free else None


def _failure(error: BaseException | None) -> Failure | None:
    """Why no connection came about; certificates that don't verify are `ssl.SSLError`, too."""
    match error:
        case None:
            return None
        case TimeoutError():
            return Failure.CONNECT_TIMEOUT
        case gaierror() | UnicodeError():
            return Failure.NAME
        case ssl.SSLError():
            return Failure.TLS
    return Failure.UNREACHABLE
