"""MQTT with a broker and without: what a message costs the process that takes it, beside paho alone.

One `mosquitto_pub` publishes the same lines to each in turn; the sink answers 204. Only the CPU time of the process
that takes them is counted: broker, publisher and sink have the other core.
"""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from statistics import median
from time import monotonic
from typing import Final

from tests.bench.processes import HERE, Bridge, cores
from tests.bench.suite import Options, Say, Suite, Table
from tests.conftest import PATH
from tests.mosquitto import Mosquitto
from tests.waiting import until

from thinbridge.testing.function import Answer, Sink

MESSAGES: Final = 10_000
PAYLOAD: Final = 64
INFLIGHT: Final = "allow_anonymous true\nmax_inflight_messages 64\n"

Taken = Callable[[int], Awaitable[None]]
"""Waits until so many messages more have been taken."""


class Taker:
    """A process that takes messages.

    Args:
        process: it.
        port: where they are published.
        topic: under this name, its own.
        qos: with this.
        taken: waits for them.
    """

    def __init__(self, process: Bridge, port: int, topic: str, qos: int, taken: Taken) -> None:
        self.process, self.port, self.topic, self.qos, self.taken = process, port, topic, qos, taken
        self.costs: list[float] = []
        self.rates: list[float] = []

    async def take(self, count: int) -> None:
        """One round."""
        lines = "".join(f"{number:0{PAYLOAD}}\n" for number in range(count)).encode()
        before, begin = self.process.cpu(), monotonic()
        command = ("mosquitto_pub", "-p", str(self.port), "-q", str(self.qos), "-t", self.topic, "-l")
        publisher = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
        await publisher.communicate(lines)
        await asyncio.wait_for(self.taken(count), 120)
        self.costs.append((self.process.cpu() - before) / count * 1e6)
        self.rates.append(count / (monotonic() - begin))


def measure(options: Options, say: Say) -> Table:
    """All of them take turns."""
    heads = ("who takes a PUBLISH of 64 bytes", "CPU µs/message", "messages/s")
    table = Table("MQTT by way of a broker, and without one", heads)
    if shutil.which("mosquitto", path=PATH) is None or shutil.which("mosquitto_pub") is None:
        table.notes.append("not measured: there is no mosquitto (make peers)")
        return table
    asyncio.run(_measure(table, options, max(100, round(MESSAGES * options.scale)), say))
    return table


async def _measure(table: Table, options: Options, count: int, say: Say) -> None:
    async with (
        Mosquitto(INFLIGHT, durable=False) as broker,
        Sink(lambda posted: Answer(204)) as sink,
        _takers(broker.port, sink, count) as takers,
    ):
        for number in range(options.rounds):
            for name, taker in takers.items():
                await taker.take(count)
                say(f"{number + 1}/{options.rounds} {name}: {taker.costs[-1]:.0f} µs")
        for name, taker in takers.items():
            table.rows.append((name, f"{median(taker.costs):.0f}", f"{median(taker.rates):.0f}"))
            table.figures[name] = taker.costs
    table.notes.append("paho alone delivers nothing to anybody; its QoS 2 acknowledges by itself, as a bridge can't.")


@asynccontextmanager
async def _takers(port: int, sink: Sink, count: int) -> AsyncIterator[dict[str, Taker]]:
    core = cores()[0]
    run = [sys.executable, "-m", "thinbridge.cli", "run", "--sink", sink.url, "--http", "127.0.0.1:0", "--listen"]
    alone = [sys.executable, str(HERE / "paho_alone.py"), str(port)]
    by_broker = f"mqtt+broker://127.0.0.1:{port}/?subscribe=bridge&client_id=bench"

    async def at_the_sink(more: int) -> None:
        await until(lambda: len(sink.accepted) >= more, 120)
        sink.posted.clear()
        sink.accepted.clear()

    with (
        Bridge([*alone, "one", "1", str(count)], core) as paho_1,
        Bridge([*alone, "two", "2", str(count)], core) as paho_2,
        Bridge([*run, by_broker], core) as broker,
        Bridge([*run, "mqtt://127.0.0.1:0"], core) as terminated,
    ):
        for process in (paho_1, paho_2):
            await _said(process, "subscribed")
        await _logged(broker, b"connected to the broker")
        place = await asyncio.to_thread(terminated.port)
        yield {
            "paho alone, QoS 1": Taker(paho_1, port, "one", 1, lambda more: _said(paho_1, "done")),
            "paho alone, QoS 2": Taker(paho_2, port, "two", 2, lambda more: _said(paho_2, "done")),
            "thinbridge by broker, QoS 1": Taker(broker, port, "bridge", 1, at_the_sink),
            "thinbridge terminated, QoS 1": Taker(terminated, place, "bridge", 1, at_the_sink),
            "thinbridge terminated, QoS 2": Taker(terminated, place, "bridge", 2, at_the_sink),
        }


async def _said(process: Bridge, word: str) -> None:
    while await asyncio.to_thread(process.line, 120) != word:
        pass


async def _logged(process: Bridge, text: bytes) -> None:
    try:
        await until(lambda: text in process.log(), 20)
    except TimeoutError:
        raise process.failed("does not start") from None


SUITES: Final = (Suite("mqtt-broker", "MQTT by way of a broker and terminated, beside paho alone", measure),)
