"""Broken variants of good messages, from a seed: what `make fuzz` and the promises feed to sessions.

Every mutation is one that finds bugs in codecs: flipped bits, lost ends, inserted and repeated bytes, spliced messages,
and numbers at the edges, where length fields are.
"""

from collections.abc import Sequence
from random import Random

EDGES = (0, 1, 0x0C, 0x0D, 0x0E, 0x0F, 0x7F, 0x80, 0xFE, 0xFF)
"""Bytes at which length fields turn (RFC 7252 §3.1 options at 13 to 15, MQTT's variable byte integer at 127)."""

MAX_LENGTH = 1500
"""Bytes of a mutated message; longer ones only cost time."""


class Mutator:
    """Makes mutated messages without end.

    Args:
        seed: where chance comes from.
        corpus: good messages to start from; at least one.
    """

    def __init__(self, seed: int, corpus: Sequence[bytes]) -> None:
        self._random = Random(seed)
        self._corpus = [bytes(one) for one in corpus if one] or [b"\0"]
        self._ways = (self._flip, self._edge, self._length, self._cut, self._drop, self._insert, self._repeat)

    def next(self) -> bytes:
        """The next one."""
        draw = self._random.random
        corpus = self._corpus
        data = bytearray(corpus[int(draw() * len(corpus))])
        if draw() < 0.15:
            self._splice(data)
        for _ in range(1 + int(draw() * 3)):
            self._ways[int(draw() * 7)](data)
        return bytes(data[:MAX_LENGTH])

    def _at(self, data: bytearray) -> int:
        return int(self._random.random() * len(data))

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._at(data)] ^= 1 << int(self._random.random() * 8)

    def _edge(self, data: bytearray) -> None:
        if data:
            data[self._at(data)] = EDGES[int(self._random.random() * len(EDGES))]

    def _length(self, data: bytearray) -> None:
        """A number that is off by one: where it is a length, the rest no longer fits."""
        if data:
            at = self._at(data)
            data[at] = (data[at] + (1 if self._random.random() < 0.5 else -1)) & 0xFF

    def _cut(self, data: bytearray) -> None:
        if data:
            del data[self._at(data) :]

    def _drop(self, data: bytearray) -> None:
        if data:
            at = self._at(data)
            del data[at : at + 1 + int(self._random.random() * 4)]

    def _insert(self, data: bytearray) -> None:
        at = self._at(data)
        data[at:at] = self._random.randbytes(1 + int(self._random.random() * 4))

    def _repeat(self, data: bytearray) -> None:
        if data:
            at = self._at(data)
            data[at:at] = data[at : at + 16]

    def _splice(self, data: bytearray) -> None:
        """The beginning of one message and the end of another."""
        other = self._corpus[int(self._random.random() * len(self._corpus))]
        data[self._at(data) :] = other[int(self._random.random() * len(other)) :]
