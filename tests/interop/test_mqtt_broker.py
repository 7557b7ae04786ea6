"""MQTT by way of Debian's mosquitto, with its own clients as the devices."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
from tests.interop.bridges import run
from tests.mosquitto import Mosquitto
from tests.waiting import until

from thinbridge.assembly import build
from thinbridge.bridge import Bridge
from thinbridge.protocols.base import Outbound, PushResult
from thinbridge.settings import load
from thinbridge.testing.function import Answer, Script, Sink, echo

pytestmark = pytest.mark.peer("mosquitto", "mosquitto_pub", "mosquitto_rr", "mosquitto_sub")
both = pytest.mark.parametrize("version", ["5", "3.1.1"])

Scene = Callable[[], Awaitable[None]]


def play(scene: Scene) -> None:
    asyncio.run(scene())  # type: ignore[arg-type]


def listener(scheme: str, port: int, **options: str | list[str]) -> str:
    """A `listen` URL."""
    pairs = [(key, one) for key, value in options.items() for one in ([value] if isinstance(value, str) else value)]
    return f"{scheme}://127.0.0.1:{port}/?" + "&".join(f"{key}={quote(value, safe='')}" for key, value in pairs)


def health(bridge: Bridge) -> Mapping[str, Any]:
    """What the endpoint says of itself."""
    state: Mapping[str, Any] = bridge.state()["endpoints"][0]
    return state


@asynccontextmanager
async def running(sink: Sink, url: str, **flags: Any) -> AsyncIterator[Bridge]:
    """A bridge that has subscribed."""
    bridge = build(load({"listen": [url], "sink": sink.url, "http": "127.0.0.1:0"} | flags, {}))
    await bridge.start()
    try:
        await until(lambda: health(bridge)["subscribed"], 20)
        yield bridge
    finally:
        await bridge.drain(1)
        await bridge.stop()


@asynccontextmanager
async def world(script: Script = echo, **options: str | list[str]) -> AsyncIterator[tuple[Mosquitto, Sink, Bridge]]:
    """A broker, a function and a bridge."""
    async with (
        Mosquitto() as broker,
        Sink(script) as sink,
        running(sink, listener("mqtt+broker", broker.port, **options)) as bridge,
    ):
        yield broker, sink, bridge


def accepts(posted: object) -> Answer:
    return Answer(204)


@both
def test_what_is_published_becomes_events(version: str) -> None:
    async def scene() -> None:
        options: dict[str, Any] = {"subscribe": ["devices/+/up", "site/#"], "device_topics": "devices/{deviceid}/up"}
        async with world(accepts, version=version, **options) as (broker, sink, bridge):
            publish = ("mosquitto_pub", "-p", broker.port, "-q", 1)
            assert await run(*publish, "-t", "devices/7/up", "-m", "21.5") == (0, "")
            assert await run(*publish, "-t", "site/door", "-r", "-m", "open") == (0, "")
            assert await run(*publish, "-t", "elsewhere", "-m", "x") == (0, "")
            await until(lambda: len(sink.accepted) == 2)
            device, door = sink.accepted
            assert device.headers["ce-type"] == "dev.thinbridge.mqtt.message"
            assert (device.headers["ce-subject"], device.body) == ("devices/7/up", b"21.5")
            assert (device.headers["ce-deviceid"], device.headers["ce-partitionkey"]) == ("7", "7")
            assert device.headers["ce-mqttqos"] == "1"
            assert (door.headers["ce-subject"], door.body) == ("site/door", b"open")
            assert "ce-deviceid" not in door.headers
            assert door.headers.get("ce-mqttretain") == ("true" if version == "5" else None)
            assert bridge.endpoints[0].sessions == 2

    play(scene)


def test_request_and_response() -> None:
    async def scene() -> None:
        async with world(subscribe="ask") as (broker, _, _):
            command = ["mosquitto_rr", "-V", "5", "-p", broker.port, "-t", "ask", "-e", "answers/1", "-m", "hello"]
            assert await run(*command, "-D", "publish", "correlation-data", "abc", "-F", "%D %p") == (0, "abc hello\n")

    play(scene)


def test_a_device_sends_a_cloudevent_and_gets_one() -> None:
    async def scene() -> None:
        async with world(subscribe="ask") as (broker, sink, _):
            event = {"specversion": "1.0", "id": "7", "source": "/mine", "type": "reading", "data": {"t": 21}}
            publish = ["mosquitto_pub", "-V", "5", "-p", broker.port, "-q", 1, "-t", "ask"]
            media = ["-D", "publish", "content-type", "application/cloudevents+json"]
            assert await run(*publish, *media, "-m", json.dumps(event)) == (0, "")
            users = [part for name in ("specversion", "id", "source", "type") for part in _user(name, str(event[name]))]
            assert await run(*publish, *users, "-m", "binary") == (0, "")
            assert await run(*publish, *media, "-m", "no event") == (0, "")
            await until(lambda: len(sink.accepted) == 3)
            structured, binary, plain = sink.accepted
            for posted in (structured, binary):
                assert posted.headers["ce-type"] == "reading"
                assert (posted.headers["ce-id"], posted.headers["ce-source"]) == ("7", "/mine")
            assert (structured.body, binary.body) == (b'{"t":21}', b"binary")
            assert (plain.body, plain.headers["ce-type"]) == (b"no event", "dev.thinbridge.mqtt.message")

    play(scene)


def _user(name: str, value: str) -> list[str]:
    return ["-D", "publish", "user-property", name, value]


def test_the_broker_keeps_a_message_until_the_sink_has_it() -> None:
    """The sink is down, the bridge is killed without a word: the next one gets the message."""

    async def scene() -> None:
        async with Mosquitto() as broker, Sink(accepts) as sink:
            url = listener("mqtt+broker", broker.port, subscribe="t", client_id="b")
            await sink.stop()
            async with running(sink, url, drain=0) as bridge:
                assert await run("mosquitto_pub", "-p", broker.port, "-q", 1, "-t", "t", "-m", "x") == (0, "")
                await until(lambda: health(bridge)["open"])
            await sink.start()
            async with running(sink, url):
                await until(lambda: sink.accepted)
            assert [posted.body for posted in sink.accepted] == [b"x"]

    play(scene)


@both
def test_a_broker_that_restarts_is_found_again(version: str) -> None:
    async def scene() -> None:
        async with world(accepts, subscribe="t", version=version) as (broker, sink, bridge):
            await broker.stop()
            await until(lambda: not health(bridge)["connected"])
            await broker.start()
            await until(lambda: health(bridge)["subscribed"])
            assert await run("mosquitto_pub", "-p", broker.port, "-q", 1, "-t", "t", "-m", "x") == (0, "")
            await until(lambda: sink.accepted)

    play(scene)


def test_pushes_go_to_topics_that_are_allowed() -> None:
    async def scene() -> None:
        options: dict[str, Any] = {"subscribe": "t", "publish": "commands/#"}
        async with world(accepts, **options) as (broker, sink, bridge):
            assert await run("mosquitto_pub", "-p", broker.port, "-t", "t", "-m", "x") == (0, "")
            await until(lambda: sink.accepted)
            token, exchange = sink.accepted[0].headers["ce-replyto"].split("/")[-2:]
            listening = asyncio.create_task(
                run("mosquitto_sub", "-p", broker.port, "-q", 1, "-t", "#", "-R", "-C", 1, "-F", "%t %q %p")
            )

            async def push(topic: str, data: bytes) -> PushResult | None:
                outbound = Outbound("text/plain", data, {"mqtttopic": topic}, is_event=True)
                return await bridge.post(token, int(exchange), outbound)

            results = set()
            while not listening.done():  # until somebody has subscribed
                results.add(await push("commands/set", b"21"))
                await asyncio.sleep(0.05)
            assert results == {PushResult.DELIVERED}
            assert await listening == (0, "commands/set 1 21\n")
            assert await push("elsewhere", b"21") is PushResult.REFUSED
            assert await push("$SYS/x", b"21") is PushResult.REFUSED
            assert await push("commands/#", b"21") is PushResult.REFUSED
            assert bridge.endpoints[0].counters["topic_not_allowed"] == 3
            assert await bridge.publish("commands/all", Outbound(None, b"x")) == 1
            assert await bridge.publish("elsewhere", Outbound(None, b"x")) == 0

    play(scene)
