"""Responses in blocks: the first one answers, the later ones are served without the function.

Over 400 lines because it mirrors one module.
"""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bridges.protocols.coap.bench import DEVICE, Bench, ask

from thinbridge.protocols.base import Outcome, Path, Reply
from thinbridge.protocols.coap.blockwise import LAST, Block, parse
from thinbridge.protocols.coap.codec import Message, OptionValue, from_uint
from thinbridge.protocols.coap.codes import (
    BAD_GATEWAY,
    BAD_OPTION,
    BAD_REQUEST,
    CHANGED,
    CONTENT,
    FETCH,
    GET,
    POST,
    REQUEST_ENTITY_INCOMPLETE,
    UNAUTHORIZED,
    VALID,
    Option,
    Type,
    code,
)
from thinbridge.protocols.coap.representations import Representations

PUT = 3
BODY = bytes(range(256)) * 10
PATH: OptionValue = (Option.URI_PATH, b"firmware")
ETAG = (Option.ETAG, b"v1")


def reply(data: bytes = BODY, etag: str | None = "v1", status: int = 200, **attributes: str) -> Reply:
    """What the function answers."""
    tag = {} if etag is None else {"etag": etag}
    return Reply(Outcome.ACCEPTED, status, "application/octet-stream", data, tag | attributes)


def get(
    num: int, szx: int = 4, mid: int = 0, *options: OptionValue, method: int = GET, payload: bytes = b""
) -> Message:
    """A request for a block."""
    block = (Option.BLOCK2, Block(num, False, szx).encode())
    return ask(
        mid or 1000 + num, *sorted([PATH, block, *options]), code=method, token=bytes((num & 255,)), payload=payload
    )


def plain(mid: int = 1, *options: OptionValue, method: int = GET, payload: bytes = b"") -> Message:
    """A request that says nothing of blocks."""
    return ask(mid, *sorted([PATH, *options]), code=method, payload=payload)


def block2(message: Message) -> Block:
    value = message.get(Option.BLOCK2)
    assert value is not None
    return parse(value)


def device(number: int) -> Path:
    """Another device."""
    return DEVICE._replace(peer=("192.0.2.7", 40000 + number))


def rest(bench: Bench, first: Message, path: Path = DEVICE, *options: OptionValue, method: int = GET) -> bytes:
    """Fetch what follows a first block; all of the body."""
    body, message = first.payload, first
    while block2(message).more:
        num, _, szx = block2(message)
        (message,) = bench.send(get(num + 1, szx, 0, *options, method=method), path)
        assert (message.type, message.code) == (Type.ACK, first.code)
        assert message.get(Option.ETAG) == first.get(Option.ETAG)
        assert block2(message)[::2] == (num + 1, szx)
        body += message.payload
    return body


def test_late_negotiation() -> None:
    bench = Bench()
    bench.send(plain())
    (first,) = bench.answer(reply(maxage="60"))
    assert first.options == [
        ETAG,
        (Option.CONTENT_FORMAT, b"\x2a"),
        (Option.MAX_AGE, b"\x3c"),
        (Option.BLOCK2, Block(0, True, 6).encode()),
        (Option.SIZE2, b"\x0a\x00"),
    ]
    assert first.payload == BODY[:1024]
    (second,) = bench.send(get(1, 6))
    assert second.options == [*first.options[:3], (Option.BLOCK2, Block(1, True, 6).encode())]
    (third,) = bench.send(get(2, 6, 0, (Option.SIZE2, b"")))
    assert third.options == [*first.options[:3], (Option.BLOCK2, Block(2, False, 6).encode()), first.options[4]]
    assert first.payload + second.payload + third.payload == BODY
    assert len(bench.messages) == 1


@pytest.mark.parametrize("szx", range(7))
def test_early_negotiation(szx: int) -> None:
    bench = Bench()
    bench.send(get(0, szx))
    (first,) = bench.answer(reply())
    assert block2(first) == Block(0, True, szx)
    assert rest(bench, first) == BODY
    assert len(bench.messages) == 1


