"""The stream shell, over real connections on loopback."""

import asyncio
import random
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import pytest
from tests.waiting import until

from thinbridge.errors import ListenError
from thinbridge.protocols.base import (
    Closed,
    Event,
    Handover,
    Inbound,
    Limits,
    Opened,
    Outcome,
    Path,
    Protocol,
    Reply,
    Sent,
    Session,
    Transport,
    Woke,
)
from thinbridge.shells import StreamShell, connection, stream


@dataclass(frozen=True)
class NoSettings:
    """None."""


class Lines(Protocol):
    """A line is a message; the first line names the session that the connection belongs to."""

    name = "lines"
    transport = Transport.STREAM
    port = 0
    event_types = ()
    Settings = NoSettings

    def __init__(self) -> None:
        super().__init__(NoSettings(), random.Random(1).randbytes)
        self.named: dict[bytes, Named] = {}

    def open(self, key: object, path: Path, now: float) -> Session:
        return Greeting(self)


class Base(Session):
    def __init__(self, protocol: Lines) -> None:
        self.id = protocol.session_id()
        self.protocol = protocol
        self.events: deque[Event] = deque()
        self.out: list[Sent] = []
        self.busy = True

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        return False

    def close(self, reason: str, now: float) -> None:
        self.closed = True

    def next_event(self) -> Event | None:
        return self.events.popleft() if self.events else None

    def data_to_send(self) -> Sequence[Sent]:
        out, self.out = self.out, []
        return out


class Greeting(Base):
    """Waits for a name."""

    def receive(self, data: bytes, path: Path, now: float) -> None:
        name, _, rest = data.partition(b"\n")
        session = self.protocol.named.get(name)
        if session is None:
            session = self.protocol.named[name] = Named(self.protocol)
        else:
            self.events.append(Woke(session))
        session.take(path)
        self.events.append(Handover(session, path, rest))
        self.closed = True

    def eof(self, path: Path, now: float) -> None:
        self.closed = True


class Named(Base):
    """Outlives its connections; `stop` pauses it, an answer lets it go on."""

    path: Path | None = None
    exchanges = 0

    def take(self, path: Path) -> None:
        if self.path is not None:
            self.out += [(b"taken over\n", self.path), (None, self.path)]
        self.path = path
        self.events.append(Opened())

    def receive(self, data: bytes, path: Path, now: float) -> None:
        for line in data.splitlines():
            self.exchanges += 1
            self.paused = line == b"stop"
            self.events.append(Inbound(self.exchanges, "t", None, {}, None, line))

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        self.paused = False
        if self.path is not None:
            self.out.append((reply.data, self.path))
        return True

    def eof(self, path: Path, now: float) -> None:
        if path == self.path:
            self.path = None
            self.busy = False


class World:
    def __init__(self, shell: StreamShell) -> None:
        self.shell = shell
        self.writers: list[asyncio.StreamWriter] = []
        self.seen: list[tuple[Session, object]] = []

    def on_event(self, endpoint: object, session: Session, event: object) -> None:
        self.seen.append((session, event))

    def session(self) -> "Named":
        """Whose line came last."""
        return [one for one, _ in self.seen if isinstance(one, Named)][-1]

    def lines(self) -> list[bytes]:
        return [event.data for _, event in self.seen if isinstance(event, Inbound)]


@asynccontextmanager
async def serving(limits: Limits | None = None, host: str = "127.0.0.1") -> AsyncIterator[World]:
    shell = StreamShell(Lines(), "dev", host, 0, limits)
    await shell.open()
    world = World(shell)
    shell.serve(world.on_event)
    try:
        yield world
    finally:  # uvloop waits for whatever a failed test leaves open
        await shell.close()
        for writer in world.writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def connect(world: World, say: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.shell.port)
    world.writers.append(writer)
    writer.write(say)
    return reader, writer


def run(main: Callable[[], object]) -> None:
    asyncio.run(main())  # type: ignore[arg-type]


