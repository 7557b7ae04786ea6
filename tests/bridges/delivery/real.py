"""A scripted sink on a real socket, and deliveries to it on both loops. Helper of the tests here."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Any

import uvloop

from thinbridge.delivery import Answer, Delivery, Terms
from thinbridge.events import Event

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}


class End(Enum):
    """What a script may do beside sending bytes."""

    CLOSE = auto()
    RESET = auto()


Part = bytes | End
Script = Sequence[Part]


class ScriptedSink:
    """Reads requests properly, and answers the n-th with the n-th script; after the last with 204.

    A script that ends without `CLOSE` or `RESET` leaves the connection open, whatever it has said.
    """

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.requests: list[bytes] = []
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
                self.requests.append(head + await reader.readexactly(length))
                script = self._scripts.pop(0) if self._scripts else [b"HTTP/1.1 204 No Content\r\n\r\n"]
                for part in script:
                    if part is End.CLOSE:
                        return
                    if part is End.RESET:
                        await asyncio.sleep(0)
                        linger = struct.pack("ii", 1, 0)
                        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        writer.transport.abort()
                        return
                    assert isinstance(part, bytes)
                    writer.write(part)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def running(self, context: ssl.SSLContext | None = None) -> Any:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=context, limit=2**22)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self.writers:
                writer.transport.abort()


async def deliver(delivery: Delivery, event: Event, terms: Terms, seconds: float = 20.0) -> Answer:
    """One delivery, awaited."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[Answer] = loop.create_future()
    delivery.deliver(event, terms, loop.time() + seconds, told.set_result)
    return await asyncio.wait_for(told, seconds + 20)


def run(loop: str, scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scene; tasks that it leaves behind are an error."""
    with asyncio.Runner(debug=loop == "asyncio", loop_factory=LOOPS[loop]) as runner:
        runner.run(scene())


async def settled(condition: Callable[[], bool]) -> None:
    """Wait, bounded, until something on the same loop is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is nothing to wait on but the loop itself
            await asyncio.sleep(0.001)
