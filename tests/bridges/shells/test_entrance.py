"""What connections come by, over real sockets: one listener for all, identities, deadlines, bounds, goodbyes."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.bridges.shells.test_stream import Lines, Named, World
from tests.certificates import Authority
from tests.waiting import until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Carriers, Identity, Limits, Outcome, Reply
from thinbridge.settings.stream import StreamSettings
from thinbridge.shells import StreamShell, connection, stream

ALL = ("tcp", "tls", "ws", "wss")


class Carried(Lines):
    """Lines, carried by all that there is."""

    carriers = Carriers({"lines+tls": ("tls", 1)}, ("lines",), ("lines",), "/lines")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def secured(authority: Authority, accept: tuple[str, ...] = ALL, client_ca: str = "") -> StreamSettings:
    certificate, key = authority.issue("server", "localhost")
    return StreamSettings(accept, certificate, key, client_ca, handshake_timeout=20)  # type: ignore[arg-type]


def trusting(authority: Authority, *certificate: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.ca)
    if certificate:
        context.load_cert_chain(*certificate)
    return context


@asynccontextmanager
async def serving(settings: StreamSettings, limits: Limits | None = None) -> AsyncIterator[World]:
    shell = StreamShell(Carried(), "dev", "127.0.0.1", 0, limits, settings)
    await shell.open()
    world = World(shell)
    shell.serve(world.on_event)
    try:
        yield world
    finally:
        await shell.close()
        for writer in world.writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def dial(
    world: World, context: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = None if context is None else "localhost"
    reader, writer = await asyncio.open_connection("127.0.0.1", world.shell.port, ssl=context, server_hostname=name)
    world.writers.append(writer)
    return reader, writer


async def upgrade(world: World, context: ssl.SSLContext | None = None) -> ClientConnection:
    url = f"{'ws' if context is None else 'wss'}://localhost:{world.shell.port}/lines"
    return await connect(url, host="127.0.0.1", ssl=context, subprotocols=["lines"], proxy=None)  # type: ignore[list-item]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_one_port_takes_all(authority: Authority, loop: str) -> None:
    async def main() -> None:
        context = trusting(authority)
        async with serving(secured(authority)) as world:
            for name, secure in ((b"tcp", None), (b"tls", context)):
                reader, writer = await dial(world, secure)
                writer.write(name + b"\n" + name + b" line\n")
                await until(lambda name=name: world.lines()[-1:] == [name + b" line"])  # type: ignore[misc]
                world.shell.answer(world.session(), 1, Reply(Outcome.ACCEPTED, 200, None, b"yes\n"))
                assert await reader.readline() == b"yes\n"
            for name, secure in ((b"ws", None), (b"wss", context)):
                websocket = await upgrade(world, secure)
                await websocket.send(name + b"\n")
                await websocket.send(name + b" line\n")
                await until(lambda name=name: world.lines()[-1:] == [name + b" line"])  # type: ignore[misc]
                world.shell.answer(world.session(), 1, Reply(Outcome.ACCEPTED, 200, None, b"yes\n"))
                assert await websocket.recv() == b"yes\n"
                await websocket.close()
            assert world.shell.counters == {}
            assert world.shell.url == f"lines://127.0.0.1:{world.shell.port}"

    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def test_the_url_says_what_alone_is_accepted(authority: Authority) -> None:
    shell = StreamShell(Carried(), "dev", "::1", 7, None, secured(authority, ("tls",)))
    assert shell.url == "lines+tls://[::1]:7"


def test_a_certificate_says_who_is_there(authority: Authority) -> None:
    async def main() -> None:
        settings = secured(authority, client_ca=authority.ca)
        device = authority.issue("device", common_name="meter-7")
        async with serving(settings) as world:
            _, writer = await dial(world, trusting(authority, *device))
            writer.write(b"ann\nx\n")
            await until(lambda: world.lines())
            path = world.session().path
            assert path is not None
            assert path.identity == Identity("x509", "meter-7")
            assert path.verified

    asyncio.run(main())


def test_certificates_that_can_not_be_used_fail_before_the_port_is_bound(authority: Authority) -> None:
    async def main() -> None:
        settings = StreamSettings(("tls",), "/nowhere")
        with pytest.raises(SettingsError, match=r"^tls_certificate: /nowhere: give a file that can be read"):
            await StreamShell(Carried(), "dev", "127.0.0.1", 0, None, settings).open()

    asyncio.run(main())


def test_a_byte_now_and_then_is_cut_and_others_do_not_notice(authority: Authority) -> None:
    async def main() -> None:
        certificate, key = authority.issue("server", "localhost")
        settings = StreamSettings(ALL, certificate, key, handshake_timeout=3)  # type: ignore[arg-type]
        trickles = (b"", b"\x16\x03\x01\x02\x00\x01", b"GET /lines HT")
        async with serving(settings) as world:
            slow = [(await dial(world), trickle) for trickle in trickles for _ in range(7)]
            for at in range(len(trickles[-1])):
                for (_, writer), trickle in slow:
                    writer.write(trickle[at : at + 1])
                await asyncio.sleep(0.01)
            _, good = await dial(world, trusting(authority))
            good.write(b"ann\nx\n")
            await until(lambda: world.lines())
            for (reader, _), _ in slow:
                assert await reader.read() == b""  # the end
            assert world.shell.counters == {"handshake_timeout": 21}
            assert not world.shell._greeting
            assert len(world.shell._live) == 1

    asyncio.run(main())


def test_handshakes_are_bounded_in_number(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        certificate, key = authority.issue("server", "localhost")
        settings = StreamSettings(("tcp", "tls"), certificate, key, handshakes=2)
        async with serving(settings) as world:
            waiting = [await dial(world) for _ in range(2)]
            await until(lambda: len(world.shell._greeting) == 2)
            refused, _ = await dial(world)
            assert await refused.read() == b""
            assert world.shell.counters == {"handshakes_full": 1}
            waiting[0][1].write(b"ann\nx\n")
            await until(lambda: world.lines())
            await dial(world)
            await until(lambda: len(world.shell._greeting) == 2)
            monkeypatch.setattr(stream, "SLOW", 0.0)
            _, newcomer = await dial(world)
            assert await waiting[1][0].read() == b""  # who has waited longest
            newcomer.write(b"bob\ny\n")
            await until(lambda: world.lines() == [b"x", b"y"])
            assert world.shell.counters == {"handshakes_full": 2}

    asyncio.run(main())


def test_no_session_is_left_for_who_was_greeted_last() -> None:
    async def main() -> None:
        async with serving(StreamSettings(("tcp", "ws")), Limits(sessions=1)) as world:
            first, second = await dial(world), await dial(world)
            await until(lambda: len(world.shell._greeting) == 2)
            first[1].write(b"ann\n")
            await until(lambda: len(world.shell._live) == 1)
            second[1].write(b"bob\n")
            assert await second[0].read() == b""
            assert world.shell.counters == {"sessions_full": 1}

    asyncio.run(main())


def test_a_message_must_come_whole_in_time_and_all_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(connection, "MESSAGE_TIMEOUT", 0.3)
        monkeypatch.setattr(stream, "MAX_PARTIAL", 5000)
        begun = Frame(Opcode.BINARY, b"x" * 100_000).serialize(mask=True)[:3000]
        async with serving(StreamSettings(("ws",))) as world:
            first, second = await upgrade(world), await upgrade(world)
            first.transport.write(begun)
            await until(lambda: world.shell._partial > 2000)
            second.transport.write(begun)
            with pytest.raises(ConnectionClosed):
                await second.recv()
            assert world.shell.counters == {"messages_held": 1}
            with pytest.raises(ConnectionClosed):
                await first.recv()
            assert world.shell.counters == {"messages_held": 1, "message_timeout": 1}
            await until(lambda: not world.shell._by_path)
            assert world.shell._partial == 0

    asyncio.run(main())


def test_whole_messages_one_after_another_take_as_long_as_they_like(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(connection, "MESSAGE_TIMEOUT", 0.4)
        async with serving(StreamSettings(("ws",))) as world:
            websocket = await upgrade(world)
            await websocket.send(b"ann\n")
            frames = b"".join(Frame(Opcode.BINARY, b"line\n").serialize(mask=True) for _ in range(40))
            for at in range(0, len(frames), 7):  # it always ends within a frame
                websocket.transport.write(frames[at : at + 7])
                await asyncio.sleep(0.015)
            await until(lambda: len(world.lines()) == 40)
            assert world.shell.counters == {}

    asyncio.run(main())


def test_a_session_that_ends_says_goodbye_in_every_layer(authority: Authority) -> None:
    async def main() -> None:
        async with serving(secured(authority)) as world:
            websocket = await upgrade(world, trusting(authority))
            await websocket.send(b"ann\nx\n")
            await until(lambda: world.lines())
            session = world.session()
            session.close("test", 0.0)
            world.shell.answer(session, 1, Reply(Outcome.ACCEPTED, 200, None, b"bye\n"))
            assert await websocket.recv() == b"bye\n"
            with pytest.raises(ConnectionClosed) as caught:
                await websocket.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1000

    asyncio.run(main())


def test_the_end_of_a_connection_reaches_its_session(authority: Authority) -> None:
    async def main() -> None:
        async with serving(secured(authority)) as world:
            for number in range(2):
                websocket = await upgrade(world, trusting(authority))
                await websocket.send(b"ann%d\nx\n" % number)
                await until(lambda number=number: len(world.lines()) == number + 1)  # type: ignore[misc]
                session = world.session()
                if number:
                    websocket.transport.abort()
                else:
                    await websocket.close()
                await until(lambda session=session: not session.busy)  # type: ignore[misc]
            assert isinstance(session, Named)
            assert world.shell.counters == {}

    asyncio.run(main())


def test_a_device_that_does_not_take_its_last_words_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(connection, "LINGER", 0.2)
        async with serving(StreamSettings(), Limits(write_buffer=1 << 24)) as world:
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(sock, ("127.0.0.1", world.shell.port))
                await loop.sock_sendall(sock, b"ann\nx\n")
                await until(lambda: world.lines())
                session = world.session()
                session.close("test", 0.0)
                world.shell.answer(session, 1, Reply(Outcome.ACCEPTED, 200, None, b"x" * (1 << 23)))
                await until(lambda: not world.shell._by_path)

    asyncio.run(main())
