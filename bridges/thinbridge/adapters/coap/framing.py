"""One message in three shapes: a datagram, a frame of a TCP stream, a WebSocket message. Only their heads differ.

A datagram has a type and a Message ID (RFC 7252 §3), a frame its own length (RFC 8323 §3.2), a WebSocket message
neither (RFC 8323 §4.3). Options and payload are the same bytes in all, so nobody reads them here. aiocoap knows the
heads.
"""

from typing import Final, NamedTuple, Protocol

from aiocoap import Message
from aiocoap.transports import tcp, ws

from thinbridge.protocols.coap.codes import VERSION, Type

_HEAD: Final = 4
"""Bytes of a datagram before its token."""


class Frame(NamedTuple):
    """Where the first message lies in what has come."""

    head: int
    """The byte with the length of its token."""
    code: int
    """Its code; token, options and payload follow."""
    end: int
    """Where the next one begins; the rest of this one may still be to come."""


class Framing(Protocol):
    """How messages lie in what a connection carries."""

    def split(self, data: bytes | bytearray) -> Frame | None:
        """The first message; None: too little has come to say."""

    def frame(self, datagram: bytes) -> bytes:
        """A datagram as it is sent here."""

    def signal(self, message: Message) -> bytes:
        """A signalling message of aiocoap's as it is sent here."""

    def signalled(self, frame: bytes) -> Message:
        """A signalling message that came; raises what aiocoap raises."""


class TCP:
    """RFC 8323 §3.2: messages one after another, each with its length."""

    def split(self, data: bytes | bytearray) -> Frame | None:
        """See `Framing`."""
        size = tcp._extract_message_size(data)
        if size is None:
            return None
        token, token_length, rest = size
        return Frame(0, token - 1, token + token_length + rest)

    def frame(self, datagram: bytes) -> bytes:
        """See `Framing`."""
        token_length = datagram[0] & 15
        nibble, extended = tcp._encode_length(len(datagram) - _HEAD - token_length)
        return b"".join((bytes((nibble << 4 | token_length,)), extended, datagram[1:2], datagram[_HEAD:]))

    def signal(self, message: Message) -> bytes:
        """See `Framing`."""
        return bytes(tcp._serialize(message))

    def signalled(self, frame: bytes) -> Message:
        """See `Framing`."""
        return tcp._decode_message(frame)


PREFIX: Final = 4
"""Bytes before a WebSocket message that came, its length: the layer below puts them there."""


class WebSocket:
    """RFC 8323 §4.3: a message in each WebSocket message, and no length in it."""

    def split(self, data: bytes | bytearray) -> Frame | None:
        """See `Framing`."""
        if len(data) < PREFIX:
            return None
        return Frame(PREFIX, PREFIX + 1, PREFIX + int.from_bytes(data[:PREFIX], "big"))

    def frame(self, datagram: bytes) -> bytes:
        """See `Framing`."""
        return bytes((datagram[0] & 15, datagram[1])) + datagram[_HEAD:]

    def signal(self, message: Message) -> bytes:
        """See `Framing`."""
        return bytes(ws._serialize(message))

    def signalled(self, frame: bytes) -> Message:
        """See `Framing`."""
        return ws._decode_message(frame[PREFIX:])


def datagram(frame: bytes, at: Frame, mid: int) -> bytes:
    """A message that came as the datagram of a CON.

    Args:
        frame: the message, from its beginning on.
        at: its parts.
        mid: the Message ID that it is given.
    """
    head = bytes((VERSION << 6 | Type.CON << 4 | frame[at.head] & 15, frame[at.code], mid >> 8, mid & 255))
    return head + frame[at.code + 1 :]
