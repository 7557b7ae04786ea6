"""Room for long answers: what all connections together have read of them, and who waits to read on.

A short answer needs none. A long one claims its bytes before it is read further, so that hundreds of long answers that
come at once take turns: their connections are not read meanwhile, and TCP holds their functions back. What has its turn
can always be completed, or its time is up.
"""

from collections import OrderedDict
from typing import Final, Protocol

SHORT: Final = 64 * 1024
"""Bytes of an answer that needs no room: nearly all are; with 256 connections it is 16 MiB at most."""


class Claimant(Protocol):
    """Who reads a long answer."""

    def granted(self) -> None:
        """It may read on."""


class Room:
    """The long answers that are being read.

    Args:
        octets: bytes of them together; a longer one has its turn when it is alone.
    """

    def __init__(self, octets: int) -> None:
        self.max_octets = octets
        self.octets = 0
        self._held: dict[Claimant, int] = {}
        self.waiting: OrderedDict[Claimant, int] = OrderedDict()

    def claim(self, claimant: Claimant, octets: int) -> bool:
        """Claim bytes for an answer; False: `granted` is called when it has its turn, the longest-waiting first."""
        if self.waiting or not self._fits(octets):
            self.waiting[claimant] = octets
            return False
        self._hold(claimant, octets)
        return True

    def release(self, claimant: Claimant) -> None:
        """Its answer is complete, or will never be; also of one that waits, or never claimed anything."""
        self.octets -= self._held.pop(claimant, 0)
        self.waiting.pop(claimant, None)
        while self.waiting and self._fits(next(iter(self.waiting.values()))):
            first, octets = self.waiting.popitem(last=False)
            self._hold(first, octets)
            first.granted()

    def _fits(self, octets: int) -> bool:
        return not self.octets or self.octets + octets <= self.max_octets

    def _hold(self, claimant: Claimant, octets: int) -> None:
        self._held[claimant] = octets
        self.octets += octets
