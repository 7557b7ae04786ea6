"""Packets of both versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinbridge.errors import DecodeError
from thinbridge.protocols.mqtt import codec, properties, reasons, wire
from thinbridge.protocols.mqtt.codec import Publish

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


def cut(packet: bytes) -> tuple[int, bytes]:
    [(first, body)] = wire.Framer(wire.MAX_REMAINING).feed(packet)
    return first, body


@given(TEXT, st.binary(max_size=200), st.integers(0, 2), st.booleans(), st.booleans(), st.integers(1, 0xFFFF))
def test_publish_round_trip(topic: str, data: bytes, qos: int, retain: bool, v5: bool, packet_id: int) -> None:
    values = {properties.CONTENT_TYPE: "a/b"} if v5 and retain else {}
    publish = Publish(topic, data, qos, retain, qos > 0, packet_id if qos else 0, values)
    assert codec.decode_publish(*cut(codec.encode_publish(publish, v5)), v5) == publish


@pytest.mark.parametrize(
    ("first", "body"),
    [
        (0x30, ""),
        (0x30, "0003 6162"),  # the topic is longer than the packet
        (0x36, "0001 61 0001"),  # QoS 3: MQTT-3.3.1-4
        (0x38, "0001 61"),  # DUP with QoS 0: MQTT-3.3.1-2
        (0x32, "0001 61 0000"),  # packet identifier 0: MQTT-2.2.1-3
        (0x32, "0001 61 01"),
        (0x32, "0001 61"),
        (0x30, "0001 ff"),
        (0x30, "0001 00"),
    ],
)
@pytest.mark.parametrize("v5", [False, True])
def test_publish_that_is_none(first: int, body: str, v5: bool) -> None:
    with pytest.raises(DecodeError) as caught:
        codec.decode_publish(first, bytes.fromhex(body), v5)
    assert caught.value.code == reasons.MALFORMED


@pytest.mark.parametrize("topic", ["a/#", "+"])
def test_a_response_topic_has_no_wildcards(topic: str) -> None:  # MQTT-3.3.2-14
    packet = codec.encode_publish(Publish("t", b"", properties={properties.RESPONSE_TOPIC: topic}), True)
    with pytest.raises(DecodeError, match="protocol_error"):
        codec.decode_publish(*cut(packet), True)


def test_puback_both_ways() -> None:
    assert codec.encode_puback(0x1234, reasons.IMPLEMENTATION, True) == bytes.fromhex("4003123483")
    assert codec.encode_puback(0x1234, reasons.SUCCESS, True) == bytes.fromhex("40021234")
    assert codec.encode_puback(0x1234, reasons.IMPLEMENTATION, False) == bytes.fromhex("40021234")
    assert codec.decode_puback(bytes.fromhex("1234"), False) == (0x1234, 0)
    assert codec.decode_puback(bytes.fromhex("123483"), True) == (0x1234, 0x83)
    assert codec.decode_puback(bytes.fromhex("123483 04 1f 0001 61"), True) == (0x1234, 0x83)


@pytest.mark.parametrize(("body", "v5"), [("12", True), ("123400", False), ("12348301", True)])
def test_puback_that_is_none(body: str, v5: bool) -> None:
    with pytest.raises(DecodeError):
        codec.decode_puback(bytes.fromhex(body), v5)


FILTERS = st.lists(st.tuples(TEXT, st.integers(0, 2)), min_size=1, max_size=4)


@given(FILTERS, st.booleans(), st.integers(1, 0xFFFF))
def test_subscribe_round_trip(filters: list[tuple[str, int]], v5: bool, packet_id: int) -> None:
    first, body = cut(codec.encode_subscribe(packet_id, filters, v5))
    assert codec.decode_subscribe(first, body, v5) == (packet_id, {}, filters)
    names = [name for name, _ in filters]
    first, body = cut(codec.encode_unsubscribe(packet_id, names, v5))
    assert codec.decode_unsubscribe(first, body, v5) == (packet_id, names)


@pytest.mark.parametrize(
    ("first", "body", "v5"),
    [
        (0x80, "0001 0001 61 00", False),  # flags: MQTT-3.8.1-1
        (0x82, "0000 0001 61 00", False),  # packet identifier 0
        (0x82, "0001", False),  # no filter: MQTT-3.8.3-2
        (0x82, "0001 00", True),
        (0x82, "0001 0001 61", False),  # no options
        (0x82, "0001 0001 61 03", False),
        (0x82, "0001 0001 61 04", False),  # No Local is MQTT 5
        (0x82, "0001 00 0001 61 40", True),  # reserved: MQTT-3.8.3-5
        (0x82, "0001 00 0001 61 30", True),  # Retain Handling 3
    ],
)
def test_subscribe_that_is_none(first: int, body: str, v5: bool) -> None:
    with pytest.raises(DecodeError):
        codec.decode_subscribe(first, bytes.fromhex(body), v5)


def test_suback_both_ways() -> None:
    assert codec.encode_suback(codec.SUBACK, 7, [1, 0x9E], True) == bytes.fromhex("9005 0007 00 019e")
    assert codec.encode_suback(codec.SUBACK, 7, [1, 0x9E], False) == bytes.fromhex("9004 0007 0180")
    assert codec.encode_suback(codec.UNSUBACK, 7, [0], True) == bytes.fromhex("b004 0007 00 00")
    assert codec.encode_suback(codec.UNSUBACK, 7, [0], False) == bytes.fromhex("b002 0007")
    assert codec.decode_suback(bytes.fromhex("0007 0180"), False) == (7, b"\x01\x80")
    assert codec.decode_suback(bytes.fromhex("0007 00 01"), True) == (7, b"\x01")
    with pytest.raises(DecodeError):
        codec.decode_suback(b"\0", True)


def test_disconnect_both_ways() -> None:
    assert codec.encode_disconnect(reasons.TAKEN_OVER, True) == bytes.fromhex("e0018e")
    assert codec.encode_disconnect(reasons.TAKEN_OVER, False) == codec.encode_disconnect(0, True) == b"\xe0\0"
    assert codec.decode_disconnect(0xE0, b"", False) == (0, {})
    assert codec.decode_disconnect(0xE0, b"\x04", True) == (4, {})
    body = bytes.fromhex("00 05 11 0000000a")
    assert codec.decode_disconnect(0xE0, body, True) == (0, {properties.SESSION_EXPIRY: 10})
    for first, body in ((0xE1, b""), (0xE0, b"\0")):
        with pytest.raises(DecodeError):
            codec.decode_disconnect(first, body, False)
