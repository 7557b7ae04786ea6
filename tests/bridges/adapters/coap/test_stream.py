"""A connection, in virtual time: framing, signalling, silence, and that it is no other CoAP than over UDP."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bridges.adapters.coap.streams import ABORT, CSM, HELLO, PING, PONG, RELEASE, Device, frame
from tests.bridges.protocols.coap.bench import DONE

from thinbridge import contract
from thinbridge.adapters.coap import CoAPTCP, StreamSettings
from thinbridge.adapters.coap.framing import TCP, WebSocket, datagram
from thinbridge.adapters.coap.stream import AT_ONCE, StreamSession
from thinbridge.protocols.base import Identity, Inbound, Outcome, Reply
from thinbridge.protocols.coap.codec import Message, encode, uint
from thinbridge.protocols.coap.codes import BAD_OPTION, CHANGED, GET, POST, SERVICE_UNAVAILABLE, Option, Type, code
from thinbridge.testing import Conversation, check_protocol

PATH = (Option.URI_PATH, b"a")


def test_promises() -> None:
    check_protocol(
        lambda entropy: CoAPTCP(StreamSettings(), entropy),
        Conversation("a request", (HELLO, frame(POST, PATH, payload=b"x"))),
        Conversation("in pieces", (HELLO[:1], HELLO[1:] + frame(POST, PATH)[:3], frame(POST, PATH)[3:])),
        Conversation("two at once", (HELLO + frame(GET, PATH) + frame(GET, PATH, token=b"u"),), messages=2),
    )


def test_a_request_is_the_event_that_it_is_over_udp_and_no_repeat_is_known() -> None:
    device = Device()
    for number in (1, 2):  # the same bytes twice are two messages: TCP repeats nothing
        assert device.send(frame(POST, PATH, (Option.CONTENT_FORMAT, b""), payload=b"x")) == []
        assert device.messages[-1][1] == Inbound(
            number,
            contract.COAP_REQUEST,
            "a",
            {"coapmethod": "POST", "peer": "192.0.2.7:40000", "coapformat": "0"},
            "text/plain;charset=utf-8",
            b"x",
        )
    [response] = device.answer(index=0)
    assert (response.code, response.token, response.payload) == (CHANGED, b"t", b"done")


def test_who_is_there_is_the_session_identity_and_names_the_device() -> None:
    who = Identity("x509", "meter-7")
    device = Device(path=Device().path._replace(identity=who))
    device.send(frame())
    session, _ = device.messages[0]
    assert (session.identity, session.device) == (who, "meter-7")


def test_both_sides_begin_with_a_csm() -> None:
    device = Device(None)
    assert device.said() == []  # nobody has said that this is CoAP
    [csm] = device.send(HELLO)
    assert csm.code == CSM
    assert dict(csm.options)[2] == uint(262_144)  # Max-Message-Size
    assert 4 in dict(csm.options)  # Block-Wise-Transfer


@pytest.mark.parametrize("first", [POST, PING, PONG, RELEASE, ABORT, code("2.05")])
def test_what_comes_before_the_csm_ends_the_connection(first: int) -> None:
    device = Device(None)
    assert [message.code for message in device.send(frame(first))] == [CSM, ABORT]
    assert device.gone
    assert device.core.counters == {"no_csm": 1}


def test_a_slow_answer_is_sent_once_and_needs_no_acknowledgement() -> None:
    device = Device()
    device.send(frame())
    assert device.wait(50) == []
    [response] = device.answer()
    assert response.payload == b"done"
    assert device.wait(1) == []
    [session] = device.owner.live
    assert not session.unsettled


def test_five_slow_answers_wait_for_nobody() -> None:
    device = Device(nstart=1)
    for token in b"abcde":
        device.send(frame(token=bytes((token,))))
    device.wait(10)
    for index in range(5):
        device.answer(index=index)
    device.wait(0.1)
    assert device.core.counters == {}


def test_ping_is_answered_with_its_token() -> None:
    [pong] = Device().send(frame(PING, token=b"sign"))
    assert (pong.code, pong.token) == (PONG, b"sign")


def test_a_silent_device_is_asked_for_a_sign_of_life() -> None:
    device = Device()
    assert device.wait(299) == []
    [ping] = device.wait(2)
    assert ping.code == PING
    device.send(frame(PONG, token=ping.token))
    assert [message.code for message in device.wait(300)] == [PING]
    assert [message.code for message in device.wait(61)] == [ABORT]
    assert device.gone
    assert device.core.counters == {"no_pong": 1}


@pytest.mark.parametrize(
    ("said", "counter"), [(b"", "no_csm"), (HELLO[:1], "no_csm"), (HELLO + frame(payload=b"x" * 99)[:50], "too_slow")]
)
def test_who_does_not_go_on_is_not_waited_for(said: bytes, counter: str) -> None:
    device = Device(None)
    if said:
        device.send(said)
    device.wait(61)
    assert device.gone
    assert device.core.counters == {counter: 1}


def test_a_message_over_the_announced_size_ends_the_connection_before_it_is_kept() -> None:
    device = Device(max_message=2000)
    assert device.send(frame(payload=b"x" * 1900)) == []
    assert [message.code for message in device.send(frame(payload=b"x" * 2000)[:10])] == [ABORT]
    assert device.core.counters == {"too_large": 1}


def test_a_released_connection_ends_when_all_is_answered() -> None:
    device = Device()
    device.send(frame())
    assert device.send(frame(RELEASE, token=b"")) == []
    assert not device.gone
    assert [message.code for message in device.answer()] == [CHANGED]
    assert device.gone


def test_a_released_connection_ends_when_all_answers_are_sent() -> None:
    device = Device(nstart=1)
    for token in b"abc":
        device.send(frame(token=bytes((token,))))
    device.wait(10)
    device.send(frame(RELEASE, token=b""))
    heard = [message.token for index in range(3) for message in device.answer(index=index)]
    heard += [message.token for message in device.wait(1)]
    assert heard == [b"a", b"b", b"c"]
    assert device.gone


def test_an_equal_request_is_a_new_one_however_many_came_between() -> None:
    """Message IDs are only the core's: there are 65,536 of them, and a connection has more requests than that."""
    device = Device()
    device.send(frame())
    device.wait(2)
    device.answer()
    [session] = device.owner.live
    assert isinstance(session, StreamSession)
    session._mid = 0
    device.send(frame())
    assert len(device.messages) == 2


