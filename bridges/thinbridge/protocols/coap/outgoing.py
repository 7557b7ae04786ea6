"""CONs on their way: retransmitted until they are acknowledged (RFC 7252 §4.2).

A session's separate responses and its notifications; `device.coap` sends its request by it. Whose they are knows where
they go.
"""

from collections import Counter
from math import inf
from typing import Final

from thinbridge.protocols.base import Entropy
from thinbridge.protocols.coap.codes import Type

ACK_TIMEOUT: Final = 2.0
ACK_RANDOM_FACTOR: Final = 1.5
MAX_RETRANSMIT: Final = 4
"""RFC 7252 §4.8."""


class Transmission:
    """One CON."""

    __slots__ = ("data", "due", "former", "mid", "timeout", "tries")

    def __init__(self, mid: int, data: bytes) -> None:
        self.mid = mid
        self.data = data
        self.tries = 0
        self.timeout = 0.0
        self.due = inf
        """When it is sent again; never before its turn has come."""
        self.former: tuple[int, ...] = ()
        """Message IDs of what was sent in its place before."""

    def outdated(self) -> bool:
        """Whether there is something newer to send in its place. Asked before each sending of it."""
        return False

    def renew(self, mid: int, now: float) -> None:
        """Become what is newer, with a Message ID of its own."""

    def over(self, acknowledged: bool, now: float) -> None:
        """It was acknowledged; else it was reset, or given up."""


class Outgoing:
    """The CONs to one peer.

    Args:
        entropy: draws the first Message ID and the timeouts.
        counters: where what became of them is counted.
        nstart: how many may be unacknowledged at a time; the others wait (RFC 7252 §4.7).
    """

    __slots__ = ("_counters", "_entropy", "_mid", "_nstart", "_waiting", "open", "round_trip")

    def __init__(self, entropy: Entropy, counters: Counter[str], nstart: int) -> None:
        self._entropy = entropy
        self._counters = counters
        self._nstart = nstart
        self._mid = int.from_bytes(entropy(2), "big")
        self.open: dict[int, Transmission] = {}
        """By Message ID: what is not acknowledged, and what waits for its turn."""
        self.round_trip: float | None = None
        """Seconds until an ACK comes, smoothed; None: nothing was acknowledged at once yet."""
        self._waiting: list[Transmission] = []

    def next_mid(self) -> int:
        """A Message ID: one after another from a random one on, so that none comes again within 247 s (RFC 7252
        §4.4) unless more than 265 a second do."""
        while True:
            self._mid = self._mid + 1 & 0xFFFF
            if self._mid not in self.open:
                return self._mid

    def send(self, transmission: Transmission, now: float) -> list[bytes]:
        """Send a CON, now or when its turn comes.

        Args:
            transmission: fresh; its Message ID is by `next_mid`.
            now: monotonic seconds.

        Returns:
            What to send now.
        """
        self.open[transmission.mid] = transmission
        self._waiting.append(transmission)
        return self._next(now)

    def drop(self, transmission: Transmission, now: float) -> list[bytes]:
        """Send it no more; what is to be sent instead."""
        del self.open[transmission.mid]
        if transmission in self._waiting:
            self._waiting.remove(transmission)
        return self._next(now)

    def _next(self, now: float) -> list[bytes]:
        out = []
        while self._waiting and len(self.open) - len(self._waiting) < self._nstart:
            transmission = self._waiting.pop(0)
            chance = int.from_bytes(self._entropy(2), "big") / 65536
            transmission.timeout = ACK_TIMEOUT * (1 + (ACK_RANDOM_FACTOR - 1) * chance)
            transmission.due = now + transmission.timeout
            out.append(self._latest(transmission, now))
        return out

    def _latest(self, transmission: Transmission, now: float) -> bytes:
        """Its bytes, or those of what takes its place; what was counted of it goes on (RFC 7641 §4.5.2)."""
        if transmission.outdated():
            del self.open[transmission.mid]
            if transmission.tries:
                transmission.former += (transmission.mid,)
            transmission.renew(self.next_mid(), now)
            self.open[transmission.mid] = transmission
        return transmission.data

    def acknowledged(self, mid: int, kind: int, now: float) -> list[bytes]:
        """An ACK, or a RST: it is over either way; what is to be sent instead.

        An ACK of what was sent before in its place says that the peer is there, and its tries are counted anew.
        """
        transmission = self.open.get(mid) or next((one for one in self.open.values() if mid in one.former), None)
        if transmission is None or transmission.due == inf:  # never sent: a guess
            self._counters["unexpected"] += 1
            return []
        if kind == Type.ACK and mid != transmission.mid:
            transmission.tries = 1  # it has been sent
            return []
        del self.open[transmission.mid]
        if kind == Type.RST:
            self._counters["reset"] += 1
        elif not transmission.tries:  # of a repeat nobody knows which one the ACK is for
            took = now - (transmission.due - transmission.timeout)
            self.round_trip = took if self.round_trip is None else self.round_trip + (took - self.round_trip) / 8
        transmission.over(kind == Type.ACK, now)
        return self._next(now)

    def due(self) -> float:
        """When the next retransmission is; never if there is none."""
        return min((transmission.due for transmission in self.open.values()), default=inf)

    def handle_timer(self, now: float) -> list[bytes]:
        """Retransmit what is due; give up on what was sent five times."""
        out: list[bytes] = []
        for transmission in [one for one in self.open.values() if one.due <= now]:
            if transmission.tries == MAX_RETRANSMIT:
                del self.open[transmission.mid]
                self._counters["gave_up"] += 1
                transmission.over(False, now)
                continue
            transmission.tries += 1
            transmission.timeout *= 2
            transmission.due = now + transmission.timeout  # from now: a clock that stood still makes no burst
            out.append(self._latest(transmission, now))
        return out + self._next(now)
