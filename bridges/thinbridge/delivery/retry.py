"""The rules of retrying, pure: what an answer or a failure means, whether to try again, and after how long.

Used by `handle`. The statuses are those of Knative's delivery table (404: the pod may not be ready yet; 409: it is
still at work), with 401, 403 and 407 added: they speak about the bridge's credentials, not about the message.
"""

from collections.abc import Callable, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Final, NamedTuple

from thinbridge.delivery.answer import Verdict

MAX_RETRY_AFTER: Final = 86400.0
"""Seconds: what a Retry-After is cut to; a day is as good as never for any device."""

_CREDENTIALS: Final = frozenset((401, 403, 407))
_LATER: Final = frozenset((404, 408, 409, 429))


class Failure(Enum):
    """Why an attempt has no answer; the values are what people read in `/health/ready` and logs."""

    NAME = "name not resolved"
    UNREACHABLE = "connection refused or unreachable"
    TLS = "TLS failure"
    CONNECT_TIMEOUT = "no connection in time"
    NO_CONNECTION = "no free connection in time"
    STALE = "idle connection was closed"
    LOST = "connection lost before the answer was complete"
    TIMEOUT = "no answer in time"
    MALFORMED = "answer is no HTTP"
    TOO_LARGE = "answer is too large"


SEEN: Final = frozenset((Failure.STALE, Failure.LOST, Failure.TIMEOUT, Failure.MALFORMED, Failure.TOO_LARGE))
"""Failures of a request that was written: the function may have seen it."""


class Ruling(NamedTuple):
    """What one attempt means."""

    verdict: Verdict
    """The verdict if it is the last."""
    again: bool
    """Whether another attempt may change it."""


ACCEPTED: Final = Ruling(Verdict.ACCEPTED, again=False)
REFUSED: Final = Ruling(Verdict.REFUSED, again=False)
UNUSABLE: Final = Ruling(Verdict.BAD_GATEWAY, again=False)
FORBIDDEN: Final = Ruling(Verdict.BAD_GATEWAY, again=True)
NOT_YET: Final = Ruling(Verdict.UNKNOWN, again=True)

_OF_FAILURE: Final = {Failure.TOO_LARGE: UNUSABLE, Failure.MALFORMED: FORBIDDEN}


def of_status(status: int, is_event: bool) -> Ruling:
    """What an answer means; one that carries an event is the function's own, so it is never tried again."""
    if 200 <= status < 300:
        return ACCEPTED
    if is_event:
        return REFUSED
    if status in _LATER or 500 <= status < 600:
        return NOT_YET
    if status in _CREDENTIALS:
        return FORBIDDEN
    return REFUSED if 400 <= status < 500 else UNUSABLE  # a 3xx is never followed: the target is the operator's choice


def of_failure(failure: Failure) -> Ruling:
    """What an attempt without an answer means; an answer that is too large would be so again."""
    return _OF_FAILURE.get(failure, NOT_YET)


def pause(retries: int, first: float, longest: float, chance: float) -> float:
    """Seconds to wait before a retry: exponential back-off with full jitter.

    Args:
        retries: how many there have been.
        first: the bound of the first pause, seconds.
        longest: what the bound grows to, seconds.
        chance: in [0, 1), drawn for this pause.
    """
    return chance * min(longest, first * 2.0 ** min(retries, 60))


def retry_after(status: int, headers: Sequence[tuple[bytes, bytes]], clock: Callable[[], float]) -> float | None:
    """Seconds that a 429 or 503 asks to wait (RFC 9110 §10.2.3), at most a day; None: it does not say.

    Args:
        status: the answer's.
        headers: the answer's, names in lower case.
        clock: unix time, asked if the header is a date.
    """
    if status not in (429, 503):
        return None
    value = dict(headers).get(b"retry-after", b"").decode("latin-1").strip()
    try:
        seconds = float(value) if value.isdecimal() else _date(value) - clock()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _date(value: str) -> float:
    date = parsedate_to_datetime(value)
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