def test_the_size_may_change_in_the_middle() -> None:
    bench = Bench(max_payload=256)
    bench.send(get(0, 6))
    (first,) = bench.answer(reply())
    assert (block2(first), first.payload) == (Block(0, True, 4), BODY[:256])
    (smaller,) = bench.send(get(8, 1))
    assert (block2(smaller), smaller.payload) == (Block(8, True, 1), BODY[256:288])
    (larger,) = bench.send(get(1, 6))  # as it was: from 1024 on
    assert (block2(larger), larger.payload) == (Block(4, True, 4), BODY[1024:1280])


def test_a_number_that_no_smaller_block_has() -> None:
    bench = Bench(max_payload=16)
    bench.send(get(LAST, 6, 1))
    (said,) = bench.answer(reply(BODY[:16], status=206, contentrange=f"bytes {LAST << 10}-{(LAST << 10) + 15}/*"))
    assert said.code == BAD_REQUEST


def test_any_block_in_any_order() -> None:
    bench = Bench()
    bench.send(get(0))
    bench.answer(reply())
    for num in (9, 3, 3, 1, 9):
        (said,) = bench.send(get(num))
        assert said.payload == BODY[256 * num : 256 * num + 256]
    (none,) = bench.send(get(10))
    assert (none.code, none.payload, bench.counters["block2"]) == (BAD_REQUEST, b"no such block", 1)
    assert len(bench.messages) == 1


def test_a_later_block_of_a_get_with_a_payload() -> None:
    """Which is ignored (RFC 7252 §5.5)."""
    bench = Bench()
    bench.send(plain(payload=b"1"))
    bench.answer(reply())
    assert bench.send(get(1, payload=b"2"))[0].payload == BODY[256:512]


def test_a_response_that_fits() -> None:
    bench = Bench()
    bench.send(plain())
    (said,) = bench.answer(reply(b"short", etag=None))
    assert said.options == [(Option.CONTENT_FORMAT, b"\x2a")]
    bench.send(get(0, 0, 2, (Option.SIZE2, b"")))
    (said,) = bench.answer(reply(b"short", etag=None))
    assert said.options == [
        (Option.CONTENT_FORMAT, b"\x2a"),
        (Option.BLOCK2, Block(0, False, 0).encode()),
        (Option.SIZE2, b"\x05"),
    ]
    assert bench.core.representations.octets == 0


@pytest.mark.parametrize("size", [True, False])
def test_a_response_without_content(size: bool) -> None:
    bench = Bench()
    bench.send(get(0, 0, 1, *([(Option.SIZE2, b"")] if size else [])))
    (said,) = bench.answer(reply(b""))
    assert said.options == [ETAG, (Option.MAX_AGE, b"")]


def test_how_many_bytes_it_has() -> None:
    bench = Bench()
    bench.send(plain(1, (Option.SIZE2, b"")))
    (said,) = bench.answer(reply(b"short"))
    assert (said.get(Option.SIZE2), block2(said)) == (b"\x05", Block(0, False, 6))


def test_a_response_without_etag_gets_one() -> None:
    tags = []
    for body in (BODY, BODY, BODY[1:]):
        bench = Bench()
        bench.send(plain())
        (first,) = bench.answer(reply(body, etag=None))
        tags.append(first.get(Option.ETAG))
        assert rest(bench, first) == body
    assert tags[0] == tags[1] != tags[2]
    assert len(tags[0] or b"") == 8


def test_a_first_request_asks_the_function_anew() -> None:
    bench = Bench()
    bench.send(plain())
    bench.answer(reply())
    bench.send(get(0, 4, 2))
    (first,) = bench.answer(reply(BODY[::-1], "v2"))
    assert rest(bench, first) == BODY[::-1]
    assert bench.core.representations.octets == len(BODY)
    bench.send(get(0, 4, 3))
    bench.answer(reply(b"short"))
    assert bench.core.representations.octets == 0
    assert bench.send(get(1)) == []  # nothing is left to serve it from


def test_repeats_of_later_blocks_are_served_again_and_not_remembered() -> None:
    bench = Bench()
    bench.send(plain())
    bench.answer(reply())
    entries = bench.core.shared.entries
    assert bench.send(get(1, 6)) == bench.send(get(1, 6))
    assert bench.core.shared.entries == entries


