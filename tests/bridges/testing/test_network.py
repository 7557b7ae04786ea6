"""Each fault of the model, and that a seed says everything."""

from dataclasses import replace
from random import Random

import pytest

from thinbridge.testing.network import CLEAN, MAX_COPIES, Burst, Faults, Link, Pipe

N = 2000


def link(faults: Faults, seed: int = 1) -> Link:
    return Link(faults, Random(seed), 0.0)


def pipe(faults: Faults, seed: int = 1) -> Pipe:
    return Pipe(faults, Random(seed), 0.0)


def test_a_clean_link_only_delays() -> None:
    assert link(CLEAN).carry(b"a", 5.0) == [(5.0 + CLEAN.delay, b"a")]


def test_the_same_seed_is_the_same_network() -> None:
    faults = Faults(loss=0.3, jitter=1, duplicate=0.3, corrupt=0.3, truncate=0.3, reorder=0.3, burst=Burst())
    one, other = link(faults), link(faults)
    assert [one.carry(b"abc", 0) for _ in range(100)] == [other.carry(b"abc", 0) for _ in range(100)]


def test_losses_are_as_many_as_asked_for() -> None:
    one = link(Faults(loss=0.3))
    arrived = sum(len(one.carry(b"a", 0)) for _ in range(N))
    assert 0.66 < arrived / N < 0.74


def test_bursts_lose_in_a_row() -> None:
    one = link(Faults(burst=Burst(enter=0.05, leave=0.25)))
    fates = "".join("." if one.carry(b"a", 0) else "x" for _ in range(N))
    bursts = [run for run in fates.split(".") if run]
    assert 2.5 < sum(map(len, bursts)) / len(bursts) < 6  # 1 / leave on average
    assert 0.1 < fates.count("x") / N < 0.25


def test_duplicates_are_bounded() -> None:
    assert len(link(Faults(duplicate=1.0)).carry(b"a", 0)) == MAX_COPIES


def test_reordering_holds_some_back() -> None:
    one = link(Faults(reorder=0.5, behind=9.0))
    assert {round(one.carry(b"a", 0)[0][0], 3) for _ in range(50)} == {0.01, 9.01}


def test_jitter_stays_within_its_limit() -> None:
    one = link(Faults(delay=1, jitter=2))
    times = [one.carry(b"a", 0)[0][0] for _ in range(N)]
    assert min(times) >= 1
    assert max(times) <= 3
    assert max(times) - min(times) > 1.9


def test_corruption_flips_one_bit() -> None:
    one = link(Faults(corrupt=1.0))
    for _ in range(50):
        damaged = one.carry(bytes(8), 0)[0][1]
        assert int.from_bytes(damaged, "big").bit_count() == 1
    assert one.carry(b"", 0)[0][1] == b""


def test_truncation_loses_the_end() -> None:
    one = link(Faults(truncate=1.0))
    assert all(b"abcdef".startswith(one.carry(b"abcdef", 0)[0][1]) for _ in range(50))
    assert all(len(one.carry(b"abcdef", 0)[0][1]) < 6 for _ in range(50))


def test_partitions_count_from_the_start() -> None:
    one = Link(Faults(partitions=((10, 20),)), Random(1), 100.0)
    assert [bool(one.carry(b"a", now)) for now in (105, 110, 119.9, 120)] == [True, False, False, True]


def test_a_rebind_is_a_matter_of_chance() -> None:
    assert not link(CLEAN).rebinds()
    assert link(replace(CLEAN, rebind=1.0)).rebinds()


# --- Streams -------------------------------------------------------------------------------------------------------


def read_all(one: Pipe) -> list[tuple[float, bytes]]:
    pieces = []
    while (when := one.when()) is not None:
        pieces.append((when, one.read(when)))
    return pieces


def test_a_clean_pipe_only_delays() -> None:
    one = pipe(CLEAN)
    one.write(b"abc", 0.0)
    one.close(1.0)
    assert read_all(one) == [(0.01, b"abc"), (1.01, b"")]
    assert one.over
    assert not one.broken


@pytest.mark.parametrize("seed", range(20))
def test_split_bytes_arrive_in_order_and_whole(seed: int) -> None:
    one = pipe(Faults(split=1.0, jitter=1.0, merge=0.3), seed)
    sent = [bytes((i,)) * (i % 7) for i in range(60)]
    for i, data in enumerate(sent):
        one.write(data, i * 0.1)
    pieces = read_all(one)
    assert b"".join(data for _, data in pieces) == b"".join(sent)
    assert [when for when, _ in pieces] == sorted(when for when, _ in pieces)


def test_merged_bytes_arrive_together() -> None:
    one = pipe(Faults(merge=0.5, behind=5.0), 4)
    for i in range(20):
        one.write(b"%02d" % i, i * 0.01)
    assert len(read_all(one)) < 20


def test_a_cut_ends_it_after_any_byte() -> None:
    lengths = set()
    for seed in range(100):
        one = pipe(Faults(cut=1.0), seed)
        one.write(b"abcd", 0.0)
        one.write(b"never", 0.0)
        got = b"".join(data for _, data in read_all(one))
        assert b"abcd".startswith(got)
        assert one.over
        assert one.broken
        lengths.add(len(got))
    assert lengths == {0, 1, 2, 3, 4}


def test_half_open_says_nothing() -> None:
    one = pipe(Faults(half_open=1.0))
    one.write(b"abc", 0.0)
    one.close(1.0)
    assert one.when() is None
    assert not one.over


def test_streams_wait_a_partition_out() -> None:
    one = pipe(Faults(partitions=((0, 30),)))
    one.write(b"abc", 1.0)
    assert read_all(one) == [(30.0, b"abc")]
