"""What lies between a connection and its protocol: told apart, put on top of each other, transparent."""

import ssl
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bridges.shells.carriers import Device, converse
from tests.certificates import Authority

from thinbridge.shells.layers import Stack
from thinbridge.shells.tls import TLSLayer
from thinbridge.shells.websocket import Terms, WebSocketLayer

ALL = ("tcp", "tls", "ws", "wss")
CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"


@cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the client's."""
    authority = Authority(Path(mkdtemp()))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.issue("server", "bridge"))
    client = ssl.create_default_context(cafile=authority.ca)
    return server, client


def stack(*accept: str) -> Stack:
    terms = Terms("/mqtt", ("mqtt", "mqttv3.1"))
    return Stack(accept, {"tls": lambda: TLSLayer(contexts()[0]), "ws": lambda: WebSocketLayer(terms)})


def device(carrier: str) -> Device:
    return Device(carrier, contexts()[1])


@pytest.mark.parametrize("accept", [ALL, ("tls", "wss"), ("tcp", "wss"), ("ws", "wss"), ("ws",), ("wss",), ("tls",)])
@pytest.mark.parametrize("carrier", ALL)
def test_a_device_passes_if_its_carrier_is_accepted(carrier: str, accept: tuple[str, ...]) -> None:
    here, there = stack(*accept), device(carrier)
    there.say(CONNECT)
    heard = converse(there, here)
    if carrier not in accept:  # it is over, or the protocol hears what it will refuse: a request, a ClientHello
        assert here.over or heard.startswith((b"GET ", b"\x16\x03"))
        assert CONNECT not in heard
        return
    assert here.ready
    assert not here.over
    assert heard == CONNECT
    if not here.bare:
        here.send(b"answer")
        converse(there, here)
        assert there.heard == b"answer"


def test_plain_tcp_alone_is_ready_at_once_and_all_else_waits_for_the_first_bytes() -> None:
    assert stack("tcp").bare
    assert not stack("tls").ready
    assert not stack(*ALL).ready


@settings(max_examples=60, deadline=None)
@given(
    carrier=st.sampled_from(ALL),
    messages=st.lists(st.binary(min_size=1, max_size=400), min_size=1, max_size=6),
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=8),
)
def test_however_bytes_are_split_the_protocol_hears_the_same(
    carrier: str, messages: list[bytes], sizes: list[int]
) -> None:
    here, there = stack(*ALL), device(carrier)
    there.say(CONNECT, *messages)
    assert converse(there, here, *sizes) == CONNECT + b"".join(messages)
    assert not here.over
    if not here.bare:
        for message in messages:
            here.send(message)
        converse(there, here)
        assert there.heard == b"".join(messages)


@settings(max_examples=200, deadline=None)
@given(
    accept=st.sets(st.sampled_from(ALL), min_size=1), pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=8)
)
def test_no_bytes_raise(accept: set[str], pieces: list[bytes]) -> None:
    here = stack(*accept)
    for prefix in (b"", b"\x16\x03\x01", b"GET /mqtt HTTP/1.1\r\n"):
        for piece in (prefix, *pieces):
            if piece and not here.over:
                here.receive(piece)
                here.data_to_send()
    here.close()


def test_what_begins_like_nothing_that_is_accepted_is_over_at_the_byte_that_says_so() -> None:
    here = stack("ws", "tls")
    here.receive(b"GE")
    assert not here.over
    here.receive(b"R")
    assert here.over
    assert here.fault == "carrier_unknown"


def test_bytes_that_may_still_become_a_request_are_kept_for_the_protocol() -> None:
    here = stack("tcp", "ws")
    assert here.receive(b"GET") == b""
    assert not here.ready
    assert here.receive(b"x") == b"GETx"
    assert here.bare
    assert here.receive(b"more") == b"more"


@pytest.mark.parametrize("carrier", ["tls", "ws", "wss"])
def test_every_layer_says_goodbye(carrier: str) -> None:
    here, there = stack(*ALL), device(carrier)
    there.say(CONNECT)
    converse(there, here)
    there.take(here.close())
    if there.websocket is not None:
        assert there.websocket.close_rcvd is not None
        assert there.websocket.close_rcvd.code == 1000
    if there.tls is not None:
        assert there.tls.read() == b""  # close_notify


@pytest.mark.parametrize("carrier", ["tls", "ws", "wss"])
def test_what_a_device_says_after_its_goodbye_is_nobodys(carrier: str) -> None:
    here, there = stack(*ALL), device(carrier)
    there.say(CONNECT)
    converse(there, here)
    if there.websocket is not None:
        there.websocket.send_close(1001)
    else:
        assert there.tls is not None
        with pytest.raises(ssl.SSLWantReadError):
            there.tls.unwrap()
    converse(there, here)
    assert here.over
    assert not here.fault
    assert here.receive(b"x") == b""
