"""Reason codes."""

import pytest
from tests.bridges.protocols.mqtt.bench import CONNACK, DISCONNECT, PUBACK

from thinbridge.protocols.base import Outcome, Reply
from thinbridge.protocols.mqtt import reasons


@pytest.mark.parametrize("status", range(400, 500))
def test_a_refusal_is_something_a_puback_may_say(status: int) -> None:
    assert reasons.refused(status) in PUBACK
    assert reasons.refused(status) >= reasons.FAILURE


@pytest.mark.parametrize(("status", "code"), [(400, 0x83), (403, 0x87), (404, 0x90), (413, 0x97), (415, 0x99)])
def test_refusals(status: int, code: int) -> None:
    assert reasons.refused(status) == code


def test_every_code_has_a_name() -> None:
    assert {code for code in CONNACK | DISCONNECT | PUBACK if code >= reasons.FAILURE} <= set(reasons.NAMES)
    assert reasons.OF_GOODBYE - {0x04} < DISCONNECT  # "with Will Message" is a client's
    assert reasons.OF_PUBLISH == PUBACK


@pytest.mark.parametrize(
    ("content_type", "data", "text"),
    [
        ("text/plain", b" not today\n", "not today"),
        ("TEXT/plain; charset=utf-8", "größer".encode(), "größer"),
        ("text/html", b"no", ""),
        (None, b"no", ""),
        ("text/plain", b"a\x07b", ""),
        ("text/plain", b"\xff", "\ufffd"),
        ("text/plain", b"x" * 300, "x" * 200),
    ],
)
def test_a_functions_own_words(content_type: str | None, data: bytes, text: str) -> None:
    assert reasons.diagnosis(Reply(Outcome.REFUSED, 400, content_type, data)) == text
