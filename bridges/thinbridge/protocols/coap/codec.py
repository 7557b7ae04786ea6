"""CoAP messages as bytes (RFC 7252 §3), both ways. Hot: a request is decoded, a response encoded, per message."""

from collections.abc import Sequence
from typing import Final

from thinbridge.errors import DecodeError
from thinbridge.protocols.coap.codes import EMPTY, TYPE_NAMES, VERSION, Type, dotted

MAX_OPTIONS: Final = 64
"""Options of one message: a path of 40 segments and a query of 20 fit; a datagram of one-byte options does not."""

_PAYLOAD_MARKER: Final = 0xFF
_EXTENDED_8, _EXTENDED_16, _RESERVED = 13, 14, 15  # RFC 7252 §3.1

OptionValue = tuple[int, bytes]


class Message:
    """One CoAP message; options in the order of their numbers."""

    __slots__ = ("code", "mid", "options", "payload", "token", "type")

    def __init__(
        self,
        type: int,
        code: int,
        mid: int,
        token: bytes = b"",
        options: Sequence[OptionValue] = (),
        payload: bytes = b"",
    ) -> None:
        self.type = type
        self.code = code
        self.mid = mid
        self.token = token
        self.options = options
        self.payload = payload

    def __repr__(self) -> str:
        return (
            f"Message({TYPE_NAMES[self.type]}, {dotted(self.code)}, mid={self.mid}, "
            f"token={self.token.hex()!r}, options={self.options!r}, payload={self.payload!r})"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return encode(self) == encode(other)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def get(self, number: int) -> bytes | None:
        """The first value of an option."""
        for option, value in self.options:
            if option == number:
                return value
        return None

    def all(self, number: int) -> list[bytes]:
        """Every value of an option, in order."""
        return [value for option, value in self.options if option == number]


def decode(data: bytes) -> Message:
    """The message in a datagram.

    Raises:
        DecodeError: it is none; `rejection` tells how to say so.
    """
    size = len(data)
    if size < 4:
        raise DecodeError("truncated")
    first = data[0]
    if first >> 6 != VERSION:
        raise DecodeError("version")  # RFC 7252 §3: MUST be silently ignored
    token_end = 4 + (first & 15)
    if token_end > 12:
        raise DecodeError("token_length")  # RFC 7252 §3: 9-15 are a message format error
    if size < token_end:
        raise DecodeError("truncated")
    code = data[1]
    if code == EMPTY and size != 4:
        raise DecodeError("empty_with_content")  # RFC 7252 §4.1
    options: list[OptionValue] = []
    at = token_end
    number = 0
    payload = b""
    for _ in range(MAX_OPTIONS + 1):
        if at >= size:
            break
        byte = data[at]
        at += 1
        if byte == _PAYLOAD_MARKER:
            if at == size:
                raise DecodeError("empty_payload")  # RFC 7252 §3: a marker and no payload
            payload = data[at:]
            break
        delta, length = byte >> 4, byte & 15
        if delta >= _EXTENDED_8:
            delta, at = _extended(data, at, delta)
        if length >= _EXTENDED_8:
            length, at = _extended(data, at, length)
        number += delta
        end = at + length
        if end > size:
            raise DecodeError("truncated")
        options.append((number, data[at:end]))
        at = end
    else:
        raise DecodeError("options")
    if number > 65535:
        raise DecodeError("options")
    return Message(first >> 4 & 3, code, data[2] << 8 | data[3], data[4:token_end], options, payload)


def _extended(data: bytes, at: int, nibble: int) -> tuple[int, int]:
    """An option delta or length that continues in the next bytes, and where they end."""
    if nibble == _RESERVED:
        raise DecodeError("option_reserved")
    width = 1 if nibble == _EXTENDED_8 else 2
    if at + width > len(data):
        raise DecodeError("truncated")
    if width == 1:
        return 13 + data[at], at + 1
    return 269 + (data[at] << 8 | data[at + 1]), at + 2


def rejection(data: bytes) -> bytes | None:
    """What to say to that which is no valid message: RST to a CON, to all else nothing (RFC 7252 §4.2, §4.3)."""
    if len(data) < 4 or data[0] >> 4 != VERSION << 2 | Type.CON:
        return None
    return empty(Type.RST, data[2] << 8 | data[3])


def encode(message: Message) -> bytes:
    """A message's bytes."""
    return compose(message.type, message.code, message.mid, message.token, message.options, message.payload)


def compose(
    type: int, code: int, mid: int, token: bytes, options: Sequence[OptionValue] = (), payload: bytes = b""
) -> bytes:
    """A message's bytes from its parts; options in the order of their numbers."""
    parts = [bytes((VERSION << 6 | type << 4 | len(token), code, mid >> 8, mid & 255)), token]
    last = 0
    for number, value in options:
        delta, length = number - last, len(value)
        last = number
        if delta < _EXTENDED_8 and length < _EXTENDED_8:
            parts.append(bytes((delta << 4 | length,)))
        else:
            parts.append(_option_head(delta, length))
        parts.append(value)
    if payload:
        parts.append(b"\xff")
        parts.append(payload)
    return b"".join(parts)


def empty(type: int, mid: int) -> bytes:
    """An empty message: an ACK, a RST, or a ping."""
    return bytes((VERSION << 6 | type << 4, EMPTY, mid >> 8, mid & 255))


def _option_head(delta: int, length: int) -> bytes:
    delta_nibble, delta_rest = _nibble(delta)
    length_nibble, length_rest = _nibble(length)
    return bytes((delta_nibble << 4 | length_nibble,)) + delta_rest + length_rest


def _nibble(value: int) -> tuple[int, bytes]:
    if value < 13:
        return value, b""
    if value < 269:
        return _EXTENDED_8, bytes((value - 13,))
    return _EXTENDED_16, (value - 269).to_bytes(2, "big")


def uint(value: int) -> bytes:
    """An option value of format uint: the shortest (RFC 7252 §3.2)."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def from_uint(value: bytes) -> int:
    """Back from `uint`; leading zeros are accepted (RFC 7252 §3.2)."""
    return int.from_bytes(value, "big")
