"""What was seen lately, bounded by its bytes: the longest-unused goes. `oscore` keeps requests and responses so."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

V = TypeVar("V")

OVERHEAD: Final = 600
"""Bytes that an entry takes beside its data, about."""


class Recent(Generic[V]):
    """A mapping that forgets.

    Args:
        octets: of all entries together, about.
    """

    def __init__(self, octets: int) -> None:
        self._max = octets
        self.octets = 0
        self._kept: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> V | None:
        """What is kept under a key."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def keep(self, key: Hashable, value: V, size: int) -> None:
        """Keep something that has so many bytes, in place of what was kept under its key."""
        _, before = self._kept.pop(key, (None, 0))
        size += OVERHEAD
        self._kept[key] = value, size
        self.octets += size - before
        while self.octets > self._max:
            _, (_, gone) = self._kept.popitem(last=False)
            self.octets -= gone
