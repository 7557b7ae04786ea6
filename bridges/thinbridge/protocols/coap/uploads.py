"""Bodies of requests that come in blocks (RFC 7959 §2.3, §2.5), until they are complete: one body is one message.

A session makes its `Uploads` when the first block comes. All of an endpoint share one `Room`: what Size1 claims is set
aside there when a body begins, so that bodies that have begun can be completed, and the others hear at their first
block, not at their thousandth, that there is no room now. Set aside is a number: memory grows with the bytes that come.
"""

from collections import Counter
from collections.abc import Sequence
from math import inf
from typing import Final

from thinbridge.protocols.base import Entropy
from thinbridge.protocols.coap.blockwise import Block
from thinbridge.protocols.coap.codec import uint
from thinbridge.protocols.coap.codes import (
    BAD_REQUEST,
    CONTINUE,
    REQUEST_ENTITY_INCOMPLETE,
    REQUEST_ENTITY_TOO_LARGE,
    SERVICE_UNAVAILABLE,
    Option,
)
from thinbridge.protocols.coap.request import Refused, Response, TurnedAway

MAX_TRANSMIT_WAIT: Final = 93.0
"""Seconds after which the sender of a CON has given it up (RFC 7252 §4.8.2)."""

PATIENCE: Final = 4, 8
"""Seconds of Max-Age for a body that finds no room: at least, and how many more by chance, so that those that were sent
away together don't come back together."""


class Upload:
    """One body."""

    __slots__ = ("body", "claimed", "key", "touched")

    def __init__(self, key: bytes, claimed: int, now: float) -> None:
        self.key = key
        self.body = bytearray()
        self.claimed = claimed
        """Bytes that are set aside for it."""
        self.touched = now
        """When its last block came."""


class Room:
    """What the unfinished bodies of all sessions take together.

    Args:
        octets: at most.
        entropy: spreads the devices that are sent away.
        counters: where bodies are counted that were given up.
    """

    def __init__(self, octets: int, entropy: Entropy, counters: Counter[str]) -> None:
        self.max_octets = octets
        self.octets = 0
        self.uploads: dict[Upload, None] = {}  # the longest-silent first
        self._entropy = entropy
        self._counters = counters

    def claim(self, upload: Upload, octets: int, now: float) -> None:
        """Set bytes aside, so many in all, for a body whose block has just come.

        Raises:
            Refused: with 5.03; it is given up.
        """
        self.uploads.pop(upload, None)
        self.octets -= upload.claimed
        while self.octets + octets > self.max_octets and self._give_up_oldest(now):
            pass
        if self.octets + octets > self.max_octets:
            upload.claimed = 0
            at_least, more = PATIENCE
            seconds = at_least + self._entropy(1)[0] % more
            raise TurnedAway((SERVICE_UNAVAILABLE, [(Option.MAX_AGE, uint(seconds))], b""), "uploads_full")
        upload.claimed = octets
        upload.touched = now
        self.octets += octets
        self.uploads[upload] = None

    def _give_up_oldest(self, now: float) -> bool:
        """A body whose device must have given it up makes room for others."""
        oldest = next(iter(self.uploads), None)
        if oldest is None or now - oldest.touched < MAX_TRANSMIT_WAIT:
            return False
        self.give_up(oldest)
        return True

    def give_up(self, upload: Upload) -> None:
        """It will not be completed."""
        if self.release(upload):
            self._counters["uploads_given_up"] += 1

    def release(self, upload: Upload) -> bool:
        """It is complete, or over; its session finds nothing of it any more. False: it was over already."""
        if upload not in self.uploads:
            return False
        del self.uploads[upload]
        self.octets -= upload.claimed
        upload.body = bytearray()
        return True


class Uploads:
    """The unfinished bodies of one session.

    Args:
        room: what all sessions share.
        count: how many at a time; the longest-silent makes room for another.
        max_body: bytes of one.
        szx: the size exponent of the blocks that we want at most.
        idle: seconds of silence after which one is given up.
    """

    __slots__ = ("_count", "_idle", "_max_body", "_open", "_room", "szx")

    def __init__(self, room: Room, count: int, max_body: int, szx: int, idle: float) -> None:
        self._room = room
        self._count, self._idle = count, idle
        self.szx = szx
        self._max_body = min(max_body, room.max_octets)  # what never has room must not be told to come again
        self._open: dict[bytes, Upload] = {}  # by operation, the longest-silent first

    def take(self, key: bytes, block: Block, payload: bytes, size1: int | None, now: float) -> bytes | Response:
        """Take a block.

        Args:
            key: its operation.
            block: its Block1 option.
            payload: its bytes.
            size1: what its Size1 option claims.
            now: monotonic seconds.

        Returns:
            The whole body, if this was its last block; else the 2.31 that asks for the next one.

        Raises:
            Refused: with 4.00, 4.08, 4.13 or 5.03.
        """
        if len(payload) > block.size or (block.more and len(payload) < block.size):
            raise Refused((BAD_REQUEST, (), b"not the bytes of one block"), "block")  # RFC 7959 §2.2
        size = max(size1 or 0, block.start + len(payload))
        if size > self._max_body:
            self._end(key)
            raise too_large(self._max_body)
        if not block.num:
            self._end(key)  # its device starts anew (RFC 7959 §2.5)
            if not block.more:
                return payload
            self._begin(key, size, now)
        upload = self._open.get(key)
        if upload is None or len(upload.body) < block.start:  # of one that was given up nothing is left
            raise Refused((REQUEST_ENTITY_INCOMPLETE, (), b"blocks before this one are missing"), "upload_gap")
        self._add(upload, block, payload, max(size, upload.claimed), now)
        if block.more:
            return CONTINUE, [(Option.BLOCK1, block._replace(szx=min(block.szx, self.szx)).encode())], b""
        body = bytes(upload.body)
        self._end(key)
        return body

    def _begin(self, key: bytes, size: int, now: float) -> None:
        if len(self._open) >= self._count:
            self._give_up(next(iter(self._open)))
        upload = Upload(key, 0, now)
        self._room.claim(upload, size, now)
        self._open[key] = upload

    def _add(self, upload: Upload, block: Block, payload: bytes, size: int, now: float) -> None:
        body, start = upload.body, block.start
        if start < len(body):
            if not block.more or body[start : start + len(payload)] != payload:
                self._give_up(upload.key)  # it is of another body: nobody knows any more what is whose
                raise Refused((REQUEST_ENTITY_INCOMPLETE, (), b"another block was in its place"), "upload_gap")
        else:
            body += payload
        del self._open[upload.key]
        self._room.claim(upload, size, now)
        self._open[upload.key] = upload  # at the end

    def _end(self, key: bytes) -> None:
        upload = self._open.pop(key, None)
        if upload is not None:
            self._room.release(upload)

    def _give_up(self, key: bytes) -> None:
        self._room.give_up(self._open.pop(key))

    def due(self) -> float:
        """When the longest-silent is given up; never if there are none."""
        return next((upload.touched + self._idle for upload in self._open.values()), inf)

    def expire(self, now: float) -> None:
        """Give up what is silent for long enough."""
        for upload in [one for one in self._open.values() if one.touched + self._idle <= now]:
            self._give_up(upload.key)

    def clear(self) -> None:
        """Give up everything."""
        for key in list(self._open):
            self._end(key)


def too_large(octets: int, options: Sequence[tuple[int, bytes]] = ()) -> Refused:
    """4.13, which says how much would be taken (RFC 7959 §2.9.3)."""
    return Refused((REQUEST_ENTITY_TOO_LARGE, [*options, (Option.SIZE1, uint(octets))], b"too large"), "too_large")
