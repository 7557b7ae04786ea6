"""Separate responses on their way: CONs of ours, retransmitted until acknowledged (RFC 7252 §4.2)."""

from collections import Counter, deque
from typing import Final

from thinbridge.protocols.base import Entropy, Path, Sent
from thinbridge.protocols.coap.codes import Type

ACK_TIMEOUT: Final = 2.0
ACK_RANDOM_FACTOR: Final = 1.5
MAX_RETRANSMIT: Final = 4
"""RFC 7252 §4.8."""


class Transmission:
    """One CON."""

    __slots__ = ("data", "due", "path", "timeout", "tries")

    def __init__(self, data: bytes, path: Path) -> None:
        self.data = data
        self.path = path
        self.tries = 0
        self.timeout = 0.0
        self.due = 0.0


class Outgoing:
    """The CONs of one session.

    Args:
        entropy: draws Message IDs and the first timeout.
        counters: where what became of them is counted.
        nstart: how many may be unacknowledged at a time; the others wait (RFC 7252 §4.7).
    """

    def __init__(self, entropy: Entropy, counters: Counter[str], nstart: int) -> None:
        self._entropy = entropy
        self._counters = counters
        self._nstart = nstart
        self._sent: dict[int, Transmission] = {}
        self._waiting: deque[tuple[int, Transmission]] = deque()

    def __bool__(self) -> bool:
        return bool(self._sent)

    def fresh_mid(self) -> int:
        """A Message ID at random, and not one that is in use: who acknowledges it has seen it."""
        while (mid := int.from_bytes(self._entropy(2), "big")) in self._sent:
            pass
        return mid

    def send(self, mid: int, data: bytes, path: Path, now: float) -> list[Sent]:
        """Send a CON now, or when its turn comes."""
        transmission = Transmission(data, path)
        if len(self._sent) >= self._nstart:
            self._waiting.append((mid, transmission))
            return []
        return [self._start(mid, transmission, now)]

    def _start(self, mid: int, transmission: Transmission, now: float) -> Sent:
        chance = int.from_bytes(self._entropy(2), "big") / 65536
        transmission.timeout = ACK_TIMEOUT * (1 + (ACK_RANDOM_FACTOR - 1) * chance)
        transmission.due = now + transmission.timeout
        self._sent[mid] = transmission
        return transmission.data, transmission.path

    def acknowledged(self, mid: int, kind: Type, now: float) -> list[Sent]:
        """An ACK, or a RST: it is over either way; what is to be sent instead."""
        if self._sent.pop(mid, None) is None:
            self._counters["unexpected"] += 1
            return []
        if kind is Type.RST:
            self._counters["reset"] += 1
        return self._next(now)

    def _next(self, now: float) -> list[Sent]:
        out = []
        while self._waiting and len(self._sent) < self._nstart:
            out.append(self._start(*self._waiting.popleft(), now))
        return out

    def due(self) -> float:
        """When the next retransmission is."""
        return min(transmission.due for transmission in self._sent.values())

    def handle_timer(self, now: float) -> list[Sent]:
        """Retransmit what is due; give up on what was sent five times."""
        out: list[Sent] = []
        for mid, transmission in list(self._sent.items()):
            if transmission.due > now:
                continue
            if transmission.tries == MAX_RETRANSMIT:
                del self._sent[mid]
                self._counters["gave_up"] += 1
                continue
            transmission.tries += 1
            transmission.timeout *= 2
            transmission.due = now + transmission.timeout  # from now: a clock that stood still makes no burst
            out.append((transmission.data, transmission.path))
        return out + self._next(now)
