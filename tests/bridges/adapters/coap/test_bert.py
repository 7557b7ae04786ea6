"""Runs of blocks: what the core sees of them, and what a device hears (RFC 8323 §6)."""

import pytest
from tests.bridges.adapters.coap.streams import CSM, Device, frame
from tests.bridges.protocols.coap.bench import DONE

from thinbridge.adapters.coap.bert import KEPT, Runs
from thinbridge.protocols.base import Outcome, Reply
from thinbridge.protocols.coap.codec import Message, decode, encode, uint
from thinbridge.protocols.coap.codes import (
    CHANGED,
    CONTENT,
    CONTINUE,
    GET,
    POST,
    REQUEST_ENTITY_INCOMPLETE,
    Option,
    Type,
)

BODY = bytes(range(256)) * 20
"""Five blocks."""


def run(number: int, more: bool) -> tuple[int, bytes]:
    return Option.BLOCK1, uint(number << 4 | more << 3 | 7)


def device() -> Device:
    return Device(frame(CSM, (2, uint(1 << 20)), (4, b""), token=b""))


def test_an_upload_in_runs_is_one_message() -> None:
    one = device()
    [answer] = one.send(frame(POST, run(0, True), payload=BODY[:3072]))
    assert (answer.code, answer.get(Option.BLOCK1)) == (CONTINUE, run(0, True)[1])
    assert one.send(frame(POST, run(3, False), payload=BODY[3072:])) == []
    assert one.messages[0][1].data == BODY
    [answer] = one.answer()
    assert (answer.code, answer.get(Option.BLOCK1)) == (CHANGED, run(3, False)[1])


def test_a_run_whose_first_block_is_not_taken_is_refused_once() -> None:
    one = device()
    [answer] = one.send(frame(POST, run(2, True), payload=BODY[2048:4096]))
    assert (answer.code, answer.get(Option.BLOCK1)) == (REQUEST_ENTITY_INCOMPLETE, None)
    assert one.messages == []


@pytest.mark.parametrize(
    ("before", "code"),
    [
        (frame(GET, (Option.URI_PATH, b".well-known"), (Option.URI_PATH, b"core"), token=b"b"), CONTENT),
        (frame(POST, (Option.BLOCK1, uint(0b1110)), token=b"b", payload=BODY[:1024]), CONTINUE),
    ],
)
def test_what_was_answered_before_a_run_is_not_its_answer(before: bytes, code: int) -> None:
    """Both in one piece of the stream."""
    one = device()
    heard = one.send(before + frame(POST, (Option.URI_PATH, b"run"), run(0, True), payload=BODY[:3072]))
    assert [(answer.token, answer.code) for answer in heard] == [(b"b", code), (b"t", CONTINUE)]
    one.send(frame(POST, (Option.URI_PATH, b"run"), run(3, False), payload=BODY[3072:]))
    assert one.messages[0][1].data == BODY


def test_a_download_in_runs() -> None:
    one = Device()  # takes 1,152 bytes
    one.send(frame(GET, (Option.BLOCK2, uint(7))))
    heard = one.answer(Reply(Outcome.ACCEPTED, 200, None, BODY))
    for number in range(5):
        [answer] = heard
        assert answer.get(Option.BLOCK2) == uint(number << 4 | (number < 4) << 3 | 7)
        assert answer.payload == BODY[number * 1024 : (number + 1) * 1024]
        heard = one.send(frame(GET, (Option.BLOCK2, uint((number + 1) << 4 | 7)))) if number < 4 else []
    assert len(one.messages) == 1


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 2048])
@pytest.mark.parametrize("more", [False, True])
def test_the_pieces_of_a_run_are_the_run(size: int, more: bool) -> None:
    request = encode(Message(Type.CON, POST, 1, b"t", [(11, b"a"), run(4, more)], b"x" * size))
    pieces = [decode(piece) for piece in Runs().unfold(request)]
    assert b"".join(piece.payload for piece in pieces) == b"x" * size
    blocks = [int.from_bytes(piece.get(Option.BLOCK1) or b"", "big") for piece in pieces]
    assert [block >> 4 for block in blocks] == list(range(4, 4 + len(pieces)))
    assert [block & 15 for block in blocks] == [0b1110] * (len(pieces) - 1) + [0b1110 if more else 0b0110]


def test_what_is_no_run_is_left_alone() -> None:
    runs = Runs()
    for options in ([], [(Option.BLOCK1, b"\x0e")], [(Option.BLOCK2, b"\x06")], [(Option.BLOCK2, b"\0\0\0\x07")]):
        request = encode(Message(Type.CON, GET, 1, b"t", options))
        assert runs.unfold(request) == [request]
        assert runs.refold(request) == request
    assert runs.unfold(b"\x40") == [b"\x40"]


def test_runs_that_are_never_answered_are_forgotten() -> None:
    runs = Runs()
    for number in range(KEPT + 50):
        runs.unfold(encode(Message(Type.CON, GET, 1, number.to_bytes(2, "big"), [(Option.BLOCK2, b"\x07")])))
    assert len(runs._runs) == KEPT


def test_answers_are_not_kept() -> None:
    """Over UDP they are, for repeats."""
    one = device()
    for _ in range(600):
        one.send(frame(GET))
        one.answer(DONE)
    assert one.core.shared.entries == one.core.shared.octets == 0
    assert one.core.counters == {}
