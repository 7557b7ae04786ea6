"""The primitives and the framing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinbridge.errors import DecodeError
from thinbridge.protocols.mqtt import reasons, wire


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (127, "7f"), (128, "8001"), (16_383, "ff7f"), (16_384, "808001"), (wire.MAX_REMAINING, "ffffff7f")],
)
def test_varint_both_ways(value: int, encoded: str) -> None:  # MQTT 5 §1.5.5, table 1-1
    assert wire.encode_varint(value) == bytes.fromhex(encoded)
    assert wire.varint(bytes.fromhex(encoded), 0) == (value, len(encoded) // 2)


@pytest.mark.parametrize("encoded", ["", "80", "808080", "80808080", "ffffffff7f"])
def test_varint_that_is_none(encoded: str) -> None:
    with pytest.raises(DecodeError, match="malformed"):
        wire.varint(bytes.fromhex(encoded), 0)


@pytest.mark.parametrize("encoded", ["", "00", "0002 61", "0001 00", "0001 ff", "0003 eda080"])
def test_text_that_is_none(encoded: str) -> None:  # MQTT-1.5.4-1 (surrogates), MQTT-1.5.4-2 (NUL)
    with pytest.raises(DecodeError) as caught:
        wire.text(bytes.fromhex(encoded), 0)
    assert caught.value.code == reasons.MALFORMED


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40), st.binary(max_size=9))
def test_text_round_trip(text: str, tail: bytes) -> None:
    encoded = wire.encode_text(text)
    assert wire.text(encoded + tail, 0) == (text, len(encoded))


STREAM = b"".join(wire.packet(0x30, bytes(size)) for size in (0, 1, 127, 128, 300)) + wire.packet(0xC0, b"")


@pytest.mark.parametrize("step", [1, 2, 3, 7, 130, 1000])
def test_framing_does_not_depend_on_pieces(step: int) -> None:
    framer = wire.Framer(1000)
    packets = [p for i in range(0, len(STREAM), step) for p in framer.feed(STREAM[i : i + step])]
    assert packets == wire.Framer(1000).feed(STREAM)
    assert [len(body) for _, body in packets] == [0, 1, 127, 128, 300, 0]
    assert not framer.partial
    assert framer.error is None


def test_an_incomplete_packet_is_kept() -> None:
    framer = wire.Framer(1000)
    assert framer.feed(STREAM[:-1]) == wire.Framer(1000).feed(STREAM)[:-1]
    assert framer.partial
    assert framer.rest == b"\xc0"


def test_too_large_is_known_from_the_length() -> None:
    framer = wire.Framer(100)
    assert framer.feed(b"\xc0\0\x30\x62" + bytes(98) + b"\x30\x63") == [(0xC0, b""), (0x30, bytes(98))]
    assert framer.error is not None
    assert framer.error.code == reasons.TOO_LARGE


@pytest.mark.parametrize("pieces", [[b"\x30\xff\xff\xff\xff"], [b"\x30", b"\xff", b"\xff\xff", b"\xff"]])
def test_a_length_of_five_bytes_is_no_length(pieces: list[bytes]) -> None:
    framer = wire.Framer(100)
    for piece in pieces:
        assert framer.feed(piece) == []
    assert framer.error is not None
    assert framer.error.code == reasons.MALFORMED


def test_a_single_packet_leaves_the_rest() -> None:
    framer = wire.Framer(100, single=True)
    assert framer.feed(b"\xc0\0\xc0\0\x30") == [(0xC0, b"")]
    assert framer.rest == b"\xc0\0\x30"


def test_errors_carry_their_code() -> None:
    assert wire.malformed().code == reasons.MALFORMED
    assert wire.protocol_error().code == reasons.PROTOCOL_ERROR


def test_a_byte_order_mark_is_kept() -> None:  # MQTT-1.5.4-3; 3.1.1: MQTT-1.5.3-3
    assert wire.text(b"\0\4\xef\xbb\xbfa", 0) == ("\ufeffa", 6)


def test_texts_have_a_length_of_two_bytes() -> None:  # MQTT-4.7.3-3
    assert wire.text(b"\xff\xff" + b"a" * 65_536, 0) == ("a" * 65_535, 65_537)
    with pytest.raises(OverflowError):
        wire.encode_text("a" * 65_536)
