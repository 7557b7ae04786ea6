"""Proof of an address."""

import pytest
from tests.bridges.protocols.coap.bench import STRANGER, Bench, ask

from thinbridge.protocols.coap.codec import Message, decode
from thinbridge.protocols.coap.codes import FETCH, GET, METHODS, UNAUTHORIZED, Option, Type
from thinbridge.protocols.coap.echo import LENGTH, WINDOW, Echo
from thinbridge.testing import seeded

PEER = "192.0.2.7", 40000


def challenged(echo: Echo, now: float, type: int = Type.CON) -> tuple[Message, bytes]:
    challenge = decode(echo.challenge(ask(7, type=type), PEER, now))
    value = challenge.get(Option.ECHO)
    assert value is not None
    assert len(value) == LENGTH
    return challenge, value


def test_a_challenge_is_a_401_with_the_requests_token() -> None:
    echo = Echo(seeded(1))
    for kind, answer in ((Type.CON, Type.ACK), (Type.NON, Type.NON)):
        challenge, _ = challenged(echo, 5.0, kind)
        assert (challenge.type, challenge.code, challenge.mid, challenge.token) == (answer, UNAUTHORIZED, 7, b"t")


def test_what_was_sent_to_an_address_proves_it_for_two_windows() -> None:
    echo = Echo(seeded(1))
    _, value = challenged(echo, 10 * WINDOW)
    request = ask(8, (Option.ECHO, value))
    assert echo.proves(request, PEER, 10 * WINDOW)
    assert echo.proves(request, PEER, 12 * WINDOW - 0.001)
    assert not echo.proves(request, PEER, 12 * WINDOW)


def test_nothing_else_does() -> None:
    echo = Echo(seeded(1))
    _, value = challenged(echo, 0.0)
    assert not echo.proves(ask(8), PEER, 0.0)
    assert not echo.proves(ask(8, (Option.ECHO, value[:-1])), PEER, 0.0)
    assert not echo.proves(ask(8, (Option.ECHO, value)), ("192.0.2.8", 40000), 0.0)
    assert not echo.proves(ask(8, (Option.ECHO, value)), ("192.0.2.7", 40001), 0.0)
    assert not Echo(seeded(2)).proves(ask(8, (Option.ECHO, value)), PEER, 0.0)


def test_a_challenge_is_at_most_three_times_the_shortest_request() -> None:
    echo = Echo(seeded(1))
    for length in range(9):
        request = Message(Type.CON, 1, 1, bytes(length))
        assert len(echo.challenge(request, PEER, 0.0)) <= 3 * (4 + length)


def test_a_link_local_address_is_another_one_on_another_link() -> None:
    echo = Echo(seeded(1))
    here, there = ("fe80::7", 40000, 0, 2), ("fe80::7", 40000, 0, 3)
    value = decode(echo.challenge(ask(), here, 0.0)).get(Option.ECHO)
    assert value is not None
    assert echo.proves(ask(8, (Option.ECHO, value)), here, 0.0)
    assert not echo.proves(ask(8, (Option.ECHO, value)), there, 0.0)


@pytest.mark.parametrize("method", METHODS)
def test_what_changes_something_must_be_fresh_where_that_is_asked(method: int) -> None:
    bench = Bench(freshness=10)
    said = bench.send(ask(1, code=method))
    if method in (GET, FETCH):
        assert said == []
        return
    (challenge,) = said
    value = challenge.get(Option.ECHO)
    assert (challenge.type, challenge.code, challenge.mid) == (Type.ACK, UNAUTHORIZED, 1)
    assert value is not None
    for mid, seconds, fresh in ((2, 0.0, True), (3, 4.9, True), (4, 5.2, False)):
        bench.wait(seconds)
        said = bench.send(ask(mid, (Option.ECHO, value), code=method))
        assert [one.code for one in said] == ([] if fresh else [UNAUTHORIZED])
    assert (len(bench.messages), bench.counters["stale"]) == (2, 2)


def test_the_echo_that_proves_an_address_is_fresh() -> None:
    bench = Bench(STRANGER, freshness=10)
    value = bench.send(ask(1))[0].get(Option.ECHO)
    assert value is not None
    assert bench.send(ask(2, (Option.ECHO, value))) == []
