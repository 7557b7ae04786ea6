"""Many CoAP devices, each with an address of its own, that say little: what suites about memory put into a bridge.

All are sockets of this process, on 127.0.0.0/8. A device's socket is open only while it waits for its answer.
"""

import asyncio
import socket
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import Final

from thinbridge.protocols.coap.codec import Message, decode, empty, encode
from thinbridge.protocols.coap.codes import Type

AT_ONCE: Final = 64
"""Devices that wait for their answers at a time."""
PATIENCE: Final = 5.0
PORTS: Final = 200
"""Devices of one host."""


class Fleet:
    """Devices with numbers from 0 on.

    Args:
        port: the bridge's, on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.unanswered = 0

    async def ask(self, devices: Iterable[int], request: Message) -> None:
        """Each of them sends it, with its number in the token, and waits for its answer."""
        waiting = iter(devices)
        await asyncio.gather(*(self._lane(waiting, request) for _ in range(AT_ONCE)))

    async def _lane(self, waiting: Iterable[int], request: Message) -> None:
        for number in waiting:
            await self._one(number, request)

    async def _one(self, number: int, request: Message) -> None:
        token = number.to_bytes(4, "big")
        data = encode(Message(request.type, request.code, request.mid, token, request.options, request.payload))
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            device.setblocking(False)
            device.bind(address(number))
            device.connect(("127.0.0.1", self._port))
            device.send(data)
            try:
                async with asyncio.timeout(PATIENCE):
                    while (heard := decode(await loop.sock_recv(device, 2048))).token != token:
                        pass
            except TimeoutError:
                self.unanswered += 1
                return
            if heard.type == Type.CON:
                device.send(empty(Type.ACK, heard.mid))


def address(number: int) -> tuple[str, int]:
    """A device's address: 200 ports of each of 50,000 hosts."""
    host, port = divmod(number, PORTS)
    return f"127.{1 + host // 250 % 250}.{host % 250}.1", _ports()[port]


@cache
def _ports() -> list[int]:
    """Ports that nobody has on all addresses now."""
    free = []
    for port in range(10_000, 65_000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
            probe.bind(("", port))
            free.append(port)
        if len(free) == PORTS:
            break
    return free
