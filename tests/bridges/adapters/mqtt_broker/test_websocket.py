"""WebSocket as a socket, against the independent server of `websockets`; and what is no WebSocket for MQTT."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import websockets.asyncio.server as server
from tests.certificates import Authority
from websockets.typing import Subprotocol

from thinbridge.adapters.mqtt_broker.websocket import WebSocket

Handler = Callable[[server.ServerConnection], Awaitable[None]]
MQTT = Subprotocol("mqtt")


def dial(port: int, context: ssl.SSLContext | None = None) -> WebSocket:
    sock = socket.create_connection(("127.0.0.1", port), 5)
    try:
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname="127.0.0.1")
        return WebSocket(sock, f"ws{'s' if context else ''}://127.0.0.1:{port}/mqtt")
    except BaseException:
        sock.close()
        raise


def play(handler: Handler, scene: Callable[[int], None], **options: Any) -> None:
    """Serve in this loop, and play the client in a thread: its calls wait."""

    async def main() -> None:
        async with server.serve(handler, "127.0.0.1", 0, **options) as listening:
            await asyncio.to_thread(scene, next(iter(listening.sockets)).getsockname()[1])

    asyncio.run(main())


async def echo(connection: server.ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


def take(ws: WebSocket, octets: int) -> bytes:
    data = b""
    while len(data) < octets:
        with suppress(BlockingIOError):
            data += ws.recv(1 << 16)
    return data


def test_bytes_go_and_come_back() -> None:
    def scene(port: int) -> None:
        ws = dial(port)
        for size in (1, 125, 126, 70_000):
            assert ws.send(bytes(size)) == size
            assert take(ws, size) == bytes(size)
        assert ws.pending() == 0
        ws.close()

    play(echo, scene, subprotocols=[MQTT])


def test_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server", "127.0.0.1"))

    def scene(port: int) -> None:
        ws = dial(port, ssl.create_default_context(cafile=authority.ca))
        ws.send(b"hello")
        assert take(ws, 5) == b"hello"
        assert ws.pending() == 0
        ws.close()

    play(echo, scene, subprotocols=[MQTT], ssl=context)


def test_pings_are_answered_as_the_standard_has_it() -> None:
    async def pings(connection: server.ServerConnection) -> None:
        await (await connection.ping())
        await connection.send(b"well")

    def scene(port: int) -> None:
        ws = dial(port)
        assert take(ws, 4) == b"well"
        ws.close()

    play(pings, scene, subprotocols=[MQTT])


def test_the_servers_close_is_the_end() -> None:
    async def says_something(connection: server.ServerConnection) -> None:
        await connection.send(b"bye")

    def scene(port: int) -> None:
        ws = dial(port)
        assert take(ws, 3) == b"bye"
        assert ws.recv(100) == b""
        with pytest.raises(ConnectionResetError):
            ws.send(b"x")
        ws.close()

    play(says_something, scene, subprotocols=[MQTT])


def test_what_the_socket_does_not_take_at_once_is_sent_later() -> None:
    received = asyncio.Queue[int]()

    async def counts(connection: server.ServerConnection) -> None:
        await asyncio.sleep(0.2)
        async for message in connection:
            received.put_nowait(len(message))
            await connection.send(b"done")

    def scene(port: int) -> None:
        ws = dial(port)
        ws.setblocking(False)
        buffer, sent, tries = bytearray(20_000_000), 0, 0
        while not sent:
            with suppress(BlockingIOError):
                sent = ws.send(buffer)
            tries += 1
            buffer += b"x"  # more may come meanwhile; it is not part of it
        assert (sent, tries > 1) == (20_000_000, True)
        ws.setblocking(True)
        assert take(ws, 4) == b"done"
        ws.close()

    play(counts, scene, subprotocols=[MQTT], max_size=None)
    assert received.get_nowait() == 20_000_000


@pytest.mark.parametrize("options", [{}, {"subprotocols": ["other"]}])
def test_one_that_is_not_for_mqtt(options: dict[str, Any]) -> None:
    def scene(port: int) -> None:
        with pytest.raises(ConnectionError):
            dial(port)

    play(echo, scene, **options)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"\x20\x02\x00\x00", b""])
def test_what_is_none(answer: bytes) -> None:
    async def main() -> None:
        async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        async with await asyncio.start_server(answers, "127.0.0.1", 0) as listening:

            def scene() -> None:
                with pytest.raises(ConnectionError):
                    dial(listening.sockets[0].getsockname()[1])

            await asyncio.to_thread(scene)

    asyncio.run(main())
