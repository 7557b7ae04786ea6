"""Plain UDP, as a sans-IO core in virtual time."""

import random

import pytest

from thinbridge import contract
from thinbridge.protocols.base import Inbound, Outbound, Outcome, Path, Pushed, PushResult, Reply
from thinbridge.protocols.udp import UDP, UDPSession, UDPSettings

LOOPBACK = Path(("127.0.0.1", 40000), ("127.0.0.1", 9000), verified=True)
STRANGER = Path(("192.0.2.7", 40000), ("127.0.0.1", 9000))


def make(path: Path = LOOPBACK, **settings: float) -> UDPSession:
    protocol = UDP(UDPSettings(**settings), random.Random(1).randbytes, "meters")  # type: ignore[arg-type]
    key = protocol.locate(b"x", path, 0.0)
    assert key is not None
    return protocol.open(key, path, 0.0)


def counters(session: UDPSession) -> dict[str, int]:
    return dict(session._protocol.counters)


def received(session: UDPSession, data: bytes, path: Path = LOOPBACK, now: float = 0.0) -> Inbound:
    session.receive(data, path, now)
    event = session.next_event()
    assert isinstance(event, Inbound)
    return event


def test_a_datagram_is_a_message_and_the_body_a_datagram_back() -> None:
    session = make()
    inbound = received(session, b"\x00\xff")
    assert inbound == Inbound(1, contract.UDP_DATAGRAM, "meters", {contract.PEER: "127.0.0.1:40000"}, None, b"\x00\xff")
    assert session.busy
    assert session.answer(1, Reply(Outcome.ACCEPTED, 200, None, b"hi"), 1.0)
    assert list(session.data_to_send()) == [(b"hi", LOOPBACK)]
    assert list(session.data_to_send()) == []
    assert session.next_event() is None
    assert not session.busy


def test_an_ipv6_peer_is_written_as_urls_have_it() -> None:
    path = LOOPBACK._replace(peer=("fe80::1", 9000, 0, 2))
    session = make(path)
    assert session.peer == received(session, b"x", path).attributes[contract.PEER] == "[fe80::1%2]:9000"


def test_the_reply_goes_where_the_session_was_heard_last() -> None:
    session = make()
    received(session, b"1")
    moved = LOOPBACK._replace(local=("127.0.0.2", 9000))
    received(session, b"2", moved)
    session.answer(1, Reply(Outcome.ACCEPTED, 200, None, b"hi"), 1.0)
    assert list(session.data_to_send()) == [(b"hi", moved)]


def test_an_empty_answer_is_silence() -> None:
    session = make()
    received(session, b"x")
    assert session.answer(1, Reply(Outcome.ACCEPTED, 204), 1.0)
    assert list(session.data_to_send()) == []


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.OVERLOADED, Outcome.UNKNOWN, Outcome.BAD_GATEWAY])
def test_what_was_not_accepted_is_silence_and_a_counter(outcome: Outcome) -> None:
    session = make()
    received(session, b"x")
    assert session.answer(1, Reply(outcome, 500, None, b"secret"), 1.0)
    assert list(session.data_to_send()) == []
    assert counters(session) == {f"not_{outcome.name.lower()}": 1}


def test_a_pending_exchange_stays_open_for_its_answer() -> None:
    session = make()
    received(session, b"x")
    assert session.answer(1, Reply(Outcome.PENDING, 202), 1.0)
    assert session.answer(1, Reply(Outcome.ACCEPTED, 200, None, b"late"), 9.0)
    assert list(session.data_to_send()) == [(b"late", LOOPBACK)]


def test_an_answer_that_nobody_waits_for_is_ignored() -> None:
    session = make()
    assert not session.answer(7, Reply(Outcome.ACCEPTED, 200, None, b"x"), 1.0)
    assert list(session.data_to_send()) == []


def test_a_push_is_a_datagram_with_one_outcome() -> None:
    session = make()
    push = session.push(None, Outbound(None, b"set 21"), 1.0)
    assert session.next_event() == Pushed(push, PushResult.DELIVERED)
    assert session.next_event() is None
    assert list(session.data_to_send()) == [(b"set 21", LOOPBACK)]


def test_an_empty_push_is_refused() -> None:
    session = make()
    assert session.next_event() is None
    push = session.push(None, Outbound(None, b""), 1.0)
    assert session.next_event() == Pushed(push, PushResult.REFUSED)


def test_too_large_for_a_datagram() -> None:
    session = make(max_datagram=10)
    push = session.push(None, Outbound(None, b"x" * 11), 1.0)
    assert session.next_event() == Pushed(push, PushResult.TOO_LARGE)
    assert counters(session) == {"reply_too_large": 1}


def test_an_unproven_address_gets_three_times_what_it_sent() -> None:
    session = make(STRANGER)
    received(session, b"four", STRANGER)
    session.push(None, Outbound(None, b"x" * 10), 1.0)
    session.push(None, Outbound(None, b"x" * 3), 1.0)
    assert [len(data or b"") for data, _ in session.data_to_send()] == [10]
    assert counters(session) == {"amplification": 1}
    session.push(None, Outbound(None, b"x" * 2), 1.0)
    assert [len(data or b"") for data, _ in session.data_to_send()] == [2]


def test_one_peer_can_have_so_many_messages_open() -> None:
    session = make(open_exchanges=2)
    for _ in range(3):
        session.receive(b"x", LOOPBACK, 0.0)
    assert sum(session.next_event() is not None for _ in range(4)) == 2
    assert counters(session) == {"exchanges_full": 1}


def test_draining_takes_nothing_new() -> None:
    session = make()
    session.drain(0.0)
    session.receive(b"x", LOOPBACK, 0.0)
    assert session.next_event() is None
    assert counters(session) == {"draining": 1}


def test_silence_ends_a_session() -> None:
    session = make(idle=10)
    received(session, b"x", now=5.0)
    session.handle_timer(14.9)
    assert not session.closed
    assert session.next_timer() == 15.0
    session.handle_timer(15.0)
    assert session.closed


def test_close_forgets_what_is_open() -> None:
    session = make()
    received(session, b"x")
    session.close("shutdown", 1.0)
    assert session.closed
    assert not session.answer(1, Reply(Outcome.ACCEPTED, 200, None, b"x"), 1.0)


def test_an_empty_datagram_is_nobodys() -> None:
    protocol = UDP(UDPSettings(), random.Random(1).randbytes)
    assert protocol.locate(b"", LOOPBACK, 0.0) is None
    assert protocol.counters == {"empty": 1}
    assert protocol.endpoint == "udp"
