"""WebSocket as a layer: who may open one, what it may carry, how it ends."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bridges.shells.carriers import Device, converse
from websockets.frames import CloseCode, Frame, Opcode

from thinbridge.shells.layers import Stack
from thinbridge.shells.websocket import HEAD, Terms, WebSocketLayer

MQTT = Terms("/mqtt", ("mqtt", "mqttv3.1"))


def layer(terms: Terms = MQTT) -> WebSocketLayer:
    return WebSocketLayer(terms)


def opened(terms: Terms = MQTT, url: str = "ws://bridge/mqtt") -> tuple[Device, Stack]:
    here, there = Stack(("ws",), {"ws": lambda: layer(terms)}), Device("ws", url=url)
    converse(there, here)
    assert here.ready
    return there, here


def frame(opcode: Opcode, data: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


def request(*lines: str, target: str = "/mqtt") -> bytes:
    head = [f"GET {target} HTTP/1.1", "Host: bridge", *lines]
    return "\r\n".join((*head, "", "")).encode("latin-1")


UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
OFFER = "Sec-WebSocket-Protocol: mqtt"


@pytest.mark.parametrize(
    ("bytes_", "status"),
    [
        (request(*UPGRADE, KEY, OFFER), 101),
        (request(*UPGRADE, KEY, OFFER, target="/mqtt?token=x"), 101),
        (request(*UPGRADE, KEY, "Sec-WebSocket-Protocol: x, mqttv3.1"), 101),
        (request(*UPGRADE, KEY, OFFER, "Origin: https://anywhere"), 101),
        (request(*UPGRADE, KEY, OFFER, target="/"), 404),
        (request(*UPGRADE, KEY, OFFER, target="/mqtt/"), 404),
        (request(*UPGRADE, KEY), 400),  # MQTT-6.0.0-3
        (request(*UPGRADE, KEY, "Sec-WebSocket-Protocol: amqp"), 400),
        (request(*UPGRADE, OFFER), 400),
        (request(*UPGRADE[:2], "Sec-WebSocket-Version: 8", KEY, OFFER), 400),
        (request(OFFER), 426),
        (request(*UPGRADE, KEY, OFFER, "X: \xff"), 400),
        (request(*UPGRADE, KEY, OFFER, "Content-Length: 5"), 400),
        (request(*UPGRADE, KEY, OFFER, "no colon"), 400),
        (b"GET /mqtt HTTP/1.0\r\n\r\n", 400),
        (b"GET \r\n\r\n", 400),
        (request(*UPGRADE, KEY, OFFER, "X: " + "x" * HEAD), 431),
        (b"GET /" + b"x" * HEAD, 431),
    ],
)
def test_who_may_open_one(bytes_: bytes, status: int) -> None:
    here = layer()
    assert here.receive(bytes_) == b""
    assert here.data_to_send().startswith(b"HTTP/1.1 %d " % status)
    assert here.open is (status == 101)
    assert here.over is (status != 101)
    assert here.fault == ("" if status == 101 else "websocket_refused")
    assert not here.partial


@pytest.mark.parametrize(
    ("origin", "status"),
    [((), 101), (("Origin: https://good",), 101), (("Origin: https://bad",), 403), (("Origin: https://\x7fbad",), 400)],
)
def test_web_pages_that_are_not_listed_are_refused(origin: tuple[str, ...], status: int) -> None:
    here = layer(Terms("/mqtt", ("mqtt",), ("https://good",)))
    here.receive(request(*UPGRADE, KEY, OFFER, *origin))
    assert here.data_to_send().startswith(b"HTTP/1.1 %d " % status)


def test_the_subprotocol_is_said_back_and_no_extension_is() -> None:
    here = layer()
    offer = "Sec-WebSocket-Protocol: mqttv3.1, mqtt"
    here.receive(request(*UPGRADE, KEY, offer, "Sec-WebSocket-Extensions: permessage-deflate"))
    answer = here.data_to_send()
    assert b"Sec-WebSocket-Protocol: mqtt\r\n" in answer  # MQTT-6.0.0-4, our best
    assert b"Sec-WebSocket-Extensions" not in answer
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer  # RFC 6455 §1.3


def test_what_comes_right_behind_the_request_is_carried() -> None:
    here = layer()
    assert here.receive(request(*UPGRADE, KEY, OFFER) + frame(Opcode.BINARY, b"\x10")) == b"\x10"
    assert here.data_to_send().startswith(b"HTTP/1.1 101 ")


def test_a_protocol_without_a_name_asks_for_none() -> None:
    here = layer(Terms("/"))
    here.receive(request(*UPGRADE, KEY, target="/"))
    assert here.open


@pytest.mark.parametrize(
    ("bytes_", "code", "fault"),
    [
        (frame(Opcode.TEXT, b"x"), 1003, "websocket_text"),  # MQTT-6.0.0-1
        (frame(Opcode.CONT, b"x"), 1002, "websocket_invalid"),
        (Frame(Opcode.BINARY, b"x").serialize(mask=False), 1002, "websocket_invalid"),  # RFC 6455 §5.1
        (b"\xf2\x80\0\0\0\0", 1002, "websocket_invalid"),
        (b"\x82\xff" + (1 << 40).to_bytes(8) + bytes(4), 1009, "websocket_too_large"),  # from its head alone
        (frame(Opcode.BINARY, b"x" * 200, fin=False) + frame(Opcode.CONT, b"x" * 200), 1009, "websocket_too_large"),
    ],
    ids=["text", "no beginning", "no mask", "reserved bits", "head too large", "too much in all"],
)
def test_what_may_not_be_carried_ends_it(bytes_: bytes, code: int, fault: str) -> None:
    there, here = opened(Terms("/mqtt", ("mqtt",), message=300))
    good = frame(Opcode.BINARY, b"good")
    assert here.receive(good + bytes_ + good).startswith(b"good")
    assert here.over
    assert here.fault == fault
    there.take(here.data_to_send())
    assert there.websocket is not None
    assert there.websocket.close_rcvd is not None
    assert there.websocket.close_rcvd.code == code
    here.send(b"late")
    assert here.data_to_send() + here.close() == b""
    assert not here.partial


def test_a_text_message_is_refused_at_its_first_frame() -> None:
    _, here = opened()
    assert here.receive(frame(Opcode.TEXT, b"x", fin=False)) == b""
    assert here.fault == "websocket_text"


def test_fragments_and_control_frames_between_them() -> None:
    there, here = opened()
    pieces = [
        frame(Opcode.BINARY, b"ab", fin=False),
        frame(Opcode.PING, b"?"),
        frame(Opcode.CONT, b"", fin=False),
        frame(Opcode.PONG, b"!"),
        frame(Opcode.CONT, b"c"),
    ]
    assert here.receive(b"".join(pieces)) == b"abc"
    assert here.data_to_send() == Frame(Opcode.PONG, b"?").serialize(mask=False)
    assert there.websocket is not None


@settings(max_examples=60, deadline=None)
@given(
    messages=st.lists(st.lists(st.binary(max_size=20), min_size=1, max_size=4), max_size=5),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
)
def test_a_protocol_of_messages_gets_each_with_its_length(messages: list[list[bytes]], sizes: list[int]) -> None:
    there, here = opened(Terms("/mqtt", ("mqtt",), whole=True))
    data = b"".join(
        frame(Opcode.CONT if at else Opcode.BINARY, part, fin=at == len(parts) - 1)
        for parts in messages
        for at, part in enumerate(parts)
    )
    heard = b""
    number = 0
    while data:
        size = sizes[number % len(sizes)]
        heard += here.receive(data[:size])
        data, number = data[size:], number + 1
    whole = [b"".join(parts) for parts in messages]
    assert heard == b"".join(len(message).to_bytes(4) + message for message in whole)
    assert here.partial == 0
    assert there.heard == b""


def test_a_close_is_answered() -> None:
    there, here = opened()
    assert there.websocket is not None
    there.websocket.send_close(CloseCode.GOING_AWAY)
    converse(there, here)
    assert here.over
    assert not here.fault
    assert there.websocket.close_rcvd == there.websocket.close_sent


def test_what_waits_for_its_rest_is_counted() -> None:
    _, here = opened()
    whole = frame(Opcode.BINARY, b"x" * 1000)
    here.receive(whole[:500])
    assert 400 < here.partial <= 500
    here.receive(whole[500:])
    assert here.partial == 0