@pytest.mark.parametrize("method", [POST, PUT, FETCH])
def test_the_response_to_a_body(method: int) -> None:
    bench = Bench()
    bench.send(plain(1, method=method, payload=b"q"))
    (first,) = bench.answer(reply())
    assert first.code == (CONTENT if method == FETCH else CHANGED)
    assert rest(bench, first, method=method) == BODY
    assert len(bench.messages) == 1


def test_blocks_both_ways_in_one_exchange() -> None:
    bench = Bench()
    last = b"x" * 10
    for num, block in enumerate((BODY[:64], BODY[64:128], last)):
        one = (Option.BLOCK1, Block(num, block is not last, 2).encode())
        early = [(Option.BLOCK2, Block(0, False, 2).encode())] if block is last else []
        bench.send(plain(num + 1, one, *early, method=POST, payload=block))
    assert bench.inbound.data == BODY[:128] + last
    (first,) = bench.answer(reply())
    assert (first.get(Option.BLOCK1), block2(first)) == (Block(2, False, 2).encode(), Block(0, True, 2))
    assert [number for number, _ in first.options] == [4, 12, 23, 27, 28]
    assert rest(bench, first, method=POST) == BODY
    assert len(bench.messages) == 1


def test_an_error_has_blocks_too() -> None:
    bench = Bench()
    bench.send(plain())
    error = Reply(Outcome.REFUSED, 404, "application/json", BODY, {}, is_event=True)
    (first,) = bench.answer(error)
    assert first.code == code("4.04")
    assert rest(bench, first) == BODY
    bench.send(get(0, 0, 2))
    (first,) = bench.answer(Reply(Outcome.REFUSED, 404, data=b"no such firmware"))
    assert (first.payload, first.get(Option.BLOCK2)) == (b"no such firmware", None)


def test_a_device_that_has_it_already() -> None:
    bench = Bench()
    bench.send(get(0, 4, 1, ETAG))
    (said,) = bench.answer(reply())
    assert (said.code, said.options, said.payload) == (VALID, [ETAG], b"")


def test_a_device_that_has_it_already_by_the_etag_that_it_was_given() -> None:
    bench = Bench()
    bench.send(plain())
    (first,) = bench.answer(reply(etag=None, maxage="9"))
    given = (Option.ETAG, first.get(Option.ETAG) or b"")
    bench.send(get(0, 4, 2, given))
    (said,) = bench.answer(reply(etag=None, maxage="9"))
    assert (said.code, said.options, said.payload) == (VALID, [given, (Option.MAX_AGE, b"\x09")], b"")
    bench.send(plain(3, given))
    (other,) = bench.answer(reply(BODY[1:], etag=None))
    assert (other.code, len(other.payload)) == (CONTENT, 1024)
    bench.send(plain(4, given, method=POST))
    (changed,) = bench.answer(reply(etag=None))
    assert (changed.code, len(changed.payload)) == (CHANGED, 1024)


def test_a_later_block_is_asked_for_once_in_a_message() -> None:
    bench = Bench()
    bench.send(plain())
    bench.answer(reply())
    (said,) = bench.send(get(1, 4, 2, (Option.BLOCK2, Block(2, False, 4).encode())))
    assert said.code == BAD_OPTION


# --- Equal bodies are one ----------------------------------------------------------------------------------------


def test_a_body_is_kept_once_and_for_as_long_as_it_is_fetched() -> None:
    bench = Bench(transfer_idle=100)
    for number in range(50):
        bench.send(plain(), device(number))
        bench.answer(reply(bytes(bytearray(BODY)), f"v{number % 2}"))  # the ETag is the function's word, not ours
    assert bench.core.representations.octets == len(BODY)
    bench.wait(99)
    (said,) = bench.send(get(1, 6), device(7))
    assert (said.payload, said.get(Option.ETAG)) == (BODY[1024:2048], b"v1")
    bench.wait(1)
    assert bench.core.representations.octets == len(BODY)
    bench.wait(100)
    assert bench.core.representations.octets == 0
    bench.wait(200)
    assert not bench.owner.live


