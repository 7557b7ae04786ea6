"""Rounds into tables and JSON. Used by `bench.py`."""

from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from tests.bench.cases import FLOOR, THINBRIDGE, Case

FAULTS = ("lost", "wrong", "early", "repeated")
"""What must be 0: not answered within 2 s, answered wrongly, answered before the sink's 2xx, POSTed twice."""


@dataclass(frozen=True)
class Round:
    """One bridge for some seconds."""

    load: dict[str, float]
    """What the devices and the sink counted (`load.c`)."""
    cpu: float
    """Seconds of the bridge, user and system."""
    rss: int
    """Bytes of the bridge, at the end."""

    @property
    def cost(self) -> float:
        """CPU µs of the bridge per message."""
        return self.cpu / max(self.load["messages"], 1) * 1e6

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.load["messages"] / self.load["seconds"]


@dataclass
class Result:
    """All rounds of one case."""

    case: Case
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    """Bridge → its rounds, in order."""
    failed: dict[str, str] = field(default_factory=dict)
    """Bridge → why it has none, or no more."""

    @property
    def faults(self) -> int:
        """How many of our own messages went wrong, and processes too."""
        rounds = self.rounds.get(THINBRIDGE, ())
        return sum(int(one.load[name]) for one in rounds for name in FAULTS) + len(self.failed)

    def ratios(self, bridge: str) -> list[float]:
        """Times the floor's CPU, round by round: neighbours in time, so that a machine's moods cancel out."""
        floor = self.rounds.get(FLOOR, ())
        return [one.cost / least.cost for one, least in zip(self.rounds[bridge], floor, strict=False) if least.cpu]

    def verdict(self) -> str:
        """One line: whether the target is met."""
        ratios = self.ratios(THINBRIDGE) if THINBRIDGE in self.rounds else []
        if not ratios:
            return f"target: at most {self.case.target} × floor; not measured"
        met = "met" if median(ratios) <= self.case.target else "NOT MET"
        return f"target: at most {self.case.target} × floor; measured {_spread(ratios, '.2f')}: {met}"

    def as_json(self) -> dict[str, Any]:
        """Everything measured."""
        rounds = {
            bridge: [{"cpu_us_per_message": one.cost, "rss": one.rss, **one.load} for one in rounds]
            for bridge, rounds in self.rounds.items()
        }
        return {
            "title": self.case.title,
            "target": self.case.target,
            "ratios": {bridge: self.ratios(bridge) for bridge in self.rounds},
            "failed": self.failed,
            "rounds": rounds,
        }


def show(results: list[Result], console: Console) -> None:
    """The tables; Markdown where nobody looks at a terminal."""
    for result in results:
        console.print(f"\n{result.case.title}\n", highlight=False)
        console.print(_table(result, console.is_terminal))
        console.print(result.verdict(), highlight=False)
        for bridge, why in result.failed.items():
            console.print(f"{bridge}: {why}", highlight=False, markup=False)
        if result.case.note:
            console.print(result.case.note, highlight=False)


def _table(result: Result, terminal: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD if terminal else box.MARKDOWN)
    table.add_column("bridge")
    for head in ("CPU µs/message", "× floor", "messages/s", "p50 ms", "p99 ms", "RSS MB", "lost", "wrong", "too early"):
        table.add_column(head, justify="right")
    for bridge, rounds in result.rounds.items():
        table.add_row(
            bridge,
            _spread([one.cost for one in rounds], ".1f"),
            _spread(result.ratios(bridge), ".2f"),
            f"{median(one.rate for one in rounds):.0f}",
            *(f"{median(one.load[name] for one in rounds) * 1e3:.1f}" for name in ("p50", "p99")),
            f"{max(one.rss for one in rounds) / 1e6:.0f}",
            *(str(sum(int(one.load[name]) for one in rounds)) for name in ("lost", "wrong", "early")),
        )
    return table


def _spread(values: list[float], form: str) -> str:
    """Median (least–most)."""
    if not values:
        return "–"
    return f"{median(values):{form}} ({min(values):{form}}–{max(values):{form}})"
