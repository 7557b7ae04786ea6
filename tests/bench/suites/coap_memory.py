"""What a bridge keeps of CoAP devices: bytes for a peer, for a request that is remembered, for an observation.

A whole bridge with its defaults; memory is what the system says that the process has. Devices come in thousands, so
that what it had before is no matter. A figure is a difference of two of these, divided by how many there were.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final

from tests.bench.fleet import Fleet
from tests.bench.processes import Bridge, cores
from tests.bench.suite import Options, Say, Suite, Table

from thinbridge.protocols.coap.codec import Message
from thinbridge.protocols.coap.codes import GET, POST, Option, Type
from thinbridge.protocols.coap.memory import EXCHANGE_LIFETIME
from thinbridge.testing.function import Answer, Sink

PEERS: Final = 10_000
AGAIN: Final = 2
"""More requests of each peer, all remembered for their 247 s."""

CONFIG: Final = """
listen: [{url: "coap://127.0.0.1:0"}]
http: {listen: "127.0.0.1:0"}
routes: [{subject: watched, reply: {coapobserve: "true"}}]
"""
ANSWER: Final = Answer(200, {"content-type": "text/plain"}, b"32 bytes, as in the round trips!")
POST_IT: Final = Message(Type.CON, POST, 1, b"", [(Option.URI_PATH, b"sensors")], bytes(32))
WATCH_IT: Final = Message(Type.CON, GET, 1, b"", [(Option.OBSERVE, b""), (Option.URI_PATH, b"watched")])


def measure(options: Options, say: Say) -> Table:
    """Two bridges, one after another: the second one's devices observe."""
    return asyncio.run(_measure(max(100, round(PEERS * options.scale)), say))


async def _measure(peers: int, say: Say) -> Table:
    table = Table(f"Memory of a bridge for {peers} CoAP devices", ("what", "how many", "bytes each"))
    async with _bridge(table) as (bridge, fleet):
        begin, before = monotonic(), bridge.rss()
        await fleet.ask(range(peers), POST_IT)
        one = (bridge.rss() - before) / peers
        say(f"{peers} peers: {one:.0f} bytes each")
        before = bridge.rss()
        for mid in range(2, 2 + AGAIN):
            await fleet.ask(range(peers), Message(Type.CON, POST, mid, b"", POST_IT.options, POST_IT.payload))
        request = (bridge.rss() - before) / (peers * AGAIN)
        say(f"{peers * AGAIN} more requests: {request:.0f} bytes each")
        if monotonic() - begin > EXCHANGE_LIFETIME:
            table.notes.append("It took so long that the first were forgotten: the figures are too low.")
    async with _bridge(table) as (bridge, fleet):
        before = bridge.rss()
        await fleet.ask(range(peers), WATCH_IT)
        observer = (bridge.rss() - before) / peers
        say(f"{peers} peers that observe: {observer:.0f} bytes each")
    figures = {
        "a peer with one request and its response": (peers, one),
        "a further request that is remembered, with its response": (peers * AGAIN, request),
        "so a peer alone": (peers, one - request),
        "a peer with one observation": (peers, observer),
        "so an observation alone": (peers, observer - one),
    }
    table.rows = [(what, str(count), f"{each:.0f}") for what, (count, each) in figures.items()]
    table.figures = {what: each for what, (_, each) in figures.items()}
    return table


@asynccontextmanager
async def _bridge(table: Table) -> AsyncIterator[tuple[Bridge, Fleet]]:
    """A bridge that has answered some devices already, so that what it needs once is there."""
    async with Sink(lambda posted: ANSWER) as sink:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
            config.write(CONFIG)
            config.flush()
            command = [sys.executable, "-m", "thinbridge.cli", "run", "--config", config.name, "--sink", sink.url]
            with Bridge(command, cores()[0]) as bridge:
                fleet = Fleet(await asyncio.to_thread(bridge.port))
                await fleet.ask(range(1_000_000, 1_000_500), POST_IT)
                yield bridge, fleet
                if fleet.unanswered:
                    table.wrong.append(f"{fleet.unanswered} requests were not answered")


SUITES: Final = (Suite("coap-memory", "bytes for a peer, a remembered request, an observation", measure),)
