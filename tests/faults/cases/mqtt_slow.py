"""Thousands of slow devices at an MQTT bridge: they say nothing, half a CONNECT or half a PUBLISH, and hold on.

First their time is long, and none is cut before others have published everything: whoever had to wait for them would
wait for ever. Then it is short, and every one of them is cut, while others go on.
"""

import asyncio
import json
import resource
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Final
from urllib.request import urlopen

from tests.faults.case import Case, Tally, chance
from tests.faults.process import BridgeProcess, free_port
from tests.faults.publisher import Publisher
from tests.waiting import until

from thinbridge.testing.function import Answer, Sink

CONNECTIONS: Final = 5000
PER_ADDRESS: Final = 500  # the bridge's `limits.connections_per_address` is 512
DEVICES: Final = 10
EACH: Final = 20
PATIENCE: Final = 300.0

LONG, SHORT = (f"connect_timeout={seconds}&packet_timeout={seconds}" for seconds in (900, 2))
CONNECT: Final = bytes.fromhex("100c00044d51545404020000 0000")
PUBLISH: Final = bytes.fromhex("320a 0008 72656164696e6773")
BEGINNINGS: Final = b"", CONNECT[:7], CONNECT + PUBLISH[:5]


class Slow:
    """A connection that is held."""

    async def open(self, port: int, number: int) -> None:
        """Say what it says, and be heard."""
        address = f"127.0.1.{1 + number // PER_ADDRESS}"
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        beginning = BEGINNINGS[number % len(BEGINNINGS)]
        self._writer.write(beginning)
        if beginning.startswith(CONNECT):
            with suppress(OSError, asyncio.IncompleteReadError):  # cut already
                await self._reader.readexactly(4)  # CONNACK

    @property
    def cut(self) -> bool:
        """Whether the bridge has ended it."""
        return self._reader.at_eof() or self._reader.exception() is not None

    def close(self) -> None:
        """Let go of it."""
        self._writer.transport.abort()


class Crowd:
    """All of them; `async with` lets go of them."""

    def __init__(self, port: int, count: int) -> None:
        self._port, self._count = port, count
        self._all: list[Slow] = []

    async def __aenter__(self) -> "Crowd":
        for number in range(self._count):
            slow = Slow()
            await slow.open(self._port, number)
            self._all.append(slow)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for slow in self._all:
            slow.close()

    @property
    def cut(self) -> int:
        """How many the bridge has ended."""
        return sum(slow.cut for slow in self._all)


def play(seed: int, *, connections: int = CONNECTIONS) -> Tally:
    """One run."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the bridge inherits it
    return asyncio.run(_play(seed, connections))


async def _play(seed: int, connections: int) -> Tally:
    patient, hasty = free_port(), free_port()
    urls = [f"mqtt://127.0.0.1:{port}?{timeouts}" for port, timeouts in ((patient, LONG), (hasty, SHORT))]
    total, broken = Tally(), list[str]()
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(Sink(lambda posted: Answer(204)))
        bridge = await stack.enter_async_context(BridgeProcess(sink.url, *(f"--listen={url}" for url in urls)))
        async with Crowd(patient, connections) as crowd:
            await until(lambda: _sessions(bridge) >= connections, PATIENCE)
            newcomers = await _publish("newcomer", patient, sink, total)
            if crowd.cut:
                broken.append(f"{crowd.cut} slow connections were cut for others")
            if again := [device.client_id for device in newcomers if device.connections > 1]:
                broken.append(f"{again} had to connect again")
        async with Crowd(hasty, connections) as crowd:
            await _publish("other", hasty, sink, total)
            await until(lambda: crowd.cut == connections, PATIENCE)
            await _publish("later", hasty, sink, total)
        status = await bridge.terminate()
    if status or b"Traceback" in bridge.log:
        broken.append(f"the bridge ended with {status}: {bridge.log[-2000:].decode()}")
    total.broken = [f"seed {seed}: {what}" for what in broken]
    return total


def _sessions(bridge: BridgeProcess) -> int:
    """How many the bridge itself has: the kernel takes connections for it before."""
    with urlopen(f"http://127.0.0.1:{bridge.http}/health/ready") as answer:
        return sum(endpoint["sessions"] for endpoint in json.load(answer)["endpoints"])


async def _publish(name: str, port: int, sink: Sink, total: Tally) -> list[Publisher]:
    """Devices connect, and publish until everything is acknowledged; they are counted in."""
    devices = [Publisher(f"{name}-{number}", port, EACH) for number in range(DEVICES)]
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(device.run() for device in devices))
    acknowledged = set[bytes]().union(*(device.acknowledged for device in devices))
    total.messages += DEVICES * EACH
    total.failed += DEVICES * EACH - len(acknowledged)
    total.lost += len(acknowledged - {posted.body for posted in sink.accepted})
    return devices


CASES: Final = (
    Case(
        "mqtt-slow",
        f"MQTT, real processes: {CONNECTIONS:,} connections say nothing, or half a packet, and hold on",
        1,
        partial(play, connections=CONNECTIONS),
        chance(0.0),
        real=True,
    ),
)
