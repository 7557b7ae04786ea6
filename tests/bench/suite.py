"""What `make bench` measures: a suite, and the tables that it makes.

A module in `tests/bench/suites/` says `SUITES: tuple[Suite, ...]`; `bench.py` finds it there. `test_bench.py` runs
every suite at a small scale with the tests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table as RichTable


@dataclass(frozen=True)
class Options:
    """What the command line says; a suite takes what it understands."""

    rounds: int = 3
    """How often each thing is measured."""
    seconds: float = 3.0
    """How long a round of messages is."""
    scale: float = 1.0
    """This part of the devices, bytes and messages that the suite has by itself: tests take little of it."""
    peers: Sequence[str] | None = None
    """Only bridges with one of these in their name."""
    against: str = ""
    """A revision of this repository, whose bridge takes turns with this one."""


@dataclass
class Table:
    """What was measured."""

    title: str
    heads: tuple[str, ...]
    """The first column is words, all others are figures."""
    rows: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    notes: list[str] = field(default_factory=list[str])
    """Lines under it: whether a target is met, what a figure is."""
    wrong: list[str] = field(default_factory=list[str])
    """What must not be, of our own: the exit status is 1. A speed is never wrong."""
    figures: dict[str, Any] = field(default_factory=dict[str, Any])
    """Everything measured, for `--json`."""

    def show(self, console: Console) -> None:
        """Print it; Markdown where nobody looks at a terminal."""
        table = RichTable(box=box.SIMPLE_HEAD if console.is_terminal else box.MARKDOWN)
        table.add_column(self.heads[0])
        for head in self.heads[1:]:
            table.add_column(head, justify="right")
        for row in self.rows:
            table.add_row(*row)
        console.print(f"\n{self.title}\n", highlight=False, markup=False)
        console.print(table)
        for line in (*self.notes, *(f"WRONG: {wrong}" for wrong in self.wrong)):
            console.print(line, highlight=False, markup=False)


Say = Callable[[str], None]
"""Tells who waits how far it is."""


class Suite(NamedTuple):
    """A subject."""

    name: str
    """For `--only`: `coap-memory`."""
    about: str
    """One line for `--list`."""
    measure: Callable[[Options, Say], Table]
