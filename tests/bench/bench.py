"""`make bench`: what a message costs, beside the least it can cost and what people would write instead.

    bench.py [--case coap|mqtt|udp] [--peer NAME] [--rounds 3] [--seconds 3] [--json FILE]

Bridges take turns (A B C A B C …) on one core; devices and sink, one process, have another. A round begins with all
devices sending and ends when the last answer is there. The exit status is 1 if a message of ours was lost, answered
wrongly, too early or delivered twice; a speed is reported, never judged: `docs/performance.md`.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from rich.console import Console
from tests.bench.cases import CASES, Command
from tests.bench.processes import Bridge, Failed, Load, compiled, cores
from tests.bench.report import Result, Round, show

WARM_UP = 0.5
"""Seconds before the first round, not counted: connections are opened, Python specialises its bytecode."""

LONGEST = 120.0
"""Seconds that all rounds of one bridge may take: then no device uses a CoAP message ID twice (RFC 7252 §4.4)."""


def main(arguments: list[str]) -> int:
    """Measure and print."""
    options = _options(arguments)
    progress = Console(stderr=True, highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        load = compiled(folder)
        results = {case: _measure(case, options, load, progress) for case in options.case or CASES}
    table = Console(width=None if sys.stdout.isatty() else 160)
    table.print(_machine(load), highlight=False)
    show(list(results.values()), table)
    if options.json:
        document = {"machine": _machine(load), "cases": {case: result.as_json() for case, result in results.items()}}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return int(any(result.faults for result in results.values()))


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="CPU per message, beside the floor.")
    parser.add_argument("--case", action="append", choices=CASES, help="only this one; repeatable")
    parser.add_argument("--peer", action="append", help="only bridges with this in their name; repeatable")
    parser.add_argument("--rounds", type=int, default=3, help="of each bridge (3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round (3)")
    parser.add_argument("--json", type=Path, help="write everything that was measured to this file")
    options = parser.parse_args(arguments)
    if sys.platform != "linux":
        parser.error("CPU time of another process is read as Linux gives it: run it there")
    if not (options.rounds >= 1 and options.seconds > 0 and options.rounds * options.seconds <= LONGEST):
        parser.error(f"--rounds × --seconds: above 0, and at most {LONGEST:g} s")
    return options


def _measure(case: str, options: argparse.Namespace, load: list[str], progress: Console) -> Result:
    """All rounds of a case; every bridge has its own devices and sink, and waits idle for its turn."""
    result = Result(CASES[case])
    with ExitStack() as stack:
        pairs: dict[str, tuple[Bridge, Load, int]] = {}
        for name, command in result.case.bridges.items():
            if options.peer and not any(part in name for part in options.peer):
                continue
            try:
                pairs[name] = _start(case, command, load, stack)
                _round(*pairs[name], min(WARM_UP, options.seconds))
            except Failed as error:
                result.failed[name] = str(error)
        for number in range(options.rounds):
            for name in [name for name in pairs if name not in result.failed]:
                try:
                    one = _round(*pairs[name], options.seconds)
                except Failed as error:
                    result.failed[name] = str(error)
                    continue
                result.rounds.setdefault(name, []).append(one)
                progress.print(f"{case} {number + 1}/{options.rounds} {name}: {one.cost:.1f} µs, {one.rate:.0f}/s")
    return result


def _start(case: str, command: Command, load: list[str], stack: ExitStack) -> tuple[Bridge, Load, int]:
    ours, others = cores()
    devices = stack.enter_context(Load([*load, case, *(["spin"] if ours != others else [])], others))
    bridge = stack.enter_context(Bridge(command(case, devices.sink()), ours))
    return bridge, devices, bridge.port()


def _round(bridge: Bridge, devices: Load, port: int, seconds: float) -> Round:
    before = bridge.cpu()
    counted = devices.round(port, seconds)
    return Round(counted, bridge.cpu() - before, bridge.rss())


def _machine(load: list[str]) -> str:
    """One line: what the figures are true of."""
    cpu = next((line for line in _cpuinfo() if line.startswith("model name")), ":unknown CPU").partition(":")[2].strip()
    one, other = cores()
    where = f"bridge on core {one}, load on core {other}" if one != other else "bridge and load share ONE core"
    by = "in C" if load[0] != sys.executable else "in PYTHON (no C compiler): messages/s and latency are the load's"
    day = datetime.fromtimestamp(time.time(), UTC).date()
    return f"{day}, {cpu}, Python {platform.python_version()}; {where}; load and sink {by}"


def _cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
