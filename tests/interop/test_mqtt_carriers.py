"""MQTT over TLS and over WebSocket, by independent clients against a whole bridge that takes all on one port."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, STDOUT
from subprocess import run as run_now

import aiomqtt
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.certificates import Authority
from tests.conftest import NPM
from tests.interop.bridges import World, run, standing, world

LISTEN = ["coap://127.0.0.1:0", "udp://127.0.0.1:0"]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def listen(authority: Authority, **keys: object) -> list[object]:
    certificate, key = authority.issue("server", "localhost", "127.0.0.1")
    mqtt = {"url": "mqtt://127.0.0.1:0", "accept": "tcp,tls,ws,wss", "tls_certificate": certificate, "tls_key": key}
    return [LISTEN[0], {**mqtt, **keys}, LISTEN[1]]


@pytest.fixture
def bridge(authority: Authority) -> Iterator[World]:
    with standing(listen=listen(authority)) as w:
        yield w


@pytest.mark.peer("mosquitto_pub", "mosquitto_rr")
@pytest.mark.parametrize("version", ["311", "5"])
def test_mosquitto_over_tls(authority: Authority, version: str) -> None:
    async def scene() -> None:
        async with world(listen=listen(authority, tls_client_ca=authority.ca)) as w:
            device, key = authority.issue("device", common_name="meter-7")
            command = [
                "mosquitto_pub",
                "-V",
                version,
                "-p",
                w.mqtt,
                "-q",
                1,
                "-t",
                "t",
                "-m",
                "x",
                "--cafile",
                authority.ca,
            ]
            status, said = await run(*command)
            assert status, said  # without a certificate
            assert await run(*command, "--cert", device, "--key", key) == (0, "")
            [posted] = w.sink.accepted
            assert posted.headers["ce-authid"] == "x509:meter-7"
            assert posted.headers["ce-deviceid"] == "meter-7"
            counters = w.bridge.endpoints[1].counters
            assert counters["certificate_refused"] == 1

    asyncio.run(scene())


CARRIERS = pytest.mark.parametrize("transport", ["tcp", "websockets"])
SECURE = pytest.mark.parametrize("secure", [False, True])


@CARRIERS
@SECURE
@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
def test_paho_by_each_carrier(
    bridge: World, authority: Authority, transport: str, secure: bool, version: MQTTProtocolVersion
) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, "ann", None, None, version, transport)  # type: ignore[arg-type]
    done = threading.Event()
    client.on_publish = lambda *_: done.set()
    if secure:
        client.tls_set(authority.ca)
    client.connect("localhost", bridge.mqtt)
    client.loop_start()
    try:
        for size in (10, 100_000):
            done.clear()
            client.publish("t", b"x" * size, 1)
            assert done.wait(20)
            assert bridge.sink.accepted[-1].body == b"x" * size
    finally:
        client.disconnect()
        client.loop_stop()
    assert bridge.bridge.endpoints[1].counters == {}


@CARRIERS
@SECURE
def test_aiomqtt_by_each_carrier(authority: Authority, transport: str, secure: bool) -> None:
    async def scene() -> None:
        context = ssl.create_default_context(cafile=authority.ca) if secure else None
        async with (
            world(listen=listen(authority)) as w,
            aiomqtt.Client(
                "localhost",
                w.mqtt,
                protocol=aiomqtt.ProtocolVersion.V5,
                transport=transport,  # type: ignore[arg-type]
                tls_context=context,
            ) as client,
        ):
            await client.subscribe("answers", qos=1)
            asked = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's are untyped
            asked.ResponseTopic = "answers"
            for size in (10, 100_000):
                await client.publish("ask", b"x" * size, qos=1, properties=asked)
                message = await asyncio.wait_for(anext(client.messages), 20)
                assert (message.topic.value, message.payload) == ("answers", b"x" * size)
            counters = w.bridge.endpoints[1].counters
            assert counters == {}

    asyncio.run(scene())


@pytest.mark.peer("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_agrees_on_mqtt(bridge: World, authority: Authority, version: str) -> None:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{bridge.mqtt}", "-servername", "localhost", version]
    command += ["-alpn", "h2,mqtt", "-CAfile", authority.ca, "-verify_return_error"]
    done = run_now(command, input=b"", stdout=PIPE, stderr=STDOUT, timeout=30, check=False)
    assert b"ALPN protocol: mqtt" in done.stdout
    assert b"Verify return code: 0 (ok)" in done.stdout


@pytest.mark.peer("node", "npm:mqtt")
@pytest.mark.parametrize("scheme", ["mqtts", "ws", "wss"])
def test_npms_mqtt(bridge: World, authority: Authority, scheme: str) -> None:
    path = "" if scheme == "mqtts" else "/mqtt"
    script = f"""
        const mqtt = require('{NPM}/mqtt')
        const ca = require('fs').readFileSync('{authority.ca}')
        const client = mqtt.connect('{scheme}://localhost:{bridge.mqtt}{path}', {{ ca, protocolVersion: 5 }})
        client.on('error', (error) => {{ console.log(error.message); process.exit(1) }})
        client.on('message', (topic, data) => {{ console.log(`${{topic}} ${{data}}`); client.end() }})
        client.on('connect', () => client.subscribe('answers', () =>
            client.publish('ask', 'hello', {{ qos: 1, properties: {{ responseTopic: 'answers' }} }})))
    """
    done = run_now(["node", "-e", script], stdout=PIPE, stderr=STDOUT, timeout=40, check=False)
    assert done.stdout == b"answers hello\n"
