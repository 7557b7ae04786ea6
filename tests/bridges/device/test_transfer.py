"""A device's blocks, both ways, against the bridge's core and against what no good server says."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bridges.protocols.coap.bench import STRANGER, Bench

from thinbridge.device import transfer
from thinbridge.device.base import Result
from thinbridge.device.coap import Request
from thinbridge.device.transfer import RESTARTS, Broken, Transfer
from thinbridge.protocols.base import Outcome, Reply
from thinbridge.protocols.coap.blockwise import Block, parse
from thinbridge.protocols.coap.codec import Message, OptionValue, decode, encode
from thinbridge.protocols.coap.codes import (
    CHANGED,
    CONTENT,
    CONTINUE,
    GET,
    POST,
    REQUEST_ENTITY_INCOMPLETE,
    REQUEST_ENTITY_TOO_LARGE,
    Option,
    Type,
)
from thinbridge.testing import seeded

BODY = bytes(range(256)) * 20


def echo(data: bytes) -> Reply:
    return Reply(Outcome.ACCEPTED, 200, "application/octet-stream", data)


def converse(request: Request, bench: Bench, answer: Callable[[bytes], Reply] = echo) -> list[Message]:
    """Both talk until the request has its result; what the device said."""
    request.start(bench.now)
    sent: list[Message] = []
    delivered = 0
    while datagrams := request.data_to_send():
        for data in datagrams:
            sent.append(decode(data))
            said = bench.send(data)
            if len(bench.messages) > delivered:
                delivered = len(bench.messages)
                said += bench.answer(answer(bench.inbound.data))
            for message in said:
                request.receive(encode(message), bench.now)
    return sent


def make(data: bytes = b"", method: str = "POST", confirmable: bool = True, block_size: int | None = None) -> Request:
    return Request(method, "/a", data, entropy=seeded(1), confirmable=confirmable, block_size=block_size)


@pytest.mark.parametrize("confirmable", [True, False])
@pytest.mark.parametrize("block_size", [None, 16, 64, 1024])
def test_a_body_there_and_back(confirmable: bool, block_size: int | None) -> None:
    bench = Bench()
    request = make(BODY, confirmable=confirmable, block_size=block_size)
    sent = converse(request, bench)
    assert request.result == Result(True, "2.04", "application/octet-stream", BODY)
    assert [inbound.data for _, inbound in bench.messages] == [BODY]
    assert len(sent) == 2 * len(BODY) // (block_size or 1024) - 1  # the last one asks for the first one back
    assert len({message.mid for message in sent}) == len(sent)


def test_a_response_in_blocks() -> None:
    bench = Bench()
    request = make(method="GET")
    sent = converse(request, bench, lambda _: echo(BODY))
    assert request.result == Result(True, "2.05", "application/octet-stream", BODY)
    assert [parse(message.get(Option.BLOCK2) or b"").num for message in sent] == [0, 1, 2, 3, 4]
    assert sent[0].get(Option.BLOCK2) is None


def test_the_size_that_the_bridge_prefers() -> None:
    bench = Bench(max_payload=64)
    request = make(BODY)
    sent = converse(request, bench)
    assert request.result is not None
    assert request.result.data == BODY
    assert [len(message.payload) for message in sent[:3]] == [1024, 64, 64]


def test_one_that_needs_no_blocks() -> None:
    bench = Bench()
    (sent,) = converse(make(b"x", block_size=16), bench)
    assert sent.options == [(Option.URI_PATH, b"a"), (Option.BLOCK2, b"")]
    (sent,) = converse(make(b"x"), bench)
    assert sent.options == [(Option.URI_PATH, b"a")]


def test_a_stranger_proves_its_address_first() -> None:
    bench = Bench(STRANGER)
    request = make(BODY)
    converse(request, bench)
    assert request.result == Result(True, "2.04", "application/octet-stream", BODY)


def test_an_address_that_is_challenged_in_the_middle() -> None:
    bench = Bench(freshness=10.0)
    request = make(BODY[:2000])
    converse(request, bench)
    assert request.result == Result(True, "2.04", "application/octet-stream", BODY[:2000])


def test_what_is_too_long_for_the_bridge() -> None:
    bench = Bench(max_upload=2000)
    request = make(BODY)
    (sent,) = converse(request, bench)
    assert sent.get(Option.SIZE1) == b"\x14\x00"
    assert request.result == Result(False, "4.13", None, b"too large")


@pytest.mark.parametrize("size", [0, 15, 100, 2048])
def test_a_size_that_no_block_has(size: int) -> None:
    with pytest.raises(ValueError, match=f"no blocks of {size} bytes"):
        make(block_size=size)


@given(st.binary(max_size=400), st.binary(max_size=400), st.sampled_from([None, 16, 32]), st.integers(16, 80))
def test_whatever_the_sizes(up: bytes, down: bytes, block_size: int | None, max_payload: int) -> None:
    bench = Bench(max_payload=max_payload)
    request = make(up, block_size=block_size)
    converse(request, bench, lambda _: echo(down))
    assert request.result is not None
    assert request.result.data == down
    assert [inbound.data for _, inbound in bench.messages] == [up]


# --- A bridge that says odd things ---------------------------------------------------------------------------------


def ready(data: bytes = b"", method: int = GET, szx: int = 0) -> Transfer:
    return Transfer(method, [(Option.OBSERVE, b""), (Option.URI_PATH, b"a")], data, szx, early=False)


def said(code: int, *options: OptionValue, payload: bytes = b"") -> Message:
    return Message(Type.ACK, code, 1, b"t", options, payload)


def block(number: int, num: int, more: bool, szx: int = 0) -> OptionValue:
    return number, Block(num, more, szx).encode()


ETAG = (Option.ETAG, b"1")
FIRST = said(CONTENT, ETAG, block(Option.BLOCK2, 0, True), payload=bytes(16))


def test_later_blocks_do_not_register_again() -> None:
    one = ready()
    assert (Option.OBSERVE, b"") in one.request()[0]
    assert one.response(FIRST)
    assert one.request() == ([(Option.URI_PATH, b"a"), block(Option.BLOCK2, 1, False)], b"")


def test_a_changed_representation_is_fetched_anew() -> None:
    one = ready()
    other = said(CONTENT, (Option.ETAG, b"2"), block(Option.BLOCK2, 1, False), payload=b"x")
    for _ in range(RESTARTS):
        assert one.response(FIRST)
        assert one.response(other)
        assert one.body == b""
        assert one.request()[0][-1] == (Option.URI_PATH, b"a")
    one.response(FIRST)
    with pytest.raises(Broken, match="changes all the time"):
        one.response(other)


def test_a_changed_response_is_not_asked_for_again() -> None:
    one = ready(b"x", POST)
    assert one.response(said(CHANGED, ETAG, block(Option.BLOCK2, 0, True), payload=bytes(16)))
    with pytest.raises(Broken, match="the response changed"):
        one.response(said(CHANGED, (Option.ETAG, b"2"), block(Option.BLOCK2, 1, False), payload=b"x"))


def test_blocks_that_the_bridge_lost_are_sent_anew() -> None:
    one = ready(bytes(40), POST)
    lost = said(REQUEST_ENTITY_INCOMPLETE, payload=b"gone")
    for _ in range(RESTARTS):
        assert one.response(said(CONTINUE, block(Option.BLOCK1, 0, True)))
        assert one.request()[0][-1] == block(Option.BLOCK1, 1, True)
        assert one.response(lost)
        assert one.request()[0][-2] == block(Option.BLOCK1, 0, True)
    one.response(said(CONTINUE, block(Option.BLOCK1, 0, True)))
    with pytest.raises(Broken, match="loses blocks"):
        one.response(lost)


def test_what_is_lost_of_the_response_to_a_body_is_told() -> None:
    one = ready(b"x", POST)
    assert one.response(said(CHANGED, ETAG, block(Option.BLOCK2, 0, True), payload=bytes(16)))
    assert not one.response(said(REQUEST_ENTITY_INCOMPLETE, payload=b"gone"))
    assert one.body == b"gone"
    assert not ready(b"x", POST).response(said(REQUEST_ENTITY_INCOMPLETE))


def test_a_smaller_block_is_tried() -> None:
    one = ready(bytes(2000), POST, szx=6)
    assert one.response(said(REQUEST_ENTITY_TOO_LARGE, block(Option.BLOCK1, 0, False, 2)))
    assert len(one.request()[1]) == 64
    assert not one.response(said(REQUEST_ENTITY_TOO_LARGE, block(Option.BLOCK1, 0, False, 2)))
    assert not ready(bytes(2000), POST, szx=6).response(said(REQUEST_ENTITY_TOO_LARGE))


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([said(CONTINUE)], "nothing more"),
        ([said(CONTINUE, block(Option.BLOCK1, 0, True))], "nothing more"),
        ([said(CONTENT, block(Option.BLOCK2, 1, True), payload=bytes(16))], "fit together"),
        ([said(CONTENT, block(Option.BLOCK2, 0, True), payload=bytes(15))], "fit together"),
        ([FIRST, FIRST], "fit together"),
        ([FIRST, said(CONTENT, ETAG, payload=b"x")], "fit together"),
        ([FIRST, said(CONTENT, ETAG, (Option.BLOCK2, b"\x17"), payload=b"x")], "fit together"),
        ([FIRST, said(CONTENT, ETAG, (Option.BLOCK2, bytes(4)), payload=b"x")], "fit together"),
    ],
)
def test_what_makes_no_whole(answers: list[Message], reason: str) -> None:
    one = ready(b"x")
    *good, last = answers
    for answer in good:
        assert one.response(answer)
    with pytest.raises(Broken, match=reason):
        one.response(last)


def test_a_response_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "MAX_RESPONSE", 32)
    one = ready()
    assert one.response(FIRST)
    assert one.response(said(CONTENT, ETAG, block(Option.BLOCK2, 1, True), payload=bytes(16)))
    with pytest.raises(Broken, match="longer than 32 bytes"):
        one.response(said(CONTENT, ETAG, block(Option.BLOCK2, 2, True), payload=bytes(16)))


def test_what_is_broken_is_no_success() -> None:
    request = make(b"x")
    request.start(0.0)
    (sent,) = map(decode, request.data_to_send())
    request.receive(encode(Message(Type.ACK, CONTINUE, sent.mid, sent.token)), 0.0)
    assert request.result == Result(False, "2.31, it was told to go on, and has nothing more")
