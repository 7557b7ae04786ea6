"""A hundred messages of each fault with every run: a broker, bridges and devices as real processes."""

from functools import partial

import pytest
from tests.faults.case import Case
from tests.faults.cases.mqtt_broker import CASES

pytestmark = [pytest.mark.peer("mosquitto"), pytest.mark.timeout(240)]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_nothing_acknowledged_is_lost(case: Case) -> None:
    assert isinstance(case.play, partial)
    tally = case.play(1, messages=100)
    assert (tally.wrong, tally.broken) == ({}, [])
    assert (tally.messages, tally.failed) == (100, 0)
