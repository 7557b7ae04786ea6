"""When an equal datagram is a repeat, when it is another message, and which event ids the two have."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.bridges.protocols.coap.bench import Bench, ack, ask
from tests.bridges.stubs import StubEndpoint

from thinbridge.mapping import Mapper
from thinbridge.protocols.coap.codes import SERVICE_UNAVAILABLE, Option, Type
from thinbridge.protocols.coap.memory import EXCHANGE_LIFETIME, NON_LIFETIME
from thinbridge.sessions import Entry
from thinbridge.testing import seeded

TICK = 1 / 1024
"""Seconds; sums of ticks are exact, also beside 1.8e9 seconds since 1970: clocks that round are not what is tested."""

WALL = 247.0 * 145.0 * 50_000
"""In 2026; a bucket of 247 s and one of 145 s begin."""

KINDS = pytest.mark.parametrize(("kind", "lifetime"), [(Type.CON, EXCHANGE_LIFETIME), (Type.NON, NON_LIFETIME)])
TICKS = st.integers(0, round(EXCHANGE_LIFETIME / TICK))


class Arrivals:
    """Equal datagrams over time, and the ids of the events that come of them."""

    def __init__(self, kind: int, phase: float, remembered: int = 512) -> None:
        self.bench = Bench(remembered=remembered)
        self.kind = kind
        self.mapper = Mapper("/apis/v1/namespaces/local/bridges/b", seeded(1))
        self.wall = WALL + phase - self.bench.now
        self.ids: list[tuple[float, str]] = []
        """When, and which."""

    def arrive(self) -> None:
        """It comes, perhaps again, and is answered at once."""
        bench, count = self.bench, len(self.bench.messages)
        bench.send(ask(1, type=self.kind))
        if len(bench.messages) > count:
            session, inbound = bench.messages[-1]
            entry = Entry(StubEndpoint("coap"), session, "t0ken", "http://10.0.0.1:8090")
            event = self.mapper.to_event(inbound, entry, self.wall + bench.now, None)
            self.ids.append((bench.now, event.attributes["id"]))
            bench.answer()


@KINDS
@given(phase=TICKS, gaps=st.lists(TICKS, min_size=1, max_size=8))
@example(phase=0, gaps=[round(NON_LIFETIME / TICK), round(NON_LIFETIME / TICK)])
@example(phase=0, gaps=[round(EXCHANGE_LIFETIME / TICK), round(EXCHANGE_LIFETIME / TICK)])
@example(phase=round(NON_LIFETIME / TICK) - 1, gaps=[round(NON_LIFETIME / TICK)])
def test_what_is_forgotten_has_another_id(kind: int, lifetime: float, phase: int, gaps: list[int]) -> None:
    arrivals = Arrivals(kind, phase * TICK)
    arrivals.arrive()
    for gap in gaps:
        arrivals.bench.wait(gap * TICK)
        arrivals.arrive()
    assert len({one for _, one in arrivals.ids}) == len(arrivals.ids)
    assert all(second - first >= lifetime for (first, _), (second, _) in pairwise(arrivals.ids))


@KINDS
@given(phase=TICKS, gaps=st.lists(TICKS, min_size=1, max_size=8))
def test_what_is_forgotten_early_is_a_duplicate_and_no_collision(
    kind: int, lifetime: float, phase: int, gaps: list[int]
) -> None:
    """Within its lifetime it is a repeat, which may have the same id; after it, it is another message."""
    arrivals = Arrivals(kind, phase * TICK, remembered=1)
    arrivals.arrive()
    for gap in gaps:
        arrivals.bench.send(ask(2))
        arrivals.bench.answer()
        arrivals.bench.wait(gap * TICK)
        arrivals.arrive()
    for index, (first, one) in enumerate(arrivals.ids):
        assert all(one != other for second, other in arrivals.ids[index:] if second - first >= lifetime)


def test_a_non_that_comes_after_its_lifetime_but_within_that_of_a_con() -> None:
    arrivals = Arrivals(Type.NON, 0.0)
    for seconds in (0, 100, 50):
        arrivals.bench.wait(seconds)
        arrivals.arrive()
    (_, first), (_, second) = arrivals.ids
    assert first != second


@pytest.mark.parametrize("kind", [Type.CON, Type.NON])
def test_a_late_copy_of_a_request_that_was_turned_away_is_not_delivered(kind: int) -> None:
    bench = Bench(open_exchanges=1)
    bench.send(ask(1))
    refusal = bench.send(ask(2, type=kind))
    assert [one.code for one in refusal] == ([SERVICE_UNAVAILABLE] if kind == Type.CON else [])
    bench.answer()
    assert bench.send(ask(2, type=kind)) == (refusal if kind == Type.CON else [])  # RFC 7252 §4.5
    assert len(bench.messages) == 1
    assert bench.send(ask(2, type=kind, token=b"new")) == []
    assert len(bench.messages) == 2


def test_a_copy_hears_no_more_than_the_first_one() -> None:
    bench = Bench(open_exchanges=1)
    bench.send(ask(1))
    for kind, said in ((Type.CON, [ack(2)]), (Type.NON, [])):
        silent = ask(2, (Option.NO_RESPONSE, b"\x1a"), type=kind)
        assert bench.send(silent) == bench.send(silent) == said
    assert bench.counters == {"exchanges_full": 2, "repeated": 2}


def test_that_a_request_heard_503_is_known_as_long_as_any_other() -> None:
    bench = Bench(open_exchanges=1)
    bench.send(ask(1))
    bench.wait(100)
    bench.send(ask(2))
    bench.answer()
    bench.wait(EXCHANGE_LIFETIME - 1)  # the first one is forgotten
    assert bench.send(ask(2))[0].code == SERVICE_UNAVAILABLE
    bench.wait(1)
    assert not bench.owner.live
    bench.send(ask(2))
    assert len(bench.messages) == 2


def test_a_copy_of_a_non_that_was_refused_is_ignored() -> None:
    bench = Bench()
    refused = ask(1, code=8, type=Type.NON)
    assert len(bench.send(refused)) == 1
    assert bench.send(refused) == []
    bench.wait(NON_LIFETIME)
    assert len(bench.send(refused)) == 1
    assert len(bench.send(ask(2, code=8))) == len(bench.send(ask(2, code=8))) == 1  # a CON is refused again
