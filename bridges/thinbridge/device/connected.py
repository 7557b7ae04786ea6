"""A CoAP device on a connection (RFC 8323): what `coap` and `observer` say, as messages of TCP or WebSocket.

They speak as they do in NONs: nothing is repeated, and nothing acknowledged. Used by `thinbridge send` and tests.
"""

from typing import Final

from thinbridge.device.base import Exchange, Result
from thinbridge.protocols.coap.codec import compose
from thinbridge.protocols.coap.codes import EMPTY, Type, code, dotted

CSM, PING, PONG, RELEASE, ABORT = (code(f"7.0{number}") for number in (1, 2, 3, 4, 5))

MAX_WHY: Final = 128
"""Bytes of what an Abort says that are shown: it is for people."""

_OFFSETS: Final = {13: (1, 13), 14: (2, 269), 15: (4, 65_805)}
"""RFC 8323 §3.2: a length that continues: in how many bytes, and what is added to them."""


class Connected(Exchange):
    """An exchange through a connection.

    Args:
        exchange: in NONs.
        lengths: messages have their length before them (TCP); False: each comes by itself (WebSocket).
    """

    def __init__(self, exchange: Exchange, lengths: bool) -> None:
        self._exchange, self._lengths = exchange, lengths
        self._spool = b""
        self._mid = 0
        self._out: list[bytes] = []

    def start(self, now: float) -> None:
        """A CSM first, then at once what is to be said (RFC 8323 §3.3)."""
        self._out.append(self._message(CSM, b""))
        self._exchange.start(now)

    def receive(self, data: bytes, now: float) -> None:
        """Some bytes of a stream, or one message."""
        if not self._lengths:
            if len(data) > 1:
                self._take(data[0] & 15, data[1:], now)
            return
        self._spool += data
        while (size := _size(self._spool)) is not None:
            head, rest = size
            if len(self._spool) < head + rest:
                break
            message, token = self._spool[head - 1 : head + rest], self._spool[0] & 15
            self._spool = self._spool[head + rest :]
            self._take(token, message, now)

    def _take(self, token: int, message: bytes, now: float) -> None:
        """One message, from its code on."""
        kind = message[0]
        if kind == PING:
            self._out.append(self._message(PONG, message[1 : 1 + token]))
        elif kind in (RELEASE, ABORT):
            why = message[2 + token :][:MAX_WHY].decode(errors="replace")
            self.result = self.result or Result(False, f"{dotted(kind)} {why if why.isprintable() else ''}".strip())
        elif EMPTY < kind < CSM:
            self._mid = self._mid + 1 & 0xFFFF
            head = bytes((1 << 6 | Type.NON << 4 | token, kind)) + self._mid.to_bytes(2, "big")
            self._exchange.receive(head + message[1:], now)
            self.result = self.result or self._exchange.result

    def _message(self, kind: int, token: bytes) -> bytes:
        return self._framed(compose(Type.NON, kind, 0, token))

    def _framed(self, datagram: bytes) -> bytes:
        token, rest = datagram[0] & 15, datagram[4:]
        nibble, extended = _length(len(rest) - token) if self._lengths else (0, b"")
        return bytes((nibble << 4 | token,)) + extended + datagram[1:2] + rest

    def data_to_send(self) -> list[bytes]:
        """Messages; what is empty is an ACK or a RST, of which there are none here."""
        said = [self._framed(datagram) for datagram in self._exchange.data_to_send() if datagram[1] != EMPTY]
        out, self._out = [*self._out, *said], []
        return out

    def next_timer(self) -> float | None:
        """The exchange's own."""
        return self._exchange.next_timer()

    def handle_timer(self, now: float) -> None:
        """Time has come for the exchange."""
        self._exchange.handle_timer(now)
        self.result = self.result or self._exchange.result

    def end(self, closed: bool) -> None:
        """Nothing will come any more."""
        self._exchange.end(closed)
        self.result = self.result or self._exchange.result


def _length(size: int) -> tuple[int, bytes]:
    for nibble, (width, offset) in reversed(_OFFSETS.items()):
        if size >= offset:
            return nibble, (size - offset).to_bytes(width, "big")
    return size, b""


def _size(data: bytes) -> tuple[int, int] | None:
    """Bytes of the first message up to its code, that included, and after it; None: too little has come to say."""
    if not data:
        return None
    token, nibble = data[0] & 15, data[0] >> 4
    width, offset = _OFFSETS.get(nibble, (0, nibble))
    if len(data) < 1 + width:
        return None
    return 2 + width, token + offset + int.from_bytes(data[1 : 1 + width], "big")
