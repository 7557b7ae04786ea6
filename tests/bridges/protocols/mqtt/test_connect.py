"""CONNECT and CONNACK."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinbridge.errors import DecodeError
from thinbridge.protocols.mqtt import connect, properties, reasons, wire
from thinbridge.protocols.mqtt.connect import V5, V311, Connect, Will

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
WILLS = st.builds(Will, st.sampled_from(("w", "a/b")), st.binary(max_size=20), st.integers(0, 2), st.booleans())


def cut(packet: bytes) -> tuple[int, bytes]:
    [(first, body)] = wire.Framer(wire.MAX_REMAINING).feed(packet)
    return first, body


@given(
    st.builds(
        Connect,
        TEXT,
        st.sampled_from((V311, V5)),
        st.booleans(),
        st.integers(0, 0xFFFF),
        TEXT,
        st.none() | st.binary(max_size=20),
        st.none() | WILLS,
    )
)
def test_connect_round_trip(hello: Connect) -> None:
    first, body = cut(connect.encode_connect(hello))
    assert connect.version(body) == hello.version
    assert connect.decode_connect(first, body) == hello


@pytest.mark.parametrize(
    ("level", "values"),
    [(V311, ""), (V5, "00")],  # no properties, of the CONNECT and of the will
)
def test_the_fields_of_a_connect_have_an_order(level: int, values: str) -> None:  # MQTT-3.1.3-1
    payload = f"{values} 0001 63 {values} 0001 77 0001 78 0001 75 0001 70"
    body = b"\0\4MQTT" + bytes((level, 0xCE)) + bytes.fromhex("003c" + payload)
    hello = Connect("c", level, True, 60, "u", b"p", Will("w", b"x", 1))
    assert connect.decode_connect(0x10, body) == hello


def test_connect_with_properties() -> None:
    will = Will("w", b"", properties={properties.WILL_DELAY: 5})
    hello = Connect("a", password=b"p", will=will, properties={properties.RECEIVE_MAXIMUM: 3})
    assert connect.decode_connect(*cut(connect.encode_connect(hello))) == hello


def test_version() -> None:
    assert connect.version(bytes.fromhex("0006 4d5149736470 03 02 0000 0000")) == connect.V31
    assert connect.version(bytes.fromhex("0004 4d515454 09")) == 9
    for body in (b"", b"\0\x04MQTT", b"GET / HTTP/1.1"):
        with pytest.raises(DecodeError, match="not_mqtt"):
            connect.version(body)


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (0x11, "04 02 0000 0000"),  # flags of the fixed header
        (0x10, "04 02 00"),  # too short
        (0x10, "04 03 0000 0000"),  # reserved flag: MQTT-3.1.2-3
        (0x10, "04 1e 0000 0000 0000 0000"),  # will QoS 3: MQTT-3.1.2-12
        (0x10, "04 0a 0000 0000"),  # will QoS without a will: MQTT-3.1.2-11
        (0x10, "04 22 0000 0000"),  # Will Retain without a will: MQTT-3.1.2-13
        (0x10, "04 42 0000 0000 0000"),  # a password without a name: 3.1.1 MQTT-3.1.2-22
        (0x10, "04 02 0000 0000 00"),  # something behind
        (0x10, "04 02 0000 0001"),  # the client identifier is cut
        (0x10, "04 06 0000 0000 0001 2b 0000"),  # a will for `+`
    ],
)
def test_connect_that_is_none(first: int, rest: str) -> None:
    with pytest.raises(DecodeError):
        connect.decode_connect(first, b"\0\x04MQTT" + bytes.fromhex(rest))


def test_connack_both_ways() -> None:
    assert connect.encode_connack(reasons.SUCCESS, True, False) == bytes.fromhex("20020100")
    assert connect.encode_connack(reasons.NOT_AUTHORIZED, False, False) == bytes.fromhex("20020005")
    assert connect.encode_connack(reasons.MALFORMED, False, False) == b""
    assert connect.encode_connack(reasons.MALFORMED, False, True) == bytes.fromhex("2003008100")
    values = {properties.MAXIMUM_QOS: 1}
    assert connect.decode_connack(cut(connect.encode_connack(0, True, True, values))[1], True) == (0, True, values)
    assert connect.decode_connack(b"\1\0", False) == (0, True, {})
    for body in (b"", b"\2\0"):
        with pytest.raises(DecodeError):
            connect.decode_connack(body, True)
