"""Reason codes."""

import pytest

from thinbridge.protocols.base import Outcome, Reply
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


CONNACK = {
    *(0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C),
    *(0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F),
}
"""What a CONNACK may say (MQTT-3.2.2-8)."""

DISCONNECT = {
    *(0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F),
    *(0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2),
}
"""What a server's DISCONNECT may say (MQTT-3.14.2-1)."""


def test_every_code_has_a_name() -> None:
    assert {code for code in CONNACK | DISCONNECT | PUBACK if code >= reasons.FAILURE} <= set(reasons.NAMES)
    assert reasons.OF_GOODBYE < DISCONNECT
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
