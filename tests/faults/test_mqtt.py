"""A tenth of the MQTT cases of `make faults` with every run: 12,000 messages, real processes."""

import pytest
from tests.faults.case import Case
from tests.faults.cases.mqtt import CASES
from tests.faults.report import Row


@pytest.mark.timeout(400)
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_nothing_acknowledged_is_missing_at_the_sink(case: Case) -> None:
    row = Row(case, 1, case.play(0), 0.0)
    assert not row.wrong
    assert row.tally.messages == 2000
