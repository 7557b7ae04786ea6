"""What is remembered of requests."""

from collections import Counter

from tests.bridges.protocols.coap.bench import ask

from thinbridge.protocols.coap.codes import Type
from thinbridge.protocols.coap.memory import EXCHANGE_LIFETIME, NON_LIFETIME, Entry, Memory, Shared
from thinbridge.protocols.coap.request import read


def entry(mid: int, now: float = 0.0, type: int = Type.CON, answered: bool = True) -> Entry:
    message = ask(mid, type=type)
    one = Entry(mid, message, read(message, "peer"), mid * 1000, now, 1.0)
    if answered:
        one.request = None
    return one


def make(entries: int = 4, replies: int = 2, shared: Shared | None = None) -> tuple[Memory, Shared, Counter[str]]:
    shared = shared or Shared(1000, 1000)
    counters: Counter[str] = Counter()
    return Memory(shared, entries, replies, counters), shared, counters


def known(memory: Memory, *mids: int, now: float = 0.0) -> list[int]:
    return [mid for mid in mids if memory.known(mid, mid * 1000, now) is not None]


def test_a_repeat_is_known_until_its_message_id_may_mean_another() -> None:
    memory, shared, _ = make()
    memory.add(entry(1))
    memory.add(entry(2, type=Type.NON))
    assert known(memory, 1, 2, 3, now=NON_LIFETIME - 1) == [1, 2]
    assert known(memory, 1, 2, now=NON_LIFETIME) == [1]
    assert known(memory, 1, now=EXCHANGE_LIFETIME) == []
    assert memory.due() == EXCHANGE_LIFETIME
    assert memory.expire(EXCHANGE_LIFETIME) == []
    assert memory.due() is None
    assert shared.entries == 0


def test_another_message_with_a_known_message_id_is_new() -> None:
    memory, shared, _ = make()
    old, new = entry(1, answered=False), entry(1)
    memory.add(old)
    assert memory.known(1, 7, 0.0) is None
    assert old.acknowledged
    memory.add(new)
    assert memory.known(1, 1000, 0.0) is new
    assert memory.expire(EXCHANGE_LIFETIME) == [old]
    assert shared.entries == 0


def test_the_oldest_that_is_answered_makes_room() -> None:
    memory, shared, counters = make(entries=3)
    memory.add(entry(1, answered=False))
    for mid in (2, 3, 4, 5):
        memory.add(entry(mid))
    assert known(memory, 1, 2, 3, 4, 5) == [1, 4, 5]
    assert (shared.entries, counters["forgotten"]) == (3, 2)


def test_what_waits_is_never_forgotten_for_something_new() -> None:
    memory, _, counters = make(entries=2)
    for mid in (1, 2, 3):
        memory.add(entry(mid, answered=False))
    assert known(memory, 1, 2, 3) == [1, 2, 3]
    assert not counters


def test_past_the_shared_bound_each_pays_with_its_own() -> None:
    shared = Shared(3, 1000)
    one, _, _ = make(shared=shared)
    other, _, _ = make(shared=shared)
    for mid in (1, 2, 3):
        one.add(entry(mid))
    other.add(entry(4))  # it has none to give
    one.add(entry(5))
    assert (known(one, 1, 2, 3, 5), known(other, 4)) == ([2, 3, 5], [4])
    assert shared.entries == 4


def test_replies_go_before_their_keys() -> None:
    memory, shared, _ = make(replies=2)
    entries = [entry(mid) for mid in (1, 2, 3)]
    for one in entries:
        memory.add(one)
        memory.store(one, b"12345")
    assert [one.reply for one in entries] == [b"", b"12345", b"12345"]
    assert shared.octets == 10
    assert known(memory, 1, 2, 3) == [1, 2, 3]
    memory.add(entry(4))
    memory.add(entry(5))
    memory.add(entry(6))  # the second goes, and its reply with it
    assert shared.octets == 5


def test_past_the_shared_bound_of_bytes_only_the_last_reply_stays() -> None:
    memory, shared, _ = make(replies=9, shared=Shared(1000, 8))
    entries = [entry(mid) for mid in (1, 2)]
    for one in entries:
        memory.add(one)
        memory.store(one, b"12345678")
    assert [one.reply for one in entries] == [b"", b"12345678"]
    other, _, _ = make(replies=9, shared=shared)
    last = entry(3)
    other.add(last)
    other.store(last, b"1")
    assert (last.reply, shared.octets) == (b"1", 9)


def test_what_expires_takes_its_reply_along() -> None:
    memory, shared, _ = make()
    first, second = entry(1), entry(2, now=1.0)
    for one in (first, second):
        memory.add(one)
        memory.store(one, b"reply")
    memory.expire(EXCHANGE_LIFETIME)
    assert (known(memory, 1, 2, now=EXCHANGE_LIFETIME), shared.octets) == ([2], 5)
    memory.clear()
    assert (shared.entries, shared.octets, memory.due()) == (0, 0, None)


def test_what_was_turned_away_goes_first_and_takes_no_room_from_others() -> None:
    memory, shared, counters = make(entries=3)
    memory.add(entry(1))
    for mid in (2, 3, 4):
        memory.note(entry(mid), b"12345")
    assert known(memory, 1, 2, 3, 4) == [1, 3, 4]
    assert (shared.entries, shared.octets, counters["forgotten"]) == (3, 10, 1)
    memory.add(entry(5))
    memory.add(entry(6))
    assert known(memory, 1, 3, 4, 5, 6) == [1, 5, 6]
    memory.note(entry(7), b"12345")
    assert known(memory, 1, 5, 6, 7) == [1, 5, 6]
    memory.add(entry(8))
    assert known(memory, 1, 5, 6, 8) == [5, 6, 8]
    assert (shared.entries, shared.octets, counters["forgotten"]) == (3, 0, 4)


def test_what_was_turned_away_counts_towards_the_shared_bound() -> None:
    shared = Shared(2, 1000)
    one, _, _ = make(shared=shared)
    other, _, _ = make(shared=shared)
    one.note(entry(1), b"")
    one.note(entry(2), b"")
    other.note(entry(3), b"")  # there is no room, and it has none to give
    one.note(entry(4), b"")
    assert (known(one, 1, 2, 4), known(other, 3), shared.entries) == ([2, 4], [], 2)


def test_what_was_turned_away_expires_too() -> None:
    memory, shared, _ = make()
    memory.add(entry(1))
    memory.note(entry(2, now=10.0), b"12345")
    memory.expire(EXCHANGE_LIFETIME)
    assert memory.due() == EXCHANGE_LIFETIME + 10
    memory.expire(EXCHANGE_LIFETIME + 10)
    assert (memory.due(), shared.entries, shared.octets) == (None, 0, 0)
    memory.note(entry(3), b"12345")
    memory.clear()
    assert (memory.due(), shared.entries, shared.octets) == (None, 0, 0)