def test_others_have_their_turn_between_messages_that_come_at_once() -> None:
    device = Device()
    assert device.send(frame() * 300) == []
    assert len(device.messages) == AT_ONCE
    [session] = device.owner.live
    assert session.paused
    assert [refusal.code for refusal in device.wait(0.1)] == [SERVICE_UNAVAILABLE] * (300 - AT_ONCE)
    assert not session.paused


def test_the_end_of_the_bridge_is_a_release() -> None:
    device = Device()
    device.owner.close(device.now)
    assert [message.code for message in device.said()] == [RELEASE]


def test_a_drain_refuses_what_is_new_and_answers_what_is_open() -> None:
    device = Device()
    device.send(frame(token=b"old"))
    [session] = device.owner.live
    session.drain(device.now)
    [refusal] = device.send(frame(token=b"new"))
    assert (refusal.code, refusal.token) == (SERVICE_UNAVAILABLE, b"new")
    [response] = device.answer()
    assert response.token == b"old"


def test_a_device_that_is_gone_is_not_answered_and_its_message_stands() -> None:
    device = Device()
    device.send(frame())
    session, inbound = device.messages[0]
    device.owner.eof(device.path, device.now)
    assert device.gone
    assert not session.answer(inbound.exchange, DONE, device.now)


def test_a_connection_outlives_what_is_remembered_of_it() -> None:
    device = Device(keep_alive=10_000)
    device.send(frame())
    device.answer()
    device.wait(1000)
    assert not device.gone
    assert device.send(frame()) == []
    assert len(device.messages) == 2


@pytest.mark.parametrize(
    ("data", "counters"),
    [
        (bytes.fromhex("09 02 00 00 00 00 00 00 00 00 00"), {"malformed_token_length": 1, "malformed": 1}),
        (bytes.fromhex("10 02 ff"), {"malformed_empty_payload": 1, "malformed": 1}),
        (bytes.fromhex("10 02 f0"), {"malformed_option_reserved": 1, "malformed": 1}),
        (bytes.fromhex("09 e2 00 00 00 00 00 00 00 00 00"), {"malformed_signal": 1}),
        (frame(code("7.07")), {"malformed_signal": 1}),
    ],
)
def test_what_is_no_message_ends_the_connection(data: bytes, counters: dict[str, int]) -> None:
    device = Device()
    assert [message.code for message in device.send(data)] == [ABORT]
    assert device.gone
    assert device.core.counters == counters


