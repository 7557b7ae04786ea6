"""MQTT 5 properties (§2.2.2): one table says what each is and where it may stand.

Decoded into a dict by identifier; what may repeat is a list under its own: User Properties of pairs, the Subscription
Identifiers of a PUBLISH of numbers. Used by the codec for CONNECT, PUBLISH and the rest.
"""

from collections.abc import Mapping
from typing import Any, Final

from thinbridge.errors import DecodeError
from thinbridge.protocols.mqtt import reasons, wire

PAYLOAD_FORMAT: Final = 0x01
MESSAGE_EXPIRY: Final = 0x02
CONTENT_TYPE: Final = 0x03
RESPONSE_TOPIC: Final = 0x08
CORRELATION_DATA: Final = 0x09
SUBSCRIPTION_ID: Final = 0x0B
SESSION_EXPIRY: Final = 0x11
ASSIGNED_CLIENT_ID: Final = 0x12
SERVER_KEEP_ALIVE: Final = 0x13
AUTH_METHOD: Final = 0x15
AUTH_DATA: Final = 0x16
REQUEST_PROBLEM_INFO: Final = 0x17
WILL_DELAY: Final = 0x18
REQUEST_RESPONSE_INFO: Final = 0x19
RESPONSE_INFO: Final = 0x1A
SERVER_REFERENCE: Final = 0x1C
REASON_STRING: Final = 0x1F
RECEIVE_MAXIMUM: Final = 0x21
TOPIC_ALIAS_MAXIMUM: Final = 0x22
TOPIC_ALIAS: Final = 0x23
MAXIMUM_QOS: Final = 0x24
RETAIN_AVAILABLE: Final = 0x25
USER: Final = 0x26
MAXIMUM_PACKET_SIZE: Final = 0x27
WILDCARDS_AVAILABLE: Final = 0x28
SUBSCRIPTION_IDS_AVAILABLE: Final = 0x29
SHARED_AVAILABLE: Final = 0x2A

MAX_REPEATED: Final = 100
"""User Properties of one packet: each becomes part of an event; thousands burn CPU (CVE-2021-41039)."""

Properties = Mapping[int, Any]
NONE: Final[Properties] = {}

_INTEGERS: Final[Mapping[int, tuple[int, int, int]]] = {
    PAYLOAD_FORMAT: (1, 0, 1),
    MESSAGE_EXPIRY: (4, 0, 0xFFFFFFFF),
    SESSION_EXPIRY: (4, 0, 0xFFFFFFFF),
    SERVER_KEEP_ALIVE: (2, 0, 0xFFFF),
    REQUEST_PROBLEM_INFO: (1, 0, 1),
    WILL_DELAY: (4, 0, 0xFFFFFFFF),
    REQUEST_RESPONSE_INFO: (1, 0, 1),
    RECEIVE_MAXIMUM: (2, 1, 0xFFFF),
    TOPIC_ALIAS_MAXIMUM: (2, 0, 0xFFFF),
    TOPIC_ALIAS: (2, 0, 0xFFFF),
    MAXIMUM_QOS: (1, 0, 1),
    RETAIN_AVAILABLE: (1, 0, 1),
    MAXIMUM_PACKET_SIZE: (4, 1, 0xFFFFFFFF),
    WILDCARDS_AVAILABLE: (1, 0, 1),
    SUBSCRIPTION_IDS_AVAILABLE: (1, 0, 1),
    SHARED_AVAILABLE: (1, 0, 1),
}
"""Integers: bytes, least and greatest value; what is outside is a Protocol Error (§2.2.2.2 and the packets' own)."""

_TEXTS: Final = frozenset(
    (CONTENT_TYPE, RESPONSE_TOPIC, ASSIGNED_CLIENT_ID, AUTH_METHOD, RESPONSE_INFO, SERVER_REFERENCE, REASON_STRING)
)
_BINARIES: Final = frozenset((CORRELATION_DATA, AUTH_DATA))

_MESSAGE = (PAYLOAD_FORMAT, MESSAGE_EXPIRY, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA, USER)

_LIMITS = (SESSION_EXPIRY, RECEIVE_MAXIMUM, MAXIMUM_PACKET_SIZE, TOPIC_ALIAS_MAXIMUM, USER, AUTH_METHOD, AUTH_DATA)

