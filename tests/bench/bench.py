"""`make bench`: what messages and devices cost, beside the least they can cost and what people would write instead.

    bench.py [--list] [--only NAME] [--rounds 3] [--seconds 3] [--peer NAME] [--against REVISION]
             [--scale 1] [--json FILE]

Runs the suites of `tests/bench/suites/`, one after another. The exit status is 1 if a message of ours was lost,
answered wrongly, too early or delivered twice; a speed is reported, never judged: `docs/performance.md`.
"""

import argparse
import importlib
import json
import pkgutil
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from rich.console import Console
from tests.bench.processes import cores
from tests.bench.suite import Options, Suite

FIRST = "round_trips"
"""What everybody wants to know first."""
LONGEST = 120.0
"""Seconds that all rounds of one bridge may take: then no device uses a CoAP message ID twice (RFC 7252 §4.4)."""


def suites() -> list[Suite]:
    """All that there are: the round trips first, then in the order of their modules' names."""
    folder = Path(__file__).parent / "suites"
    names = [module.name for module in pkgutil.iter_modules([str(folder)])]
    names.sort(key=lambda name: (name != FIRST, name))
    return [suite for name in names for suite in importlib.import_module(f"tests.bench.suites.{name}").SUITES]


def main(arguments: list[str]) -> int:
    """Measure and print."""
    options = _options(arguments)
    if options.list:
        print("\n".join(f"{suite.name:16} {suite.about}" for suite in suites()))
        return 0
    known = suites()
    chosen = [suite for suite in known if not options.only or suite.name in options.only]
    if unknown := set(options.only or ()) - {suite.name for suite in known}:
        print(f"error: no suite is called {min(unknown)} (--list has all)", file=sys.stderr)
        return 2
    progress = Console(stderr=True, highlight=False)
    how = Options(options.rounds, options.seconds, options.scale, options.peer, options.against)
    machine, console = _machine(), Console(width=None if sys.stdout.isatty() else 160)
    console.print(machine, highlight=False)
    wrong, measured = False, {}
    for suite in chosen:
        table = suite.measure(how, lambda line, name=suite.name: progress.print(f"{name} {line}", markup=False))  # type: ignore[misc]
        table.show(console)
        wrong |= bool(table.wrong)
        measured[suite.name] = {"title": table.title, "wrong": table.wrong, **table.figures}
    if options.json:
        document = {"machine": machine, "suites": measured}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return int(wrong)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="CPU and memory per message and device.")
    parser.add_argument("--list", action="store_true", help="what there is to measure")
    parser.add_argument("--only", action="append", metavar="NAME", help="this suite; repeatable")
    parser.add_argument("--rounds", type=int, default=3, help="of each bridge (3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round of messages (3)")
    parser.add_argument("--peer", action="append", help="round trips: only bridges with this in their name; repeatable")
    parser.add_argument(
        "--against", metavar="REVISION", default="", help="round trips: beside thinbridge as it was then"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="this part of a suite's devices and bytes (1)")
    parser.add_argument("--json", type=Path, help="write everything that was measured to this file")
    options = parser.parse_args(arguments)
    if sys.platform != "linux":
        parser.error("CPU time of another process is read as Linux gives it: run it there")
    if not (options.rounds >= 1 and options.seconds > 0 and options.rounds * options.seconds <= LONGEST):
        parser.error(f"--rounds × --seconds: above 0, and at most {LONGEST:g} s")
    return options


def _machine() -> str:
    """One line: what the figures are true of."""
    cpu = next((line for line in _cpuinfo() if line.startswith("model name")), ":unknown CPU").partition(":")[2].strip()
    one, other = cores()
    where = f"bridge on core {one}, load on core {other}" if one != other else "bridge and load share ONE core"
    day = datetime.fromtimestamp(time.time(), UTC).date()
    return f"{day}, {cpu}, Python {platform.python_version()}; {where}"


def _cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
