"""What MQTT costs: bytes for a connection, by each carrier, and CPU for a message, by QoS, terminated and by a broker.

Devices are in this process, a bridge with its defaults is another one. A broker is Debian's mosquitto, one for each who
receives from it; where there is none, the rows of those are left out.
"""

import asyncio
import resource
import shutil
import ssl
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import yaml
from tests.bench.processes import Bridge, cores
from tests.bench.rounds import spread
from tests.bench.suite import Options, Say, Suite, Table
from tests.certificates import Authority
from tests.conftest import PATH
from tests.faults.publisher import Publisher
from tests.mosquitto import Mosquitto
from tests.waiting import until
from websockets.frames import Frame, Opcode

from thinbridge.testing.function import Answer, Sink

PATIENCE: Final = 300.0


async def _bridge(stack: AsyncExitStack, sink: Sink, **listen: Any) -> tuple[Bridge, int]:
    """A bridge with its defaults, and where its devices connect."""
    config = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "bridge.yaml"
    config.write_text(yaml.safe_dump({"listen": [listen], "http": {"listen": "127.0.0.1:0"}}), "utf-8")
    command = [sys.executable, "-m", "thinbridge.cli", "run", "--config", str(config), "--sink", sink.url]
    bridge = stack.enter_context(Bridge(command, cores()[0]))
    return bridge, await asyncio.to_thread(bridge.port)


# --- Memory of connections --------------------------------------------------------------------------------------

CONNECTIONS: Final = 1_000, 10_000
CARRIERS: Final = "tcp", "ws", "tls", "wss"
BEFORE: Final = 50
"""Connections that are there before the first is counted: what a bridge needs once, it has then."""
PER_HOST: Final = 250
AT_ONCE: Final = 50

UPGRADE: Final = (
    b"GET /mqtt HTTP/1.1\r\nHost: bridge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)


def memory(options: Options, say: Say) -> Table:
    """A bridge for each carrier, one after another."""
    return asyncio.run(_memory([max(20, round(count * options.scale)) for count in CONNECTIONS], say))


async def _memory(counts: Sequence[int], say: Say) -> Table:
    heads = ("comes by", *(f"bytes each, {count:,}" for count in counts))
    table = Table("Memory of a bridge for MQTT connections, each with one message published", heads)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the bridge inherits it
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        for carrier in CARRIERS:
            figures = await _grow(carrier, counts, authority)
            table.rows.append((carrier, *(f"{figures[count]:,.0f}" for count in counts)))
            table.figures[carrier] = figures
            say(f"{carrier}: {', '.join(f'{figure:.0f}' for figure in figures.values())} bytes each")
    return table


async def _grow(carrier: str, counts: Sequence[int], authority: Authority) -> Mapping[int, float]:
    """Bytes of a connection at each number of them."""
    keys: dict[str, Any] = {"accept": [carrier], "handshake_timeout": PATIENCE, "connect_timeout": PATIENCE}
    trust = None
    if carrier in ("tls", "wss"):
        keys["tls_certificate"], keys["tls_key"] = authority.issue("server", "127.0.0.1")
        trust = ssl.create_default_context(cafile=authority.ca)
    async with Sink(lambda posted: Answer(204)) as sink, AsyncExitStack() as stack:
        bridge, port = await _bridge(stack, sink, url="mqtt://127.0.0.1:0", **keys)
        devices = Devices(carrier, port, trust)
        stack.callback(devices.close)
        await devices.connect(BEFORE)
        before = bridge.rss()
        figures = {}
        for count in counts:
            await devices.connect(BEFORE + count)
            figures[count] = (bridge.rss() - before) / count
        return figures


class Devices:
    """Connected, and silent after their first message."""

    def __init__(self, carrier: str, port: int, trust: ssl.SSLContext | None) -> None:
        self._frames = carrier in ("ws", "wss")
        self._port, self._trust = port, trust
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self, count: int) -> None:
        """So many, with those that are there."""
        numbers = iter(range(len(self._writers), count))
        await asyncio.gather(*(self._lane(numbers) for _ in range(AT_ONCE)))

    async def _lane(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            async with asyncio.timeout(PATIENCE):
                await self._one(number)

    async def _one(self, number: int) -> None:
        host = f"127.0.{1 + number // PER_HOST}.1"
        name = None if self._trust is None else "127.0.0.1"
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, local_addr=(host, 0), ssl=self._trust, server_hostname=name
        )
        self._writers.append(writer)
        client_id = b"device-%d" % number
        hello = b"\x00\x04MQTT\x04\x02\x0e\x10" + len(client_id).to_bytes(2) + client_id
        packets = [bytes((0x10, len(hello))) + hello, b"\x32\x0a\x00\x04data\x00\x01hi"]
        if self._frames:
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            packets = [Frame(Opcode.BINARY, packet).serialize(mask=True) for packet in packets]
        writer.write(b"".join(packets))
        await reader.readuntil(b"\x40\x02\x00\x01")  # its PUBACK

    def close(self) -> None:
        """All at once."""
        for writer in self._writers:
            writer.transport.abort()


# --- CPU of messages --------------------------------------------------------------------------------------------