def test_the_longest_unused_makes_room() -> None:
    bench = Bench(downloads_in_all=2 * len(BODY))
    bodies = [bytes((number,)) + BODY[1:] for number in range(3)]
    for number in (0, 1):
        bench.send(plain(), device(number))
        bench.answer(reply(bodies[number]))
    bench.send(get(1, 6), device(0))
    bench.send(plain(), device(2))
    (first,) = bench.answer(reply(bodies[2]))
    assert (bench.core.representations.octets, bench.counters["downloads_evicted"]) == (2 * len(BODY), 1)
    assert rest(bench, first, device(2)) == bodies[2]
    assert bench.send(get(1, 6, 50), device(0))[0].payload == BODY[1024:2048]
    assert bench.send(get(1, 6), device(1)) == []
    assert bench.inbound.attributes["coaprange"] == "bytes=1024-2047"


def test_a_body_for_which_there_never_is_room() -> None:
    bench = Bench(downloads_in_all=1000)
    bench.send(plain(), device(1))
    bench.answer(reply(BODY[:500]))
    bench.send(plain())
    (first,) = bench.answer(reply())
    assert (block2(first), first.payload) == (Block(0, True, 6), BODY[:1024])
    for num, size in ((1, 1024), (2, 512)):
        assert bench.send(get(num, 6)) == []
        (said,) = bench.answer(reply())
        assert (block2(said), said.payload) == (Block(num, num == 1, 6), BODY[1024 * num : 1024 * num + size])
    assert bench.core.representations.octets == 0


def test_responses_of_one_device_at_a_time() -> None:
    bench = Bench(downloads=2)
    for number in (1, 2, 3):
        bench.send(plain(number, (Option.URI_QUERY, b"%d" % number)))
        bench.answer(reply())
    for number in (3, 2):
        assert bench.send(get(1, 6, 10 + number, (Option.URI_QUERY, b"%d" % number))) != []
    assert bench.send(get(1, 6, 11, (Option.URI_QUERY, b"1"))) == []


def test_a_session_that_is_closed_takes_its_responses_with_it() -> None:
    bench = Bench()
    bench.send(plain())
    bench.answer(reply())
    bench.owner.close(bench.now)
    assert bench.core.representations.octets == 0


def test_a_session_lasts_as_long_as_its_response() -> None:
    bench = Bench(transfer_idle=247)
    bench.send(plain())
    bench.answer(reply())
    for _ in range(10):
        bench.wait(200)
        assert bench.send(get(1, 6)) != []
    assert len(bench.messages) == 1


def test_later_blocks_are_served_in_a_drain() -> None:
    bench = Bench(open_exchanges=1)
    bench.send(plain())
    bench.answer(reply())
    bench.send(plain(2, (Option.URI_QUERY, b"busy")))
    bench.owner.drain(bench.now)
    assert bench.send(get(1, 6))[0].payload == BODY[1024:2048]


# --- A block out of nowhere ----------------------------------------------------------------------------------------


def test_the_function_is_asked_for_a_range_and_answers_all() -> None:
    bench = Bench()
    assert bench.send(get(2)) == []
    assert bench.inbound.attributes["coaprange"] == "bytes=512-767"
    (said,) = bench.answer(reply())
    assert (said.code, block2(said), said.payload) == (CONTENT, Block(2, True, 4), BODY[512:768])
    assert rest(bench, said) == BODY[512:]
    assert len(bench.messages) == 1
    bench.send(get(70, 4, 0, (Option.URI_QUERY, b"other")))
    (said,) = bench.answer(reply())
    assert said.code == BAD_REQUEST


@pytest.mark.parametrize(
    ("num", "data", "content_range", "more", "size2"),
    [
        (2, BODY[512:768], "bytes 512-767/2560", True, None),
        (2, BODY[256:1024], "bytes 256-1023/2560", True, None),
        (9, BODY[2304:], "bytes 2304-2559/2560", False, None),
        (0, BODY[:256], "bytes 0-255/2560", True, b"\x0a\x00"),
        (2, BODY[512:768], "bytes 512-767/*", True, None),
        (9, BODY[2304:2400], "bytes 2304-2399/*", False, None),
    ],
)
def test_a_part(num: int, data: bytes, content_range: str, more: bool, size2: bytes | None) -> None:
    bench = Bench()
    bench.send(get(num))
    (said,) = bench.answer(reply(data, status=206, contentrange=content_range))
    start = 256 * num
    assert (said.code, block2(said)) == (CONTENT, Block(num, more, 4))
    assert said.payload == BODY[start : start + len(said.payload)]
    assert (said.get(Option.ETAG), said.get(Option.SIZE2)) == (b"v1", size2)
    assert bench.core.representations.octets == 0
    assert bench.send(get(num + 1)) == []  # asked for again
    assert bench.inbound.attributes["coaprange"] == f"bytes={start + 256}-{start + 511}"


