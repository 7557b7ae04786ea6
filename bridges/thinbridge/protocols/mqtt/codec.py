"""PUBLISH, its acknowledgements, DISCONNECT and the fixed header of MQTT 3.1.1 and 5, both directions (hot: PUBLISH).

`decode_*` takes a packet's body, as `wire.Framer` cut it, and raises `DecodeError`; `encode_*` makes whole packets.
Used by the session, and by the client side in `thinbridge.device.mqtt`. CONNECT and CONNACK are in `connect`, SUBSCRIBE
and its kin in `subscribe`.
"""

from dataclasses import dataclass, field
from typing import Final

from thinbridge.protocols.mqtt import properties, reasons, wire
from thinbridge.protocols.mqtt.properties import Properties

# Packet types, the upper four bits of the first byte (§2.1.2).
CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
PUBREC: Final = 5
PUBREL: Final = 6
PUBCOMP: Final = 7
SUBSCRIBE: Final = 8
SUBACK: Final = 9
UNSUBSCRIBE: Final = 10
UNSUBACK: Final = 11
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14
AUTH: Final = 15

PING: Final = b"\xc0\0"
PONG: Final = b"\xd0\0"

_FLAGS: Final = {PUBREL: 2, SUBSCRIBE: 2, UNSUBSCRIBE: 2}
"""The lower four bits of the first byte where they are not 0; PUBLISH has its own (§2.1.3)."""


_ACKS: Final = {PUBACK: b"\x40\2", PUBREC: b"\x50\2", PUBREL: b"\x62\2", PUBCOMP: b"\x70\2"}
"""How an acknowledgement without a reason begins."""


def check_flags(first: int) -> None:
    """The reserved flags of any packet but PUBLISH (MQTT-2.1.3-1; 3.1.1: MQTT-2.2.2-1, MQTT-2.2.2-2).

    Raises:
        DecodeError: they are not as they must be (also MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1, MQTT-3.14.1-1 and
            MQTT-3.15.1-1).
    """
    if first & 0x0F != _FLAGS.get(first >> 4, 0):
        raise wire.malformed()


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
    """0 with QoS 0 (MQTT-2.2.1-2; 3.1.1: MQTT-2.3.1-5)."""
    properties: Properties = field(default_factory=lambda: properties.NONE)


def decode_publish(first: int, body: bytes, v5: bool) -> Publish:
    """A PUBLISH; whether its topic may be published to is for the session to say."""
    qos = first >> 1 & 3
    start = 2
    end = start + int.from_bytes(body[:2])
    if end > len(body) or qos == 3 or first & 0x0E == 0x08:
        raise wire.malformed()  # MQTT-3.3.1-4; DUP with QoS 0: MQTT-3.3.1-2
    topic = wire.utf8(body[start:end])  # MQTT-3.3.2-1
    packet_id = 0
    if qos:
        start, end = end, end + 2
        packet_id = int.from_bytes(body[start:end])
        if not packet_id or end > len(body):
            raise wire.malformed()  # MQTT-2.2.1-3; 3.1.1: MQTT-2.3.1-1
    values: Properties = properties.NONE
    if v5:
        if body[end : end + 1] == b"\0":
            end += 1
        else:
            values, end = properties.decode(body, end, properties.PUBLISH)
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


def encode_ack(kind: int, packet_id: int, reason: int, v5: bool, text: str = "") -> bytes:
    """A PUBACK, PUBREC, PUBREL or PUBCOMP; 3.1.1 has no reason, MQTT 5 leaves success out (§3.4.2.1).

    Args:
        kind: the packet's type.
        packet_id: of the PUBLISH (MQTT-2.2.1-5; 3.1.1: MQTT-2.3.1-6).
        reason: its Reason Code.
        v5: MQTT 5, else 3.1.1.
        text: its Reason String; empty: none.
    """
    if not (v5 and reason):
        return _ACKS[kind] + packet_id.to_bytes(2)
    first = kind << 4 | _FLAGS.get(kind, 0)
    body = packet_id.to_bytes(2) + bytes((reason,))
    return wire.packet(first, body + properties.encode({properties.REASON_STRING: text}) if text else body)


def decode_ack(kind: int, body: bytes, v5: bool) -> tuple[int, int]:
    """Packet identifier and Reason Code of a PUBACK, PUBREC, PUBREL or PUBCOMP."""
    packet_id = int.from_bytes(body[:2])
    if len(body) < 2 or not packet_id or (not v5 and len(body) != 2):
        raise wire.malformed()
    if len(body) > 3 and properties.decode(body, 3, properties.ACK)[1] != len(body):
        raise wire.malformed()
    reason = body[2] if len(body) > 2 else reasons.SUCCESS
    if reason not in (reasons.OF_PUBLISH if kind in (PUBACK, PUBREC) else reasons.OF_RELEASE):
        raise wire.protocol_error()  # MQTT-3.4.2-1, MQTT-3.5.2-1, MQTT-3.6.2-1, MQTT-3.7.2-1
    return packet_id, reason


def decode_disconnect(body: bytes, v5: bool) -> tuple[int, Properties]:
    """Reason Code and properties; 3.1.1 has neither."""
    if body and not v5:
        raise wire.malformed()
    values, end = properties.decode(body, 1, properties.DISCONNECT) if len(body) > 1 else (properties.NONE, len(body))
    if end != len(body):
        raise wire.malformed()
    return body[0] if body else reasons.SUCCESS, values


def encode_disconnect(reason: int, v5: bool, text: str = "") -> bytes:
    """A DISCONNECT; only MQTT 5 names a reason, and leaves 0x00 out (§3.14.2.1). No Session Expiry (MQTT-3.14.2-2).

    Args:
        reason: its Reason Code.
        v5: MQTT 5, else 3.1.1.
        text: its Reason String; empty: none.
    """
    if not (v5 and reason):
        return b"\xe0\0"
    values = properties.encode({properties.REASON_STRING: text}) if text else b""
    return wire.packet(DISCONNECT << 4, bytes((reason,)) + values)
