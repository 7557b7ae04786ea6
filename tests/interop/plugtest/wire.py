"""A CoAP client on a socket, as a test plays it: it says exactly what it is told to, and believes nothing unjudged."""

import socket
from collections.abc import Sequence
from itertools import count
from typing import Final

from tests.interop.plugtest.strict import judge

from thinbridge.protocols.coap.blockwise import Block, exponent, parse
from thinbridge.protocols.coap.codec import Message, OptionValue, encode, uint
from thinbridge.protocols.coap.codes import EMPTY, METHODS, Option, Type, dotted

PATIENCE: Final = 15.0
"""Seconds for an answer: a machine that runs other tests is slow."""

CODES: Final = {name: number for number, name in METHODS.items()}
_NUMBERS: Final = count(1)


def path(text: str) -> list[OptionValue]:
    """Uri-Path and Uri-Query options of `/a/b?c=d&e`."""
    where, _, query = text.partition("?")
    segments = [(Option.URI_PATH, part.encode()) for part in where.strip("/").split("/") if part]
    return segments + [(Option.URI_QUERY, part.encode()) for part in query.split("&") if part]


def number(message: Message, option: int) -> int | None:
    """An option of format uint; None: it is not there."""
    value = message.get(option)
    return None if value is None else int.from_bytes(value, "big")


def values(message: Message, option: int) -> list[str]:
    """All values of a text option."""
    return [value.decode() for each, value in message.options if each == option]


class Device:
    """One client: an address and port of its own; `with` closes it.

    Args:
        port: the server's, on loopback.
        own: the client's own; 0: any that is free.
    """

    def __init__(self, port: int, own: int = 0) -> None:
        self.server = port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", own))
        self._socket.connect(("127.0.0.1", port))
        self._mids = count(next(_NUMBERS) * 1000)

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    @property
    def port(self) -> int:
        """Its own."""
        port: int = self._socket.getsockname()[1]
        return port

    def request(
        self,
        method: str,
        target: str,
        *options: OptionValue,
        type: int = Type.CON,
        token: bytes | None = None,
        payload: bytes = b"",
        format: int | None = None,
    ) -> Message:
        """A request with a Message ID that is new, and a token that is, unless one is given."""
        mid = next(self._mids) & 0xFFFF
        formats = [] if format is None else [(int(Option.CONTENT_FORMAT), uint(format))]
        every = sorted([*path(target), *formats, *options], key=lambda option: option[0])
        return Message(type, CODES[method], mid, b"t%d" % mid if token is None else token, every, payload)

    def send(self, message: Message | bytes) -> None:
        """Put it on the wire."""
        self._socket.send(encode(message) if isinstance(message, Message) else message)

    def hear(self, seconds: float = PATIENCE) -> Message:
        """The next datagram, judged.

        Raises:
            TimeoutError: there is none.
        """
        self._socket.settimeout(seconds)
        return judge(self._socket.recv(65536))

    def hears_nothing(self, seconds: float = 0.3) -> None:
        """Assert that nobody says anything for so long."""
        try:
            heard = self.hear(seconds)
        except TimeoutError:
            return
        raise AssertionError(f"it says {heard}")

    def ask(self, method: str, target: str, *options: OptionValue, **more: object) -> Message:
        """A request and its response, which must be the only thing that is said: piggybacked, or a NON for a NON."""
        request = self.request(method, target, *options, **more)  # type: ignore[arg-type]
        self.send(request)
        return self.answer(request)

    def fetch(
        self, target: str, size: int | None = None, *options: OptionValue, first: Message | None = None
    ) -> Message:
        """A GET and all of its blocks (RFC 7959 §2.4), as the first response with all of the payload.

        Args:
            target: path and query.
            size: of the blocks; None: the server chooses.
            options: further ones.
            first: the response that the first block is in, if it is there already; its request is not repeated.
        """
        asked = [] if size is None else [(int(Option.BLOCK2), block(0, False, size))]
        first = first or self.ask("GET", target, *asked, *options)
        blocks, body = [first], bytearray(first.payload)
        while (more := said_block(blocks[-1], Option.BLOCK2)) is not None and more.more:
            next_one = block(len(body) // more.size, False, more.size)
            response = self.ask("GET", target, (Option.BLOCK2, next_one), *options)
            follows(first, response, len(body))
            body += response.payload
            blocks.append(response)
        return Message(first.type, first.code, first.mid, first.token, first.options, bytes(body))

    def upload(self, method: str, target: str, body: bytes, size: int) -> Message:
        """A body in blocks (RFC 7959 §2.5), each of which must be asked for; the response to the last one."""
        at, more = 0, True
        while True:
            more = at + size < len(body)
            value, part = block(at // size, more, size), body[at : at + size]
            response = self.ask(method, target, (Option.BLOCK1, value), payload=part, format=0)
            said = said_block(response, Option.BLOCK1)
            assert said is not None, f"{response} does not say which block it is about"
            assert (said.start, said.more) == (at, more)
            if not more:
                return response
            assert dotted(response.code) == "2.31", response
            assert said.size <= size
            at, size = at + size, said.size

    def answer(self, request: Message) -> Message:
        """The piggybacked response of a CON, the NON of a NON."""
        response = self.hear()
        assert response.code != EMPTY, f"{response} is no response"
        assert response.token == request.token
        if request.type == Type.CON:
            assert (response.type, response.mid) == (Type.ACK, request.mid)  # RFC 7252 §5.2.1
        else:
            assert response.type == Type.NON  # RFC 7252 §5.2.3
        return response

    def acknowledge(self, message: Message, type: int = Type.ACK) -> None:
        """An empty ACK, or RST, of what was heard."""
        self.send(Message(type, EMPTY, message.mid))


def block(num: int, more: bool, size: int) -> bytes:
    """The value of a Block option, the size in bytes."""
    return Block(num, more, exponent(size)).encode()


def said_block(message: Message, option: int) -> Block | None:
    """A Block option; None: it is not there."""
    value = message.get(option)
    return None if value is None else parse(value)


def follows(first: Message, response: Message, at: int) -> None:
    """Assert that a response is a later block of the same representation, and begins at this byte."""
    said = said_block(response, Option.BLOCK2)
    assert said is not None
    assert (response.code, said.start) == (first.code, at)
    for option in (Option.ETAG, Option.CONTENT_FORMAT):  # RFC 7959 §2.4
        assert response.get(option) == first.get(option)


def said(message: Message) -> Sequence[object]:
    """Code and payload, as tests compare them."""
    return dotted(message.code), message.payload.decode()
