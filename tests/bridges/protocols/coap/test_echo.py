"""Proof of an address."""

from tests.bridges.protocols.coap.bench import ask

from thinbridge.protocols.coap.codec import Message, decode
from thinbridge.protocols.coap.codes import UNAUTHORIZED, Option, Type
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
