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


def test_acknowledgements_both_ways() -> None:  # MQTT-2.2.1-5
    assert codec.encode_ack(codec.PUBACK, 0x1234, reasons.IMPLEMENTATION, True) == bytes.fromhex("4003123483")
    assert codec.encode_ack(codec.PUBREC, 0x1234, reasons.SUCCESS, True) == bytes.fromhex("50021234")
    assert codec.encode_ack(codec.PUBREL, 0x1234, reasons.PACKET_ID_UNKNOWN, True) == bytes.fromhex("6203123492")
    assert codec.encode_ack(codec.PUBCOMP, 0x1234, reasons.IMPLEMENTATION, False) == bytes.fromhex("70021234")
    spoken = codec.encode_ack(codec.PUBACK, 0x1234, reasons.IMPLEMENTATION, True, "no")
    assert spoken == bytes.fromhex("4009 1234 83 05 1f 0002 6e6f")
    assert codec.decode_ack(codec.PUBACK, bytes.fromhex("1234"), False) == (0x1234, 0)
    assert codec.decode_ack(codec.PUBACK, bytes.fromhex("123483"), True) == (0x1234, 0x83)
    assert codec.decode_ack(codec.PUBREC, bytes.fromhex("123483 04 1f 0001 61"), True) == (0x1234, 0x83)
    assert codec.decode_ack(codec.PUBCOMP, bytes.fromhex("123492"), True) == (0x1234, 0x92)


@pytest.mark.parametrize(
    ("kind", "body", "v5", "code"),
    [
        (codec.PUBACK, "12", True, 0x81),
        (codec.PUBACK, "0000", True, 0x81),
        (codec.PUBACK, "123400", False, 0x81),
        (codec.PUBACK, "12348301", True, 0x81),
        (codec.PUBACK, "12348300ff", True, 0x81),
        (codec.PUBACK, "123492", True, 0x82),
        (codec.PUBREL, "123483", True, 0x82),
        (codec.PUBCOMP, "123410", True, 0x82),
    ],
)
def test_acknowledgements_that_are_none(kind: int, body: str, v5: bool, code: int) -> None:
    with pytest.raises(DecodeError) as caught:
        codec.decode_ack(kind, bytes.fromhex(body), v5)
    assert caught.value.code == code


@pytest.mark.parametrize("kind", range(16))
def test_the_reserved_flags(kind: int) -> None:  # MQTT-2.1.3-1
    right = 2 if kind in (codec.PUBREL, codec.SUBSCRIBE, codec.UNSUBSCRIBE) else 0
    for flags in range(16):
        if flags == right:
            codec.check_flags(kind << 4 | flags)
            continue
        with pytest.raises(DecodeError, match="malformed"):
            codec.check_flags(kind << 4 | flags)


def test_disconnect_both_ways() -> None:
    assert codec.encode_disconnect(reasons.TAKEN_OVER, True) == bytes.fromhex("e0018e")
    assert codec.encode_disconnect(reasons.TAKEN_OVER, True, "no") == bytes.fromhex("e0078e 051f0002 6e6f")
    assert codec.encode_disconnect(reasons.TAKEN_OVER, False, "no") == codec.encode_disconnect(0, True) == b"\xe0\0"
    assert codec.decode_disconnect(b"", False) == (0, {})
    assert codec.decode_disconnect(b"\x04", True) == (4, {})
    body = bytes.fromhex("00 05 11 0000000a")
    assert codec.decode_disconnect(body, True) == (0, {properties.SESSION_EXPIRY: 10})
    for body, v5 in ((b"\0", False), (bytes.fromhex("0000ff"), True)):
        with pytest.raises(DecodeError):
            codec.decode_disconnect(body, v5)
