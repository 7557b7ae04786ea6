"""A tenth of `make faults` with every run, and that it would see what must never be."""

from functools import partial
from math import ceil
from pathlib import Path

import pytest
from rich.console import Console
from tests.faults import faults
from tests.faults.bursts import failures
from tests.faults.case import Case, Tally, chance
from tests.faults.cases import coap
from tests.faults.report import HEADS, Row, show, write

from thinbridge.testing import Burst, Faults

CASES = faults.cases()
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES if not case.real])
def test_a_tenth_of_it(case: Case) -> None:
    total, seeds = Tally(), ceil(case.seeds / 10)
    for seed in range(seeds):
        total.add(case.play(seed))
    assert not Row(case, seeds, total, 0.0).wrong


ALONE = [case for case in CASES if case.real and not case.name.startswith("mqtt")]
"""Those of MQTT have tests of their own, with their peers and fewer messages: `test_mqtt`, `test_mqtt_broker`."""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in ALONE])
def test_one_seed_of_it(case: Case) -> None:
    assert not Row(case, 1, case.play(0), 0.0).wrong


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 0


def test_more_failures_than_chance_allows_are_seen() -> None:
    worse = next(case for case in CASES if case.name == "coap-loss-20")
    worse = worse._replace(play=partial(coap.play, faults=Faults(loss=0.3)))
    total = Tally()
    for seed in range(20):
        total.add(worse.play(seed))
    assert "allowed" in Row(worse, 20, total, 0.0).wrong[0]


def test_what_must_never_be_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    case = Case("x", "a fault", 1, lambda seed: Tally(9, lost=1, crossed=2, broken=[f"seed {seed}: odd"]))
    row = Row(case, 1, case.play(7), 0.0)
    assert row.wrong == ["1 lost", "2 crossed", "seed 7: odd"]
    show([row], Console(width=200))
    printed = capsys.readouterr().out
    assert "| a fault |" in printed
    assert "x: 2 crossed" in printed


@pytest.mark.parametrize("burst", [Burst(), Burst(0.1, 0.5, 0.8)], ids=["long", "short"])
def test_what_bursts_do_is_what_the_chain_says(burst: Burst) -> None:
    probability, together = failures(burst)
    total = Tally()
    for seed in range(40):
        total.add(coap.play(seed, faults=Faults(burst=burst), devices=1))
    expected = total.messages * probability
    assert abs(total.failed - expected) < 4 * (expected * together) ** 0.5


def test_bounds_are_those_of_a_poisson_variable() -> None:
    assert [chance(0.001)(messages) for messages in (0, 1000, 10_000)] == [0, 5, 21]  # tables of the distribution
    assert chance(0.0)(10_000) == 0


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text("utf-8"), "utf-8")
    assert faults.main(["--only", "coap-none", "--scale", "0.003", "--write", str(page)]) == 0
    assert "coap-none: 300 messages" in capsys.readouterr().err
    before, after = PAGE.read_text("utf-8").splitlines(), page.read_text("utf-8").splitlines()
    assert [line[:42] for line in after if line not in before] == ["| CoAP: no fault | 3 | 300 | 0 | 0 | 0 | 0"]
    assert len(before) == len(after)
    assert faults.main(["--only", "nothing"]) == 2


def test_a_page_without_a_place_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n")
    with pytest.raises(ValueError, match="no place"):
        write([], page)


def test_the_page_has_every_case() -> None:
    text = PAGE.read_text("utf-8")
    assert [case.fault for case in CASES if f"| {case.fault} |" not in text] == []
    assert f"| {' | '.join(('fault', *HEADS, 'day'))} |" in text
