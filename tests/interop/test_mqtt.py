"""MQTT by independent clients: mosquitto's and paho, against a whole bridge."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.interop.bridges import World, run, world
from tests.waiting import until

from thinbridge.testing.function import Answer, Posted

mosquitto = pytest.mark.peer("mosquitto_pub", "mosquitto_rr", "mosquitto_sub")


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scene())  # type: ignore[arg-type]


QOS = pytest.mark.parametrize("qos", [0, 1, 2])


@mosquitto
@QOS
@pytest.mark.parametrize("version", ["311", "5"])
def test_publish_is_acknowledged_after_the_sink(version: str, qos: int) -> None:
    async def scene() -> None:
        async with world(lambda posted: Answer(204, after=0.3)) as w:
            command = ["mosquitto_pub", "-V", version, "-p", w.mqtt, "-q", qos, "-t", "sensors/7", "-m", "21.5"]
            publishing = asyncio.create_task(run(*command))
            await until(lambda: w.sink.posted)
            assert publishing.done() <= (qos == 0)
            assert await publishing == (0, "")
            await until(lambda: w.sink.accepted)
            [posted] = w.sink.accepted
            assert (posted.body, posted.headers["ce-subject"]) == (b"21.5", "sensors/7")
            assert posted.headers["ce-mqttqos"] == str(qos)

    play(scene)


@mosquitto
@QOS
def test_request_and_response(qos: int) -> None:
    async def scene() -> None:
        async with world() as w:
            command = ["mosquitto_rr", "-V", "5", "-p", w.mqtt, "-q", qos, "-t", "ask", "-e", "answers/1"]
            assert await run(*command, "-m", "hello", "-D", "publish", "correlation-data", "abc") == (0, "hello\n")

    play(scene)


@mosquitto
def test_a_function_that_fails_at_first_is_asked_again() -> None:
    async def scene() -> None:
        failures = iter([503, 500, 404])
        async with world(lambda posted: Answer(next(failures, 204))) as w:
            assert await run("mosquitto_pub", "-p", w.mqtt, "-q", 1, "-t", "t", "-m", "x") == (0, "")
            assert len(w.sink.posted) == 4
            assert len({posted.headers["ce-id"] for posted in w.sink.posted}) == 1

    play(scene)


@mosquitto
@QOS
@pytest.mark.parametrize("version", ["311", "5"])
def test_a_push_reaches_a_subscriber(version: str, qos: int) -> None:
    async def scene() -> None:
        async with world() as w:
            command = ["mosquitto_sub", "-V", version, "-p", w.mqtt, "-q", qos, "-t", "commands/#", "-C", 2]
            listening = asyncio.create_task(run(*command, "-F", "%q %t %p"))
            core = w.bridge.endpoints[1].core  # type: ignore[attr-defined]
            await until(lambda: core.listeners.of("commands/set"))
            [session] = core.listeners.of("commands/set")
            entry = w.bridge._directory.entry(w.bridge.endpoints[1], session)
            for data in (b"21", b"22"):
                assert await post(w, f"/r/{entry.token}/1", f"{STEERING}ce-mqttqos: {qos}\r\n", data) == 200
            assert await listening == (0, f"{qos} commands/set 21\n{qos} commands/set 22\n")

    play(scene)


@mosquitto
@pytest.mark.parametrize("version", ["311", "5"])
def test_what_is_retained_reaches_who_subscribes_later(version: str) -> None:
    async def scene() -> None:
        async with world() as w:
            steering = f"{STEERING}ce-mqttretain: true\r\n"
            assert await post(w, "/observe/commands/set", steering, b"21") == 200
            command = ["mosquitto_sub", "-V", version, "-p", w.mqtt, "-q", 1, "-t", "commands/#", "-C", 1]
            assert await run(*command, "-F", "%q %r %t %p") == (0, "1 1 commands/set 21\n")

    play(scene)


STEERING = "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: s\r\nce-type: t\r\nce-mqtttopic: commands/set\r\n"


async def post(w: World, path: str, headers: str, body: bytes) -> int:
    assert w.bridge.inbox is not None
    port = int(w.bridge.inbox.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body)
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


class Paho:
    """A paho client on its own thread; `done` is set by the test's callbacks."""

    def __init__(self, protocol: MQTTProtocolVersion) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "paho-1", protocol=protocol)
        self.acknowledged: set[int] = set()
        self.heard: list[tuple[str, bytes, bytes | None]] = []
        self.subscribed = threading.Event()
        self.client.on_publish = lambda *args: self.acknowledged.add(args[2])
        self.client.on_subscribe = lambda *args: self.subscribed.set()
        self.client.on_message = self._on_message

    def _on_message(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        properties = message.properties
        self.heard.append((message.topic, bytes(message.payload), getattr(properties, "CorrelationData", None)))


@QOS
@pytest.mark.parametrize("protocol", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
def test_paho_publishes_many(protocol: MQTTProtocolVersion, qos: int) -> None:
    async def scene() -> None:
        async with world(lambda posted: Answer(204)) as w:
            device = Paho(protocol)
            await asyncio.to_thread(device.client.connect, "127.0.0.1", w.mqtt)
            device.client.loop_start()
            sent = {device.client.publish("readings", str(number), qos=qos).mid for number in range(100)}
            await until(lambda: device.acknowledged == sent and len(w.sink.accepted) == 100)
            assert sorted(int(posted.body) for posted in w.sink.accepted) == list(range(100))
            device.client.disconnect()
            device.client.loop_stop()

    play(scene)


@QOS
def test_paho_asks_and_is_answered(qos: int) -> None:
    async def scene() -> None:
        async with world() as w:
            device = Paho(MQTTProtocolVersion.MQTTv5)
            await asyncio.to_thread(device.client.connect, "127.0.0.1", w.mqtt)
            device.client.loop_start()
            device.client.subscribe("answers", qos=qos)
            await asyncio.to_thread(device.subscribed.wait, 5)
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's are untyped
            properties.ResponseTopic, properties.CorrelationData = "answers", b"\x00\x01"
            device.client.publish("ask", b"how warm?", qos=qos, properties=properties)
            await until(lambda: device.heard)
            assert device.heard == [("answers", b"how warm?", b"\x00\x01")]
            device.client.disconnect()
            device.client.loop_stop()

    play(scene)


@QOS
@pytest.mark.parametrize("version", [aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5])
def test_aiomqtt_publishes_and_hears(version: aiomqtt.ProtocolVersion, qos: int) -> None:
    async def scene() -> None:
        async with world() as w, aiomqtt.Client("127.0.0.1", w.mqtt, protocol=version) as client:
            await client.subscribe("commands/#", qos=qos)
            for number in range(20):
                await client.publish("readings", str(number), qos=qos)
            await until(lambda: len(w.sink.accepted) == 20)
            assert sorted(int(posted.body) for posted in w.sink.accepted) == [*range(20)]
            for number in range(3):
                assert await post(w, "/observe/commands/set", f"{STEERING}ce-mqttqos: {qos}\r\n", b"%d" % number) == 200
            heard = [await anext(client.messages) for _ in range(3)]
            assert [(one.topic.value, one.payload, one.qos) for one in heard] == [
                ("commands/set", b"%d" % number, qos) for number in range(3)
            ]

    play(scene)


@mosquitto
def test_sink_down_and_back() -> None:
    """PUBACK is withheld while the sink is down; nothing is lost, and everything goes on when it is back."""

    async def scene() -> None:
        accepted: list[Posted] = []
        async with world(lambda posted: Answer(204)) as w:
            await w.sink.stop()
            command = ["mosquitto_pub", "-p", w.mqtt, "-q", 1, "-t", "t", "-m", "x"]
            publishing = asyncio.create_task(run(*command))
            await until(lambda: w.bridge.delivery.counters["retried"])
            assert not publishing.done()
            await w.sink.start()
            assert await publishing == (0, "")
            accepted += w.sink.accepted
        assert [posted.body for posted in accepted] == [b"x"]

    play(scene)
