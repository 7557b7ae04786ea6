"""Reason codes."""

import pytest

from thinbridge.protocols.mqtt import reasons

PUBACK = {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}
"""What a PUBACK may say (MQTT 5 §3.4.2.1)."""


@pytest.mark.parametrize("status", range(400, 500))
def test_a_refusal_is_something_a_puback_may_say(status: int) -> None:
    assert reasons.refused(status) in PUBACK
    assert reasons.refused(status) >= reasons.FAILURE


@pytest.mark.parametrize(("status", "code"), [(400, 0x83), (403, 0x87), (404, 0x90), (413, 0x97), (415, 0x99)])
def test_refusals(status: int, code: int) -> None:
    assert reasons.refused(status) == code
