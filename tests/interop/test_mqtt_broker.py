"""MQTT by way of Debian's mosquitto, with its own clients as the devices.

Over 400 lines because it has every way in which a bridge meets a real broker, one after another.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import websockets.asyncio.server as websocket
from tests.certificates import Authority
from tests.interop.bridges import run
from tests.mosquitto import Mosquitto
from tests.waiting import until

from thinbridge.assembly import build
from thinbridge.bridge import Bridge
from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Outbound, PushResult
from thinbridge.settings import load
from thinbridge.testing.chaos import StreamChaos
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


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_tls_with_certificates_on_both_sides(tmp_path: Path, loop: str) -> None:
    async def scene() -> None:
        authority = Authority(tmp_path)
        server, server_key = authority.issue("server", "127.0.0.1")
        bridge, bridge_key = authority.issue("bridge", common_name="bridge")
        settings = f"cafile {authority.ca}\ncertfile {server}\nkeyfile {server_key}\n"
        settings += "require_certificate true\nuse_identity_as_username true\n"
        async with Mosquitto(settings) as broker, Sink(accepts) as sink:
            files = {"tls_ca": authority.ca, "tls_certificate": bridge, "tls_key": bridge_key}
            url = listener("mqtts+broker", broker.port, subscribe="t", **files)
            async with running(sink, url):
                ours = ("--cafile", authority.ca, "--cert", bridge, "--key", bridge_key)
                command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", broker.port, *ours, "-q", 1, "-t", "t", "-l"]
                lines = "".join(f"{number}\n" for number in range(300)).encode()  # many packets in one record
                assert await run(*command, stdin=lines) == (0, "")
                await until(lambda: len(sink.accepted) == 300)

    if loop == "asyncio":
        play(scene)
    else:
        uvloop = pytest.importorskip("uvloop")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(scene())


def test_a_broker_that_is_not_whom_it_should_be_gets_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        server, server_key = Authority(tmp_path, "theirs").issue("server", "127.0.0.1")
        ours = Authority(tmp_path, "ours")
        settings = f"certfile {server}\nkeyfile {server_key}\nallow_anonymous true\n"
        async with Mosquitto(settings) as broker, Sink(accepts) as sink:
            url = listener("mqtts+broker", broker.port, subscribe="t", tls_ca=ours.ca)
            bridge = build(load({"listen": [url], "sink": sink.url, "http": "127.0.0.1:0"}, {}))
            await bridge.start()
            await until(
                lambda: "verify" in (health(bridge)["error"] or "") or "issuer" in (health(bridge)["error"] or "")
            )
            await bridge.stop()

    play(scene)


@pytest.mark.parametrize(
    ("scheme", "key", "keys"),
    [
        ("mqtt+broker", "tls_ca", {"tls_ca": "ca.pem"}),
        ("mqtts+broker", "tls_ca", {"tls_ca": "nothing.pem"}),
        ("mqtts+broker", "tls_ca", {"tls_ca": "empty.pem"}),
        ("mqtts+broker", "tls_certificate", {"tls_certificate": "server.crt", "tls_key": "other.key"}),
        ("mqtts+broker", "password_file", {"username": "me", "password_file": "nothing"}),
        ("mqtt+broker", "replica", {"share": "g", "replica": "hostname"}),
    ],
)
def test_files_that_cannot_be_used_end_the_start(
    scheme: str, key: str, keys: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        monkeypatch.setattr("socket.gethostname", lambda: "laptop")
        authority = Authority(tmp_path)
        authority.issue("server", "127.0.0.1")
        authority.issue("other", "127.0.0.1")
        (tmp_path / "empty.pem").touch()
        files = {
            name: str(tmp_path / value) if "." in value or "file" in name else value for name, value in keys.items()
        }
        url = listener(scheme, 1, subscribe="t", **files)
        bridge = build(load({"listen": [url], "sink": "http://127.0.0.1:1/", "http": "127.0.0.1:0"}, {}))
        with pytest.raises(SettingsError) as refused:
            await bridge.start()
        assert refused.value.key == f"listen[0].{key}"

    play(scene)


def test_a_user_name_and_a_password(tmp_path: Path) -> None:
    async def scene() -> None:
        passwords = tmp_path / "passwords"
        assert (await run("mosquitto_passwd", "-c", "-b", passwords, "bridge", "secret"))[0] == 0
        passwords.chmod(0o644)
        async with Mosquitto(f"allow_anonymous false\npassword_file {passwords}\n") as broker, Sink(accepts) as sink:
            token = tmp_path / "token"
            token.write_text("wrong")
            url = listener("mqtt+broker", broker.port, subscribe="t", username="bridge", password_file=str(token))
            bridge = build(load({"listen": [url], "sink": sink.url, "http": "127.0.0.1:0"}, {}))
            await bridge.start()
            await until(lambda: health(bridge)["error"] == "the broker refuses: Not authorized")
            await bridge.stop()
            token.write_text("secret\n")
            async with running(sink, url):
                pass

    play(scene)


def test_over_a_websocket() -> None:
    """Debian's mosquitto has none, so an independent server of WebSockets stands before it."""

    async def scene() -> None:
        async with Mosquitto() as broker, Sink(accepts) as sink:

            async def carry(connection: websocket.ServerConnection) -> None:
                assert connection.request is not None
                assert (connection.request.path, connection.subprotocol) == ("/ws/mqtt", "mqtt")
                reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)

                async def back() -> None:
                    while data := await reader.read(1 << 16):
                        await connection.send(data)

                task = asyncio.ensure_future(back())
                async for message in connection:
                    assert isinstance(message, bytes)
                    writer.write(message)
                task.cancel()
                writer.close()

            async with websocket.serve(carry, "127.0.0.1", 0, subprotocols=["mqtt"], ping_interval=0.1) as server:  # type: ignore[list-item]
                port = next(iter(server.sockets)).getsockname()[1]
                async with running(sink, listener("mqtt+broker", port, subscribe="t", websocket="/ws/mqtt")):
                    command = ["mosquitto_pub", "-p", broker.port, "-q", 1, "-t", "t", "-l"]
                    lines = "".join(f"{number} {'x' * 1000}\n" for number in range(300)).encode()
                    assert await run(*command, stdin=lines) == (0, "")
                    await until(lambda: len(sink.accepted) == 300)
                    await asyncio.sleep(0.3)  # some pings

    play(scene)