def test_an_event_says_what_part_it_is() -> None:
    bench = Bench()
    bench.send(get(2))
    part = {"contentrange": "bytes 512-767/2560", "coapetag": "01"}
    (said,) = bench.answer(Reply(Outcome.ACCEPTED, 200, None, BODY[512:768], part, is_event=True))
    assert (block2(said), said.payload, said.get(Option.ETAG)) == (Block(2, True, 4), BODY[512:768], b"\1")
    bench.send(get(3))
    (said,) = bench.answer(Reply(Outcome.ACCEPTED, 200, None, BODY, part))  # a bare 200 is the whole, whatever it says
    assert (block2(said), said.payload) == (Block(3, True, 4), BODY[768:1024])


@pytest.mark.parametrize(
    ("data", "content_range", "method"),
    [
        (BODY[512:768], None, GET),
        (BODY[512:768], "bytes 512-768/2560", GET),
        (BODY[512:768], "bytes 512-767/700", GET),
        (BODY[512:768], "octets 512-767/2560", GET),
        (BODY[512:700], "bytes 512-699/2560", GET),
        (BODY[:256], "bytes 0-255/2560", GET),
        (BODY[768:1024], "bytes 768-1023/2560", GET),
        (BODY[768:1024], "bytes 768-1023/*", GET),
        (BODY[512:768], "bytes 512-767/9999999999", GET),  # more than Size2 can say
        (BODY[:256], "bytes 0-255/2560", POST),
    ],
)
def test_what_is_not_the_part_that_was_asked_for(data: bytes, content_range: str | None, method: int) -> None:
    bench = Bench()
    bench.send(get(2 if method == GET else 0, method=method, payload=b"" if method == GET else b"x"))
    attributes = {} if content_range is None else {"contentrange": content_range}
    (said,) = bench.answer(reply(data, status=206, **attributes))
    assert (said.code, said.options, said.payload) == (BAD_GATEWAY, [], b"")
    assert bench.counters == {"range_invalid": 1}


def test_a_range_that_the_function_does_not_have() -> None:
    bench = Bench()
    bench.send(get(99))
    (said,) = bench.answer(Reply(Outcome.REFUSED, 416))
    assert said.code == BAD_REQUEST
    bench.send(get(98, 0))
    (said,) = bench.answer(Reply(Outcome.REFUSED, 403, "text/plain", b"this is not for you", {}, is_event=True))
    assert (said.options, said.payload) == ([], b"")  # longer than the block, and has no other


def test_a_changed_etag_is_seen() -> None:
    bench = Bench(downloads_in_all=len(BODY))
    bench.send(get(0))
    (first,) = bench.answer(reply())
    bench.send(plain(9), device(9))
    bench.answer(reply(BODY[::-1]))
    assert bench.send(get(1)) == []
    (said,) = bench.answer(reply(BODY[1:], "v2"))
    assert said.get(Option.ETAG) != first.get(Option.ETAG)
    assert said.payload == BODY[257:513]


@pytest.mark.parametrize(("method", "payload"), [(POST, b""), (PUT, b"x"), (FETCH, b"")])
def test_a_block_that_needs_a_body_again(method: int, payload: bytes) -> None:
    bench = Bench()
    (said,) = bench.send(get(2, method=method, payload=payload))
    assert (said.code, said.payload) == (REQUEST_ENTITY_INCOMPLETE, b"ask for the first block again")
    assert bench.counters == {"transfer_lost": 1}


def test_a_fetch_that_brings_its_body_again() -> None:
    bench = Bench()
    bench.send(plain(1, method=FETCH, payload=b"one"))
    bench.answer(reply())
    for num, payload in ((1, b"one"), (2, b""), (3, b"one")):
        assert bench.send(get(num, method=FETCH, payload=payload))[0].payload == BODY[256 * num : 256 * num + 256]
    assert len(bench.messages) == 1
    assert bench.send(get(1, 4, 9, method=FETCH, payload=b"other")) == []
    assert bench.inbound.data == b"other"
    assert bench.inbound.attributes["coaprange"] == "bytes=256-511"