def test_a_session_outlives_its_connection_and_is_taken_over() -> None:
    async def main() -> None:
        async with serving() as world:
            _, first = await connect(world, b"ann\none\n")
            await until(lambda: world.lines() == [b"one"])
            first.close()
            session = world.session()
            await until(lambda: not session.busy)
            old, _ = await connect(world, b"ann\ntwo\n")
            await until(lambda: world.lines() == [b"one", b"two"])
            assert world.session() is session
            new, _ = await connect(world, b"ann\nthree\n")
            assert await old.read() == b"taken over\n"
            await until(lambda: world.lines()[-1] == b"three")
            assert world.shell.answer(session, 3, Reply(Outcome.ACCEPTED, 200, None, b"hi\n"))
            assert await new.readline() == b"hi\n"

    run(main)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_path_says_which_of_our_addresses_a_device_is_connected_to(loop: str) -> None:
    async def main() -> None:
        async with serving(host="0.0.0.0") as world:
            _, writer = await asyncio.open_connection("127.0.0.2", world.shell.port)
            world.writers.append(writer)
            writer.write(b"ann\nx\n")
            await until(lambda: world.lines())
            path = world.session().path
            assert path is not None
            assert path.local == ("127.0.0.2", world.shell.port)

    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def test_a_paused_session_is_not_read_from() -> None:
    async def main() -> None:
        async with serving() as world:
            _, writer = await connect(world, b"ann\nstop\n")
            await until(lambda: world.lines() == [b"stop"])
            session = world.session()
            writer.write(b"more\n")
            connection = world.shell._current[session]
            assert connection.paused
            assert not connection.transport.is_reading()
            world.shell.answer(session, 1, Reply(Outcome.ACCEPTED))
            await until(lambda: world.lines() == [b"stop", b"more"])

    run(main)


def test_limits_by_address_and_in_all_and_room_made_by_eviction() -> None:
    async def main() -> None:
        async with serving(Limits(sessions=2, connections_per_address=2)) as world:
            _, a = await connect(world, b"ann\n")
            await connect(world, b"bob\n")
            await until(lambda: len(world.shell.core.named) == 2)  # type: ignore[attr-defined]
            refused, _ = await connect(world, b"")
            assert await refused.read() == b""
            assert world.shell.counters["sessions_full"] == 1
            a.close()
            await until(lambda: world.shell._by_address["127.0.0.1"] == 1)
            await connect(world, b"cat\n")
            await until(lambda: len(world.shell.core.named) == 3)  # type: ignore[attr-defined]
            assert world.shell.counters["evicted"] == 1
        async with serving(Limits(connections_per_address=1)) as world:
            _, a = await connect(world, b"ann\n")
            await until(lambda: world.shell.core.named)  # type: ignore[attr-defined]
            refused, _ = await connect(world, b"")
            assert await refused.read() == b""
            assert world.shell.counters["address_full"] == 1

    run(main)


def test_devices_that_are_there_for_long_do_not_keep_newcomers_out() -> None:
    async def main() -> None:
        async with serving(Limits(sessions=42)) as world:
            named = world.shell.core.named  # type: ignore[attr-defined]
            for number in range(40):
                await connect(world, b"there%d\n" % number)
                await until(lambda number=number: len(named) == number + 1)  # type: ignore[misc]
            for name in (b"first", b"second"):
                _, writer = await connect(world, name + b"\n")
                await until(lambda name=name: name in named)  # type: ignore[misc]
                writer.close()
                await until(lambda name=name: not named[name].busy)  # type: ignore[misc]
            _, writer = await connect(world, b"second\nback\n")
            await until(lambda: world.lines() == [b"back"])
            assert named[b"first"].closed
            assert world.shell.counters == {"evicted": 1}

    run(main)


def test_who_is_heard_again_is_silent_no_longer() -> None:
    async def main() -> None:
        async with serving(Limits(sessions=2)) as world:
            named = world.shell.core.named  # type: ignore[attr-defined]
            writers = {}
            for name in (b"ann", b"bob"):
                _, writers[name] = await connect(world, name + b"\n")
                await until(lambda name=name: name in named)  # type: ignore[misc]
                named[name].busy = False  # a protocol whose connected devices may be evicted
            for name in (b"ann", b"bob", b"ann"):
                before = len(world.lines())
                writers[name].write(b"x\n")
                await until(lambda before=before: len(world.lines()) > before)  # type: ignore[misc]
            await connect(world, b"cat\n")
            await until(lambda: b"cat" in named)
            assert named[b"bob"].closed
            assert not named[b"ann"].closed

    run(main)