MESSAGES: Final = 8_000
PUBLISHERS: Final = 16

PAHO: Final = """
import sys
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

port, qos, count = int(sys.argv[1]), int(sys.argv[2]), 0

def on_message(client, userdata, message):
    global count
    count += 1
    if count % 20 == 0:
        print(f"received {count}", file=sys.stderr, flush=True)

client = paho.Client(CallbackAPIVersion.VERSION2, "bare")
client.on_message = on_message
client.on_subscribe = lambda *_: print(f"from mqtt://127.0.0.1:{port}", file=sys.stderr, flush=True)
client.connect("127.0.0.1", port)
client.subscribe("readings", qos)
client.loop_forever()
"""
"""The least that the reference client does with a message: take it, acknowledge it, forget it."""


class Receiver:
    """Who is measured.

    Args:
        process: its process.
        port: where devices publish to.
        qos: their messages'.
        received: how many it has handed on so far.
    """

    def __init__(self, process: Bridge, port: int, qos: int, received: Callable[[], int]) -> None:
        self._process, self._port, self._qos, self._received = process, port, qos, received
        self._rounds = 0

    async def round(self, messages: int) -> float:
        """CPU seconds for so many messages, until they are acknowledged and handed on."""
        self._rounds += 1
        each, before, cpu = messages // PUBLISHERS, self._received(), self._process.cpu()
        devices = [Publisher(f"r{self._rounds}d{n}", self._port, each, self._qos) for n in range(PUBLISHERS)]
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(device.run() for device in devices))
        await until(lambda: self._received() >= before + each * PUBLISHERS, PATIENCE)
        return self._process.cpu() - cpu


def messages(options: Options, say: Say) -> Table:
    """All receivers take turns."""
    return asyncio.run(_messages(max(160, round(MESSAGES * options.scale) // 160 * 160), options.rounds, say))


async def _messages(count: int, rounds: int, say: Say) -> Table:
    heads = ("receiver", "CPU µs/message", "× paho's, same QoS")
    table = Table(f"MQTT messages of 10 bytes from {PUBLISHERS} devices, 10 in flight each, {count} a round", heads)
    costs: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        receivers = {name: await make(stack) for name, make in _receivers().items()}
        for number in range(rounds + 1):
            for name, receiver in receivers.items():
                cost = await receiver.round(count) / count * 1e6
                if number:  # the first warms up
                    costs.setdefault(name, []).append(cost)
                    say(f"{number}/{rounds} {name}: {cost:.1f} µs")
    for name, values in costs.items():
        least = costs.get(f"paho alone, QoS {name[-1]}")
        ratios = [one / other for one, other in zip(values, least, strict=True)] if least else []
        table.rows.append((name, spread(values, ".1f"), spread(ratios, ".2f")))
    table.figures = dict(costs)
    if shutil.which("mosquitto", path=PATH) is None:
        table.notes.append("No mosquitto here (make peers): nothing by way of a broker.")
    return table


Make = Callable[[AsyncExitStack], Awaitable[Receiver]]


def _receivers() -> dict[str, Make]:
    terminated = {f"thinbridge, terminated, QoS {qos}": _terminated(qos) for qos in (1, 2)}
    if shutil.which("mosquitto", path=PATH) is None:
        return dict(terminated)
    return {
        **terminated,
        "thinbridge, by a broker, QoS 1": _by_broker,
        **{f"paho alone, QoS {qos}": _paho(qos) for qos in (1, 2)},
    }


def _terminated(qos: int) -> Make:
    async def make(stack: AsyncExitStack) -> Receiver:
        sink = await stack.enter_async_context(Sink(lambda posted: Answer(204)))
        bridge, port = await _bridge(stack, sink, url="mqtt://127.0.0.1:0")
        return Receiver(bridge, port, qos, lambda: len(sink.accepted))

    return make


async def _by_broker(stack: AsyncExitStack) -> Receiver:
    sink = await stack.enter_async_context(Sink(lambda posted: Answer(204)))
    broker = await stack.enter_async_context(Mosquitto(durable=False, settings="allow_anonymous true\n"))
    bridge, _ = await _bridge(stack, sink, url=f"mqtt+broker://127.0.0.1:{broker.port}", subscribe=["readings"])
    return Receiver(bridge, broker.port, 1, lambda: len(sink.accepted))


def _paho(qos: int) -> Make:
    async def make(stack: AsyncExitStack) -> Receiver:
        broker = await stack.enter_async_context(Mosquitto(durable=False, settings="allow_anonymous true\n"))
        client = stack.enter_context(Bridge([sys.executable, "-c", PAHO, str(broker.port), str(qos)], cores()[0]))
        await asyncio.to_thread(client.port)
        return Receiver(client, broker.port, qos, lambda: _last(client.log()))

    return make


def _last(log: bytes) -> int:
    """The number at the end of the last line."""
    words = log.split()
    return int(words[-1]) if len(words) > 2 else 0


SUITES: Final = (
    Suite("mqtt-memory", "bytes for an MQTT connection, by TCP, WebSocket, TLS, and both", memory),
    Suite("mqtt-messages", "QoS 1 and 2: CPU per message, terminated and by a broker, beside paho alone", messages),
)