CONNECT: Final = frozenset((REQUEST_RESPONSE_INFO, REQUEST_PROBLEM_INFO, *_LIMITS))
WILL: Final = frozenset((WILL_DELAY, *_MESSAGE))
_FEATURES = (MAXIMUM_QOS, RETAIN_AVAILABLE, WILDCARDS_AVAILABLE, SUBSCRIPTION_IDS_AVAILABLE, SHARED_AVAILABLE)
_SERVER = (ASSIGNED_CLIENT_ID, REASON_STRING, SERVER_KEEP_ALIVE, RESPONSE_INFO, SERVER_REFERENCE)

CONNACK: Final = frozenset((*_LIMITS, *_FEATURES, *_SERVER))
PUBLISH: Final = frozenset((TOPIC_ALIAS, SUBSCRIPTION_ID, *_MESSAGE))
SUBSCRIBE: Final = frozenset((SUBSCRIPTION_ID, USER))
UNSUBSCRIBE: Final = frozenset((USER,))
ACK: Final = frozenset((REASON_STRING, USER))
DISCONNECT: Final = frozenset((SESSION_EXPIRY, REASON_STRING, USER, SERVER_REFERENCE))


def decode(body: bytes, pos: int, allowed: frozenset[int]) -> tuple[Properties, int]:
    """The properties at `pos`, and where they end.

    Raises:
        DecodeError: malformed, not allowed in this packet, twice, or out of range.
    """
    length, pos = wire.varint(body, pos)
    end = pos + length
    if end > len(body):
        raise wire.malformed()
    body = body[:end]  # no value reaches beyond them
    values: dict[int, Any] = {}
    while pos < end:
        identifier = body[pos]  # all identifiers are below 128: one byte (§2.2.2.2)
        if identifier not in allowed:
            raise DecodeError("property_not_allowed", reasons.MALFORMED)
        repeats = identifier == USER or (identifier == SUBSCRIPTION_ID and allowed is PUBLISH)
        if identifier in values and not repeats:
            raise wire.protocol_error()  # "it is a Protocol Error to include … more than once", says each of them
        value, pos = _value(identifier, body, pos + 1)
        if repeats:
            _add(values.setdefault(identifier, []), value)
        else:
            values[identifier] = value
    return values, end


def _value(identifier: int, body: bytes, pos: int) -> tuple[Any, int]:
    if identifier in _INTEGERS:
        size, low, high = _INTEGERS[identifier]
        return _integer(body, pos, size, low, high)
    if identifier in _TEXTS:
        string, pos = wire.text(body, pos)  # MQTT-3.3.2-13, MQTT-3.3.2-19
        if identifier == RESPONSE_TOPIC and ("+" in string or "#" in string):
            raise wire.protocol_error()  # MQTT-3.3.2-14
        return string, pos
    if identifier in _BINARIES:
        return wire.binary(body, pos)
    if identifier == SUBSCRIPTION_ID:
        number, pos = wire.varint(body, pos)
        if not number:
            raise wire.protocol_error()  # §3.3.2.3.8, §3.8.2.1.2
        return number, pos
    name, pos = wire.text(body, pos)  # MQTT-1.5.7-1
    value, pos = wire.text(body, pos)
    return (name, value), pos


def _integer(body: bytes, pos: int, size: int, low: int, high: int) -> tuple[int, int]:
    end = pos + size
    if end > len(body):
        raise wire.malformed()
    value = int.from_bytes(body[pos:end])
    if not low <= value <= high:
        raise wire.protocol_error()
    return value, end


def _add(values: list[Any], value: Any) -> None:
    if len(values) >= MAX_REPEATED:
        raise DecodeError("too_many_properties", reasons.QUOTA)
    values.append(value)


def encode(values: Properties) -> bytes:
    """The properties with their length in front; the inverse of `decode`."""
    if not values:
        return b"\0"  # MQTT-2.2.2-1
    body = b"".join(_encoded(identifier, value) for identifier, value in values.items())
    return wire.encode_varint(len(body)) + body


def _encoded(identifier: int, value: Any) -> bytes:
    prefix = bytes((identifier,))
    if identifier in _INTEGERS:
        return prefix + int(value).to_bytes(_INTEGERS[identifier][0])
    if identifier in _TEXTS:
        return prefix + wire.encode_text(value)
    if identifier in _BINARIES:
        return prefix + wire.encode_binary(value)
    if identifier == SUBSCRIPTION_ID:
        numbers = value if isinstance(value, list) else [value]
        return b"".join(prefix + wire.encode_varint(number) for number in numbers)
    return b"".join(prefix + wire.encode_text(name) + wire.encode_text(text) for name, text in value)
