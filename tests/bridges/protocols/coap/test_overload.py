"""How much one device may ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bridges.protocols.coap.bench import DEVICE, Bench, ask

from thinbridge.protocols.base import Address
from thinbridge.protocols.coap import CoAPSettings
from thinbridge.protocols.coap.codec import from_uint
from thinbridge.protocols.coap.codes import TOO_MANY_REQUESTS, Option, Type
from thinbridge.protocols.coap.overload import Proven, Rate
from thinbridge.protocols.coap.request import TurnedAway


def passed(rate: Rate, times: list[float]) -> list[float]:
    """Those of a peer's messages that pass."""
    paid, through = 0.0, []
    for now in times:
        try:
            paid = rate.charge(paid, now)
            through.append(now)
        except TurnedAway:
            pass
    return through


@given(
    st.floats(0.01, 1000),
    st.integers(1, 50),
    st.lists(st.floats(0, 100, allow_subnormal=False), max_size=200).map(sorted),
)
def test_no_peer_gets_more_than_its_burst_and_its_rate(rate: float, burst: int, times: list[float]) -> None:
    through = passed(Rate(rate, burst), times)
    for index, begin in enumerate(through):
        for count, end in enumerate(through[index:], 1):
            assert count <= burst + rate * (end - begin) + 1
    assert through[:burst] == times[:burst]


def test_who_keeps_to_its_rate_is_never_turned_away() -> None:
    times = [1000 + index / 10 for index in range(10_000)]
    assert passed(Rate(10, 1), times) == times


def test_no_rate_is_no_limit_and_no_burst_is_what_the_rate_gives_in_a_lifetime() -> None:
    assert len(passed(Rate(0, 0), [1.0] * 1000)) == 1000
    assert len(passed(Rate(2, 0), [1.0] * 1000)) == 2 * 247
    assert len(passed(Rate(0.001, 0), [1.0] * 1000)) == 1
    defaults = CoAPSettings()
    assert 65_000 < len(passed(Rate(defaults.rate, defaults.burst), [1.0] * 70_000)) < 65_536


def test_a_device_over_its_rate_hears_when_to_come_again_and_others_nothing_of_it() -> None:
    bench = Bench(rate=0.5, burst=2)
    for mid in (1, 2):
        bench.send(ask(mid))
        bench.answer()
    (refusal,) = bench.send(ask(3))
    assert (refusal.type, refusal.code, refusal.token) == (Type.ACK, TOO_MANY_REQUESTS, b"t")
    age = from_uint(refusal.get(Option.MAX_AGE) or b"")
    assert age == 1
    assert bench.send(ask(4, type=Type.NON)) == []
    assert bench.send(ask(3), DEVICE._replace(peer=("192.0.2.8", 1))) == []
    assert (len(bench.messages), bench.counters["rate"]) == (3, 2)
    bench.wait(2 * age)
    assert bench.send(ask(3)) == [refusal]  # a copy hears the same: its device was told so
    assert bench.send(ask(5)) == []
    assert len(bench.messages) == 4


def test_a_repeat_costs_nothing() -> None:
    bench = Bench(rate=0.001, burst=1)
    bench.send(ask(1))
    (answer,) = bench.answer()
    for _ in range(10):
        assert bench.send(ask(1)) == [answer]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("192.0.2.7", 1), ("192.0.2.7", 2), True),
        (("192.0.2.7", 1), ("192.0.2.8", 1), False),
        (("192.0.2.7", 1), ("::ffff:192.0.2.7", 1, 0, 0), True),
        (("2001:db8::7", 1, 0, 0), ("2001:db8::8", 1, 0, 0), True),
        (("2001:db8::7", 1, 0, 0), ("2001:db8:0:1::7", 1, 0, 0), False),
        (("fe80::7%eth0", 1, 0, 2), ("fe80::8", 1, 0, 3), True),
    ],
)
def test_whose_an_address_is(one: Address, other: Address, same: bool) -> None:
    proven = Proven(1)
    proven.add("key", one)
    assert proven.full(other) is same
    proven.discard("key")
    proven.discard("key")
    assert not proven.full(other)
    assert not proven.keys
