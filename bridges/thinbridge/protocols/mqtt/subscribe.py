"""SUBSCRIBE, UNSUBSCRIBE and their acknowledgements of MQTT 3.1.1 and 5 (§3.8 to §3.11), both directions.

Used as `codec` is: by the session, and by the client side in `thinbridge.device.mqtt`.
"""

from collections.abc import Sequence

from thinbridge.protocols.mqtt import properties, reasons, wire
from thinbridge.protocols.mqtt.codec import SUBACK, SUBSCRIBE, UNSUBSCRIBE
from thinbridge.protocols.mqtt.properties import NONE, Properties

QOS = 0x03
NO_LOCAL = 0x04
RETAIN_AS_PUBLISHED = 0x08
RETAIN_HANDLING = 0x30
"""The bits of Subscription Options (MQTT 5 §3.8.3.1); 3.1.1 has only the first two."""


def _head(body: bytes, v5: bool, allowed: frozenset[int]) -> tuple[int, Properties, int]:
    """What SUBSCRIBE and UNSUBSCRIBE begin with."""
    packet_id = int.from_bytes(body[:2])
    if not packet_id:
        raise wire.malformed()  # MQTT-2.2.1-3; 3.1.1: MQTT-2.3.1-1
    values, pos = properties.decode(body, 2, allowed) if v5 else (NONE, 2)
    if pos >= len(body):
        raise wire.protocol_error()  # at least one filter: MQTT-3.8.3-2, MQTT-3.10.3-2; 3.1.1: MQTT-3.8.3-3
    return packet_id, values, pos


def decode_subscribe(body: bytes, v5: bool) -> tuple[int, Properties, Sequence[tuple[str, int]]]:
    """Packet identifier, properties, and each filter with its options byte."""
    packet_id, values, pos = _head(body, v5, properties.SUBSCRIBE)
    filters: list[tuple[str, int]] = []
    while pos < len(body):
        text, pos = wire.text(body, pos)  # MQTT-3.8.3-1
        if pos == len(body):
            raise wire.malformed()
        options = body[pos]
        if options & (0xC0 if v5 else 0xFC) or options & QOS == QOS:
            raise wire.malformed()  # MQTT-3.8.3-5; 3.1.1: MQTT-3-8.3-4
        if options & RETAIN_HANDLING == RETAIN_HANDLING:
            raise wire.protocol_error()  # MQTT 5 §3.8.3.1
        filters.append((text, options))
        pos += 1
    return packet_id, values, filters


def encode_subscribe(packet_id: int, filters: Sequence[tuple[str, int]], v5: bool, values: Properties = NONE) -> bytes:
    """A SUBSCRIBE."""
    body = packet_id.to_bytes(2) + (properties.encode(values) if v5 else b"")
    body += b"".join(wire.encode_text(text) + bytes((options,)) for text, options in filters)
    return wire.packet(SUBSCRIBE << 4 | 2, body)


def decode_unsubscribe(body: bytes, v5: bool) -> tuple[int, Sequence[str]]:
    """Packet identifier and filters."""
    packet_id, _, pos = _head(body, v5, properties.UNSUBSCRIBE)
    filters: list[str] = []
    while pos < len(body):
        text, pos = wire.text(body, pos)  # MQTT-3.10.3-1
        filters.append(text)
    return packet_id, filters


def encode_unsubscribe(packet_id: int, filters: Sequence[str], v5: bool) -> bytes:
    """An UNSUBSCRIBE."""
    body = packet_id.to_bytes(2) + (b"\0" if v5 else b"")
    return wire.packet(UNSUBSCRIBE << 4 | 2, body + b"".join(wire.encode_text(text) for text in filters))


def encode_suback(kind: int, packet_id: int, codes: Sequence[int], v5: bool) -> bytes:
    """A SUBACK or UNSUBACK (`kind`); 3.1.1's UNSUBACK has no codes, its SUBACK one failure (MQTT-3.9.3-2)."""
    body = packet_id.to_bytes(2)  # MQTT-2.2.1-6, MQTT-3.8.4-2; 3.1.1: MQTT-2.3.1-7
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
