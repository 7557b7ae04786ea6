"""What `make faults` plays: a case is a fault, played from many seeds, and a tally of what became of the messages.

A module in `tests/faults/cases/` says `CASES: tuple[Case, ...]`; `faults.py` finds it there, plays it and judges it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from math import exp, lgamma, log
from typing import NamedTuple

from thinbridge.testing import Ledger

CONFIDENCE = 0.999
"""Of a bound: one run in a thousand, from seeds that nobody has tried, may be past it by bad luck."""


@dataclass
class Tally:
    """What became of the messages of one seed, or of all; in the words of `thinbridge.testing.ledger`."""

    messages: int = 0
    """Sent by devices."""
    failed: int = 0
    """Of which the device knows only that it was not told "done": an error, or no answer. Bounded by the case."""
    duplicated: int = 0
    """At the sink more than once, with the same event id."""
    hidden: int = 0
    """Of which the device was told nothing at all, so that only its own patience ends: to be seen in a counter."""
    lost: int = 0
    """Acknowledged to the device, and not at the sink. Always 0, as all below."""
    phantom: int = 0
    """The device was told "done" before the sink had accepted it."""
    crossed: int = 0
    """Answers that came to another message than they are about."""
    unexpected: int = 0
    """At the sink, and sent by nobody."""
    broken: list[str] = field(default_factory=list[str])
    """Anything else that must not be, in words, with its seed."""

    def add(self, other: "Tally") -> None:
        """Count another one in."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    @property
    def wrong(self) -> dict[str, int]:
        """What must be 0 and is not."""
        counts = {name: getattr(self, name) for name in ("lost", "phantom", "crossed", "unexpected")}
        return {name: count for name, count in counts.items() if count}


def tally(ledger: Ledger) -> Tally:
    """The verdicts of a ledger as numbers."""
    done = set(ledger.acknowledged)
    return Tally(
        messages=len(ledger.sent),
        failed=sum(message not in done for message in ledger.sent),
        duplicated=len(ledger.duplicated),
        hidden=len(ledger.hidden),
        lost=len(ledger.lost),
        phantom=len(ledger.phantom),
        crossed=len(ledger.crossed),
        unexpected=len(ledger.unexpected),
        broken=[f"{name}: {keys[:3]}" for name in ("doubled", "confused") if (keys := getattr(ledger, name))],
    )


Bound = Callable[[int], float]
"""Of n messages, how many may fail."""


class Case(NamedTuple):
    """One row of the table."""

    name: str
    """For `--only`: `coap-loss-20`."""
    fault: str
    """What happens, for people."""
    seeds: int
    """How many are played at full length, from 0 on."""
    play: Callable[[int], Tally]
    """Plays one seed. A module's own function: other processes call it."""
    bound: Bound | None = None
    """None: failures are counted, not judged."""
    real: bool = False
    """Real processes and sockets, real time: nothing else runs beside it."""


def chance(probability: float, cluster: float = 1.0) -> Bound:
    """The bound for failures that each message has by chance.

    Args:
        probability: of one message to fail.
        cluster: how many fail together on average; 1: each by itself.
    """
    return lambda messages: _quantile(messages * probability / cluster) * cluster


def _quantile(mean: float) -> int:
    """The least number that a Poisson variable with this mean does not exceed, with `CONFIDENCE`."""
    number, below = 0, 0.0
    while below < CONFIDENCE:
        below += exp(number * log(mean) - mean - lgamma(number + 1)) if mean else 1.0
        number += 1
    return number - 1
