"""CoAP's options as libcoap's client sends them, its CloudEvents, and names that are tricks, against a whole bridge."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.interop.bridges import World, run, world

from thinbridge.testing.function import Answer, Posted

pytestmark = pytest.mark.peer("coap-client-notls")

TEXT = {"content-type": "text/plain", "etag": '"v1"'}
EVENT = {
    "ce-specversion": "1.0",
    "ce-id": "r1",
    "ce-source": "/functions/heating",
    "ce-type": "org.example.setpoint",
    "content-type": "application/json",
}


def hello(posted: Posted) -> Answer:
    return Answer(200, TEXT, b"hello")


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scene())  # type: ignore[arg-type]


async def client(w: World, *arguments: object, path: str = "/a") -> str:
    """What libcoap's client prints."""
    _, output = await run("coap-client-notls", "-B", 7, *arguments, f"coap://127.0.0.1:{w.coap}{path}", seconds=9)
    return output.strip()


def listening(query: str) -> list[str]:
    return [f"coap://127.0.0.1:0?{query}", "mqtt://127.0.0.1:0", "udp://127.0.0.1:0"]


SAID: dict[str, tuple[tuple[str, ...], str]] = {
    "Accept of what it is": (("-A", "0"), "hello"),
    "Accept of something else": (("-A", "50"), "4.06 it is text/plain"),
    "an ETag that is another": (("-O", "4,0x7630"), "hello"),
    "an ETag that is valid": (("-O", "4,0x7631"), ""),
    "an unknown critical option": (("-O", "65,x"), "4.02 critical option 65"),
    "an unknown elective option": (("-O", "66,x"), "hello"),
    "a Hop-Limit of 0": (("-O", "16,0x00"), "4.00 Hop-Limit is not from 1 to 255"),
    "No-Response": (("-O", "258,0x02", "-B", "1"), ""),
}


def test_options_that_the_bridge_answers() -> None:
    async def scene() -> None:
        async with world(hello) as w:
            said = await asyncio.gather(*(client(w, *arguments) for arguments, _ in SAID.values()))
            assert dict(zip(SAID, said, strict=True)) == {name: expected for name, (_, expected) in SAID.items()}

    play(scene)


def test_options_that_the_function_is_told() -> None:
    async def scene() -> None:
        async with world(hello) as w:
            options = ("1,0x01ff", "3,Example.org", "7,0x1633", "16,0x05")
            assert await client(w, *(part for one in options for part in ("-O", one)), path="/a?x=1&y") == "hello"
            headers = w.sink.posted[0].headers
            told = {name: headers.get(f"ce-coap{name}") for name in ("ifmatch", "host", "port", "hoplimit", "query")}
            assert told == {
                "ifmatch": "01ff",
                "host": "example.org",
                "port": "5683",
                "hoplimit": "5",
                "query": "x=1&y",
            }

    play(scene)


def test_a_proxy_is_not_what_this_is() -> None:
    async def scene() -> None:
        async with world(hello) as w:
            proxy = f"coap://127.0.0.1:{w.coap}"
            _, output = await run("coap-client-notls", "-B", 7, "-P", proxy, "coap://192.0.2.1/a", seconds=9)
            assert output.strip() == "5.05 this is no proxy"
            assert not w.sink.posted

    play(scene)


def test_what_must_be_fresh_is_asked_for_its_echo() -> None:
    async def scene() -> None:
        async with world(hello, listen=listening("freshness=60")) as w:
            assert await client(w, "-m", "post", "-e", "x") == "hello"
            assert w.bridge.endpoints[0].counters["stale"] == 1
            assert len(w.sink.posted) == 1

    play(scene)


def test_a_device_over_its_rate() -> None:
    async def scene() -> None:
        async with world(hello, listen=listening("rate=0.01&burst=1")) as w:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            command = ("coap-client-notls", "-B", 7, "-p", port, "-m", "post", "-e", "x")
            said = [await run(*command, f"coap://127.0.0.1:{w.coap}/a", seconds=9) for _ in range(2)]
            assert [output.strip() for _, output in said] == ["hello", "4.29"]

    play(scene)


STRUCTURED = {"specversion": "1.0", "id": "7", "source": "urn:dev:7", "type": "org.example.hot", "data": {"t": 90}}


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (
            ("-t", "50", "-e", '{"t":90}'),
            "/a?ce-specversion=1.0&ce-id=7&ce-source=urn:dev:7&ce-type=org.example.hot&unit=C",
        ),
        (("-t", "65001", "-e", json.dumps(STRUCTURED)), "/a?unit=C"),
    ],
    ids=["binary", "structured"],
)
def test_a_cloudevent_of_the_device_and_one_back(arguments: tuple[str, ...], path: str) -> None:
    async def scene() -> None:
        async with world(lambda posted: Answer(200, EVENT, b'{"t": 19}')) as w:
            said = await client(w, "-m", "post", "-A", "65001", *arguments, path=path)
            event: dict[str, Any] = json.loads(said)
            assert event == {
                "specversion": "1.0",
                "id": "r1",
                "source": "/functions/heating",
                "type": "org.example.setpoint",
                "datacontenttype": "application/json",
                "data": {"t": 19},
            }
            [posted] = w.sink.posted
            sent = {name: posted.headers.get(f"ce-{name}") for name in ("id", "source", "type", "subject", "coapquery")}
            assert sent == {
                "id": "7",
                "source": "urn:dev:7",
                "type": "org.example.hot",
                "subject": "a",
                "coapquery": "unit=C",
            }
            assert (posted.headers["content-type"], posted.body) == ("application/json", b'{"t":90}')
            assert posted.headers["ce-peer"].startswith("127.0.0.1:")

    play(scene)


def test_a_cloudevent_that_is_none() -> None:
    async def scene() -> None:
        async with world(hello) as w:
            missing = "4.00 this is no CloudEvent: ce-id, ce-source, ce-type missing"
            assert await client(w, "-m", "post", path="/a?ce-specversion=1.0") == missing
            forged = "/a?ce-specversion=1.0&ce-id=7&ce-source=/x&ce-type=dev.thinbridge.mqtt.will"
            assert await client(w, "-m", "post", path=forged) == "4.00 such events come from bridges only"
            assert not w.sink.posted

    play(scene)


TRICKS = (
    "..",
    "a//b",
    "%2f%2fevil",
    "%0d%0aX-Injected:%201",
    "a%3fb%23c",
    "http:%2f%2fevil%2f",
    "%00",
)


def test_no_name_of_a_device_leads_elsewhere() -> None:
    """T16: the sink's URL is the operator's, and a name is a value."""

    async def scene() -> None:
        async with world(hello) as w:
            await asyncio.gather(*(client(w, "-m", "post", "-e", "x", path=f"/{trick}") for trick in TRICKS))
            assert len(w.sink.posted) == len(TRICKS)
            assert {posted.path for posted in w.sink.posted} == {"/"}
            names = set().union(*(posted.headers for posted in w.sink.posted))
            assert not any("inject" in name for name in names)
            assert await client(w, path="/%2e%2e/%2e%2e") == "4.00 dot segment in the path"

    play(scene)
