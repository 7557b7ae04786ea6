"""What became of a delivery; the bridge gives it to `mapping`, which makes the device's reply from it."""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from thinbridge.events import Event


class Verdict(Enum):
    """The end of a delivery. Only the first two let a device be told that it is done."""

    ACCEPTED = "accepted"
    """The sink said 2xx."""
    DEAD_LETTERED = "dead_lettered"
    """The sink did not take it, the dead-letter sink said 2xx."""
    REFUSED = "refused"
    """The function saw it and refuses it: a 4xx, or any failure that it said with an event of its own."""
    UNREACHED = "unreached"
    """No attempt had a connection to write its request to: the function can't have seen it."""
    UNKNOWN = "unknown"
    """Not accepted in time; the function may have seen it. `status` is the last attempt's, 0 if it had none."""
    BAD_GATEWAY = "bad_gateway"
    """The sink's answer can't be used: 401, 403, 407, 3xx, no HTTP, no event though it claims one, over a limit."""
    OVERLOADED = "overloaded"
    """Never tried: as many events as `DeliveryLimits` allows are on their way."""
    CANCELLED = "cancelled"
    """The bridge stopped first."""


class Answer(NamedTuple):
    """A verdict, and what the sink answered with it. A tuple, since one is made per message."""

    verdict: Verdict
    status: int = 0
    """The HTTP status of the last attempt, 0 where it got none."""
    headers: Sequence[tuple[bytes, bytes]] = ()
    """Names in lower case. Bytes from the sink: not to be trusted. None where `status` is 202."""
    body: bytes = b""
    event: Event | None = None
    """The event that the answer carried: the function's own answer, whatever its status."""
    retry_after: float | None = None
    """Seconds after which the sink, or a limit of ours, asks to try again; None: not said."""
