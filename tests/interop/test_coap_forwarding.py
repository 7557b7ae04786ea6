"""Messages forwarded to a CoAP server: a device, the bridge, and libcoap's server behind it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiocoap
import pytest
from tests.interop.aiocoap_peer import ask, device, place, play
from tests.interop.bridges import run


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@asynccontextmanager
async def libcoap() -> AsyncIterator[str]:
    """Libcoap's example server; where it is."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *("coap-server-notls", "-A", "127.0.0.1", "-p", str(port), "-d", "10"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with device("simple6") as context, asyncio.timeout(10):
            while True:
                try:
                    await ask(context, f"coap://127.0.0.1:{port}/", aiocoap.GET)
                    break
                except aiocoap.error.Error:
                    await asyncio.sleep(0.05)
        yield f"coap://127.0.0.1:{port}/"
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.peer("coap-server-notls", "coap-client-notls")
def test_a_device_reaches_a_server_behind_the_bridge() -> None:
    async def scene() -> None:
        async with libcoap() as server, place("coap://127.0.0.1:0", sink=server) as p:
            client = ("coap-client-notls", "-B", 7)
            _, said = await run(*client, f"{p.url}/")
            assert "test server made with libcoap" in said
            _, said = await run(*client, "-m", "put", "-e", "kept", f"{p.url}/mine")
            assert said.strip() == ""
            _, said = await run(*client, f"{p.url}/mine")
            assert said.strip() == "kept"
            _, said = await run(*client, f"{p.url}/nothing")
            assert said.startswith("4.04")
            _, said = await run(*client, f"{p.url}/.well-known/core")
            assert p.sink.posted == []

    play(scene)


@pytest.mark.peer("coap-server-notls")
def test_codes_and_options_go_through_and_what_is_fresh_is_not_asked_for_again() -> None:
    async def scene() -> None:
        async with libcoap() as server, place("coap+tcp://127.0.0.1:0", sink=server) as p, device("tcpclient") as one:
            response = await ask(one, f"{p.url}/new", aiocoap.PUT, payload=b"x" * 3000, content_format=42)
            assert response.code == aiocoap.CREATED
            for _ in range(2):
                response = await ask(one, f"{p.url}/new", aiocoap.GET)
                assert (response.code, response.payload) == (aiocoap.CONTENT, b"x" * 3000)
            assert p.bridge.delivery.counters["cache_hits"] == 1
            assert (await ask(one, f"{p.url}/new", aiocoap.DELETE)).code == aiocoap.DELETED
            assert (await ask(one, f"{p.url}/new", aiocoap.GET)).code == aiocoap.NOT_FOUND

    play(scene)


@pytest.mark.peer("coap-server-notls", "mosquitto_pub")
def test_an_mqtt_message_is_a_post_there() -> None:
    async def scene() -> None:
        async with libcoap() as server, place("mqtt://127.0.0.1:0", sink=f"{server}topic") as p:
            port = p.url.rpartition(":")[2]
            async with device("simple6") as one:
                await ask(one, f"{server}topic", aiocoap.PUT, payload=b"before")
                assert await run("mosquitto_pub", "-p", port, "-q", 1, "-t", "a", "-m", "21") == (0, "")
                assert p.bridge.delivery.counters["accepted"] + p.bridge.delivery.counters["refused"] == 1

    play(scene)


def test_a_server_that_is_not_there_is_503() -> None:
    async def scene() -> None:
        sink = f"coap://127.0.0.1:{free_port()}/"
        async with place("coap+tcp://127.0.0.1:0", sink=sink) as p, device("tcpclient") as one:
            response = await ask(one, f"{p.url}/a")
            assert response.code == aiocoap.SERVICE_UNAVAILABLE
            assert response.opt.max_age == 5

    play(scene)
