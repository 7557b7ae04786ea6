"""A delivery in virtual time: a loop whose clock jumps to the next timer, and a scripted sink in memory.

Everything between `Delivery.deliver` and `transport.write` is the real thing. Helper of the tests here.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

import pytest

from thinbridge.delivery import Answer, Delivery, Terms
from thinbridge.delivery.http import Connection
from thinbridge.events import Event
from thinbridge.routes import Destination

T = TypeVar("T")

SINK = Destination("http://sink.test/fn")
DEAD = Destination("http://dead.test/letters")
EVENT = Event({"specversion": "1.0", "id": "1", "source": "/b", "type": "t"}, b"data")

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    """A whole HTTP answer."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def about(seconds: float, within: float = 1e-6) -> Any:
    """Equal to any number near it; a look of `Watch` may be 10 ms late."""
    return pytest.approx(seconds, abs=within)


class Clock(selectors.SelectSelector):
    """Never waits: what would be waited for is added to `now`."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing will ever happen"
            self.now += max(timeout, 0)
        return ready


class Wire(asyncio.Transport):
    """The sink's end of a connection: plays the next script at each request."""

    def __init__(self, loop: "VirtualLoop", connection: Connection, host: str) -> None:
        super().__init__()
        self._loop, self._connection, self.host = loop, connection, host
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self._loop.requests.append((self.host, bytes(data)))
        self._loop.times.append(self._loop.time())
        steps = next(self._loop.scripts[self.host], [OK])
        delay = 0.0
        for step in steps if isinstance(steps, list) else [steps]:
            if isinstance(step, float):
                delay += step
            else:
                self._loop.call_later(delay, self._play, step)

    def _play(self, step: bytes | None) -> None:
        if self.closed:
            return
        if step is None:
            self.abort()
        else:
            self._connection.data_received(step)

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop.call_soon(self._connection.connection_lost, None)

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0


Step = bytes | float | None
"""Bytes of an answer; seconds to wait; None: close the connection."""
Script = Iterable[Step | list[Step]]


class VirtualLoop(asyncio.SelectorEventLoop):
    """Virtual time, and connections that end in scripts.

    `dials` decides about connections: an exception is raised, a number is waited for; when it is exhausted, they work.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        super().__init__(self.clock)
        self.scripts: dict[str, Any] = {"sink.test": iter([]), "dead.test": iter([])}
        self.dials: list[Exception | float] = []
        self.stillborn = 0
        """Connections, from the next on, that are closed when `create_connection` returns them."""
        self.requests: list[tuple[str, bytes]] = []
        self.times: list[float] = []
        self.wires: list[Wire] = []

    def time(self) -> float:
        return self.clock.now

    async def create_connection(  # type: ignore[override]
        self, factory: Callable[[], Connection], host: str, port: int, **options: Any
    ) -> tuple[Wire, Connection]:
        dial = self.dials.pop(0) if self.dials else 0.0
        if isinstance(dial, Exception):
            raise dial
        await asyncio.sleep(dial)
        connection = factory()
        wire = Wire(self, connection, host)
        self.wires.append(wire)
        connection.connection_made(wire)
        if self.stillborn:
            self.stillborn -= 1
            wire.closed = True
            connection.connection_lost(None)
        return wire, connection


def play(scene: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a scene on a loop of its own; fails if it leaves tasks or open connections."""
    loop = VirtualLoop()
    try:
        result = loop.run_until_complete(asyncio.wait_for(scene(loop), 1e6))
        assert not asyncio.all_tasks(loop)
        assert all(wire.closed for wire in loop.wires)
        return result
    finally:
        loop.close()


class Told:
    """A `done` that remembers, and can be waited for."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.answers: list[Answer] = []
        self.at = 0.0
        self._future: asyncio.Future[None] = loop.create_future()

    def __call__(self, answer: Answer) -> None:
        self.answers.append(answer)
        self.at = self._loop.time()
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> Answer:
        await self._future
        await asyncio.sleep(0)  # what else is due now would be a second answer
        (only,) = self.answers
        return only


def deliver(
    script: Script = (),
    terms: Terms | None = None,
    seconds: float = 60.0,
    dials: Iterable[Exception | float] = (),
    dead: Script = (),
    event: Event = EVENT,
    **options: Any,
) -> tuple[Answer, VirtualLoop, Delivery, float]:
    """One delivery; the answer, the loop, the delivery and the seconds it took. Pauses take their whole bound."""

    async def scene(loop: VirtualLoop) -> tuple[Answer, VirtualLoop, Delivery, float]:
        loop.scripts |= {"sink.test": iter(script), "dead.test": iter(dead)}
        loop.dials.extend(dials)
        delivery = Delivery(**{"rng": lambda: 1.0} | options)
        told, start = Told(loop), loop.time()
        delivery.deliver(event, terms or Terms(SINK), start + seconds, told)
        assert delivery.in_flight == 1
        result = await told.wait()
        assert delivery.in_flight == 0
        await delivery.close()
        return result, loop, delivery, told.at - start

    return play(scene)
