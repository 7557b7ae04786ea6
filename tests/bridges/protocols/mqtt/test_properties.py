"""MQTT 5 properties."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinbridge.errors import DecodeError
from thinbridge.protocols.mqtt import properties, reasons, wire

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)

VALUES: dict[int, st.SearchStrategy[Any]] = {
    properties.MESSAGE_EXPIRY: st.integers(0, 0xFFFFFFFF),
    properties.PAYLOAD_FORMAT: st.integers(0, 1),
    properties.TOPIC_ALIAS: st.integers(0, 0xFFFF),
    properties.CONTENT_TYPE: TEXT,
    properties.CORRELATION_DATA: st.binary(max_size=20),
    properties.SUBSCRIPTION_ID: st.lists(st.integers(1, wire.MAX_REMAINING), min_size=1, max_size=4),
    properties.USER: st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4),
}


@given(st.fixed_dictionaries({}, optional=VALUES), st.binary(max_size=5))
def test_round_trip(values: dict[int, Any], tail: bytes) -> None:
    encoded = properties.encode(values)
    assert properties.decode(encoded + tail, 0, properties.PUBLISH) == (values, len(encoded))


@pytest.mark.parametrize(
    ("encoded", "code"),
    [
        ("", reasons.MALFORMED),
        ("05 03", reasons.MALFORMED),  # longer than the packet
        ("02 7f00", reasons.MALFORMED),  # no such property
        ("05 1100000001", reasons.MALFORMED),  # Session Expiry in a PUBLISH
        ("04 0100 0100", reasons.PROTOCOL_ERROR),  # twice (§3.3.2.3.2)
        ("02 0102", reasons.PROTOCOL_ERROR),  # neither 0 nor 1
        ("03 020000 00", reasons.MALFORMED),  # four bytes do not fit
        ("04 020000 00 0000", reasons.MALFORMED),  # they end behind the properties
        ("02 0200", reasons.MALFORMED),  # or behind the packet
        ("04 26 0001 61", reasons.MALFORMED),  # a name without a value
    ],
)
def test_what_is_not_allowed(encoded: str, code: int) -> None:
    with pytest.raises(DecodeError) as caught:
        properties.decode(bytes.fromhex(encoded), 0, properties.PUBLISH)
    assert caught.value.code == code


def test_user_properties_are_bounded() -> None:
    body = properties.encode({properties.USER: [("a", "b")] * (properties.MAX_REPEATED + 1)})
    with pytest.raises(DecodeError, match="too_many_properties"):
        properties.decode(body, 0, properties.PUBLISH)


def test_a_publish_may_name_many_subscriptions() -> None:  # MQTT-3.3.4-4
    body = properties.encode({properties.SUBSCRIPTION_ID: [1, 300]})
    assert properties.decode(body, 0, properties.PUBLISH)[0] == {properties.SUBSCRIPTION_ID: [1, 300]}
    with pytest.raises(DecodeError, match="protocol_error"):
        properties.decode(body, 0, properties.SUBSCRIBE)
    with pytest.raises(DecodeError, match="protocol_error"):
        properties.decode(properties.encode({properties.SUBSCRIPTION_ID: 0}), 0, properties.SUBSCRIBE)
