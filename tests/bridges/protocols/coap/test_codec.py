"""CoAP messages as bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinbridge.errors import DecodeError
from thinbridge.protocols.coap.codec import (
    MAX_OPTIONS,
    Message,
    compose,
    decode,
    empty,
    encode,
    from_uint,
    rejection,
    uint,
)
from thinbridge.protocols.coap.codes import Option, Type

OPTIONS = st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=400)), max_size=MAX_OPTIONS).map(
    lambda options: sorted(options, key=lambda option: option[0])
)
MESSAGES = st.builds(
    Message,
    st.integers(0, 3),
    st.integers(1, 255),
    st.integers(0, 65535),
    st.binary(max_size=8),
    OPTIONS,
    st.binary(max_size=64),
)

SENSOR = Message(
    Type.CON,
    2,
    0x7D34,
    b"\x12\x34",
    [(Option.URI_PATH, b"sensors"), (Option.URI_PATH, b"7"), (Option.CONTENT_FORMAT, b"\x32")],
    b"{}",
)


def test_a_message_byte_by_byte() -> None:
    data = bytes.fromhex("42 02 7d34 1234 b7 73656e736f7273 01 37 11 32 ff 7b7d")
    assert encode(SENSOR) == data
    assert decode(data) == SENSOR
    assert repr(decode(data)).startswith("Message(CON, 0.02, mid=32052, token='1234', options=[(11, b'sensors')")


@given(MESSAGES)
def test_what_is_encoded_is_decoded(message: Message) -> None:
    again = decode(encode(message))
    assert again == message
    assert (again.type, again.code, again.mid, again.token) == (message.type, message.code, message.mid, message.token)
    assert (list(again.options), again.payload) == (list(message.options), message.payload)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_a_decode_error(data: bytes) -> None:
    try:
        message = decode(data)
    except DecodeError:
        pass
    else:
        assert decode(encode(message)) == message
    reset = rejection(data)
    assert reset is None or (len(reset) == 4 and reset[0] == 0x70)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "truncated"),
        ("400100", "truncated"),
        ("00010001", "version"),
        ("80010001", "version"),
        ("49010001" + "00" * 9, "token_length"),
        ("4f010001" + "00" * 15, "token_length"),
        ("42010001aa", "truncated"),
        ("4000000100", "empty_with_content"),
        ("41000001aa", "empty_with_content"),
        ("40010001ff", "empty_payload"),
        ("40010001b3616263", None),
        ("40010001b36162", "truncated"),
        ("40010001f0", "option_reserved"),
        ("400100010f", "option_reserved"),
        ("40010001d0", "truncated"),
        ("40010001e000", "truncated"),
        ("400100010d", "truncated"),
        ("40010001e0ffff", "options"),
    ],
)
def test_what_is_no_message(data: str, reason: str | None) -> None:
    if reason is None:
        decode(bytes.fromhex(data))
        return
    with pytest.raises(DecodeError, match=f"^{reason}$"):
        decode(bytes.fromhex(data))


@pytest.mark.parametrize("payload", [b"", b"\xffx"])
def test_options_are_counted(payload: bytes) -> None:
    assert len(decode(b"\x40\x01\0\1" + b"\x10" * MAX_OPTIONS + payload[:0]).options) == MAX_OPTIONS
    with pytest.raises(DecodeError, match="options"):
        decode(b"\x40\x01\0\1" + b"\x10" * (MAX_OPTIONS + 1) + payload)


@pytest.mark.parametrize(
    ("option", "data"),
    [
        ((12, b""), "c0"),
        ((13, b""), "d000"),
        ((268, b""), "d0ff"),
        ((269, b""), "e00000"),
        ((65535, b""), "e0fef2"),
        ((1, bytes(12)), "1c" + "00" * 12),
        ((1, bytes(13)), "1d00" + "00" * 13),
        ((1, bytes(269)), "1e0000" + "00" * 269),
        ((252, b"\1"), "d1ef01"),
    ],
)
def test_deltas_and_lengths_at_their_edges(option: tuple[int, bytes], data: str) -> None:
    whole = bytes.fromhex("40010001" + data)
    assert compose(Type.CON, 1, 1, b"", [option]) == whole
    assert decode(whole).options == [option]


@given(st.integers(0, 2**32 - 1))
def test_numbers_are_as_short_as_they_can_be(number: int) -> None:
    value = uint(number)
    assert from_uint(value) == from_uint(b"\0" + value) == number
    assert not value.startswith(b"\0")


def test_only_a_con_of_our_version_is_rejected() -> None:
    assert rejection(bytes.fromhex("400112 34ff")) == empty(Type.RST, 0x1234) == bytes.fromhex("70001234")
    for data in ("", "4001", "50011234ff", "60011234ff", "70011234ff", "80011234ff", "00011234"):
        assert rejection(bytes.fromhex(data)) is None


def test_the_first_value_of_an_option() -> None:
    assert SENSOR.get(Option.URI_PATH) == b"sensors"
    assert SENSOR.get(Option.ECHO) is None


def test_a_message_is_equal_to_messages_only() -> None:
    assert SENSOR != "a message"
    with pytest.raises(TypeError):
        hash(SENSOR)
