"""The datagram shell, over real sockets on loopback."""

import asyncio
import os
import random
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_network

import pytest
from tests.bridges.shells.rig import World, device, serving, udp
from tests.waiting import until

from thinbridge.errors import ListenError
from thinbridge.protocols.base import (
    Closed,
    Event,
    Inbound,
    Limits,
    Outbound,
    Outcome,
    Path,
    Pushed,
    PushResult,
    Reply,
    Session,
    Stateless,
)
from thinbridge.protocols.udp import UDP, UDPSession, UDPSettings
from thinbridge.shells import DatagramShell


def test_a_round_trip_a_push_and_the_end() -> None:
    async def main() -> None:
        async with serving(udp()) as world, device() as one:
            one.send(b"ping", world.shell.port)
            session, inbound = await world.next()
            assert isinstance(inbound, Inbound)
            assert inbound.data == b"ping"
            assert world.shell.sessions == 1
            assert world.shell.answer(session, 1, Reply(Outcome.ACCEPTED, 200, None, b"pong"))
            assert (await one.heard())[0] == b"pong"
            results: list[PushResult] = []
            world.shell.push(session, None, Outbound(None, b"set"), results.append)
            assert results == [PushResult.DELIVERED]
            assert (await one.heard()) == (b"set", ("127.0.0.1", world.shell.port))
        assert isinstance(world.events[-1][1], Closed)
        world.shell.push(session, None, Outbound(None, b"late"), results.append)
        assert results[-1] is PushResult.GONE

    asyncio.run(main())


def test_timers_end_a_silent_session() -> None:
    async def main() -> None:
        async with serving(udp(idle=0.02)) as world, device() as one:
            one.send(b"x", world.shell.port)
            session, _ = await world.next()
            assert (await world.next())[1] == Closed()
            assert session.closed
            assert world.shell.sessions == 0

    asyncio.run(main())


def test_a_taken_port_is_an_error_and_so_is_an_address_that_is_not_ours() -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            with pytest.raises(ListenError, match=rf"listen: udp://127.0.0.1:{port}: Address already in use; choose"):
                await DatagramShell(udp(), "dev", "127.0.0.1", port).open()
        with pytest.raises(ListenError, match="Cannot assign"):
            await DatagramShell(udp(), "dev", "192.0.2.1", 0).open()
        with pytest.raises(ListenError, match=r"no such address: 'no.such.name.invalid'"):
            await DatagramShell(udp(), "dev", "no.such.name.invalid", 0).open()

    asyncio.run(main())


class Full(UDP):
    """Answers those for whom there is no room; greets `hello` without a session."""

    def full(self, data: bytes, path: Path, now: float) -> Stateless:
        return Stateless(b"busy")

    def locate(self, data: bytes, path: Path, now: float) -> object:
        return Stateless(b"hello") if data == b"hello" else super().locate(data, path, now)


def test_stateless_answers_and_the_protocols_word_for_full() -> None:
    async def main() -> None:
        protocol = Full(UDPSettings(), random.Random(1).randbytes)
        async with serving(protocol, Limits(sessions=1)) as world, device() as a, device() as b:
            a.send(b"hello", world.shell.port)
            assert (await a.heard())[0] == b"hello"
            assert world.shell.sessions == 0
            a.send(b"a", world.shell.port)
            await world.next()
            b.send(b"b", world.shell.port)
            assert (await b.heard())[0] == b"busy"
            assert world.shell.counters["sessions_full"] == 1

    asyncio.run(main())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_who_waits_since_the_port_was_bound_is_answered(loop: str) -> None:
    """What waits is read before `create_datagram_endpoint` returns; a stateless answer to it needs the transport."""

    async def main() -> None:
        shell = DatagramShell(Full(UDPSettings(), random.Random(1).randbytes), "dev", "127.0.0.1", 0)
        await shell.open()
        async with device() as one:
            one.send(b"hello", shell.port)
            shell.serve(World(shell).on_event)
            assert (await one.heard())[0] == b"hello"
        await shell.close()

    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def test_draining_takes_no_new_peer_and_nothing_new_from_an_old_one() -> None:
    async def main() -> None:
        async with serving(udp()) as world, device() as a, device() as b:
            a.send(b"a", world.shell.port)
            session, _ = await world.next()
            world.shell.drain()
            a.send(b"a2", world.shell.port)
            b.send(b"b", world.shell.port)
            await until(lambda: world.shell.counters["draining"] == 2)
            assert world.shell.answer(session, 1, Reply(Outcome.ACCEPTED, 200, None, b"done"))
            assert (await a.heard())[0] == b"done"

    asyncio.run(main())


class FreshSession(UDPSession):
    """Echoes from a port of its own, without asking the bridge; `bye` closes that port."""

    def receive(self, data: bytes, path: Path, now: float) -> None:
        fresh = path._replace(socket=7)
        self._out.append((data, fresh))
        self._out.append((data, fresh))
        if data == b"bye":
            self._out.append((None, fresh))

    def next_event(self) -> Event | None:
        return None


class Fresh(UDP):
    def open(self, key: object, path: Path, now: float) -> UDPSession:
        return FreshSession(self, path, now)

    def locate(self, data: bytes, path: Path, now: float) -> object:
        return path.peer


def test_a_fresh_port_answers_hears_and_closes() -> None:
    async def main() -> None:
        async with serving(Fresh(UDPSettings(), random.Random(1).randbytes)) as world, device() as one:
            one.send(b"a", world.shell.port)
            _, fresh = await one.heard()
            assert fresh[1] != world.shell.port
            assert (await one.heard())[1] == fresh
            one.send(b"b", fresh[1])
            assert [(await one.heard()) for _ in range(2)] == [(b"b", fresh)] * 2
            one.send(b"bye", fresh[1])
            assert [(await one.heard())[0] for _ in range(2)] == [b"bye"] * 2
            assert not world.shell._fresh
            one.send(b"again", world.shell.port)
            assert (await one.heard())[1] != fresh

    asyncio.run(main())


