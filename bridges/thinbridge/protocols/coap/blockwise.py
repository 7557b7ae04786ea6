"""One block of a body (RFC 7959 §2): the Block option as a value, and what the blocks of one body have in common.

`uploads` puts the blocks of requests together, `representations` cuts responses into blocks; `device.coap` does both
the other way round.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from thinbridge.protocols.coap.codec import OptionValue, compose, from_uint, uint
from thinbridge.protocols.coap.codes import Option

RESERVED: Final = 7
"""The size exponent that means nothing over UDP (RFC 7959 §2.2)."""
LAST: Final = (1 << 20) - 1
"""The highest number of a block (RFC 7959 §2.2)."""
SMALLEST: Final = 16
"""Bytes of the smallest block."""
LARGEST: Final = 6
"""The size exponent of 1024 bytes."""

_OF_ONE_BLOCK: Final = frozenset(
    (Option.BLOCK1, Option.BLOCK2, Option.OBSERVE, Option.ETAG, Option.NO_RESPONSE, Option.HOP_LIMIT)
)


class Block(NamedTuple):
    """The value of a Block1 or Block2 option."""

    num: int
    """Which block, in units of its size."""
    more: bool
    """Others follow."""
    szx: int
    """The size exponent."""

    @property
    def size(self) -> int:
        """Bytes of a whole block."""
        return 16 << self.szx

    @property
    def start(self) -> int:
        """The first byte's place in the body; the numbers of a transfer may change, this does not (RFC 7959 §2.4)."""
        return self.num << self.szx + 4

    def encode(self) -> bytes:
        """The option's value."""
        return uint(self.num << 4 | self.more << 3 | self.szx)


def parse(value: bytes) -> Block:
    """The block that an option's value says; the size may be reserved."""
    number = from_uint(value)
    return Block(number >> 4, bool(number & 8), number & 7)


def exponent(octets: int) -> int:
    """The size exponent of the largest block of at most so many bytes, which are 16 at least."""
    return min(octets.bit_length() - 5, LARGEST)


def digest_of(body: bytes) -> bytes:
    """A hash by which a body is known again."""
    return blake2b(body, digest_size=16).digest()


def operation(code: int, options: Sequence[OptionValue]) -> bytes:
    """What the requests for all blocks of one body have in common (RFC 9175 §1.1: matchable), Request-Tag included.

    What may differ: Block, and Observe (RFC 7959 §2.6); what is elective and says that it is part of no cache key: the
    sizes, Echo (RFC 7252 §5.4.6); and what says nothing about the body: the ETags that a device has, No-Response,
    Hop-Limit. A hash, since devices choose how long options are.
    """
    common = [one for one in options if one[0] not in _OF_ONE_BLOCK and one[0] & 0x1F != 0x1C]
    return digest_of(compose(0, code, 0, b"", common))