def test_a_critical_option_that_nobody_knows_is_answered() -> None:
    """It is processed by aiocoap."""
    [refusal] = Device().send(frame(GET, (2053, b"x")))
    assert refusal.code == BAD_OPTION


def test_a_path_that_is_no_utf8_is_a_path() -> None:
    """It raises into the loop in aiocoap."""
    device = Device()
    device.send(frame(GET, (Option.URI_PATH, b"\xff")))
    assert device.messages[0][1].subject == "%FF"


def test_an_equal_token_cancels_nothing() -> None:
    """It stops the older request's handler in aiocoap."""
    device = Device()
    device.send(frame(payload=b"1"))
    device.send(frame(payload=b"2"))
    assert device.answer(Reply(Outcome.ACCEPTED, 200, None, b"one"), 0)[0].payload == b"one"
    assert device.answer(Reply(Outcome.ACCEPTED, 200, None, b"two"), 1)[0].payload == b"two"


def test_responses_and_empty_messages_are_not_processed() -> None:
    device = Device()
    assert device.send(frame(CHANGED) + bytes(2)) == []
    assert device.core.counters == {"unexpected": 1}


@given(st.binary(max_size=8), st.sampled_from([0, 1, 12, 13, 268, 269, 65_804, 65_805, 100_000]))
def test_a_datagram_survives_any_framing(token: bytes, size: int) -> None:
    original = encode(Message(Type.CON, POST, 7, token, [(11, b"a")], b"x" * size))
    for framing, prefix in ((TCP(), b""), (WebSocket(), None)):
        data = framing.frame(original)
        data = (len(data).to_bytes(4, "big") if prefix is None else prefix) + data
        at = framing.split(data)
        assert at is not None
        assert at.end == len(data)
        assert datagram(data, at, 7) == original


@given(st.binary())
def test_bytes_from_outside_never_raise(data: bytes) -> None:
    device = Device(None)
    device.send(HELLO + data)
    device.wait(400)


def test_a_device_that_takes_little_is_not_sent_more_than_that() -> None:
    device = Device()  # its CSM says nothing: 1,152 bytes
    device.send(frame(GET))
    [response] = device.answer(Reply(Outcome.ACCEPTED, 200, None, b"x" * 3000))
    assert len(response.payload) <= 1024


def test_a_device_that_takes_much_is_sent_it_at_once() -> None:
    device = Device(frame(CSM, (2, uint(1 << 20)), token=b""))
    device.send(frame(GET))
    [response] = device.answer(Reply(Outcome.ACCEPTED, 200, None, b"x" * 300_000))
    assert len(response.payload) == 300_000


def test_a_device_may_say_anew_how_much_it_takes() -> None:
    """Each CSM replaces what the one before said, and holds for what follows (RFC 8323 §5.3)."""
    device = Device(frame(CSM, (2, uint(1 << 20)), token=b""))
    for size, longest in ((1 << 20, 3000), (1152, 1024), (640, 512), (1 << 20, 3000)):
        assert device.send(frame(CSM, (2, uint(size)), token=b"")) == []
        device.send(frame(GET))
        [response] = device.answer(Reply(Outcome.ACCEPTED, 200, None, b"x" * 3000))
        assert len(response.payload) == longest


def over_websocket(data: bytes) -> bytes:
    """A frame as the layer below hands on a WebSocket message: its length, then itself without one."""
    at = TCP().split(data)
    assert at is not None
    message = WebSocket().frame(datagram(data, at, 0))
    return len(message).to_bytes(4, "big") + message


def test_websocket_messages_are_the_same_messages() -> None:
    device = Device(None)
    heard: list[bytes] = []
    device.owner._send = lambda data, path: heard.append(data or b"")  # each is a message of its own
    for data in (HELLO, frame(POST, PATH, payload=b"x"), frame(PING, token=b"p")):
        device.owner.take(over_websocket(data), device.path, device.now)
    [(session, inbound)] = device.messages
    device.owner.answer(session, inbound.exchange, DONE, device.now)
    assert [message[1] for message in heard] == [CSM, PONG, CHANGED]
    assert heard[1] == bytes([1, PONG]) + b"p"
    assert heard[2][0] == 1  # no length, a token of one byte
    assert inbound.data == b"x"


def test_what_is_too_short_for_a_websocket_message_ends_the_connection() -> None:
    device = Device(None)
    device.owner._send = lambda data, path: None
    device.owner.take(over_websocket(HELLO) + b"\0\0\0\1\0", device.path, device.now)
    assert device.gone
    assert device.core.counters == {"malformed_truncated": 1}