def test_a_session_that_closes_its_port_and_ends() -> None:
    class Last(FreshSession):
        def receive(self, data: bytes, path: Path, now: float) -> None:
            super().receive(b"bye", path, now)
            self.closed = True

    class LastUDP(Fresh):
        def open(self, key: object, path: Path, now: float) -> UDPSession:
            return Last(self, path, now)

    async def main() -> None:
        async with serving(LastUDP(UDPSettings(), random.Random(1).randbytes)) as world, device() as one:
            one.send(b"x", world.shell.port)
            assert (await one.heard())[0] == b"bye"
            assert world.shell.sessions == 0
            assert not world.shell._fresh

    asyncio.run(main())


def test_without_a_file_descriptor_a_fresh_port_is_a_lost_datagram() -> None:
    async def main() -> None:
        async with serving(Fresh(UDPSettings(), random.Random(1).randbytes)) as world, device() as one:
            with no_more_files():
                one.send(b"x", world.shell.port)
                await until(lambda: world.shell.counters["no_fresh_port"] == 2)
            one.send(b"y", world.shell.port)
            assert (await one.heard())[0] == b"y"

    asyncio.run(main())


@contextmanager
def no_more_files() -> Iterator[None]:
    """EMFILE for whatever opens one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as lowest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest.fileno(), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_session_that_knows_no_pushes_refuses_them() -> None:
    class Deaf(UDPSession):
        push = Session.push

    class DeafUDP(UDP):
        def open(self, key: object, path: Path, now: float) -> UDPSession:
            return Deaf(self, path, now)

    async def main() -> None:
        async with serving(DeafUDP(UDPSettings(), random.Random(1).randbytes)) as world, device() as one:
            one.send(b"x", world.shell.port)
            session, _ = await world.next()
            results: list[PushResult] = []
            world.shell.push(session, None, Outbound(None, b"x"), results.append)
            assert results == [PushResult.REFUSED]

    asyncio.run(main())


def test_a_push_that_is_not_settled_when_its_session_ends_is_gone() -> None:
    class Slow(UDPSession):
        def push(self, target: int | None, outbound: Outbound, now: float) -> int:
            self._pushes += 1
            return self._pushes

    class SlowUDP(UDP):
        def open(self, key: object, path: Path, now: float) -> UDPSession:
            return Slow(self, path, now)

    async def main() -> None:
        async with serving(SlowUDP(UDPSettings(), random.Random(1).randbytes)) as world, device() as a, device() as b:
            results: list[tuple[str, PushResult]] = []
            sessions: list[Slow] = []

            def tell(name: str, result: PushResult) -> None:
                results.append((name, result))

            for one in (a, b):
                one.send(b"x", world.shell.port)
                session, _ = await world.next()
                assert isinstance(session, Slow)
                sessions.append(session)
                for name in "12":
                    world.shell.push(session, None, Outbound(None, b"x"), partial(tell, name))
            assert not results
            sessions[0]._events.append(Pushed(2, PushResult.DELIVERED))
            sessions[0].closed = True
            world.shell.answer(sessions[0], 1, Reply(Outcome.ACCEPTED))
            assert results == [("2", PushResult.DELIVERED), ("1", PushResult.GONE)]
            sessions[1]._events += [Pushed(number, PushResult.DELIVERED) for number in (1, 2, 2, 3)]
            world.shell.answer(sessions[1], 1, Reply(Outcome.ACCEPTED))
            assert results[2:] == [("1", PushResult.DELIVERED), ("2", PushResult.DELIVERED)]
            assert not world.shell._pushes

    asyncio.run(main())


def test_trust_is_by_network_and_its_memory_bounded() -> None:
    shell = DatagramShell(udp(), "dev", "::", 0, Limits(trusted=(ip_network("10.0.0.0/8"),)))
    assert shell._trusts("10.1.2.3")
    assert shell._trusts("::ffff:10.1.2.3")
    assert not shell._trusts("127.0.0.1")
    assert not shell._trusts("fe80::1%eth0")
    assert shell.url == "udp://[::]:0"
    for number in range(5000):
        shell._trusts(f"192.0.{number >> 8}.{number & 255}")
    assert len(shell._trust) < 4097


def test_a_session_that_is_always_due_does_not_keep_the_loop() -> None:
    class Eager(UDPSession):
        rings = 0

        def next_timer(self) -> float:
            return 0.0

        def handle_timer(self, now: float) -> None:
            self.rings += 1

    class EagerUDP(UDP):
        def open(self, key: object, path: Path, now: float) -> UDPSession:
            return Eager(self, path, now)

    async def main() -> None:
        async with serving(EagerUDP(UDPSettings(), random.Random(1).randbytes)) as world, device() as one:
            one.send(b"a", world.shell.port)
            session, _ = await world.next()
            assert isinstance(session, Eager)
            await until(lambda: session.rings >= 3)

    asyncio.run(main())


def test_the_kernels_refusal_is_a_counter() -> None:
    async def main() -> None:
        async with serving(udp(max_datagram=60_000)) as world, device() as one:
            one.send(b"x", world.shell.port)
            session, _ = await world.next()
            assert isinstance(session, UDPSession)
            session._out.append((b"x" * 70_000, session._path))  # EMSGSIZE
            world.shell.answer(session, 1, Reply(Outcome.ACCEPTED, 200))
            await until(lambda: world.shell.counters["send_failed"])

    asyncio.run(main())
