"""Rounds of round trips, and what they come to. Used by `suites/round_trips.py`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, NamedTuple

from tests.bench.suite import Table

THINBRIDGE: Final = "thinbridge"
FLOOR: Final = "floor"
FAULTS: Final = ("lost", "wrong", "early", "repeated")
"""What must be 0: not answered within 2 s, answered wrongly, answered before the sink's 2xx, POSTed twice."""

Command = Callable[[str, str], list[str]]
"""(case, sink's URL) → the command line of a bridge."""


class Case(NamedTuple):
    """One kind of message; its devices, and how many messages are in flight, are `load.c`'s."""

    title: str
    target: float
    """How often the floor's CPU time a message may cost; the floor's own is what Python cannot go below."""
    bridges: dict[str, Command]
    note: str = ""


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

    def wrong(self) -> list[str]:
        """Messages of our own that went wrong, and processes too."""
        rounds = self.rounds.get(THINBRIDGE, ())
        counts = {name: sum(int(one.load[name]) for one in rounds) for name in FAULTS}
        said = [f"{count} messages {name}" for name, count in counts.items() if count]
        return said + [f"{bridge}: {why}" for bridge, why in self.failed.items()]

    def ratios(self, bridge: str, other: str = FLOOR) -> list[float]:
        """Times the other's CPU, round by round: neighbours in time, so that a machine's moods cancel out."""
        pairs = zip(self.rounds.get(bridge, ()), self.rounds.get(other, ()), strict=False)
        return [one.cost / least.cost for one, least in pairs if least.cpu]

    def verdict(self) -> str:
        """One line: whether the target is met."""
        ratios = self.ratios(THINBRIDGE)
        if not ratios:
            return f"target: at most {self.case.target} × floor; not measured"
        met = "met" if median(ratios) <= self.case.target else "NOT MET"
        return f"target: at most {self.case.target} × floor; measured {spread(ratios, '.2f')}: {met}"

    def table(self) -> Table:
        """As people read it."""
        heads = ("bridge", "CPU µs/message", "× floor", "messages/s", "p50 ms", "p99 ms", "RSS MB")
        table = Table(self.case.title, (*heads, "lost", "wrong", "too early"))
        for bridge, rounds in self.rounds.items():
            table.rows.append(
                (
                    bridge,
                    spread([one.cost for one in rounds], ".1f"),
                    spread(self.ratios(bridge), ".2f"),
                    f"{median(one.rate for one in rounds):.0f}",
                    *(f"{median(one.load[name] for one in rounds) * 1e3:.1f}" for name in ("p50", "p99")),
                    f"{max(one.rss for one in rounds) / 1e6:.0f}",
                    *(str(sum(int(one.load[name]) for one in rounds)) for name in ("lost", "wrong", "early")),
                )
            )
        table.notes = [self.verdict(), *self._changed(), *([self.case.note] if self.case.note else [])]
        table.wrong = self.wrong()
        table.figures = self._figures()
        return table

    def _changed(self) -> list[str]:
        """A line for each earlier thinbridge."""
        earlier = [bridge for bridge in self.rounds if bridge.startswith(f"{THINBRIDGE} ")]
        return [f"{THINBRIDGE}: {spread(self.ratios(THINBRIDGE, one), '.2f')} × {one}" for one in earlier]

    def _figures(self) -> dict[str, Any]:
        rounds = {
            bridge: [{"cpu_us_per_message": one.cost, "rss": one.rss, **one.load} for one in rounds]
            for bridge, rounds in self.rounds.items()
        }
        return {
            "target": self.case.target,
            "ratios": {bridge: self.ratios(bridge) for bridge in self.rounds},
            "failed": self.failed,
            "rounds": rounds,
        }


def spread(values: list[float], form: str) -> str:
    """Median (least–most)."""
    if not values:
        return "–"
    return f"{median(values):{form}} ({min(values):{form}}–{max(values):{form}})"
