"""SUBSCRIBE and its kin, both versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinbridge.errors import DecodeError
from thinbridge.protocols.mqtt import codec, properties, subscribe, wire

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


def cut(packet: bytes) -> tuple[int, bytes]:
    [(first, body)] = wire.Framer(wire.MAX_REMAINING).feed(packet)
    return first, body


FILTERS = st.lists(st.tuples(TEXT, st.integers(0, 2)), min_size=1, max_size=4)


@given(FILTERS, st.booleans(), st.integers(1, 0xFFFF))
def test_subscribe_round_trip(filters: list[tuple[str, int]], v5: bool, packet_id: int) -> None:
    values = {properties.SUBSCRIPTION_ID: 7} if v5 else {}
    first, body = cut(subscribe.encode_subscribe(packet_id, filters, v5, values))
    assert first == 0x82
    assert subscribe.decode_subscribe(body, v5) == (packet_id, values, filters)
    names = [name for name, _ in filters]
    first, body = cut(subscribe.encode_unsubscribe(packet_id, names, v5))
    assert first == 0xA2
    assert subscribe.decode_unsubscribe(body, v5) == (packet_id, names)


@pytest.mark.parametrize(
    ("body", "v5"),
    [
        ("0000 0001 61 00", False),  # packet identifier 0
        ("0001", False),  # no filter: MQTT-3.8.3-2
        ("0001 00", True),
        ("0001 0001 61", False),  # no options
        ("0001 0001 61 03", False),
        ("0001 0001 61 04", False),  # No Local is MQTT 5
        ("0001 00 0001 61 40", True),  # reserved: MQTT-3.8.3-5
        ("0001 00 0001 61 30", True),  # Retain Handling 3
    ],
)
def test_subscribe_that_is_none(body: str, v5: bool) -> None:
    with pytest.raises(DecodeError):
        subscribe.decode_subscribe(bytes.fromhex(body), v5)


def test_suback_both_ways() -> None:
    assert subscribe.encode_suback(codec.SUBACK, 7, [1, 0x9E], True) == bytes.fromhex("9005 0007 00 019e")
    assert subscribe.encode_suback(codec.SUBACK, 7, [1, 0x9E], False) == bytes.fromhex("9004 0007 0180")
    assert subscribe.encode_suback(codec.UNSUBACK, 7, [0], True) == bytes.fromhex("b004 0007 00 00")
    assert subscribe.encode_suback(codec.UNSUBACK, 7, [0], False) == bytes.fromhex("b002 0007")
    assert subscribe.decode_suback(bytes.fromhex("0007 0180"), False) == (7, b"\x01\x80")
    assert subscribe.decode_suback(bytes.fromhex("0007 00 01"), True) == (7, b"\x01")
    with pytest.raises(DecodeError):
        subscribe.decode_suback(b"\0", True)
