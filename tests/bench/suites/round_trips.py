"""Round trips: a device's message, the POST to the sink, its answer, what the device hears. Three kinds of message.

Bridges take turns (A B C A B C …) on one core; devices and sink, one process, have another. A round begins with all
devices sending and ends when the last answer is there.
"""

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from typing import Final

from tests.bench.processes import HERE, Bridge, Failed, Load, compiled, cores
from tests.bench.rounds import FLOOR, THINBRIDGE, Case, Command, Result, Round
from tests.bench.suite import Options, Say, Suite, Table

ROOT: Final = HERE.parents[1]
WARM_UP: Final = 0.5
"""Seconds before the first round, not counted: connections are opened, Python specialises its bytecode."""


def _thinbridge(case: str, sink: str) -> list[str]:
    listen, http = f"{case}://127.0.0.1:0", "127.0.0.1:0"
    return [sys.executable, "-m", "thinbridge.cli", "run", "--listen", listen, "--sink", sink, "--http", http]


def _floor(case: str, sink: str) -> list[str]:
    return [sys.executable, str(HERE / "floor.py"), case, sink]


def _script(case: str, sink: str) -> list[str]:
    return [sys.executable, str(HERE / "script.py"), case, sink]


def _earlier(revision: str, folder: str, case: str, sink: str) -> list[str]:
    """The bridge as it was, in today's environment: its sources come before ours.

    Raises:
        Failed: git knows no such revision.
    """
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", revision, "bridges"], capture_output=True)
    if archive.returncode:
        raise Failed(archive.stderr.decode(errors="replace").strip())
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return ["env", f"PYTHONPATH={folder}/bridges", *_thinbridge(case, sink)]


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


def measure(name: str, options: Options, say: Say) -> Table:
    """All rounds of a case; every bridge has its own devices and sink, and waits idle for its turn."""
    result = Result(CASES[name])
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        load = compiled(folder)
        pairs: dict[str, tuple[Bridge, Load, int]] = {}
        bridges = dict(result.case.bridges)
        if options.against:
            bridges[f"{THINBRIDGE} {options.against}"] = partial(_earlier, options.against, folder)
        for bridge, command in bridges.items():
            if options.peers and not any(part in bridge for part in options.peers):
                continue
            try:
                pairs[bridge] = _start(name, command, load, stack)
                _round(*pairs[bridge], min(WARM_UP, options.seconds))
            except Failed as error:
                result.failed[bridge] = str(error)
        for number in range(options.rounds):
            for bridge in [bridge for bridge in pairs if bridge not in result.failed]:
                try:
                    one = _round(*pairs[bridge], options.seconds)
                except Failed as error:
                    result.failed[bridge] = str(error)
                    continue
                result.rounds.setdefault(bridge, []).append(one)
                say(f"{number + 1}/{options.rounds} {bridge}: {one.cost:.1f} µs, {one.rate:.0f}/s")
    table = result.table()
    if load[0] == sys.executable:
        table.notes.append("Load and sink in PYTHON (no C compiler): messages/s and latency are the load's.")
    return table


def _start(case: str, command: Command, load: list[str], stack: ExitStack) -> tuple[Bridge, Load, int]:
    ours, others = cores()
    devices = stack.enter_context(Load([*load, case, *(["spin"] if ours != others else [])], others))
    bridge = stack.enter_context(Bridge(command(case, devices.sink()), ours))
    return bridge, devices, bridge.port()


def _round(bridge: Bridge, devices: Load, port: int, seconds: float) -> Round:
    before = bridge.cpu()
    counted = devices.round(port, seconds)
    return Round(counted, bridge.cpu() - before, bridge.rss())


SUITES: Final = tuple(Suite(name, f"round trips: {case.title}", partial(measure, name)) for name, case in CASES.items())