@both
def test_replicas_share_the_messages_and_answer_them(version: str) -> None:
    async def scene() -> None:
        async with Mosquitto() as broker, Sink() as sink:
            url = listener("mqtt+broker", broker.port, subscribe=["ask"], share="all", version=version, client_id="b")
            async with running(sink, url) as one, running(sink, url) as other:
                ids = {health(one)["client_ids"][0], health(other)["client_ids"][0]}
                assert ids == {"b-0", "b-1"}
                command = ["mosquitto_pub", "-p", broker.port, "-q", 1, "-t", "ask", "-l"]
                lines = "".join(f"{number}\n" for number in range(100)).encode()
                assert await run(*command, stdin=lines) == (0, "")
                await until(lambda: len(sink.accepted) == 100)
                assert sorted(int(posted.body) for posted in sink.accepted) == list(range(100))

                def shares() -> list[int]:
                    return [bridge.recorder.messages["mqtt+broker", "accepted"] for bridge in (one, other)]

                await until(lambda: sum(shares()) == 100)
                assert min(shares()) > 20
                if version == "5":
                    ask = ["mosquitto_rr", "-V", "5", "-p", broker.port, "-t", "ask", "-e", "answers", "-m", "hello"]
                    for _ in range(2):  # one replica answers, then the other
                        assert await run(*ask) == (0, "hello\n")

    play(scene)


def test_a_replica_that_waits_comes_in_when_another_goes() -> None:
    async def scene() -> None:
        async with Mosquitto() as broker, Sink(accepts) as sink:
            url = listener("mqtt+broker", broker.port, subscribe="t", share="all", replicas="1")
            async with running(sink, url) as first:
                second = build(load({"listen": [url], "sink": sink.url, "http": "127.0.0.1:0"}, {}))
                await second.start()
                await until(lambda: health(second)["waiting"])
                await asyncio.sleep(2)
                assert health(second)["client_ids"] == []
                assert health(first)["subscribed"]
            assert await run("mosquitto_pub", "-p", broker.port, "-q", 1, "-t", "t", "-m", "x") == (0, "")
            await until(lambda: sink.accepted, 20)
            await until(lambda: health(second)["subscribed"])  # what waits comes before the SUBACK
            await second.stop()

    play(scene)


@both
def test_the_right_to_tell_each_other_is_asked_for_in_one_line(
    version: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thinbridge.adapters.mqtt_broker.replicas.BEAT", 0.5)

    def lines() -> list[str]:
        return [text for record in caplog.records if "grant the bridge's user" in (text := record.getMessage())]

    async def scene() -> None:
        rules = tmp_path / "rules"
        rules.write_text("topic read t\n" if version == "5" else "topic read #\n")
        rules.chmod(0o644)
        async with Mosquitto(f"allow_anonymous true\nacl_file {rules}\n") as broker, Sink(accepts) as sink:
            url = listener("mqtt+broker", broker.port, subscribe="t", share="all", client_id="b", version=version)
            bridge = build(load({"listen": [url], "sink": sink.url, "http": "127.0.0.1:0"}, {}))
            await bridge.start()
            await until(lines, 20)
            await bridge.stop()

    play(scene)
    assert all(line.endswith("grant the bridge's user read and write of thinbridge/b/#") for line in lines())


def test_a_replica_that_was_cut_off_throws_nobody_out() -> None:
    async def scene() -> None:
        async with Mosquitto() as broker, Sink(accepts) as sink:
            options = {"subscribe": "t", "share": "all", "client_id": "b", "adopt_after": "1", "replicas": "2"}
            way = StreamChaos(("127.0.0.1", broker.port))
            await way.start()
            async with (
                running(sink, listener("mqtt+broker", way.port, **options)) as cut_off,
                running(sink, listener("mqtt+broker", broker.port, **options)) as heir,
            ):
                await way.stop()
                [link] = [consumer.link for consumer in cut_off.endpoints[0]._consumers.values()]  # type: ignore[attr-defined]
                await until(lambda: not link.permitted.is_set())
                await until(lambda: len(health(heir)["client_ids"]) == 2 and health(heir)["subscribed"], 20)
                way = StreamChaos(("127.0.0.1", broker.port), listen=("127.0.0.1", way.port))
                await way.start()
                await until(lambda: health(cut_off)["subscribed"] and len(health(heir)["client_ids"]) == 1, 30)
                assert heir.endpoints[0].counters.get("taken_over", 0) == 0
                assert {*health(cut_off)["client_ids"], *health(heir)["client_ids"]} == {"b-0", "b-1"}
                await way.stop()

    play(scene)
