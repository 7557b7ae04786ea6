"""Rows of `make faults` as a table: for a terminal, and as Markdown for a page. Used by `faults.py`."""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from tests.faults.case import Case, Tally

HEADS = ("seeds", "messages", "failed", "allowed", "lost", "phantom", "crossed", "unexpected", "duplicated")
BEGIN, END = "<!-- made by make faults: begin -->\n", "<!-- made by make faults: end -->"


@dataclass(frozen=True)
class Row:
    """One case, played."""

    case: Case
    seeds: int
    tally: Tally
    seconds: float

    @property
    def allowed(self) -> float | None:
        """How many failures chance allows; None: they are not judged."""
        return None if self.case.bound is None else self.case.bound(self.tally.messages)

    @property
    def wrong(self) -> list[str]:
        """What must not be, in words."""
        wrong = [f"{count} {name}" for name, count in self.tally.wrong.items()]
        if self.allowed is not None and self.tally.failed > self.allowed:
            wrong.append(f"{self.tally.failed} failed, {self.allowed:.0f} allowed")
        return wrong + self.tally.broken

    def summary(self) -> str:
        """One line."""
        verdict = f"WRONG: {'; '.join(self.wrong)[:500]}" if self.wrong else "all well"
        return f"{self.case.name}: {self.tally.messages} messages, {self.seconds:.0f} s: {verdict}"

    def cells(self) -> tuple[str, ...]:
        """The row, in the order of `HEADS`."""
        tally = self.tally
        allowed = "–" if self.allowed is None else f"{self.allowed:,.0f}"
        last = (tally.lost, tally.phantom, tally.crossed, tally.unexpected, tally.duplicated)
        first = (f"{count:,}" for count in (self.seeds, tally.messages, tally.failed))
        return (self.case.fault, *first, allowed, *(f"{count:,}" for count in last))


def show(rows: list[Row], console: Console) -> None:
    """Print the table; Markdown where nobody looks at a terminal."""
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else box.MARKDOWN)
    table.add_column("fault")
    for head in HEADS:
        table.add_column(head, justify="right")
    for row in rows:
        table.add_row(*row.cells(), style="red" if row.wrong and console.is_terminal else None)
    console.print(table)
    for row in rows:
        for what in row.wrong:
            console.print(f"{row.case.name}: {what}", highlight=False, markup=False)


def write(rows: list[Row], page: Path) -> None:
    """Put the rows into a page, between its marks, each with its day; a row that is not played now stays as it was.

    Raises:
        ValueError: it has no marks.
    """
    text = page.read_text("utf-8")
    found = re.search(f"{re.escape(BEGIN)}(.*?){re.escape(END)}", text, re.DOTALL)
    if found is None:
        raise ValueError(f"{page} has no place for the table: {BEGIN.strip()} … {END}")
    known = {line.split(" | ")[0]: line for line in found[1].splitlines()[2:]}
    day = str(datetime.fromtimestamp(time.time(), UTC).date())
    known |= {f"| {row.case.fault}": f"| {' | '.join((*row.cells(), day))} |" for row in rows}
    heads = [f"| {' | '.join(('fault', *HEADS, 'day'))} |", "|---|" + "---:|" * len(HEADS) + "---|"]
    page.write_text(text.replace(found[1], "\n".join([*heads, *known.values(), ""])), "utf-8")
