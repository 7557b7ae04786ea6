"""Room for long answers."""

from hypothesis import given
from hypothesis import strategies as st

from thinbridge.delivery.room import Room


class Reader:
    """One that reads a long answer."""

    def __init__(self) -> None:
        self.turns = 0

    def granted(self) -> None:
        self.turns += 1


def test_they_have_their_turns_in_order() -> None:
    room = Room(10)
    one, two, three, four = (Reader() for _ in range(4))
    assert room.claim(one, 6)
    assert not room.claim(two, 8)
    assert not room.claim(three, 1)  # it would fit, and come before its turn
    assert not room.claim(four, 3)
    assert room.octets == 6
    room.release(one)
    assert (two.turns, three.turns, four.turns, room.octets) == (1, 1, 0, 9)
    room.release(two)
    assert (four.turns, room.octets) == (1, 4)


def test_one_that_is_longer_than_all_has_its_turn_alone() -> None:
    room = Room(10)
    one, two, three = (Reader() for _ in range(3))
    assert room.claim(one, 100)
    assert not room.claim(two, 100)
    assert not room.claim(three, 1)
    room.release(one)
    assert (two.turns, three.turns, room.octets) == (1, 0, 100)


def test_one_that_gives_up_while_it_waits() -> None:
    room = Room(10)
    one, two, three = (Reader() for _ in range(3))
    room.claim(one, 10)
    room.claim(two, 10)
    room.claim(three, 5)
    room.release(two)
    room.release(Reader())
    assert (room.octets, len(room.waiting)) == (10, 1)
    room.release(one)
    assert (two.turns, three.turns, room.octets) == (0, 1, 5)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(1, 60)), max_size=100))
def test_there_never_is_too_much_and_nobody_waits_in_vain(steps: list[tuple[bool, int, int]]) -> None:
    room = Room(50)
    readers = [Reader() for _ in range(10)]
    claims: dict[Reader, int] = {}
    for claims_it, number, octets in steps:
        reader = readers[number]
        if claims_it and reader not in claims:
            claims[reader] = octets
            room.claim(reader, octets)
        elif not claims_it:
            room.release(reader)
            claims.pop(reader, None)
        held = {one: size for one, size in claims.items() if one not in room.waiting}
        assert room.octets == sum(held.values())
        assert room.octets <= 50 or len(held) == 1
        assert held or not room.waiting
    for reader in list(claims):
        room.release(reader)
    assert (room.octets, len(room.waiting)) == (0, 0)
