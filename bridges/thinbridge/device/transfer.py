"""The blocks of one request and of its response, from the device's side (RFC 7959). `coap.Request` sends them."""

from collections.abc import Sequence
from typing import Final

from thinbridge.protocols.coap.blockwise import RESERVED, Block, parse
from thinbridge.protocols.coap.codec import Message, OptionValue, uint
from thinbridge.protocols.coap.codes import (
    CONTINUE,
    FETCH,
    GET,
    REQUEST_ENTITY_INCOMPLETE,
    REQUEST_ENTITY_TOO_LARGE,
    Option,
)

RESTARTS: Final = 3
"""How often it begins anew: the bridge lost what it had, or the representation changed under it."""
MAX_RESPONSE: Final = 64 << 20
"""Bytes of a response; a longer one is no use to a command line, and must not fill a machine."""


class Broken(Exception):
    """The transfer can't be completed; the text says why."""


class Transfer:
    """What is still to be sent, and what has come.

    Args:
        method: the request's code.
        options: the request's, without those of blocks.
        data: the request's whole body.
        szx: the size exponent of the blocks to send at most.
        early: ask for blocks of that size from the first request on.
    """

    def __init__(self, method: int, options: Sequence[OptionValue], data: bytes, szx: int, early: bool) -> None:
        self._method = method
        self._options = options
        self._data = data
        self._szx = szx
        self._early = early
        self._restarts = 0
        self._begin()

    def _begin(self) -> None:
        self._sent = 0  # bytes that the bridge has
        self._asked: Block | None = Block(0, False, self._szx) if self._early else None
        self._etag: bytes | None = None
        self.body = bytearray()
        """What has come of the response."""

    def request(self) -> tuple[list[OptionValue], bytes]:
        """Options, not in order, and payload of the message that comes next."""
        options, asked = [*self._options], self._asked
        if asked is not None and asked.num:
            later = [one for one in options if one[0] != Option.OBSERVE]  # RFC 7959 §2.6
            return [*later, (Option.BLOCK2, asked.encode())], b""
        chunk = self._data[self._sent : self._sent + (16 << self._szx)]
        more = self._sent + len(chunk) < len(self._data)
        if more or self._sent:
            options.append((Option.BLOCK1, Block(self._sent >> self._szx + 4, more, self._szx).encode()))
            if not self._sent:
                options.append((Option.SIZE1, uint(len(self._data))))
        if asked is not None and not more:
            options.append((Option.BLOCK2, asked.encode()))
        return options, chunk

    def response(self, message: Message) -> bool:
        """Take a response; whether another request is to follow.

        Raises:
            Broken: the blocks don't make a whole.
        """
        if message.code == CONTINUE:
            return self._go_on(_block(message, Option.BLOCK1))
        if message.code == REQUEST_ENTITY_INCOMPLETE and self._asks_for_first() and self._sent:
            return self._anew("the bridge loses blocks")
        hint = _block(message, Option.BLOCK1)
        if message.code == REQUEST_ENTITY_TOO_LARGE and hint is not None and hint.szx < self._szx and not self._sent:
            self._szx = hint.szx  # RFC 7959 §2.9.3
            return True
        block = _block(message, Option.BLOCK2)
        if self._asks_for_first() and (block is None or not block.more):
            self.body += message.payload
            return False
        return self._take(message, block)

    def _asks_for_first(self) -> bool:
        return self._asked is None or not self._asked.num

    def _go_on(self, block: Block | None) -> bool:
        """2.31: on with the next block, in the size that the bridge prefers (RFC 7959 §2.3)."""
        size = 16 << self._szx
        if block is None or self._sent + size >= len(self._data):
            raise Broken("it was told to go on, and has nothing more")
        self._sent += size
        self._szx = min(self._szx, block.szx)
        return True

    def _take(self, message: Message, block: Block | None) -> bool:
        """A block of a response that has several."""
        if message.code >> 5 != 2:  # there is no more of it: this says why
            self.body = bytearray(message.payload)
            return False
        etag = message.get(Option.ETAG)
        if self.body and etag != self._etag:
            if self._method not in (GET, FETCH):  # asking again would do it again
                raise Broken("the response changed")
            return self._anew("the representation changes all the time")
        if block is None or block.start != len(self.body) or (block.more and len(message.payload) < block.size):
            raise Broken("the blocks don't fit together")
        self._etag = etag
        self.body += message.payload
        if len(self.body) > MAX_RESPONSE:
            raise Broken(f"it is longer than {MAX_RESPONSE} bytes")
        self._asked = Block(len(self.body) >> block.szx + 4, False, block.szx)
        return block.more

    def _anew(self, reason: str) -> bool:
        self._restarts += 1
        if self._restarts > RESTARTS:
            raise Broken(reason)
        self._begin()
        return True


def _block(message: Message, number: int) -> Block | None:
    """A Block option of a message, if it has one that means something."""
    value = message.get(number)
    if value is None or len(value) > 3:
        return None
    block = parse(value)
    return None if block.szx == RESERVED else block
