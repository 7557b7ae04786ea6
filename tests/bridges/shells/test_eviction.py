"""Who goes when the limit of sessions is reached; the same of streams is in `test_stream.py`."""

import asyncio
import random
from contextlib import AsyncExitStack

from tests.bridges.shells.rig import device, serving, udp
from tests.waiting import until

from thinbridge.protocols.base import LISTENER, Inbound, Limits, Outcome, Path, Reply, Session
from thinbridge.protocols.udp import UDP, UDPSession, UDPSettings


def test_when_it_is_full_the_longest_silent_goes_unless_all_are_busy() -> None:
    async def main() -> None:
        limits = Limits(sessions=2)
        async with serving(udp(), limits) as world, device() as a, device() as b, device() as c:
            a.send(b"a", world.shell.port)
            first, _ = await world.next()
            b.send(b"b", world.shell.port)
            await world.next()
            c.send(b"c1", world.shell.port)  # both are busy
            world.shell.answer(first, 1, Reply(Outcome.ACCEPTED, 200))
            c.send(b"c2", world.shell.port)
            await until(lambda: world.shell.counters["evicted"])
            assert first.closed
            _, inbound = world.events[-1]
            assert isinstance(inbound, Inbound)
            assert inbound.data in (b"c1", b"c2")
            assert world.shell.sessions == 2

    asyncio.run(main())


def test_any_number_of_busy_ones_that_are_silent_for_longer_does_not_keep_newcomers_out() -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            world = await stack.enter_async_context(serving(udp(), Limits(sessions=41)))
            *busy, idle, new = [await stack.enter_async_context(device()) for _ in range(42)]
            for one in busy:
                one.send(b"busy", world.shell.port)
                await world.next()
            idle.send(b"idle", world.shell.port)
            session, _ = await world.next()
            world.shell.answer(session, 1, Reply(Outcome.ACCEPTED, 200))
            new.send(b"new", world.shell.port)
            await until(lambda: session.closed)
            assert world.shell.counters["evicted"] == 1
            assert not world.shell.counters["sessions_full"]
            assert world.shell.sessions == 41

    asyncio.run(main())


class Quiet(UDPSession):
    """Is never busy, as by repeats and acknowledgements only."""

    def receive(self, data: bytes, path: Path, now: float) -> None: ...


class QuietUDP(UDP):
    def open(self, key: object, path: Path, now: float) -> UDPSession:
        return Quiet(self, path, now)


def test_the_longest_silent_goes_whatever_became_of_others_since_it_was_known() -> None:
    async def main() -> None:
        async with serving(QuietUDP(UDPSettings(), random.Random(1).randbytes), Limits(sessions=4)) as world:

            def hear(name: str) -> Session:
                world.shell.received(b"x", (f"127.0.0.{ord(name)}", 1), world.shell._local, LISTENER)
                return list(world.shell._live)[-1]

            a, b, c, d = (hear(name) for name in "abcd")
            e = hear("e")
            assert a.closed
            hear("b")
            hear("e")
            c.close("test", 0.0)
            world.shell.answer(c, 0, Reply(Outcome.ACCEPTED))
            f = hear("f")
            assert not d.closed
            hear("g")
            assert d.closed
            assert not b.closed
            hear("h")
            assert b.closed
            e.busy = True  # by another session's call; its owner has not looked since
            hear("i")
            assert f.closed
            assert not e.closed
            assert world.shell.sessions == 4
            assert world.shell.counters["evicted"] == 4

    asyncio.run(main())
