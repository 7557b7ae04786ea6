"""A datagram shell in this process, what it reported, and sockets of devices. Helper of the tests here."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from thinbridge.protocols.base import Limits, Protocol, Session
from thinbridge.protocols.udp import UDP, UDPSettings
from thinbridge.shells import DatagramShell

Seen = list[tuple[Session, object]]


class Device(asyncio.DatagramProtocol):
    """A socket of a device."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[tuple[bytes, tuple[Any, ...]]] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.inbox.put_nowait((data, addr))

    def send(self, data: bytes, port: int, host: str = "127.0.0.1") -> None:
        self.transport.sendto(data, (host, port))  # type: ignore[attr-defined]

    async def heard(self) -> tuple[bytes, tuple[Any, ...]]:
        return await asyncio.wait_for(self.inbox.get(), 5)


@asynccontextmanager
async def device(host: str = "127.0.0.1", broadcast: bool = False) -> AsyncIterator[Device]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        Device, local_addr=(host, 0), allow_broadcast=broadcast
    )
    try:
        yield protocol
    finally:
        transport.close()
        await asyncio.sleep(0)


class World:
    """A shell, and what it reported."""

    def __init__(self, shell: DatagramShell) -> None:
        self.shell = shell
        self.events: Seen = []
        self.came: asyncio.Queue[tuple[Session, object]] = asyncio.Queue()

    def on_event(self, endpoint: object, session: Session, event: object) -> None:
        assert endpoint is self.shell
        self.events.append((session, event))
        self.came.put_nowait((session, event))

    async def next(self) -> tuple[Session, object]:
        return await asyncio.wait_for(self.came.get(), 5)


@asynccontextmanager
async def serving(protocol: Protocol, limits: Limits | None = None, host: str = "127.0.0.1") -> AsyncIterator[World]:
    shell = DatagramShell(protocol, "dev", host, 0, limits)
    await shell.open()
    world = World(shell)
    shell.serve(world.on_event)
    try:
        yield world
    finally:
        await shell.close()


def udp(**settings: float) -> UDP:
    return UDP(UDPSettings(**settings), random.Random(1).randbytes)  # type: ignore[arg-type]
