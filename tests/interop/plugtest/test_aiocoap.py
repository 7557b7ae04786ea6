"""aiocoap's client against the plugtest function."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiocoap
import pytest
from tests.interop.dev import Dev
from tests.interop.plugtest.function.main import LARGE

PATIENCE = 20


def play(scene: Callable[[aiocoap.Context], Awaitable[None]]) -> None:
    """With a client of its own."""

    async def main() -> None:
        context = await aiocoap.Context.create_client_context()
        try:
            await asyncio.wait_for(scene(context), PATIENCE)
        finally:
            await context.shutdown()

    asyncio.run(main())


async def ask(context: aiocoap.Context, server: Dev, code: aiocoap.Code, path: str, **more: Any) -> aiocoap.Message:
    """One request; blocks are aiocoap's own doing."""
    request = aiocoap.Message(code=code, uri=f"coap://127.0.0.1:{server.port('coap')}{path}", **more)
    return await context.request(request).response


@pytest.mark.parametrize("path", ["/test", "/separate", "/query?first=1&second=2", "/seg1/seg2/seg3"])
@pytest.mark.parametrize("tuning", [aiocoap.Reliable, aiocoap.Unreliable], ids=["CON", "NON"])
def test_get(path: str, tuning: aiocoap.TransportTuning, server: Dev) -> None:
    async def scene(context: aiocoap.Context) -> None:
        response = await ask(context, server, aiocoap.GET, path, transport_tuning=tuning())
        assert (response.code, response.payload.decode()) == (aiocoap.CONTENT, f"GET {path}")
        assert response.opt.content_format == 0

    play(scene)


def test_conditions(server: Dev) -> None:
    async def scene(context: aiocoap.Context) -> None:
        first = await ask(context, server, aiocoap.GET, "/validate")
        valid = await ask(context, server, aiocoap.GET, "/validate", etags=[first.opt.etag])
        assert (valid.code, valid.opt.etag) == (aiocoap.VALID, first.opt.etag)
        update = {"payload": first.payload + b"?", "content_format": 0}
        assert (await ask(context, server, aiocoap.PUT, "/validate", if_match=[b"other"], **update)).code == (
            aiocoap.PRECONDITION_FAILED
        )
        changed = await ask(context, server, aiocoap.PUT, "/validate", if_match=[first.opt.etag], **update)
        assert changed.code == aiocoap.CHANGED

    play(scene)


def test_blocks_down_up_and_both(server: Dev) -> None:
    async def scene(context: aiocoap.Context) -> None:
        assert (await ask(context, server, aiocoap.GET, "/large")).payload.decode() == LARGE
        sent = bytes(range(65, 91)) * 400
        put = await ask(context, server, aiocoap.PUT, "/large-update", payload=sent, content_format=0)
        assert put.code == aiocoap.CHANGED
        assert (await ask(context, server, aiocoap.GET, "/large-update")).payload == sent
        upper = await ask(context, server, aiocoap.POST, "/large-post", payload=sent.lower(), content_format=0)
        assert upper.payload == sent

    play(scene)


def test_what_there_is(server: Dev) -> None:
    async def scene(context: aiocoap.Context) -> None:
        response = await ask(context, server, aiocoap.GET, "/.well-known/core?rt=Type1")
        assert response.opt.content_format == 40
        assert sorted(response.payload.decode().split(",")) == [
            '</link1>;rt="Type1 Type2";if="If1"',
            '</link3>;rt="Type1 Type3";if="foo"',
        ]

    play(scene)


def test_observe_and_change(server: Dev) -> None:
    async def scene(context: aiocoap.Context) -> None:
        request = aiocoap.Message(code=aiocoap.GET, uri=f"coap://127.0.0.1:{server.port('coap')}/obs", observe=0)
        observing = context.request(request)
        first = await observing.response
        assert first.opt.observe is not None
        states = observing.observation.__aiter__()
        assert (await anext(states)).payload != first.payload
        put = await ask(context, server, aiocoap.PUT, "/obs", payload=b"written", content_format=0)
        assert put.code == aiocoap.CHANGED
        while (await anext(states)).payload != b"written":
            pass
        observing.observation.cancel()

    play(scene)
