"""A broker that says what a test has it say, over a real socket."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

CONNACK: Final = b"\x20\x03\x00\x00\x00"
SUBACK: Final = b"\x90\x04\x00\x01\x00\x01"


def publish(number: int, payload: bytes = b"x") -> bytes:
    body = b"\x00\x01t" + number.to_bytes(2) + b"\x00" + payload
    return b"\x32" + bytes([len(body)]) + body


class Broker:
    """One connection, from the broker's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def packet(self) -> tuple[int, bytes]:
        """The next packet of the bridge: its type and body."""
        first, byte = await self.reader.readexactly(2)
        length, shift = byte & 127, 7
        while byte & 128:
            [byte] = await self.reader.readexactly(1)
            length |= (byte & 127) << shift
            shift += 7
        return first >> 4, await self.reader.readexactly(length)

    async def expect(self, kind: int, answer: bytes = b"") -> bytes:
        found, body = await self.packet()
        assert found == kind
        self.writer.write(answer)
        return body

    async def welcome(self) -> None:
        """CONNECT and SUBSCRIBE, answered."""
        await self.expect(1, CONNACK)
        await self.expect(8, SUBACK)

    async def forever(self) -> None:
        await self.reader.read()


Script = Callable[[Broker], Awaitable[None]]


@asynccontextmanager
async def listening(
    *scripts: Script, context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[asyncio.Task[None]]]]:
    """Play a script a connection, and the last of them again and again; its port, and the connections."""
    connections: list[asyncio.Task[None]] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.append(task)
        try:
            await scripts[min(len(connections), len(scripts)) - 1](Broker(reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], connections
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
