"""Timers of sessions in virtual time, and that uvloop rings for them once."""

import asyncio
import math
import random
import weakref
from collections.abc import Callable, Sequence

import pytest
from tests.bridges.delivery.virtual import VirtualLoop, about, play

from thinbridge.protocols.base import Event, OnEvent, Outcome, Path, Protocol, Reply, Sent, Session
from thinbridge.protocols.coap import CoAP, CoAPSettings
from thinbridge.protocols.coap.codec import compose
from thinbridge.protocols.udp import UDP, UDPSettings
from thinbridge.shells.shell import Shell
from thinbridge.shells.timers import SLACK, Timers


class Bare(Shell):
    """An owner without sockets: says when it sent what."""

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol, "bare", "", 0)
        self._loop = asyncio.get_running_loop()
        self._on_event = lambda *_: None
        self.start = self._loop.time()
        self.sent: list[tuple[str, float, bytes]] = []

    async def open(self) -> None: ...

    def serve(self, on_event: OnEvent) -> None: ...

    def _send(self, session: Session | None, data: bytes | None, path: Path) -> None:
        assert data is not None
        self.sent.append((path.peer[0], self._loop.time() - self.start, data))

    async def _close_sockets(self) -> None: ...

    def hear(self, peer: str, data: bytes) -> None:
        now, path = self._loop.time(), Path((peer, 1), verified=True)
        session = self.core.open(path, path, now)
        self._adopt(session)
        session.receive(data, path, now)
        self._service(session, now)


class Timed(Session):
    """Is due when it is told to be."""

    def __init__(self, when: float | None = None) -> None:
        self.when = when
        self.rings: list[float] = []

    def receive(self, data: bytes, path: Path, now: float) -> None: ...

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        return False

    def close(self, reason: str, now: float) -> None:
        self.closed = True

    def next_event(self) -> Event | None:
        return None

    def data_to_send(self) -> Sequence[Sent]:
        return ()

    def next_timer(self) -> float | None:
        return self.when

    def handle_timer(self, now: float) -> None:
        self.rings.append(now)
        self.when = None


def test_a_device_hears_in_time_though_another_is_armed_for_later_meanwhile() -> None:
    """The empty ACK comes after `ack_delay`; then the session waits for its sweep, minutes later: B must not."""

    async def scene(loop: VirtualLoop) -> None:
        shell = Bare(CoAP(CoAPSettings(), random.Random(1).randbytes))
        shell.hear("A", compose(0, 2, 1, b"a", [(11, b"x")], b""))
        await asyncio.sleep(0.5)
        shell.hear("B", compose(0, 2, 2, b"b", [(11, b"x")], b""))
        await asyncio.sleep(30)
        assert shell.sent == [("A", about(1.0, 0.002), b"\x60\0\0\1"), ("B", about(1.5, 0.002), b"\x60\0\0\2")]
        await shell.close()

    play(scene)


def test_all_ring_in_order_whoever_is_armed_anew_meanwhile() -> None:
    async def scene(loop: VirtualLoop) -> None:
        rings: list[tuple[Session, float]] = []

        def due(session: Session, now: float) -> None:
            rings.append((session, now - start))
            if session is first and len(rings) < 5:
                timers.arm(session, now + 100)

        first, second, third = Timed(), Timed(), Timed()
        timers, start = Timers(due), loop.time()
        timers.arm(third, start + 3)
        timers.arm(second, start + 50)
        timers.arm(second, start + 2)
        timers.arm(first, start + 1)
        await asyncio.sleep(60)
        assert rings == [(first, about(1, 0.002)), (second, about(2, 0.002)), (third, about(3, 0.002))]
        await asyncio.sleep(50)
        assert rings[3:] == [(first, about(101, 0.01))]
        timers.stop()
        timers.arm(second, loop.time())
        await asyncio.sleep(500)
        assert len(rings) == 4

    play(scene)


def test_a_session_that_raises_does_not_stop_the_clock() -> None:
    async def scene(loop: VirtualLoop) -> None:
        rings: list[Session] = []

        def due(session: Session, now: float) -> None:
            rings.append(session)
            if session is bad:
                raise RuntimeError("a bug")

        errors: list[object] = []
        loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))
        bad, same, later = Timed(), Timed(), Timed()
        timers = Timers(due)
        for session, seconds in ((bad, 1), (same, 1), (later, 2)):
            timers.arm(session, loop.time() + seconds)
        await asyncio.sleep(3)
        assert rings == [bad, same, later]
        assert [str(error) for error in errors] == ["a bug"]

    play(scene)


def test_who_is_armed_over_and_over_takes_no_more_memory() -> None:
    async def scene(loop: VirtualLoop) -> None:
        timers = Timers(lambda session, now: None)
        sessions = [Timed() for _ in range(10)]
        for number in range(1000):
            for session in sessions:
                timers.arm(session, loop.time() + 1000 - number / 2)
        assert len(timers._heap) <= 2 * len(sessions) + SLACK
        assert {entry[0] for entry in timers.armed.values()} == {loop.time() + 500.5}
        timers.stop()

    play(scene)


def test_a_session_that_is_over_is_not_kept() -> None:
    async def scene(loop: VirtualLoop) -> None:
        shell = Bare(UDP(UDPSettings(), random.Random(1).randbytes))
        shell.hear("A", b"x")
        (session,) = shell._live
        gone = weakref.ref(session)
        assert shell.answer(session, 1, Reply(Outcome.ACCEPTED))  # it may be evicted now
        session.close("evicted", 0.0)
        shell._service(session, loop.time())
        del session
        assert gone() is None
        await shell.close()

    play(scene)


@pytest.mark.parametrize(("when", "rings"), [(math.nan, 1), (-math.inf, 1), (math.inf, 0)])
def test_no_time_at_all_is_at_once_and_the_end_of_time_never(when: float, rings: int) -> None:
    async def scene(loop: VirtualLoop) -> None:
        shell = Bare(UDP(UDPSettings(), random.Random(1).randbytes))
        odd, sane = Timed(when), [Timed(loop.time() + 1 + second) for second in (3, 1, 2, 5, 4)]
        for session in (*sane[:3], odd, *sane[3:]):
            shell._adopt(session)
            shell._service(session, loop.time())
        await asyncio.sleep(100)
        assert len(odd.rings) == rings
        assert [session.rings for session in sane] == [[about(1001 + second, 0.01)] for second in (3, 1, 2, 5, 4)]
        await shell.close()

    play(scene)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_alarm_never_rings_too_early(loop: str) -> None:
    """With uvloop, which counts in whole milliseconds, a fraction of one rang a hundred times before it was due."""

    async def main() -> None:
        served: asyncio.Queue[Session] = asyncio.Queue()
        timers = Timers(lambda session, now: served.put_nowait(session))
        rings, ring = 0, timers._ring

        def counted() -> None:
            nonlocal rings
            rings += 1
            ring()

        timers._ring = counted  # type: ignore[method-assign]
        for fraction in (0.0001, 0.00025, 0.0004, 0.0006):
            timers.arm(Timed(), asyncio.get_running_loop().time() + 0.003 + fraction)
            await asyncio.wait_for(served.get(), 5)
        assert rings == 4

    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if loop == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
