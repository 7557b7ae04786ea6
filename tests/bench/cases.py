"""What is measured: three kinds of round trip, and who makes each. Used by `bench.py`."""

import sys
from collections.abc import Callable
from typing import Final, NamedTuple

from tests.bench.processes import HERE

Command = Callable[[str, str], list[str]]
"""(case, sink's URL) → the command line of a bridge."""

THINBRIDGE: Final = "thinbridge"
FLOOR: Final = "floor"


class Case(NamedTuple):
    """One kind of message; its devices, and how many messages are in flight, are `load.c`'s."""

    title: str
    target: float
    """How often the floor's CPU time a message may cost; the floor's own is what Python cannot go below."""
    bridges: dict[str, Command]
    note: str = ""


def _thinbridge(case: str, sink: str) -> list[str]:
    listen, http = f"{case}://127.0.0.1:0", "127.0.0.1:0"
    return [sys.executable, "-m", "thinbridge.cli", "run", "--listen", listen, "--sink", sink, "--http", http]


def _floor(case: str, sink: str) -> list[str]:
    return [sys.executable, str(HERE / "floor.py"), case, sink]


def _script(case: str, sink: str) -> list[str]:
    return [sys.executable, str(HERE / "script.py"), case, sink]


CASES: Final = {
    "coap": Case(
        "CoAP CON POST, 32 B there and back; 64 devices, 1 in flight each",
        1.7,
        {THINBRIDGE: _thinbridge, FLOOR: _floor, "aiocoap+aiohttp": _script},
    ),
    "mqtt": Case(
        "MQTT 3.1.1 PUBLISH QoS 1, 64 B, PUBACK after the sink's 204; 16 devices, 4 in flight each",
        2.0,
        {THINBRIDGE: _thinbridge, FLOOR: _floor},
        "No script: Python's MQTT clients need a broker, which acknowledges before any sink has seen the message.",
    ),
    "udp": Case(
        "UDP, 64 B there and back; 64 devices, 1 in flight each",
        1.7,
        {THINBRIDGE: _thinbridge, FLOOR: _floor, "asyncio+aiohttp": _script},
    ),
}
