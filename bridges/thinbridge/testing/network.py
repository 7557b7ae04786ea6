"""A terrible network, as a model: what becomes of a datagram, or of a stream's bytes, on their way. Seeded, no I/O.

`Faults` says how bad one direction is; `Link` carries datagrams and `Pipe` a stream's bytes. Used twice: by `world` in
virtual time and by `chaos` on real sockets, so that a fault means the same in both.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random


@dataclass(frozen=True, slots=True)
class Burst:
    """Gilbert–Elliott: a good and a bad state; chances are per datagram."""

    enter: float = 0.02
    """From good to bad."""
    leave: float = 0.25
    """From bad to good; its inverse is the mean length of a burst."""
    loss: float = 1.0
    """Of a datagram in the bad state."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How bad one direction is. Chances are 0 to 1 and per datagram (per chunk on streams), times are seconds."""

    loss: float = 0.0
    burst: Burst | None = None
    delay: float = 0.01
    """What everything takes."""
    jitter: float = 0.0
    """At most so much more, evenly spread; datagrams overtake each other by it."""
    reorder: float = 0.0
    """Chance of being held back by `behind`."""
    behind: float = 0.3
    duplicate: float = 0.0
    """Chance of arriving twice (and again: three times, …), each copy with a delay of its own."""
    corrupt: float = 0.0
    """Chance that one bit flips."""
    truncate: float = 0.0
    """Chance of losing its end."""
    rebind: float = 0.0
    """Chance that the device's NAT gives it a new source port from here on (device to bridge only)."""
    partitions: tuple[tuple[float, float], ...] = ()
    """(from, to), seconds since the start: nothing passes. Streams wait it out, as TCP would."""
    split: float = 0.0
    """Streams: chance of being cut into pieces that arrive one after another."""
    merge: float = 0.0
    """Streams: chance of waiting for `behind`, and so of arriving together with what follows."""
    cut: float = 0.0
    """Streams: chance that the connection breaks inside this chunk, after any of its bytes."""
    half_open: float = 0.0
    """Streams: chance that from here on nothing arrives and nobody is told."""


CLEAN = Faults()
"""Only the delay."""

MAX_COPIES = 5
"""A datagram arrives at most so often."""


BYTES = 64
"""So many bytes of a chunk may come one by one."""


class _Weather:
    """What a link and a pipe share: the faults, chance, and when the day began."""

    def __init__(self, faults: Faults, random: Random, start: float) -> None:
        self.faults = faults
        self.random = random
        self.start = start

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    def parted_until(self, now: float) -> float | None:
        """When the partition ends that `now` is in; None: there is none."""
        for begin, end in self.faults.partitions:
            if begin <= now - self.start < end:
                return self.start + end
        return None

    def travel(self) -> float:
        return self.faults.delay + self.random.random() * self.faults.jitter


class Link(_Weather):
    """One direction for datagrams.

    Args:
        faults: how bad it is.
        random: where chance comes from.
        start: when `partitions` count from.
    """

    _bad = False

    def carry(self, data: bytes, now: float) -> Sequence[tuple[float, bytes]]:
        """When a datagram arrives, as what, how often: (time, bytes) each; empty: lost."""
        if self._lost() or self.parted_until(now) is not None:
            return ()
        copies = 1
        while copies < MAX_COPIES and self.chance(self.faults.duplicate):
            copies += 1
        return [(now + self._delay(), self._damage(data)) for _ in range(copies)]

    def rebinds(self) -> bool:
        """Whether the next datagram comes from a new source port."""
        return self.chance(self.faults.rebind)

    def _lost(self) -> bool:
        burst = self.faults.burst
        if burst is not None:
            self._bad = not self.chance(burst.leave) if self._bad else self.chance(burst.enter)
            if self._bad and self.chance(burst.loss):
                return True
        return self.chance(self.faults.loss)

    def _delay(self) -> float:
        return self.travel() + (self.faults.behind if self.chance(self.faults.reorder) else 0.0)

    def _damage(self, data: bytes) -> bytes:
        if data and self.chance(self.faults.truncate):
            data = data[: self.random.randrange(len(data))]
        if data and self.chance(self.faults.corrupt):
            bit = self.random.randrange(len(data) * 8)
            data = data[: bit >> 3] + bytes((data[bit >> 3] ^ 1 << (bit & 7),)) + data[(bit >> 3) + 1 :]
        return data


class Pipe(_Weather):
    """One direction of a stream: bytes arrive in order, but in other pieces, later, or not to the end.

    After `write` or `close`, ask `when` and call `read` then.

    Args:
        faults: how bad it is.
        random: where chance comes from.
        start: when `partitions` count from.
    """

    def __init__(self, faults: Faults, random: Random, start: float) -> None:
        super().__init__(faults, random, start)
        self.over = False
        """All was read that will ever arrive: the connection is closed, or was cut."""
        self.broken = False
        """It was cut: the other direction is gone too."""
        self._last = start
        self._pieces: deque[tuple[float, bytes | None]] = deque()  # None: the end
        self._ended = False

    def write(self, data: bytes, now: float) -> None:
        """Send bytes; after the end they are nobody's."""
        if self._ended:
            return
        if self.chance(self.faults.half_open):
            self._ended = True
            return
        cut = self.chance(self.faults.cut)
        if cut:
            data = data[: self.random.randint(0, len(data))]
        for piece in self._split(data):
            self._put(piece, now)
        if cut:
            self._put(None, now)
            self.broken = self._ended = True

    def close(self, now: float) -> None:
        """No more bytes follow those that are on their way."""
        if not self._ended:
            self._put(None, now)
            self._ended = True

    def when(self) -> float | None:
        """When the next bytes, or the end, arrive."""
        return self._pieces[0][0] if self._pieces else None

    def read(self, now: float) -> bytes:
        """All that has arrived; look at `over` afterwards."""
        data = bytearray()
        while self._pieces and self._pieces[0][0] <= now:
            piece = self._pieces.popleft()[1]
            if piece is None:
                self.over = True
            else:
                data += piece
        return bytes(data)

    def _split(self, data: bytes) -> Sequence[bytes]:
        if len(data) < 2 or not self.chance(self.faults.split):
            return (data,) if data else ()
        if self.chance(0.1):  # byte by byte, where the beginning of a message is
            return [*(data[i : i + 1] for i in range(len(data[:BYTES]))), *([data[BYTES:]] if data[BYTES:] else [])]
        cuts = sorted({0, len(data), *(self.random.randrange(len(data)) for _ in range(self.random.randint(1, 3)))})
        return [data[begin:end] for begin, end in pairwise(cuts)]

    def _put(self, piece: bytes | None, now: float) -> None:
        when = now + self.travel() + (self.faults.behind if self.chance(self.faults.merge) else 0.0)
        parted = self.parted_until(now)
        if parted is not None:
            when = max(when, parted)
        self._last = max(self._last, when)
        self._pieces.append((self._last, piece))
