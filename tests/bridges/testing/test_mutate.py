"""The mutator: seeded, bounded, and it does what it says."""

from thinbridge.testing.mutate import MAX_LENGTH, Mutator

CORPUS = [bytes(range(32)), b"hello, bridge", bytes(64)]


def test_the_same_seed_mutates_alike() -> None:
    one, other = Mutator(3, CORPUS), Mutator(3, CORPUS)
    assert [one.next() for _ in range(200)] == [other.next() for _ in range(200)]
    assert Mutator(4, CORPUS).next() != Mutator(3, CORPUS).next()


def test_most_are_new_and_none_is_too_long() -> None:
    mutator = Mutator(1, [*CORPUS, bytes(5000)])
    made = [mutator.next() for _ in range(5000)]
    assert len(set(made)) > 3500
    assert max(map(len, made)) == MAX_LENGTH
    assert b"" in made


def test_it_needs_no_corpus() -> None:
    mutator = Mutator(1, [b""])
    assert len({mutator.next() for _ in range(500)}) > 100


def test_it_finds_a_number_that_is_off_by_one() -> None:
    mutator = Mutator(1, [b"\x05hello"])
    assert {b"\x04hello", b"\x06hello", b"\xffhello", b"\x05hell"} <= {mutator.next() for _ in range(20_000)}
