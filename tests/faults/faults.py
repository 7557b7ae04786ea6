"""`make faults`: nothing acknowledged is lost, whatever the network, the sink and the bridge's own process do.

    faults.py [--only TEXT] [--scale 0.1] [--seed N] [--write docs/reliability.md]

Plays every case of `tests/faults/cases/`, each from its seeds, and prints a row for each: what was sent, what devices
saw fail and how much of that chance allows, what was lost. The exit status is 1 if anything was wrong. In virtual time
a seed that fails always fails: `--only CASE --seed N` plays it alone.
"""

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from math import ceil
from pathlib import Path
from time import monotonic

sys.path.insert(0, str(Path(__file__).parents[2]))

from rich.console import Console
from tests.faults.case import Case, Tally
from tests.faults.report import Row, show, write

CHUNK = 10
"""Seeds that a process takes at a time."""


def cases() -> list[Case]:
    """All that there are, in the order of their modules' names."""
    folder = Path(__file__).parent / "cases"
    modules = sorted(module.name for module in pkgutil.iter_modules([str(folder)]))
    return [case for name in modules for case in importlib.import_module(f"tests.faults.cases.{name}").CASES]


def main(arguments: Sequence[str]) -> int:
    """Play, print, judge."""
    options = _options(arguments)
    chosen = [case for case in cases() if not options.only or any(part in case.name for part in options.only)]
    if not chosen:
        print(f"error: no case has {' or '.join(options.only)} in its name", file=sys.stderr)
        return 2
    progress = Console(stderr=True, highlight=False)
    rows = []
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for number, case in enumerate(chosen, 1):
            seeds = [options.seed] if options.seed is not None else range(ceil(case.seeds * options.scale))
            row = _play(case, seeds, pool, progress, f"{number}/{len(chosen)} {case.name}")
            rows.append(row)
            progress.print(f"{number}/{len(chosen)} {row.summary()}", markup=False)
    show(rows, Console(width=None if sys.stdout.isatty() else 240))
    if options.write:
        write(rows, options.write)
    return int(any(row.wrong for row in rows))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description="A ledger of messages under each fault.")
    parser.add_argument("--only", action="append", metavar="TEXT", help="cases with this in their name; repeatable")
    parser.add_argument("--scale", type=float, default=1.0, help="this part of each case's seeds (1)")
    parser.add_argument("--seed", type=int, help="this one instead")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the rows into this page, too")
    return parser.parse_args(arguments)


def _play(case: Case, seeds: Sequence[int], pool: ProcessPoolExecutor, progress: Console, title: str) -> Row:
    """All seeds of a case; on all cores, unless it is about real time."""
    begin = monotonic()
    total, done = Tally(), 0
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    tallies: Iterable[Tally] = (
        map(case.play, seeds) if case.real else pool.map(_chunk, [case.play] * len(chunks), chunks)
    )
    with progress.status(title) if progress.is_terminal else nullcontext() as status:
        for one in tallies:
            total.add(one)
            done += 1 if case.real else CHUNK
            if status is not None:
                status.update(f"{title}: {min(done, len(seeds))} of {len(seeds)} seeds, {total.messages} messages")
    return Row(case, len(seeds), total, monotonic() - begin)


def _chunk(play: Callable[[int], Tally], seeds: Sequence[int]) -> Tally:
    total = Tally()
    for seed in seeds:
        total.add(play(seed))
    return total


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
