"""The primitives of MQTT's encoding (MQTT 5 §1.5, §2.1) and the framing of packets; 3.1.1 has the same ones.

Used by the codec, by a greeting and by a session; raises `DecodeError` with a reason code, nothing else.
"""

from typing import Final

from thinbridge.errors import DecodeError
from thinbridge.protocols.mqtt import reasons

MAX_REMAINING: Final = 268_435_455
"""What four bytes of a Variable Byte Integer hold (§1.5.5)."""


def malformed() -> DecodeError:
    """Bytes that the grammar does not have (MQTT 5 §4.13.1)."""
    return DecodeError("malformed", reasons.MALFORMED)


def protocol_error() -> DecodeError:
    """Well-formed, but not allowed here (MQTT 5 §4.13.1)."""
    return DecodeError("protocol_error", reasons.PROTOCOL_ERROR)


def length(data: bytes, pos: int, strict: bool = True) -> tuple[int, int] | None:
    """A Variable Byte Integer and where it ends; None: more bytes are needed. At most four bytes (§1.5.5).

    Args:
        data: where it is.
        pos: where it begins.
        strict: it has the shortest form (MQTT-1.5.5-1); 3.1.1 does not ask for that.
    """
    value = 0
    for count, byte in enumerate(data[pos : pos + 4]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            if strict and count and not byte:
                raise malformed()
            return value, pos + count + 1
    if len(data) - pos >= 4:
        raise malformed()
    return None


def varint(body: bytes, pos: int) -> tuple[int, int]:
    """A Variable Byte Integer within a packet, and where it ends."""
    found = length(body, pos)
    if found is None:
        raise malformed()
    return found


def encode_varint(value: int) -> bytes:
    """The shortest form (MQTT-1.5.5-1)."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def binary(body: bytes, pos: int) -> tuple[bytes, int]:
    """Binary data after its two-byte length, and where it ends."""
    start = pos + 2
    end = start + int.from_bytes(body[pos:start])
    if end > len(body) or start > len(body):
        raise malformed()
    return body[start:end], end


def text(body: bytes, pos: int) -> tuple[str, int]:
    """A UTF-8 string after its two-byte length, and where it ends (MQTT-1.5.4-1, MQTT-1.5.4-2)."""
    raw, pos = binary(body, pos)
    return utf8(raw), pos


def utf8(raw: bytes) -> str:
    """Strict UTF-8 without NUL (MQTT-1.5.4-1, MQTT-1.5.4-2, MQTT-4.7.3-2; 3.1.1: MQTT-1.5.3-1, MQTT-1.5.3-2).

    Surrogates are no UTF-8.
    """
    try:
        string = raw.decode()  # a byte order mark stays: MQTT-1.5.4-3; 3.1.1: MQTT-1.5.3-3
    except UnicodeDecodeError:
        raise malformed() from None
    if "\0" in string:
        raise malformed()
    return string


def encode_binary(data: bytes) -> bytes:
    """At most 65,535 bytes (MQTT-4.7.3-3)."""
    return len(data).to_bytes(2) + data


def encode_text(string: str) -> bytes:
    """At most 65,535 bytes of UTF-8."""
    return encode_binary(string.encode())


def packet(first: int, body: bytes) -> bytes:
    """A whole packet: fixed header and body."""
    if len(body) < 0x80:
        return bytes((first, len(body))) + body
    return bytes((first,)) + encode_varint(len(body)) + body


class Framer:
    """Cuts a byte stream into packets; holds no more than one that is incomplete.

    Args:
        limit: bytes of a packet; a larger one is refused as soon as its length is known, before it is kept.
        single: stop after the first packet; the rest stays in `rest` (a CONNECT decides who reads on).
        strict: lengths have their shortest form (MQTT 5).
    """

    __slots__ = ("_buffer", "_need", "error", "limit", "padded", "single", "strict")

    def __init__(self, limit: int, *, single: bool = False, strict: bool = False) -> None:
        self.limit, self.single, self.strict = limit, single, strict
        self.error: DecodeError | None = None
        """What is wrong with the bytes after the packets that `feed` returned; the stream ends there."""
        self.padded = False
        """A length had not its shortest form, which 3.1.1 allows."""
        self._buffer = bytearray()
        self._need = 0  # bytes in the buffer before which looking again is of no use

    @property
    def partial(self) -> bool:
        """A packet has begun and is not complete."""
        return bool(self._buffer)

    @property
    def rest(self) -> bytes:
        """What was not cut yet."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take bytes; the packets that are complete now, as first byte and body. Look at `error` afterwards."""
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._need:
                return []
            data = bytes(buffer)
            buffer.clear()
        packets: list[tuple[int, bytes]] = []
        pos, size = 0, len(data)
        while size - pos >= 2:
            remaining, start = data[pos + 1], pos + 2
            if remaining > 0x7F:
                try:
                    found = length(data, pos + 1, self.strict)
                except DecodeError as error:
                    self.error = error
                    return packets
                if found is None:
                    break
                remaining, start = found
                self.padded = self.padded or not data[start - 1]
            end = start + remaining
            if end - pos > self.limit:
                self.error = DecodeError("packet_too_large", reasons.TOO_LARGE)  # MQTT-3.2.2-15
                return packets
            if end > size:
                self._need = end - pos
                buffer += data[pos:]
                return packets
            packets.append((data[pos], data[start:end]))
            pos = end
            if self.single:
                break
        self._need = 0
        if pos < size:
            buffer += data[pos:]
        return packets
