"""A CoAP device over UDP (RFC 7252): one request, and its response, piggybacked or separate, in blocks or whole.

A 4.01 that carries an Echo is answered by the same request with that Echo (RFC 9175 §2.3): how a bridge makes sure that
the device is where it says. Used by `thinbridge send`, the kit and tests.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from thinbridge.device.base import Exchange, Result
from thinbridge.device.transfer import Broken, Transfer
from thinbridge.errors import DecodeError
from thinbridge.protocols.base import Entropy
from thinbridge.protocols.coap.blockwise import LARGEST, exponent
from thinbridge.protocols.coap.codec import Message, OptionValue, decode, empty, encode, from_uint, uint
from thinbridge.protocols.coap.codes import (
    EMPTY,
    METHODS,
    UNAUTHORIZED,
    Option,
    Type,
    dotted,
)
from thinbridge.protocols.coap.content_formats import MEDIA_TYPES, content_format
from thinbridge.protocols.coap.outgoing import Outgoing, Transmission

TOKEN_LENGTH: Final = 4
"""Bytes: 32 random bits to guess, as RFC 7252 §5.3.1 asks for without DTLS."""
RESPONSE_CLASSES: Final = (2, 4, 5)
BLOCK_SIZES: Final = tuple(16 << szx for szx in range(LARGEST + 1))

_NUMBERS: Final = {name.upper(): number for number, name in METHODS.items()}


class Request(Exchange):
    """One request and its response. Over at the response, at a RST, or when a CON was sent five times for nothing.

    Args:
        method: `GET`, `POST`, …, in any case.
        target: path and query as a URL has them, percent-encoded: `/sensors/7?unit=C`.
        data: the payload.
        entropy: where Message ID, token and the first timeout come from.
        content_type: media type of the payload.
        confirmable: False: a NON, sent once; nothing ends the wait for its response but the caller.
        options: further options.
        block_size: bytes of a block, 16 to 1024, a power of two; the response's too. None: 1024, or less if asked.

    Raises:
        ValueError: CoAP has no such method, no number for the media type, or no such block.
    """

    def __init__(
        self,
        method: str,
        target: str,
        data: bytes = b"",
        *,
        entropy: Entropy,
        content_type: str | None = None,
        confirmable: bool = True,
        options: Iterable[OptionValue] = (),
        block_size: int | None = None,
    ) -> None:
        if method.upper() not in _NUMBERS:
            raise ValueError(f"CoAP has no method {method}")
        self._code = _NUMBERS[method.upper()]
        if block_size is not None and block_size not in BLOCK_SIZES:
            raise ValueError(f"CoAP has no blocks of {block_size} bytes")
        self._options = [*_target(target), *_content_format(content_type), *options]
        self._data = data
        self._block_size = block_size
        self._transfer = self._new_transfer(self._options)
        self._type = Type.CON if confirmable else Type.NON
        self._entropy = entropy
        self._outgoing = Outgoing(entropy, Counter(), nstart=1)
        self._mid = 0
        self._token = b""
        self._proven = False  # by the message that is on its way
        self._out: list[bytes] = []

    def _new_transfer(self, options: list[OptionValue]) -> Transfer:
        size = self._block_size
        szx = LARGEST if size is None else exponent(size)
        return Transfer(self._code, options, self._data, szx, early=size is not None)

    def start(self, now: float) -> None:
        """Send it."""
        self._send(now)

    def _send(self, now: float, *more: OptionValue, token: bytes | None = None) -> None:
        self._mid = self._outgoing.next_mid()
        self._token = token or self._entropy(TOKEN_LENGTH)
        options, payload = self._transfer.request()
        options = sorted([*options, *more], key=lambda option: option[0])  # stable: a path keeps its order
        data = encode(Message(self._type, self._code, self._mid, self._token, options, payload))
        self._out += self._outgoing.send(Transmission(self._mid, data), now) if self._type == Type.CON else [data]

    def receive(self, data: bytes, now: float) -> None:
        """A datagram of the bridge; what is neither for this request nor valid is as if it had not come."""
        try:
            message = decode(data)
        except DecodeError:
            return
        if message.type == Type.ACK or message.type == Type.RST:
            self._acknowledged(message, now)
        elif message.code >> 5 in RESPONSE_CLASSES and message.token == self._token:
            if message.type == Type.CON:  # a separate response, or its repeat (RFC 7252 §5.2.2)
                self._out.append(empty(Type.ACK, message.mid))
            self._respond(message, now)
        elif message.type == Type.CON:
            self._out.append(empty(Type.RST, message.mid))  # RFC 7252 §4.2: a response without context

    def _acknowledged(self, message: Message, now: float) -> None:
        if message.mid != self._mid:
            return
        self._outgoing.acknowledged(message.mid, message.type, now)
        if message.type == Type.RST:
            self.result = self.result or Result(False, "RST")
        elif message.code != EMPTY and message.token == self._token:
            self._respond(message, now)

    def _respond(self, message: Message, now: float) -> None:
        """The response; it says as well that the request has arrived (RFC 7252 §5.2.2)."""
        if self.result is not None:
            return
        self._outgoing.acknowledged(self._mid, Type.ACK, now)
        echo = message.get(Option.ECHO)
        if message.code == UNAUTHORIZED and echo is not None and not self._proven:
            self._proven = True
            self._send(now, (Option.ECHO, echo))
            return
        self._proven = False
        try:
            if self._transfer.response(message):
                self._send(now)
                return
        except Broken as broken:
            self.result = Result(False, f"{dotted(message.code)}, {broken}")
            return
        number = message.get(Option.CONTENT_FORMAT)
        content_type = None if number is None else MEDIA_TYPES.get(from_uint(number))
        self.result = Result(message.code >> 5 == 2, dotted(message.code), content_type, bytes(self._transfer.body))

    def data_to_send(self) -> list[bytes]:
        """Datagrams."""
        out, self._out = self._out, []
        return out

    def next_timer(self) -> float | None:
        """When the CON is repeated, or given up."""
        return self._outgoing.due() if self._outgoing.open else None

    def handle_timer(self, now: float) -> None:
        """Repeat the CON; five times in vain is the end (RFC 7252 §4.2)."""
        if not self._outgoing.open:
            return
        self._out += self._outgoing.handle_timer(now)
        if not self._outgoing.open:
            self.result = Result(False, "no ACK")


def _target(target: str) -> list[OptionValue]:
    """Uri-Path and Uri-Query of a URL's path and query (RFC 7252 §6.4)."""
    path, mark, query = target.encode("utf-8", "surrogateescape").partition(b"?")
    path = path.removeprefix(b"/")
    options: list[OptionValue] = []
    if path:
        options += [(Option.URI_PATH, unquote_to_bytes(segment)) for segment in path.split(b"/")]
    if mark:
        options += [(Option.URI_QUERY, unquote_to_bytes(argument)) for argument in query.split(b"&")]
    return options


def _content_format(content_type: str | None) -> list[OptionValue]:
    if content_type is None:
        return []
    number = content_format(content_type)
    if number is None:
        raise ValueError(f"CoAP has no Content-Format for {content_type}")
    return [(Option.CONTENT_FORMAT, uint(number))]
