"""The CoAP device on a connection, against the bridge's own side of it, and by itself."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bridges.adapters.coap.streams import ABORT, CSM, PING, PONG, RELEASE, Device, frame, messages
from tests.bridges.protocols.coap.bench import DONE

from thinbridge.adapters.coap.framing import TCP, WebSocket
from thinbridge.device.base import Exchange, Result
from thinbridge.device.coap import Request
from thinbridge.device.connected import Connected
from thinbridge.protocols.base import Outcome, Reply
from thinbridge.protocols.coap.codec import encode
from thinbridge.protocols.coap.codes import CHANGED, Type
from thinbridge.testing import seeded

OK = Result(True, "2.04", "text/plain;charset=utf-8", b"done")


def make(data: bytes = b"x", lengths: bool = True) -> Connected:
    one = Connected(Request("POST", "/a", data, entropy=seeded(1), confirmable=False), lengths)
    one.start(1000.0)
    return one


def flow(one: Exchange, bridge: Device) -> None:
    """Both ways until both are silent."""
    while said := one.data_to_send():
        for data in said:
            bridge.owner.take(data, bridge.path, bridge.now)
        heard, bridge._heard = bridge._heard, b""
        for at in range(len(heard)):  # byte by byte
            one.receive(heard[at : at + 1], bridge.now)


@pytest.mark.parametrize("size", [1, 300, 70_000])
def test_a_request_and_its_response(size: int) -> None:
    bridge, one = Device(None), make(b"x" * size)
    flow(one, bridge)
    assert one.result is None
    session, inbound = bridge.messages[0]
    assert (inbound.subject, inbound.data) == ("a", b"x" * size)
    bridge.owner.answer(session, inbound.exchange, DONE, bridge.now)
    one.receive(bridge._heard, bridge.now)
    assert one.result == OK
    assert one.next_timer() is None


def test_a_long_response_comes_in_blocks() -> None:
    bridge, one = Device(None), make()
    flow(one, bridge)
    session, inbound = bridge.messages[0]
    bridge.owner.answer(session, inbound.exchange, Reply(Outcome.ACCEPTED, 200, None, b"y" * 5000), bridge.now)
    heard, bridge._heard = bridge._heard, b""
    one.receive(heard, bridge.now)
    flow(one, bridge)
    assert one.result is not None
    assert one.result.data == b"y" * 5000


def test_a_sign_of_life_is_given() -> None:
    one = make()
    assert [message.code for message in messages(b"".join(one.data_to_send()))] == [CSM, 2]
    one.receive(frame(PING, token=b"sign"), 0.0)
    [pong] = messages(b"".join(one.data_to_send()))
    assert (pong.code, pong.token) == (PONG, b"sign")


def test_a_websocket_message_is_a_message() -> None:
    one = make(lengths=False)
    csm, request = one.data_to_send()
    assert (csm, request[1]) == (b"\0\xe1", 2)
    token = request[2 : 2 + request[0]]
    one.receive(b"", 0.0)
    one.receive(WebSocket().frame(encode(messages(frame(CHANGED, token=token, payload=b"y"))[0])), 0.0)
    assert one.result == Result(True, "2.04", None, b"y")


@pytest.mark.parametrize(
    ("data", "code"),
    [(frame(ABORT, token=b"", payload=b"too large"), "7.05 too large"), (frame(RELEASE, token=b""), "7.04")],
)
def test_the_bridge_ends_it(data: bytes, code: str) -> None:
    one = make()
    one.receive(data, 0.0)
    assert one.result == Result(False, code)


@pytest.mark.parametrize("end", [lambda one: one.end(closed=True), lambda one: one.handle_timer(1e9)])
def test_silence(end: Callable[[Connected], None]) -> None:
    one = make()
    end(one)
    assert one.result is None


def test_what_has_no_meaning_here_is_ignored() -> None:
    one = make()
    one.receive(frame(CSM, token=b"") + bytes(2) + frame(code=5, token=b"t"), 0.0)
    assert one.result is None


@given(st.binary())
def test_bytes_from_outside_never_raise(data: bytes) -> None:
    for lengths in (True, False):
        make(lengths=lengths).receive(data, 0.0)


def test_it_frames_as_aiocoap_does() -> None:
    for size in (0, 12, 13, 268, 269, 65_804, 65_805, 100_000):
        one = make(b"x" * size)
        *_, data = one.data_to_send()
        at = TCP().split(data)
        assert at is not None
        assert at.end == len(data)
    assert Type.NON == 1