def test_a_device_that_does_not_read_loses_its_connection_not_its_session() -> None:
    async def main() -> None:
        async with serving(Limits(write_buffer=1000)) as world:
            _, writer = await connect(world, b"ann\nx\n")
            await until(lambda: world.lines())
            session = world.session()
            transport = cast("asyncio.Transport", writer.transport)
            transport.pause_reading()
            for _ in range(200):
                world.shell.answer(session, 1, Reply(Outcome.ACCEPTED, 200, None, b"x" * 65536))
            await until(lambda: world.shell.counters["slow_reader"])
            await until(lambda: not session.busy)
            assert not session.closed

    run(main)


@asynccontextmanager
async def unread(world: World, octets: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.Transport]]:
    """A device that has been sent more than it has read."""
    world.shell._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # connections have what the listener has
    reader, writer = await connect(world, b"ann\nx\n")
    await until(lambda: world.lines())
    transport = cast("asyncio.Transport", writer.transport)
    transport.pause_reading()
    world.shell.answer(world.session(), 1, Reply(Outcome.ACCEPTED, 200, None, bytes(octets)))
    yield reader, transport


def test_a_device_that_reads_slowly_gets_all() -> None:
    async def main() -> None:
        async with serving(Limits(write_buffer=1 << 20)) as world, unread(world, 3 << 20) as (reader, transport):
            assert len(world.shell._unread) == 1
            await asyncio.sleep(0.1)
            transport.resume_reading()
            assert await reader.readexactly(3 << 20) == bytes(3 << 20)
            await until(lambda: not world.shell._unread)
            assert world.shell.counters == {}

    run(main)


def test_a_device_that_reads_too_slowly_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(connection, "UNREAD", 0.05)
        async with serving(Limits(write_buffer=1 << 20)) as world, unread(world, 3 << 20):
            await until(lambda: world.shell.counters["slow_reader"])
            await until(lambda: not world.shell._by_path)
            assert not world.shell._unread

    run(main)


def test_only_so_many_devices_may_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(stream, "MAX_UNREAD", 0)
        async with serving(Limits(write_buffer=1 << 20)) as world, unread(world, 3 << 20):
            assert world.shell.counters["slow_reader"] == 1
            await until(lambda: not world.shell._by_path)

    run(main)


def test_a_session_that_closes_takes_its_connection_along() -> None:
    async def main() -> None:
        async with serving() as world:
            reader, _ = await connect(world, b"ann\nx\n")
            await until(lambda: world.lines())
            session = world.session()
            session.close("test", 0.0)
            world.shell.answer(session, 1, Reply(Outcome.ACCEPTED, 200, None, b"bye\n"))
            assert await reader.read() == b"bye\n"
            assert isinstance(world.seen[-1][1], Closed)

    run(main)


def test_draining_closes_the_door() -> None:
    async def main() -> None:
        async with serving() as world:
            await until(lambda: world.shell._server is not None)
            world.shell.drain()
            with pytest.raises(ConnectionRefusedError):
                await connect(world, b"")

    run(main)


def test_a_taken_port_is_an_error() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(ListenError, match=rf"listen: lines://127.0.0.1:{port}: Address already in use; choose"):
                await StreamShell(Lines(), "dev", "127.0.0.1", port).open()

    run(main)


def test_a_connection_that_is_gone_before_its_handover() -> None:
    async def main() -> None:
        async with serving() as world:
            shell = world.shell
            session = Named(Lines())
            shell._hand_over(session, Handover(session, Path(("h", 1), socket=99)), 0.0)
            assert not session.busy or session.path is None
            shell._send(None, b"x", Path(("h", 1), socket=99))

    run(main)