def test_a_body_that_says_nothing_of_what_is_asked_for_is_a_new_one() -> None:
    bench = Bench()
    bench.send(plain(1, method=POST, payload=b"one"))
    bench.answer(reply())
    (said,) = bench.send(get(1, method=POST, payload=b"one"))
    assert said.code == REQUEST_ENTITY_INCOMPLETE


def test_a_notification_is_fetched_with_the_body_of_its_registration() -> None:
    bench = Bench()
    bench.send(plain(1, (Option.OBSERVE, b""), method=FETCH, payload=b"one"))
    bench.answer(Reply(Outcome.ACCEPTED, 200, None, BODY, {"coapobserve": "true"}, is_event=True))
    assert bench.send(get(1, method=FETCH, payload=b"one"))[0].payload == BODY[256:512]


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ([(Option.BLOCK2, b"\x17")], BAD_REQUEST),
        ([(Option.BLOCK2, bytes(4))], code("4.02")),
        ([(Option.BLOCK2, b"\x16"), (Option.BLOCK1, b"\x06")], BAD_REQUEST),
    ],
)
def test_what_is_no_later_block(options: list[OptionValue], answer: int) -> None:
    bench = Bench()
    bench.send(plain())
    bench.answer(reply())
    (said,) = bench.send(plain(2, *options))
    assert said.code == answer


def test_bodies_by_themselves() -> None:
    counters: Counter[str] = Counter()
    shared = Representations(10, counters)
    one, other, third = (shared.hold(data) for data in (b"12345", b"67890", b"12345"))
    assert one is third
    assert one is not None
    assert other is not None
    assert shared.hold(bytes(11)) is None
    assert shared.read(one) == b"12345"
    new = shared.hold(b"abc")
    assert new is not None
    assert (shared.octets, shared.read(other), shared.read(one)) == (8, None, b"12345")
    assert shared.hold(b"12345") is one  # which makes it the one that was used last
    again = shared.hold(b"67890")
    assert again is not other
    assert (shared.octets, shared.read(new)) == (10, None)
    assert shared.hold(b"12345") is one
    assert shared.hold(b"abcd") is not None
    assert (shared.octets, shared.read(one)) == (9, b"12345")
    for body in (one, one, one, one, other, new, again, shared.hold(b"abcd"), shared.hold(b"abcd")):
        assert body is not None
        shared.release(body)
    assert (shared.octets, counters) == (4, {"downloads_evicted": 3})


# --- In any case ---------------------------------------------------------------------------------------------------


@given(
    st.binary(min_size=1, max_size=300),
    st.integers(16, 64),
    st.integers(0, 3),
    st.lists(st.tuples(st.integers(0, 19), st.integers(0, 3)), max_size=12),
    st.integers(100, 1000),
)
def test_whatever_is_asked_for_is_a_part_of_the_body(
    body: bytes, max_payload: int, szx: int, asked: list[tuple[int, int]], room: int
) -> None:
    bench = Bench(max_payload=max_payload, downloads_in_all=room)
    for mid, (num, size) in enumerate([(0, szx), *asked]):
        said = bench.send(get(num, size, 100 + mid)) or bench.answer(reply(body, etag=None))
        start = num * (16 << size)
        if num and start >= len(body):
            assert [message.code for message in said] == [BAD_REQUEST]
            continue
        (message,) = said
        block = block2(message)
        assert block.start == start
        assert message.payload == body[start : start + block.size]
        assert block.more == (start + block.size < len(body))
        assert len(message.payload) <= min(16 << size, max_payload)
        size2 = message.get(Option.SIZE2)
        assert (size2 is None) == (num > 0)
        assert size2 is None or from_uint(size2) == len(body)
    bench.wait(600)
    assert bench.core.representations.octets == 0


def test_a_stranger_is_challenged_for_a_later_block_too() -> None:
    bench = Bench()
    (said,) = bench.send(get(3), DEVICE._replace(verified=False))
    assert said.code == UNAUTHORIZED
