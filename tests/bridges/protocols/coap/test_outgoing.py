"""CONs on their way."""

from collections import Counter
from itertools import pairwise
from math import inf

from thinbridge.protocols.coap.codes import Type
from thinbridge.protocols.coap.outgoing import Outgoing, Transmission
from thinbridge.testing import seeded


def make(nstart: int = 4, seed: int = 1) -> tuple[Outgoing, Counter[str]]:
    counters: Counter[str] = Counter()
    return Outgoing(seeded(seed), counters, nstart), counters


def test_five_times_then_no_more() -> None:
    for seed in range(20):
        outgoing, counters = make(seed=seed)
        assert outgoing.due() == inf
        times = [10.0]
        assert outgoing.send(Transmission(outgoing.next_mid(), b"con"), 10.0) == [b"con"]
        while outgoing.open:
            assert outgoing.handle_timer(outgoing.due() - 0.001) == []
            now = outgoing.due()
            if outgoing.handle_timer(now):
                times.append(now)
        gaps = [after - before for before, after in pairwise(times)]
        assert len(times) == 5
        assert 2 <= gaps[0] <= 3
        assert all(abs(after - 2 * before) < 1e-9 for before, after in pairwise(gaps))
        assert counters == {"gave_up": 1}


def test_an_ack_or_a_rst_ends_it() -> None:
    outgoing, counters = make()
    for kind in (Type.ACK, Type.RST):
        mid = outgoing.next_mid()
        outgoing.send(Transmission(mid, b"con"), 0.0)
        assert outgoing.acknowledged(mid, kind, 1.0) == []
        assert not outgoing.open
        outgoing.acknowledged(mid, kind, 1.0)
    assert counters == {"unexpected": 2, "reset": 1}


def test_the_others_wait_for_their_turn() -> None:
    outgoing, counters = make(nstart=2)
    mids = [outgoing.next_mid() for _ in range(4)]
    assert [outgoing.send(Transmission(mid, b"%d" % n), 0.0) for n, mid in enumerate(mids)] == [[b"0"], [b"1"], [], []]
    assert outgoing.acknowledged(mids[2], Type.ACK, 0.5) == []  # nobody can have seen it
    assert counters == {"unexpected": 1}
    assert len(outgoing.open) == 4
    assert outgoing.acknowledged(mids[1], Type.ACK, 1.0) == [b"2"]
    assert outgoing.acknowledged(mids[0], Type.ACK, 1.0) == [b"3"]
    assert outgoing.due() >= 3.0


def test_giving_up_makes_room() -> None:
    outgoing, _ = make(nstart=1)
    outgoing.send(Transmission(outgoing.next_mid(), b"first"), 0.0)
    outgoing.send(Transmission(outgoing.next_mid(), b"second"), 0.0)
    sent = []
    while outgoing.open:
        sent += outgoing.handle_timer(outgoing.due())
    assert sent == [b"first"] * 4 + [b"second"] * 5


def test_message_ids_follow_one_another_from_a_random_one() -> None:
    assert len({make(seed=seed)[0].next_mid() for seed in range(50)}) > 45
    outgoing, _ = make()
    first = outgoing.next_mid()
    outgoing.send(Transmission(first, b"open"), 0.0)
    mids = [outgoing.next_mid() for _ in range(65535)]
    assert len({first, *mids}) == 65536
    assert outgoing.next_mid() == mids[0]  # the one that is open is left out
