"""A whole bridge in this process, its real sink, and outside programs as its devices."""

import asyncio
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from threading import Thread
from typing import Any, TypeVar

from thinbridge.assembly import build
from thinbridge.bridge import Bridge
from thinbridge.settings import load
from thinbridge.testing.function import Script, Sink, echo

T = TypeVar("T")


class World:
    """A bridge on free ports, and what its sink was sent."""

    def __init__(self, bridge: Bridge, sink: Sink) -> None:
        self.bridge, self.sink = bridge, sink
        self.coap, self.mqtt, self.udp = (int(one.url.rpartition(":")[2]) for one in bridge.endpoints)


@asynccontextmanager
async def bridging(script: Script, **flags: Any) -> AsyncIterator[tuple[Bridge, Sink]]:
    """A bridge with these settings and the sink behind it; nothing is left afterwards."""
    async with Sink(script) as sink:
        bridge = build(load({"sink": sink.url, "http": "127.0.0.1:0"} | flags, {}))
        await bridge.start()
        try:
            yield bridge, sink
        finally:
            await bridge.drain(1)
            await bridge.stop()


@asynccontextmanager
async def world(script: Script = echo, **flags: Any) -> AsyncIterator[World]:
    """One with a listener of each protocol, unless told otherwise."""
    listen = [f"{scheme}://127.0.0.1:0" for scheme in ("coap", "mqtt", "udp")]
    async with bridging(script, **{"listen": listen} | flags) as (bridge, sink):
        yield World(bridge, sink)


@contextmanager
def standing(script: Script = echo, **flags: Any) -> Iterator[World]:
    """The same on a thread of its own, for devices that block; what is read of it meanwhile only grows."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    running = world(script, **flags)

    def call(coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    try:
        yield call(running.__aenter__())
        call(running.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def run(*command: object, stdin: bytes = b"", seconds: float = 20) -> tuple[int, str]:
    """An outside program: its exit status, and what it printed."""
    process = await asyncio.create_subprocess_exec(*map(str, command), stdin=PIPE, stdout=PIPE, stderr=STDOUT)
    try:
        output, _ = await asyncio.wait_for(process.communicate(stdin), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, output.decode()
