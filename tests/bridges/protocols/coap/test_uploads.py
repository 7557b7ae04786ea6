"""Bodies of requests in blocks: one message each, whole or not at all.

Over 400 lines because it mirrors one module.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bridges.protocols.coap.bench import DEVICE, DONE, STRANGER, Bench, ack, ask

from thinbridge.protocols.base import Outcome, Path, Reply
from thinbridge.protocols.coap.blockwise import Block, parse
from thinbridge.protocols.coap.codec import Message, OptionValue, from_uint
from thinbridge.protocols.coap.codes import (
    BAD_REQUEST,
    CHANGED,
    CONTINUE,
    REQUEST_ENTITY_INCOMPLETE,
    REQUEST_ENTITY_TOO_LARGE,
    SERVICE_UNAVAILABLE,
    Option,
    Type,
)
from thinbridge.protocols.coap.uploads import MAX_TRANSMIT_WAIT, PATIENCE

PATH: OptionValue = (Option.URI_PATH, b"log")
BODY = bytes(range(256)) * 10


def cut(body: bytes, szx: int, mid: int = 1, *options: OptionValue, type: int = Type.CON) -> list[Message]:
    """The requests that carry a body."""
    size = 16 << szx
    blocks = [body[at : at + size] for at in range(0, len(body), size)]
    return [
        ask(
            mid + num,
            *sorted([PATH, (Option.BLOCK1, Block(num, num < len(blocks) - 1, szx).encode()), *options]),
            type=type,
            token=bytes((mid + num & 255,)),
            payload=block,
        )
        for num, block in enumerate(blocks)
    ]


def device(number: int) -> Path:
    """Another device."""
    return DEVICE._replace(peer=("192.0.2.7", 40000 + number))


def codes(said: list[Message]) -> list[int]:
    return [message.code for message in said]


def block1(message: Message) -> Block:
    value = message.get(Option.BLOCK1)
    assert value is not None
    return parse(value)


@pytest.mark.parametrize("kind", [Type.CON, Type.NON])
def test_a_body_in_blocks_is_one_message(kind: int) -> None:
    bench = Bench()
    *blocks, last = cut(BODY, 4, type=kind)
    for num, block in enumerate(blocks):
        (said,) = bench.send(block)
        assert (said.type, said.code, said.token) == (kind or Type.ACK, CONTINUE, block.token)
        assert said.options == [(Option.BLOCK1, Block(num, True, 4).encode())]
        assert not bench.messages
        assert not bench.session.busy
    assert bench.send(last) == []
    assert bench.inbound.data == BODY
    assert bench.inbound.subject == "log"
    (response,) = bench.answer()
    assert (response.code, block1(response)) == (CHANGED, Block(9, False, 4))
    assert len(bench.messages) == 1
    assert bench.core.room.octets == 0


def test_a_body_of_one_block() -> None:
    bench = Bench()
    assert bench.send(cut(b"short", 0)[0]) == []
    assert bench.inbound.data == b"short"
    assert block1(bench.answer()[0]) == Block(0, False, 0)


def test_the_size_that_we_prefer() -> None:
    bench = Bench(max_payload=100)
    (said,) = bench.send(cut(BODY, 6)[0])
    assert block1(said) == Block(0, True, 2)
    for num, block in enumerate(cut(BODY, 2)[16:], 16):
        said_ = bench.send(block)
        assert not said_ or block1(said_[0]) == Block(num, True, 2)
    assert bench.inbound.data == BODY


def test_a_client_that_keeps_its_own_size() -> None:
    bench = Bench(max_payload=16)
    for block in cut(BODY, 6):
        bench.send(block)
    assert bench.inbound.data == BODY


def test_copies_of_blocks_hear_the_same_and_add_nothing() -> None:
    bench = Bench()
    for block in cut(BODY, 4):
        said = bench.send(block)
        assert bench.send(block) == (said or [ack(block.mid)])
    (response,) = bench.answer()  # separate: the copy had the empty ACK
    assert (response.type, response.code) == (Type.CON, CHANGED)
    assert [inbound.data for _, inbound in bench.messages] == [BODY]
    for block in cut(BODY, 4):  # and all of it again, late
        bench.send(block)
    assert len(bench.messages) == 1
    assert bench.core.room.octets == 0


def test_a_block_that_is_sent_again_as_a_new_message() -> None:
    bench = Bench()
    first, second, *rest = cut(BODY, 4)
    again = ask(100, *second.options, payload=second.payload)
    for block in (first, second, again):
        assert codes(bench.send(block)) == [CONTINUE]
    for block in rest:
        bench.send(block)
    assert bench.inbound.data == BODY


def test_what_stands_in_anothers_place_is_of_another_body() -> None:
    bench = Bench()
    first, second, third, *_ = cut(BODY, 4)
    other = ask(100, *second.options, payload=bytes(256))
    for block in (first, second):
        bench.send(block)
    assert codes(bench.send(other)) == codes(bench.send(third)) == [REQUEST_ENTITY_INCOMPLETE]
    last = ask(102, *cut(BODY[:512], 4)[1].options, payload=second.payload)
    for block in cut(BODY, 4, 200)[:2]:
        bench.send(block)
    assert codes(bench.send(last)) == [REQUEST_ENTITY_INCOMPLETE]  # the end, where there was more
    assert not bench.messages
    assert bench.core.room.octets == 0


def test_a_gap() -> None:
    bench = Bench()
    blocks = cut(BODY, 4)
    (said,) = bench.send(blocks[1])
    assert (said.code, said.payload) == (REQUEST_ENTITY_INCOMPLETE, b"blocks before this one are missing")
    bench.send(blocks[0])  # its copy heard 4.08, and hears it again
    assert bench.send(blocks[1]) == [said]
    assert codes(bench.send(blocks[9])) == [REQUEST_ENTITY_INCOMPLETE]
    for block in cut(BODY, 4, 100)[1:]:
        bench.send(block)
    assert bench.inbound.data == BODY
    assert bench.counters["upload_gap"] == 2


def test_the_first_block_begins_anew() -> None:
    bench = Bench()
    for block in cut(bytes(2560), 4)[:5]:
        bench.send(block)
    for block in cut(BODY, 4, 100):
        bench.send(block)
    assert [inbound.data for _, inbound in bench.messages] == [BODY]
    bench.send(cut(bytes(2560), 4, 200)[0])
    bench.send(cut(b"whole", 4, 300)[0])
    assert bench.inbound.data == b"whole"
    assert bench.core.room.octets == 0


@pytest.mark.parametrize(("size", "more"), [(15, True), (17, True), (0, True), (17, False)])
def test_a_block_has_its_size(size: int, more: bool) -> None:
    bench = Bench()
    (said,) = bench.send(ask(1, (Option.BLOCK1, Block(0, more, 0).encode()), payload=bytes(size)))
    assert (said.code, bench.counters) == (BAD_REQUEST, {"block": 1})


def test_the_ids_of_bodies() -> None:
    bench = Bench()
    keys = []
    for mid, body in ((1, BODY), (100, BODY), (200, b"x" * 256 + BODY[256:])):
        for block in cut(body, 4, mid):
            bench.send(block)
        keys.append(bench.inbound.repeat_key)
    other = Bench()
    for block in cut(BODY, 4):
        other.send(block)
    assert other.inbound.repeat_key == keys[0]  # from another replica, it is the same
    other = Bench()
    for block in cut(b"x" * 256 + BODY[256:], 4):  # whose last message is the same
        other.send(block)
    assert other.inbound.repeat_key != keys[0]
    assert len(set(keys)) == 3


@pytest.mark.parametrize("claim", [True, False])
def test_a_body_that_is_too_long(claim: bool) -> None:
    bench = Bench(max_upload=2000)
    said: list[int] = []
    for block in cut(BODY, 4, 1, *([(Option.SIZE1, b"\x0a\x00")] if claim else [])):
        (answer,) = bench.send(block)
        said.append(answer.code)
    assert said == [CONTINUE] * (0 if claim else 7) + [REQUEST_ENTITY_TOO_LARGE] * (10 if claim else 3)
    assert answer.options == [(Option.SIZE1, b"\x07\xd0")]
    assert bench.core.room.octets == 0


def test_a_body_of_the_limit() -> None:
    bench = Bench(max_upload=len(BODY))
    for block in cut(BODY, 4, 1, (Option.SIZE1, b"\x0a\x00")):
        bench.send(block)
    assert bench.inbound.data == BODY


def test_blocks_without_end() -> None:
    bench = Bench(max_upload=4096)
    for num in range(1000):
        said = bench.send(ask(num, PATH, (Option.BLOCK1, Block(num, True, 0).encode()), payload=bytes(16)))
        assert bench.core.room.octets <= 4096
        assert codes(said) == [
            CONTINUE if num < 256 else REQUEST_ENTITY_TOO_LARGE,
        ]
    assert bench.core.room.octets == 0


SIZED = (Option.SIZE1, b"\x0a\x00")


def test_what_has_begun_can_be_completed_and_others_hear_it_at_once() -> None:
    bench = Bench(uploads_in_all=2 * len(BODY))
    for number in (1, 2, 3):
        (said,) = bench.send(cut(BODY, 4, 1, SIZED)[0], device(number))
        if number < 3:
            assert said.code == CONTINUE
    assert said.code == SERVICE_UNAVAILABLE
    at_least, more = PATIENCE
    assert at_least <= from_uint(said.get(Option.MAX_AGE) or b"") < at_least + more
    for number in (1, 2):
        for block in cut(BODY, 4, 1, SIZED)[1:]:
            bench.send(block, device(number))
    assert [inbound.data for _, inbound in bench.messages] == [BODY, BODY]
    assert codes(bench.send(cut(BODY, 4, 100, SIZED)[0], device(3))) == [CONTINUE]
    assert bench.counters["uploads_full"] == 1


def test_bodies_of_unknown_size_that_outgrow_the_room() -> None:
    bench = Bench(uploads_in_all=600)
    one, other = cut(BODY[:600], 4), cut(BODY[:600], 4)
    assert codes(bench.send(one[0], device(1))) == codes(bench.send(other[0], device(2))) == [CONTINUE]
    assert codes(bench.send(one[1], device(1))) == [SERVICE_UNAVAILABLE]  # and so the other one has room
    for block in other[1:]:
        bench.send(block, device(2))
    assert bench.inbound.data == BODY[:600]
    assert codes(bench.send(one[2], device(1))) == [REQUEST_ENTITY_INCOMPLETE]
    assert bench.core.room.octets == 0


def test_a_body_for_which_there_never_is_room() -> None:
    bench = Bench(uploads_in_all=600)
    (said,) = bench.send(cut(BODY, 4, 1, SIZED)[0])
    assert (said.code, said.get(Option.SIZE1)) == (REQUEST_ENTITY_TOO_LARGE, b"\x02\x58")


def test_what_its_device_has_given_up_makes_room() -> None:
    bench = Bench(uploads_in_all=len(BODY))
    one = cut(BODY, 4, 1, SIZED)
    bench.send(one[0], device(1))
    bench.wait(MAX_TRANSMIT_WAIT - 1)
    assert codes(bench.send(cut(BODY, 4, 1, SIZED)[0], device(2))) == [SERVICE_UNAVAILABLE]
    bench.wait(1)
    assert codes(bench.send(cut(BODY, 4, 100, SIZED)[0], device(2))) == [CONTINUE]
    assert codes(bench.send(one[1], device(1))) == [REQUEST_ENTITY_INCOMPLETE]
    assert bench.counters["uploads_given_up"] == 1
    bench.send(cut(b"again", 4, 200)[0], device(1))
    assert bench.inbound.data == b"again"
    bench.wait(300)
    assert bench.counters["uploads_given_up"] == 2
    assert (bench.core.room.octets, bench.owner.live) == (0, {})


def test_what_others_have_taken_is_given_up_once() -> None:
    bench = Bench(uploads_in_all=len(BODY))
    for number in (1, 2):
        bench.send(cut(BODY, 4, 1, SIZED)[0], device(number))
        bench.wait(MAX_TRANSMIT_WAIT)
    bench.wait(600)
    assert (bench.counters["uploads_given_up"], bench.core.room.octets, bench.owner.live) == (2, 0, {})


def test_bodies_of_one_device_at_a_time() -> None:
    bench = Bench(uploads=2)
    bodies = [cut(BODY, 4, 100 * tag, (Option.REQUEST_TAG, bytes((tag,)))) for tag in (1, 2, 3)]
    for blocks in bodies:
        bench.send(blocks[0])
    assert codes(bench.send(bodies[0][1])) == [REQUEST_ENTITY_INCOMPLETE]
    for blocks in bodies[1:]:
        for block in blocks[1:]:
            bench.send(block)
    assert len(bench.messages) == 2


def test_silence_ends_it() -> None:
    bench = Bench(transfer_idle=100)
    blocks = cut(BODY, 4)
    bench.send(blocks[0])
    bench.wait(99)
    bench.send(blocks[1])
    bench.wait(99)
    bench.send(blocks[2])
    bench.wait(100)
    assert bench.core.room.octets == 0
    assert codes(bench.send(blocks[3])) == [REQUEST_ENTITY_INCOMPLETE]


def test_a_session_lasts_as_long_as_its_body() -> None:
    bench = Bench(transfer_idle=1000, remembered=1)
    bench.send(ask(77))
    bench.answer()
    bench.send(cut(BODY, 4)[0])
    bench.wait(900)
    assert codes(bench.send(cut(BODY, 4)[1])) == [CONTINUE]
    bench.wait(1300)
    assert not bench.owner.live


def test_a_session_that_is_closed_takes_its_bodies_with_it() -> None:
    bench = Bench()
    bench.send(cut(BODY, 4)[0])
    assert bench.core.room.octets
    bench.owner.close(bench.now)
    assert bench.core.room.octets == 0


def test_the_last_block_finds_no_room_for_a_request() -> None:
    bench = Bench(open_exchanges=1)
    bench.send(ask(77))
    *blocks, last = cut(BODY, 4)
    for block in blocks:
        assert codes(bench.send(block)) == [CONTINUE]
    assert codes(bench.send(last)) == [SERVICE_UNAVAILABLE]
    bench.answer()
    assert bench.send(ask(100, *last.options, payload=last.payload)) == []
    assert bench.inbound.data == BODY


def test_no_body_begins_in_a_drain() -> None:
    bench = Bench()
    bench.send(cut(BODY, 4)[0])
    bench.owner.drain(bench.now)
    assert codes(bench.send(cut(BODY, 4)[1])) == [SERVICE_UNAVAILABLE]


def test_the_response_that_is_not_wanted_is_the_last_one() -> None:
    bench = Bench()
    silent = (Option.NO_RESPONSE, b"\x02")
    *blocks, last = cut(BODY, 4, 1, silent)
    for block in blocks:
        assert codes(bench.send(block)) == [CONTINUE]
    bench.send(last)
    assert bench.answer() == [ack(last.mid)]


def test_nothing_is_kept_for_an_address_that_is_not_proven() -> None:
    bench = Bench(STRANGER)
    for block in cut(BODY, 4):
        bench.send(block)
    assert (bench.core.room.octets, bench.owner.live) == (0, {})


def test_what_it_was_refused_with_has_its_block() -> None:
    bench = Bench()
    for block in cut(BODY, 4):
        bench.send(block)
    (response,) = bench.answer(Reply(Outcome.UNKNOWN))
    assert block1(response) == Block(9, False, 4)


@given(st.data())
def test_a_delivered_body_is_one_that_was_sent(data: st.DataObject) -> None:
    """Bodies of one device, told apart by Request-Tag, in any order, with copies and with losses."""
    bodies = data.draw(st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=4, unique=True))
    sent = [cut(body, 0, 100 * number, (Option.REQUEST_TAG, bytes((number,)))) for number, body in enumerate(bodies, 1)]
    wire = [block for blocks in sent for block in blocks]
    arrivals = data.draw(st.lists(st.sampled_from(wire), max_size=60) | st.permutations(wire))
    bench = Bench(uploads_in_all=data.draw(st.integers(16, 400)), uploads=data.draw(st.integers(1, 4)))
    for message in arrivals:
        count = len(bench.messages)
        bench.send(message)
        if len(bench.messages) > count:
            bench.answer(DONE)
        assert 0 <= bench.core.room.octets <= bench.core.room.max_octets
    delivered = [inbound.data for _, inbound in bench.messages]
    assert set(delivered) <= set(bodies)
    assert len(delivered) == len(set(delivered))
    bench.wait(600)
    assert (bench.core.room.octets, bench.core.room.uploads, bench.owner.live) == (0, {}, {})


@given(st.lists(st.integers(0, 9), max_size=30), st.binary(min_size=150, max_size=160))
def test_a_device_that_goes_on_until_it_has_arrived(lost: list[int], body: bytes) -> None:
    """Blocks are lost, their answers are lost, and it repeats each until it is heard: the body arrives, once."""
    bench = Bench()
    fate = iter(lost)
    for block in cut(body, 0):
        while True:
            chance = next(fate, 0)
            if chance > 6:
                continue  # lost
            said = bench.send(block)
            if chance < 4 and (said or len(bench.messages)):
                break  # else its answer was lost
    assert [inbound.data for _, inbound in bench.messages] == [body]
