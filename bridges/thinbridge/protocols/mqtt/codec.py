"""PUBLISH, the acknowledgements, SUBSCRIBE and DISCONNECT of MQTT 3.1.1 and 5, both directions (hot: PUBLISH).

`decode_*` takes a packet's body, as `wire.Framer` cut it, and raises `DecodeError`; `encode_*` makes whole packets.
Used by the session, and by the client side in `thinbridge.device.mqtt`. CONNECT and CONNACK are in `connect`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from thinbridge.protocols.mqtt import properties, reasons, wire
from thinbridge.protocols.mqtt.properties import Properties

# Packet types, the upper four bits of the first byte (§2.1.2).
CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
SUBSCRIBE: Final = 8
SUBACK: Final = 9
UNSUBSCRIBE: Final = 10
UNSUBACK: Final = 11
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14

PING: Final = b"\xc0\0"
PONG: Final = b"\xd0\0"


@dataclass(slots=True)
class Publish:
    """An application message on the wire (§3.3)."""

    topic: str
    """May be empty in MQTT 5, then a Topic Alias stands for it."""
    data: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    """0 with QoS 0."""
    properties: Properties = field(default_factory=lambda: properties.NONE)


def decode_publish(first: int, body: bytes, v5: bool) -> Publish:
    """A PUBLISH; whether its topic may be published to is for the session to say."""
    qos = first >> 1 & 3
    start = 2
    end = start + int.from_bytes(body[:2])
    if end > len(body) or qos == 3 or first & 0x0E == 0x08:
        raise wire.malformed()  # MQTT-3.3.1-4; DUP with QoS 0: MQTT-3.3.1-2
    topic = wire.utf8(body[start:end])
    packet_id = 0
    if qos:
        start, end = end, end + 2
        packet_id = int.from_bytes(body[start:end])
        if not packet_id or end > len(body):
            raise wire.malformed()  # MQTT-2.2.1-3
    values: Properties = properties.NONE
    if v5:
        if body[end : end + 1] == b"\0":
            end += 1
        else:
            values, end = properties.decode(body, end, properties.PUBLISH)
            response = values.get(properties.RESPONSE_TOPIC, "")
            if "+" in response or "#" in response:
                raise wire.protocol_error()  # MQTT-3.3.2-14
    return Publish(topic, body[end:], qos, first & 1 == 1, first & 8 == 8, packet_id, values)


def encode_publish(publish: Publish, v5: bool) -> bytes:
    """A PUBLISH."""
    first = PUBLISH << 4 | publish.dup << 3 | publish.qos << 1 | publish.retain
    head = wire.encode_text(publish.topic)
    if publish.qos:
        head += publish.packet_id.to_bytes(2)
    if v5:
        head += properties.encode(publish.properties)
    return wire.packet(first, head + publish.data)


def encode_puback(packet_id: int, reason: int, v5: bool) -> bytes:
    """A PUBACK; 3.1.1 has no reason, MQTT 5 leaves success out (§3.4.2.1)."""
    if v5 and reason:
        return b"\x40\x03" + packet_id.to_bytes(2) + bytes((reason,))
    return b"\x40\x02" + packet_id.to_bytes(2)


def decode_puback(body: bytes, v5: bool) -> tuple[int, int]:
    """Packet identifier and reason code."""
    if len(body) < 2 or (not v5 and len(body) != 2):
        raise wire.malformed()
    if len(body) > 3:
        properties.decode(body, 3, properties.ACK)
    return int.from_bytes(body[:2]), body[2] if len(body) > 2 else reasons.SUCCESS


def _head(first: int, body: bytes, v5: bool, allowed: frozenset[int]) -> tuple[int, Properties, int]:
    """What SUBSCRIBE and UNSUBSCRIBE begin with; their flags are 0010 (MQTT-3.8.1-1, MQTT-3.10.1-1)."""
    packet_id = int.from_bytes(body[:2])
    if first & 0x0F != 0x02 or not packet_id:
        raise wire.malformed()
    values, pos = properties.decode(body, 2, allowed) if v5 else (properties.NONE, 2)
    if pos >= len(body):
        raise wire.protocol_error()  # at least one filter: MQTT-3.8.3-2, MQTT-3.10.3-2
    return packet_id, values, pos


def decode_subscribe(first: int, body: bytes, v5: bool) -> tuple[int, Properties, Sequence[tuple[str, int]]]:
    """Packet identifier, properties, and each filter with its options byte."""
    packet_id, values, pos = _head(first, body, v5, properties.SUBSCRIBE)
    filters: list[tuple[str, int]] = []
    while pos < len(body):
        text, pos = wire.text(body, pos)
        if pos == len(body):
            raise wire.malformed()
        options = body[pos]
        reserved = 0xC0 if v5 else 0xFC
        if options & reserved or options & 3 == 3 or options & 0x30 == 0x30:
            raise wire.malformed()  # MQTT-3.8.3-5; 3.1.1: MQTT-3-8.3-4
        filters.append((text, options))
        pos += 1
    return packet_id, values, filters


def encode_subscribe(packet_id: int, filters: Sequence[tuple[str, int]], v5: bool) -> bytes:
    """A SUBSCRIBE."""
    body = packet_id.to_bytes(2) + (b"\0" if v5 else b"")
    body += b"".join(wire.encode_text(text) + bytes((options,)) for text, options in filters)
    return wire.packet(SUBSCRIBE << 4 | 2, body)


def decode_unsubscribe(first: int, body: bytes, v5: bool) -> tuple[int, Sequence[str]]:
    """Packet identifier and filters."""
    packet_id, _, pos = _head(first, body, v5, properties.UNSUBSCRIBE)
    filters: list[str] = []
    while pos < len(body):
        text, pos = wire.text(body, pos)
        filters.append(text)
    return packet_id, filters


def encode_unsubscribe(packet_id: int, filters: Sequence[str], v5: bool) -> bytes:
    """An UNSUBSCRIBE."""
    body = packet_id.to_bytes(2) + (b"\0" if v5 else b"")
    return wire.packet(UNSUBSCRIBE << 4 | 2, body + b"".join(wire.encode_text(text) for text in filters))


def encode_suback(kind: int, packet_id: int, codes: Sequence[int], v5: bool) -> bytes:
    """A SUBACK or UNSUBACK (`kind`); 3.1.1's UNSUBACK has no codes, its SUBACK one failure (§3.9.3)."""
    body = packet_id.to_bytes(2)
    if v5:
        body += b"\0" + bytes(codes)
    elif kind == SUBACK:
        body += bytes(min(code, reasons.FAILURE) for code in codes)
    return wire.packet(kind << 4, body)


def decode_suback(body: bytes, v5: bool) -> tuple[int, bytes]:
    """Packet identifier and the codes, one a filter, of a SUBACK or UNSUBACK."""
    if len(body) < 2:
        raise wire.malformed()
    pos = properties.decode(body, 2, properties.ACK)[1] if v5 else 2
    return int.from_bytes(body[:2]), body[pos:]


def decode_disconnect(first: int, body: bytes, v5: bool) -> tuple[int, Properties]:
    """Reason code and properties; 3.1.1 has neither."""
    if first & 0x0F or (body and not v5):
        raise wire.malformed()  # MQTT-3.14.1-1
    values = properties.decode(body, 1, properties.DISCONNECT)[0] if len(body) > 1 else properties.NONE
    return body[0] if body else reasons.SUCCESS, values


def encode_disconnect(reason: int, v5: bool) -> bytes:
    """A DISCONNECT; only MQTT 5 names a reason, and leaves 0x00 out (§3.14.2.1)."""
    return b"\xe0\x01" + bytes((reason,)) if v5 and reason else b"\xe0\0"
