"""CONNECT and CONNACK of MQTT 3.1.1 and 5 (§3.1, §3.2), both directions.

Used by the greeting, which hears a CONNECT, and by the client side in `thinbridge.device.mqtt`.
"""

from dataclasses import dataclass, field
from typing import Final

from thinbridge.errors import DecodeError
from thinbridge.protocols.mqtt import codec, properties, reasons, topics, wire
from thinbridge.protocols.mqtt.properties import Properties

V31: Final = 3
V311: Final = 4
V5: Final = 5
"""Protocol levels (§3.1.2.2)."""

_MAGIC: Final = b"\0\x04MQTT"
_MAGIC_31: Final = b"\0\x06MQIsdp"

_CLEAN = 0x02
_WILL = 0x04
_WILL_RETAIN = 0x20
_PASSWORD = 0x40
_USERNAME = 0x80


@dataclass(frozen=True, slots=True)
class Will:
    """What is published when a client is lost (§3.1.2.5)."""

    topic: str
    data: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = field(default_factory=lambda: properties.NONE)


@dataclass(frozen=True, slots=True)
class Connect:
    """A client's first packet."""

    client_id: str
    version: int = V5
    clean: bool = True
    """Clean Session in 3.1.1, Clean Start in 5."""
    keep_alive: int = 0
    """Seconds; 0: none."""
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    will: Will | None = None
    properties: Properties = field(default_factory=lambda: properties.NONE)

    @property
    def v5(self) -> bool:
        """MQTT 5."""
        return self.version == V5


def version(body: bytes) -> int:
    """The protocol level of a CONNECT, which may be no good otherwise: how to refuse it (MQTT-3.1.2-2).

    Raises:
        DecodeError: not MQTT at all, so nothing can be said (MQTT-3.1.2-1).
    """
    if body.startswith(_MAGIC) and len(body) > len(_MAGIC):
        return body[len(_MAGIC)]
    if body.startswith(_MAGIC_31):
        return V31
    raise DecodeError("not_mqtt", reasons.PROTOCOL_ERROR)


def begins_v5(data: bytes) -> bool:
    """Whether these bytes begin a CONNECT of MQTT 5, of which nothing but its beginning is read: it is too large."""
    at = data.find(_MAGIC, 2, 5 + len(_MAGIC))  # behind the first byte, and four of a length at most
    return data[:1] == b"\x10" and at > 0 and data[at + len(_MAGIC) :][:1] == b"\5"


def decode_connect(first: int, body: bytes) -> Connect:
    """A CONNECT whose `version` is one of ours: its fields are there as flags say, in this order (MQTT-3.1.3-1)."""
    level, v5 = body[6], body[6] == V5
    if first & 0x0F or len(body) < 10:
        raise wire.malformed()
    flags, keep_alive, pos = body[7], int.from_bytes(body[8:10]), 10
    if not _flags_valid(flags, v5):
        raise wire.malformed()
    values: Properties = {}
    if v5:
        values, pos = properties.decode(body, pos, properties.CONNECT)
    client_id, pos = wire.text(body, pos)  # MQTT-3.1.3-3, MQTT-3.1.3-4
    will: Will | None = None
    if flags & _WILL:  # MQTT-3.1.2-9
        will, pos = _decode_will(flags, body, pos, v5)
    username: str | None = None
    password: bytes | None = None
    if flags & _USERNAME:  # MQTT-3.1.2-16, MQTT-3.1.2-17; 3.1.1: MQTT-3.1.2-18, MQTT-3.1.2-19
        username, pos = wire.text(body, pos)  # MQTT-3.1.3-12; 3.1.1: MQTT-3.1.3-11
    if flags & _PASSWORD:  # MQTT-3.1.2-18, MQTT-3.1.2-19; 3.1.1: MQTT-3.1.2-20, MQTT-3.1.2-21
        password, pos = wire.binary(body, pos)
    if pos != len(body):
        raise wire.malformed()  # something that no flag announced
    return Connect(client_id, level, flags & _CLEAN != 0, keep_alive, username, password, will, values)


def _flags_valid(flags: int, v5: bool) -> bool:
    """Whether the Connect Flags go together."""
    if flags & 1 or flags & 0x18 == 0x18:  # MQTT-3.1.2-3; Will QoS 3: MQTT-3.1.2-12; 3.1.1: MQTT-3.1.2-14
        return False
    # no QoS and Retain without a will: MQTT-3.1.2-11, MQTT-3.1.2-13; 3.1.1: MQTT-3.1.2-11, MQTT-3.1.2-13, MQTT-3.1.2-15
    if not flags & _WILL and flags & (0x18 | _WILL_RETAIN):
        return False
    # a password without a name is for MQTT 5 only: MQTT-3.1.2-22 of 3.1.1
    return v5 or not flags & _PASSWORD or flags & _USERNAME != 0


def _decode_will(flags: int, body: bytes, pos: int, v5: bool) -> tuple[Will, int]:
    values: Properties = {}
    if v5:
        values, pos = properties.decode(body, pos, properties.WILL)
    topic, pos = wire.text(body, pos)  # MQTT-3.1.3-11; 3.1.1: MQTT-3.1.3-10
    data, pos = wire.binary(body, pos)
    if not topics.is_name(topic):
        raise DecodeError("topic_invalid", reasons.MALFORMED)
    return Will(topic, data, flags >> 3 & 3, flags & _WILL_RETAIN != 0, values), pos


def encode_connect(connect: Connect) -> bytes:
    """A CONNECT."""
    v5, will = connect.v5, connect.will
    flags = _CLEAN * connect.clean
    flags |= _USERNAME * (connect.username is not None) | _PASSWORD * (connect.password is not None)
    body = properties.encode(connect.properties) if v5 else b""
    body += wire.encode_text(connect.client_id)
    if will is not None:
        flags |= _WILL | will.qos << 3 | _WILL_RETAIN * will.retain
        body += properties.encode(will.properties) if v5 else b""
        body += wire.encode_text(will.topic) + wire.encode_binary(will.data)
    if connect.username is not None:
        body += wire.encode_text(connect.username)
    if connect.password is not None:
        body += wire.encode_binary(connect.password)
    head = _MAGIC + bytes((connect.version, flags)) + connect.keep_alive.to_bytes(2)
    return wire.packet(codec.CONNECT << 4, head + body)


def encode_connack(reason: int, present: bool, v5: bool, values: Properties = properties.NONE) -> bytes:
    """A CONNACK, all its other flags 0 (MQTT-3.2.2-1); empty where 3.1.1 has no return code for the reason.

    Args:
        reason: one that a CONNACK may say (MQTT-3.2.2-8).
        present: Session Present.
        v5: MQTT 5, else 3.1.1.
        values: its properties.
    """
    if v5:
        return wire.packet(codec.CONNACK << 4, bytes((present, reason)) + properties.encode(values))
    code = reasons.CONNACK_311.get(reason)
    return b"" if code is None else bytes((0x20, 2, present, code))


def decode_connack(body: bytes, v5: bool) -> tuple[int, bool, Properties]:
    """Reason (3.1.1: return) code, Session Present, properties."""
    if len(body) < 2 or body[0] & 0xFE:
        raise wire.malformed()
    values = properties.decode(body, 2, properties.CONNACK)[0] if v5 and len(body) > 2 else properties.NONE
    return body[1], body[0] == 1, values
