"""A tenth of `make faults`' slow connections with every run."""

import pytest
from tests.faults.case import Tally
from tests.faults.cases.mqtt_slow import play


@pytest.mark.timeout(400)
def test_others_do_not_notice_slow_connections() -> None:
    assert play(0, connections=500) == Tally(messages=600)
