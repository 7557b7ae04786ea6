"""One block, as a value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinbridge.protocols.coap.blockwise import Block, exponent, operation, parse
from thinbridge.protocols.coap.codec import OptionValue
from thinbridge.protocols.coap.codes import GET, POST, Option

BLOCKS = st.builds(Block, st.integers(0, 2**20 - 1), st.booleans(), st.integers(0, 7))


@pytest.mark.parametrize(
    ("value", "block", "start", "size"),
    [
        (b"", Block(0, False, 0), 0, 16),
        (b"\x06", Block(0, False, 6), 0, 1024),
        (b"\x1a", Block(1, True, 2), 64, 64),
        (b"\x01\x0e", Block(16, True, 6), 16384, 1024),
        (b"\xff\xff\xf0", Block(2**20 - 1, False, 0), (2**20 - 1) * 16, 16),
    ],
)
def test_the_value_of_an_option(value: bytes, block: Block, start: int, size: int) -> None:
    assert parse(value) == block
    assert block.encode() == value
    assert (block.start, block.size) == (start, size)


@given(BLOCKS)
def test_there_and_back(block: Block) -> None:
    assert parse(block.encode()) == block
    assert len(block.encode()) <= 3


@pytest.mark.parametrize(
    ("octets", "szx"), [(16, 0), (31, 0), (32, 1), (1000, 5), (1023, 5), (1024, 6), (1400, 6), (60000, 6)]
)
def test_the_largest_block_within_a_size(octets: int, szx: int) -> None:
    assert exponent(octets) == szx


PATH: OptionValue = (Option.URI_PATH, b"a")
SAME: list[list[OptionValue]] = [
    [PATH],
    [PATH, (Option.BLOCK1, b"\x0e")],
    [PATH, (Option.BLOCK2, b"\x16"), (Option.SIZE2, b"")],
    [(Option.OBSERVE, b""), PATH, (Option.SIZE1, b"\xff"), (Option.ECHO, b"1234")],
    [(Option.ETAG, b"1"), PATH, (Option.HOP_LIMIT, b"\x07"), (Option.NO_RESPONSE, b"\x02")],
]
OTHERS: list[list[OptionValue]] = [
    [],
    [(Option.URI_PATH, b"b")],
    [PATH, PATH],
    [PATH, (Option.URI_QUERY, b"a")],
    [PATH, (Option.ACCEPT, b"\x32")],
    [PATH, (Option.REQUEST_TAG, b"")],
    [PATH, (Option.REQUEST_TAG, b"\1")],
    [PATH, (Option.REQUEST_TAG, b"\1"), (Option.REQUEST_TAG, b"\1")],
]


def test_what_the_blocks_of_a_body_have_in_common() -> None:
    keys = {operation(GET, options) for options in SAME}
    assert len(keys) == 1
    keys |= {operation(GET, options) for options in OTHERS}
    keys |= {operation(POST, options) for options in SAME}
    assert len(keys) == 2 + len(OTHERS)
