"""A whole bridge, and aiocoap's client for it: what the tests by streams and of forwarding have in common."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiocoap
from tests.interop.bridges import bridging

from thinbridge.bridge import Bridge
from thinbridge.testing.function import Script, Sink, echo


class Place:
    """A bridge with one listener, and what its sink was sent."""

    def __init__(self, bridge: Bridge, sink: Sink) -> None:
        self.bridge, self.sink = bridge, sink
        self.url = bridge.endpoints[0].url

    @property
    def counters(self) -> dict[str, int]:
        """Of the listener."""
        return dict(self.bridge.endpoints[0].counters)


@asynccontextmanager
async def place(listen: object, script: Script = echo, **flags: Any) -> AsyncIterator[Place]:
    """Run it; nothing is left afterwards."""
    async with bridging(script, listen=[listen], **flags) as (bridge, sink):
        yield Place(bridge, sink)


@asynccontextmanager
async def device(*transports: str) -> AsyncIterator[aiocoap.Context]:
    """An aiocoap client."""
    context = await aiocoap.Context.create_client_context(transports=list(transports))
    try:
        yield context
    finally:
        await context.shutdown()


async def ask(context: aiocoap.Context, uri: str, code: aiocoap.Code = aiocoap.POST, **more: Any) -> aiocoap.Message:
    """One request, and its answer."""
    request = context.request(aiocoap.Message(code=code, uri=uri, **more))
    return await asyncio.wait_for(request.response, 10)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scene())  # type: ignore[arg-type]
