"""What CoAP servers have been seen to get wrong with blocks and notifications, each as a test that shows ours right.

`test_coap_known_bad` has the rest. All of it is played in virtual time.
"""

import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from tests.bridges.protocols.coap.bench import Bench, ack, ask, reset
from tests.interop.plugtest.wire import block, number, said_block

from thinbridge.protocols.base import Outbound, Outcome, Path, Reply
from thinbridge.protocols.coap.codec import Message, OptionValue
from thinbridge.protocols.coap.codes import CHANGED, CONTINUE, GET, Option, Type, dotted

SIZE = 1024
REGISTER = Option.OBSERVE, b""


def part(index: int, blocks: int, size: int = SIZE) -> tuple[OptionValue, bytes]:
    """A Block1 option, and the block."""
    return (Option.BLOCK1, block(index, index + 1 < blocks, size)), bytes([index % 256]) * size


def send(bench: Bench, indexes: Sequence[int], blocks: int, mid: int = 0) -> list[Message]:
    """Blocks of one body, in this order, with Message IDs from `mid` on; what each is answered."""
    answers: list[Message] = []
    for count, index in enumerate(indexes):
        option, payload = part(index, blocks)
        answers += bench.send(ask(mid + count, option, payload=payload))
    return answers


# --- Block1: a gap is an internal error, a body stays, grows without a bound, and costs its square --------------------


def test_a_gap_is_said_and_the_body_begins_anew() -> None:
    bench = Bench()
    assert [dotted(one.code) for one in send(bench, [0, 1, 3], 4)] == ["2.31", "2.31", "4.08"]
    assert [one.code for one in send(bench, range(4), 4, mid=10)] == [CONTINUE] * 3
    assert bench.inbound.data == b"".join(part(index, 4)[1] for index in range(4))


def test_a_body_that_is_complete_takes_no_room() -> None:
    bench = Bench()
    send(bench, range(8), 8)
    assert len(bench.messages) == 1
    assert bench.core.room.octets == 0
    assert not bench.core.room.uploads
    assert [one.code for one in bench.answer()] == [CHANGED]


@pytest.mark.parametrize("says", [True, False], ids=["Size1", "no Size1"])
def test_a_body_without_an_end_is_refused(says: bool) -> None:
    bench = Bench(max_upload=4 * SIZE)
    size1 = [(Option.SIZE1, (5 * SIZE).to_bytes(2, "big"))] if says else []
    codes, limits = [], []
    for index in range(6):
        option, payload = part(index, 100)
        [response] = bench.send(ask(index, option, *size1, payload=payload))
        codes.append(dotted(response.code))
        limits.append(number(response, Option.SIZE1))
    refused = 0 if says else 4
    assert codes[: refused + 1] == ["2.31"] * refused + ["4.13"]
    assert limits[refused] == 4 * SIZE
    assert bench.core.room.octets == 0
    assert not bench.messages


def taken(do: Callable[[], object]) -> int:
    """The octets that `do` takes at most, beyond what was taken before."""
    tracemalloc.start()
    try:
        do()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_block_costs_no_more_for_the_body_before_it() -> None:
    blocks, bench = 1024, Bench(max_upload=1 << 20)
    send(bench, range(blocks - 2), blocks)
    body = (blocks - 2) * SIZE
    assert taken(lambda: send(bench, [blocks - 2], blocks, mid=blocks)) < body / 8, "a block copies what is there"
    send(bench, [blocks - 1], blocks, mid=blocks + 1)
    assert len(bench.inbound.data) == blocks * SIZE


def test_a_block_size_that_there_is_not_over_udp_is_refused() -> None:
    bench = Bench()
    for option in (Option.BLOCK1, Option.BLOCK2):
        [response] = bench.send(ask(int(option), (option, b"\x0f")))
        assert dotted(response.code) == "4.00"
    assert not bench.messages


# --- Observe: a notification is one datagram however long, and one message for all ------------------------------------


def observers(bench: Bench, count: int, kind: int = Type.CON) -> list[Path]:
    """So many devices that observe; their addresses."""
    paths = []
    for each in range(count):
        path = Path(("192.0.2.7", 10_000 + each), ("198.51.100.1", 5683), verified=True)
        bench.send(ask(1, REGISTER, code=GET, type=kind, token=b"%d" % each, payload=b""), path)
        bench.answer(Reply(Outcome.ACCEPTED, 200, "text/plain", b"first", {"coapobserve": "true"}))
        paths.append(path)
    return paths


def publish(bench: Bench, data: bytes) -> int:
    """Tell all; how many there are."""
    return bench.owner.publish("", Outbound("text/plain", data), bench.now)


def test_a_large_notification_is_its_first_block() -> None:
    bench = Bench()
    observers(bench, 1)
    assert publish(bench, bytes(5000)) == 1
    [heard] = bench.said()
    first = said_block(heard, Option.BLOCK2)
    assert first is not None
    assert (first.num, first.more, len(heard.payload)) == (0, True, SIZE)
    assert heard.get(Option.OBSERVE) is not None


def test_what_is_repeated_goes_to_whom_it_is_for() -> None:
    bench = Bench()
    observers(bench, 3)
    assert publish(bench, b"second") == 3
    for _ in range(6):
        bench.now = bench.owner.next_timer() or 0.0
        bench.owner.handle_timers(bench.now)
    heard = bench.heard()
    assert len(heard) >= 3 * 3, "the notification and two of its repeats for each"
    assert all(message.token == b"%d" % (path.peer[1] - 10_000) for message, path in heard)


def test_each_observer_has_a_message_id_and_a_number_of_its_own() -> None:
    bench = Bench()
    observers(bench, 50)
    publish(bench, b"second")
    heard = bench.said()
    assert len({one.token for one in heard}) == len(heard) == 50
    assert all(one.get(Option.OBSERVE) for one in heard)


def test_the_latest_state_arrives_whatever_came_between() -> None:
    bench = Bench()
    [path] = observers(bench, 1)
    states = [b"%d" % each for each in range(20)]
    heard: list[Message] = []
    for state in states:
        publish(bench, state)
        heard += bench.said()
    while heard[-1].payload != states[-1]:
        heard += bench.send(ack(heard[-1].mid), path)
    arrived = [states.index(one.payload) for one in heard]
    assert arrived == sorted(arrived), "an older state came after a newer one"


def test_a_reset_of_a_non_ends_the_observation() -> None:
    bench = Bench()
    [path] = observers(bench, 1, Type.NON)
    assert publish(bench, b"second") == 1
    [heard] = bench.wait(3)
    assert heard.type == Type.NON
    bench.send(reset(heard.mid), path)
    assert publish(bench, b"third") == 0


def calls(do: Callable[[], object]) -> int:
    """How many functions `do` calls: a cost that no clock decides."""
    counted: Counter[str] = Counter()

    def count(frame: object, event: str, argument: Any) -> None:
        counted[event] += 1

    sys.setprofile(count)
    try:
        do()
    finally:
        sys.setprofile(None)
    return counted["call"] + counted["c_call"]


def test_a_round_costs_each_observer_the_same_however_many_there_are() -> None:
    cost = {}
    for count in (100, 800):
        bench = Bench()
        observers(bench, count)
        cost[count] = calls(partial(publish, bench, b"second")) / count
        assert len(bench.said()) == count
    assert cost[800] < 1.1 * cost[100], "eight times as much where it grows with their square"
