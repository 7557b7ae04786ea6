"""The rules of retrying: DeliverySpec's table, and Retry-After (RFC 9110 §10.2.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinbridge.delivery import Verdict
from thinbridge.delivery.retry import Failure, of_failure, of_status, pause, retry_after

NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
@pytest.mark.parametrize("is_event", [False, True])
def test_any_2xx_accepts(status: int, is_event: bool) -> None:
    assert of_status(status, is_event) == (Verdict.ACCEPTED, False)


@pytest.mark.parametrize("status", [301, 400, 401, 404, 429, 500, 503])
def test_an_event_is_the_functions_own_answer_whatever_its_status(status: int) -> None:
    assert of_status(status, is_event=True) == (Verdict.REFUSED, False)


@pytest.mark.parametrize(
    ("statuses", "verdict", "again"),
    [
        ((404, 408, 409, 429, 500, 502, 503, 504, 599), Verdict.UNKNOWN, True),
        ((401, 403, 407), Verdict.BAD_GATEWAY, True),
        ((400, 402, 405, 406, 410, 412, 413, 415, 422, 499), Verdict.REFUSED, False),
        ((300, 301, 302, 303, 304, 307, 308, 600, 999), Verdict.BAD_GATEWAY, False),
    ],
)
def test_bare_answers(statuses: tuple[int, ...], verdict: Verdict, again: bool) -> None:
    for status in statuses:
        assert of_status(status, is_event=False) == (verdict, again)


def test_failures() -> None:
    assert of_failure(Failure.TOO_LARGE) == (Verdict.BAD_GATEWAY, False)
    assert of_failure(Failure.MALFORMED) == (Verdict.BAD_GATEWAY, True)
    for failure in set(Failure) - {Failure.TOO_LARGE, Failure.MALFORMED}:
        assert of_failure(failure) == (Verdict.UNKNOWN, True)


def test_pauses_double_up_to_the_longest() -> None:
    assert [pause(n, 0.2, 30.0, 1.0) for n in range(10)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


@given(st.integers(0, 10**9), st.floats(0, 1, exclude_max=True))
def test_jitter_is_full(retries: int, chance: float) -> None:
    assert pause(retries, 0.2, 30.0, chance) == chance * pause(retries, 0.2, 30.0, 1.0) <= 30.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b" 7 ", 7.0),
        (b"999999999999", 86400.0),
        (b"9" * 5000, 86400.0),
        (b"Sun, 06 Nov 1994 08:49:47 GMT", 10.0),
        (b"Sun, 06 Nov 1994 08:49:47 -0000", 10.0),
        (b"Sun, 06 Nov 1994 08:49:07 GMT", 0.0),
        (b"", None),
        (b"-1", None),
        (b"1.5", None),
        (b"\xb2", None),
        (b"soon", None),
        (b"Sun, 99 Nov 1994 08:49:47 GMT", None),
    ],
)
def test_retry_after(value: bytes, seconds: float | None) -> None:
    assert retry_after(503, [(b"retry-after", value)], lambda: NOW) == seconds


def test_retry_after_counts_where_it_is_defined() -> None:
    assert retry_after(429, [(b"retry-after", b"1")], lambda: NOW) == 1.0
    assert retry_after(500, [(b"retry-after", b"1")], lambda: NOW) is None
    assert retry_after(503, [], lambda: NOW) is None


@given(st.binary(max_size=40))
def test_retry_after_never_raises(value: bytes) -> None:
    seconds = retry_after(503, [(b"retry-after", value)], lambda: NOW)
    assert seconds is None or 0 <= seconds <= 86400
