"""What a device-side exchange is: one message sent and its answer awaited, sans-IO. See `udp.py`, the smallest.

`thinbridge send`, `thinbridge dev --demo`, the check kit and the benches drive it: after *any* call, send
`data_to_send()`, look at `result` and at `next_timer()`. The one who drives it ends the wait, and says so by `end`;
nothing in here gives up unless its protocol says so.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """How an exchange ended."""

    ok: bool
    """The protocol says that it was done."""
    code: str
    """The protocol's own word for people: `2.05`, `PUBACK 0x99 Payload format invalid`, `reply`."""
    content_type: str | None = None
    """Media type of `data`, None where the protocol or the answer names none."""
    data: bytes = b""
    """The answer's payload."""


class Exchange(ABC):
    """One message and its answer."""

    result: Result | None = None
    """None until it is over."""

    @abstractmethod
    def start(self, now: float) -> None:
        """Begin; the first bytes are then in `data_to_send()`."""

    @abstractmethod
    def receive(self, data: bytes, now: float) -> None:
        """Take what came: a datagram, or some bytes of a stream. Never raises."""

    @abstractmethod
    def data_to_send(self) -> list[bytes]:
        """What to send, each once: datagrams, or pieces of a stream."""

    def next_timer(self) -> float | None:
        """When `handle_timer` is due, in the time of `now`; None: never."""
        return None

    def handle_timer(self, now: float) -> None:
        """Time has come; calling it early is harmless."""

    def end(self, closed: bool) -> None:
        """Nothing will come any more; what has come by now may be a result.

        Args:
            closed: the other side closed the connection, else time is up.
        """
