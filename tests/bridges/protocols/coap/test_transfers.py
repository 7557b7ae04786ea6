"""Transfers of one peer, whatever is said: by a device, and by its function."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bridges.protocols.coap.bench import Bench

from thinbridge.protocols.base import Outcome, Reply
from thinbridge.protocols.coap.codec import Message, OptionValue, encode, uint
from thinbridge.protocols.coap.codes import CONTENT, GET, METHODS, POST, Option, Type
from thinbridge.protocols.coap.request import Response, read
from thinbridge.protocols.coap.transfers import Transfers

BLOCK = st.one_of(
    st.integers(0, 5).map(lambda num: num << 4),  # of 16 bytes, none follows
    st.integers(0, 5).map(lambda num: num << 4 | 8),
    st.integers(0, 2**24 - 1),
).map(lambda value: value.to_bytes(3, "big").lstrip(b"\0"))

OPTIONS = st.one_of(
    st.tuples(st.sampled_from([Option.BLOCK1, Option.BLOCK2]), BLOCK),
    st.tuples(st.sampled_from([Option.SIZE1, Option.SIZE2]), st.integers(0, 2**32 - 1).map(uint)),
    st.tuples(st.sampled_from([Option.REQUEST_TAG, Option.ETAG]), st.binary(min_size=1, max_size=8)),
    st.tuples(st.just(Option.OBSERVE), st.sampled_from([b"", b"\1"])),
    st.tuples(st.integers(1, 300), st.binary(max_size=4)),
)  # fmt: skip

SAID = st.builds(
    Message,
    st.sampled_from([Type.CON, Type.NON]),
    st.sampled_from(list(METHODS)),
    st.integers(0, 40),
    st.binary(max_size=1),
    st.lists(OPTIONS, max_size=4).map(lambda options: sorted(options, key=lambda option: option[0])),
    st.sampled_from([b"", b"x" * 16, b"y" * 16, b"z"]),
)

WORDS = ["1", "true", "2.05", "4.04", "bytes 0-15/100", "bytes 16-31/*", "bytes 0-99/100", "bytes 5-1/2"]

ANSWERED = st.builds(
    Reply,
    st.sampled_from([Outcome.ACCEPTED, Outcome.REFUSED, Outcome.UNKNOWN]),
    st.sampled_from([200, 201, 206, 404, 500]),
    st.none(),
    st.sampled_from([b"", b"a", b"b" * 16, b"c" * 100, b"d" * 2000]),
    st.dictionaries(
        st.sampled_from(["etag", "contentrange", "coapcode", "coapobserve"]),
        st.sampled_from(WORDS),
        max_size=3,
    ),
    st.booleans(),
)  # fmt: skip


@given(st.lists(SAID | ANSWERED | st.integers(1, 100), max_size=40), st.sampled_from([16, 40, 1024]))
def test_nothing_raises_and_nothing_grows(steps: list[Message | Reply | int], max_payload: int) -> None:
    bench = Bench(max_payload=max_payload, max_upload=64, uploads_in_all=100, downloads_in_all=150, downloads=2)
    for step in steps:
        if isinstance(step, Message):
            said = bench.send(step)
        elif isinstance(step, int):
            said = bench.wait(step)
        elif bench.messages and bench.messages[-1][0] in bench.owner.live:
            session, inbound = bench.messages[-1]
            bench.owner.answer(session, inbound.exchange, step, bench.now)
            said = bench.said()
        else:
            continue
        assert all(len(message.payload) <= max(max_payload, 128) for message in said)
        assert 0 <= bench.core.room.octets <= 100
        assert 0 <= bench.core.representations.octets <= 150
        assert not bench.owner.faults
    bench.wait(2000)
    assert (bench.core.room.octets, bench.core.representations.octets) == (0, 0)


def asked(*options: OptionValue, code: int = GET) -> Message:
    return Message(Type.CON, code, 1, b"t", options, b"")


@pytest.mark.parametrize("octets", [16, 1024, 65_536])
def test_one_that_is_told_how_much_goes_into_a_message(octets: int) -> None:
    """A device on a stream says so itself (RFC 8323 §5.3.1)."""
    transfers = Transfers(Bench().core)
    assert not transfers.used
    assert (transfers.due(), transfers.later(asked(), 0.0)) == (float("inf"), None)
    transfers.limit(octets)
    request = read(asked(), "peer")
    whole: Response = CONTENT, [], bytes(octets)
    assert transfers.fitted(request, whole, 0.0) == whole
    _, options, payload = transfers.fitted(request, (CONTENT, [], bytes(octets + 1)), 0.0)
    assert transfers.used
    assert len(payload) == min(octets, 1024)
    assert [number for number, _ in options] == [Option.ETAG, Option.BLOCK2, Option.SIZE2]
    assert transfers.hints(2000) == [(Option.BLOCK1, b"\6" if octets >= 1024 else b"")]
    assert transfers.hints(100) == [(Option.BLOCK1, b"\2" if octets >= 1024 else b"")]
    assert transfers.hints(15) == []
    assert len(encode(Message(Type.ACK, CONTENT, 1, b"t", options, payload))) < 1152
    transfers.clear()


def test_what_is_silent_is_forgotten() -> None:
    core = Bench(transfer_idle=10.0).core
    transfers = Transfers(core)
    transfers.expire(0.0)
    transfers.fitted(read(asked(), "peer"), (CONTENT, [], bytes(2000)), 0.0)
    assert transfers.due() == 10.0
    more = Message(Type.CON, POST, 2, b"t", [(Option.BLOCK1, b"\x08")], bytes(16))
    transfers.body(more, read(more, "peer"), 5.0)
    assert (core.room.octets, core.representations.octets, transfers.due()) == (16, 2000, 10.0)
    transfers.expire(10.0)
    assert (core.representations.octets, transfers.due()) == (0, 15.0)
    transfers.expire(15.0)
    assert (core.room.octets, transfers.due()) == (0, float("inf"))
    transfers.clear()


def test_one_that_is_told_anew_sends_and_wants_other_blocks_from_then_on() -> None:
    transfers = Transfers(Bench().core)
    request = read(asked(), "peer")
    whole: Response = CONTENT, [], bytes(2000)
    upload = Message(Type.CON, POST, 2, b"t", [(Option.BLOCK1, b"\x0e")], bytes(1024))
    for octets in (1024, 64, 512):
        transfers.limit(octets)
        _, _, payload = transfers.fitted(request, whole, 0.0)
        assert len(payload) == octets
        said = transfers.body(upload, read(upload, "peer"), 0.0)
        assert isinstance(said, tuple)
        assert said[1] == [(Option.BLOCK1, bytes((0x08 | octets.bit_length() - 5,)))]
    transfers.clear()
