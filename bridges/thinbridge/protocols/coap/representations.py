"""Responses that are longer than one message: cut into blocks, and kept while their devices fetch them (RFC 7959 §2.4).

The first block answers the request. What follows is served from here, and no function hears of it. A body is kept once,
however many devices fetch it, for as long as one of them does and `Representations` has room. When it had to go, or a
device asks for a block out of nowhere, the function is asked again, with `coaprange`.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from math import inf
from typing import Final, NamedTuple

from thinbridge.protocols.base import Reply
from thinbridge.protocols.coap.blockwise import LAST, RESERVED, Block, digest_of, operation, parse
from thinbridge.protocols.coap.codec import Message, OptionValue, uint
from thinbridge.protocols.coap.codes import (
    BAD_GATEWAY,
    BAD_REQUEST,
    BARE,
    CONTENT,
    FETCH,
    GET,
    REQUEST_ENTITY_INCOMPLETE,
    VALID,
    Option,
)
from thinbridge.protocols.coap.request import Refused, Request, Response
from thinbridge.protocols.coap.response import number_of

LONGEST: Final = 2**32 - 1
"""Bytes of a representation that Size2 can say (RFC 7959 §4)."""

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,10})-(\d{1,10})/(\d{1,10}|\*)")


class Body:
    """Bytes of a response, wherever it is said."""

    __slots__ = ("data", "users")

    def __init__(self, data: bytes) -> None:
        self.data: bytes | None = data
        """None: it had to make room."""
        self.users = 0
        """How many transfers there are of it."""


class Representations:
    """The bodies that are being fetched, of all sessions. Equal ones are one.

    Args:
        octets: at most; past it the one goes that was not asked for for longest.
        counters: where those are counted.
    """

    def __init__(self, octets: int, counters: Counter[str]) -> None:
        self.max_octets = octets
        self.octets = 0
        self._bodies: OrderedDict[bytes, Body] = OrderedDict()
        self._counters = counters

    def hold(self, data: bytes) -> Body | None:
        """The body with these bytes, for one more transfer; None: there never is room for it."""
        if len(data) > self.max_octets:
            return None
        body = self._bodies.get(data)
        if body is None:
            body = self._bodies[data] = Body(data)
            self.octets += len(data)
        body.users += 1
        self._bodies.move_to_end(data)
        while self.octets > self.max_octets:
            self._counters["downloads_evicted"] += 1
            self._drop(next(iter(self._bodies.values())))
        return body

    def read(self, body: Body) -> bytes | None:
        """Its bytes, if they are still here."""
        data = body.data
        if data is not None:
            self._bodies.move_to_end(data)
        return data

    def release(self, body: Body) -> None:
        """A transfer of it is over."""
        body.users -= 1
        if not body.users:
            self._drop(body)

    def _drop(self, body: Body) -> None:
        if body.data is not None:
            del self._bodies[body.data]
            self.octets -= len(body.data)
            body.data = None


class Transfer:
    """A response that one device fetches."""

    __slots__ = ("asks", "body", "code", "expires", "options")

    def __init__(self, asks: bytes, code: int, options: Sequence[OptionValue], body: Body, expires: float) -> None:
        self.asks = asks
        """Its request's."""
        self.code = code
        self.options = options
        """All that each block says, but for the block itself."""
        self.body = body
        self.expires = expires


class Part(NamedTuple):
    """What there is of a body."""

    data: bytes
    start: int = 0
    total: int | None = None
    """Bytes of the whole; None: nobody said."""


class Downloads:
    """The responses that one session's device fetches.

    Args:
        shared: where their bodies are.
        count: how many at a time; the one that was not asked for for longest makes room.
        szx: the size exponent of the blocks that we send at most.
        idle: seconds after which one is forgotten that is not asked for.
        counters: where what is wrong is counted.
    """

    __slots__ = ("_by_operation", "_count", "_counters", "_idle", "_shared", "szx")

    def __init__(self, shared: Representations, count: int, szx: int, idle: float, counters: Counter[str]) -> None:
        self._shared = shared
        self._count, self._idle = count, idle
        self.szx = szx
        self._counters = counters
        self._by_operation: dict[bytes, Transfer] = {}  # the longest-unused first

    def later(self, message: Message, now: float) -> Response | None:
        """The response to a request for a later block; None: it is no such request, or the function is to be asked.

        Its other options are those of a request that has been read before, or it would not be found here. Its payload,
        if it has one, must be that request's, too: with another one a FETCH asks for something else.
        """
        values = message.all(Option.BLOCK2)
        if len(values) != 1 or len(values[0]) > 3 or message.get(Option.BLOCK1) is not None:
            return None
        asked = parse(values[0])
        if not asked.num or asked.szx == RESERVED:
            return None
        key = operation(message.code, message.options)
        transfer = self._by_operation.get(key)
        data = None if transfer is None else self._shared.read(transfer.body)
        if transfer is None or data is None:
            return None
        if message.payload and message.code not in BARE and digest_of(message.payload) != transfer.asks:
            return None
        del self._by_operation[key]
        self._by_operation[key] = transfer  # at the end
        transfer.expires = now + self._idle
        sized = message.get(Option.SIZE2) is not None
        return self._cut(asked, transfer.code, transfer.options, Part(data, 0, len(data)), sized)

    def first(self, request: Request, response: Response, now: float, content_range: str | None = None) -> Response:
        """A response as it answers its request: by the block that was asked for, the first one unless it says.

        Args:
            request: what was asked.
            response: all of it; or the part that `content_range` says.
            now: monotonic seconds.
            content_range: as `part_of` has it.
        """
        code, options, payload = response
        asked = request.block2 or Block(0, False, self.szx)
        size = min(asked.size, 16 << self.szx)
        if code >> 5 == 2 and code != VALID:
            if not payload and not asked.num:
                return response
        elif len(payload) <= size:
            return response
        elif asked.num:
            return code, (), b""  # an error has no later block
        key = operation(request.method, request.options)
        self._forget(key)
        part = Part(payload, 0, len(payload))
        if content_range is not None:
            found = _part(content_range, payload)
            if found is None or request.method not in (GET, FETCH):
                return self._unusable()
            part = found
        elif len(payload) > size:
            options, etag = _tagged(options, payload)
            if code == CONTENT and etag in request.etags and not asked.num:
                return VALID, [one for one in options if one[0] != Option.CONTENT_FORMAT], b""
            self._hold(key, request.asks, (code, options, payload), now)
        return self._cut(asked, code, options, part, request.size2)

    def _unusable(self) -> Response:
        self._counters["range_invalid"] += 1
        return BAD_GATEWAY, (), b""

    def _hold(self, key: bytes, asks: bytes, response: Response, now: float) -> None:
        """Keep a response for its later blocks."""
        code, options, payload = response
        body = self._shared.hold(payload)
        if body is not None:
            if len(self._by_operation) >= self._count:
                self._forget(next(iter(self._by_operation)))
                self._counters["downloads_evicted"] += 1
            repeated = [one for one in options if one[0] != Option.OBSERVE]  # RFC 7959 §2.6: the first block's only
            self._by_operation[key] = Transfer(asks, code, repeated, body, now + self._idle)

    def _cut(self, asked: Block, code: int, options: Sequence[OptionValue], part: Part, sized: bool) -> Response:
        """The block that was asked for, or a smaller one at its place (RFC 7959 §2.4)."""
        szx, total = min(asked.szx, self.szx), part.total
        num = asked.start >> szx + 4
        if num > LAST or (asked.num and total is not None and asked.start >= total):
            self._counters["block2"] += 1
            return BAD_REQUEST, (), b"no such block"
        size, at = 16 << szx, asked.start - part.start
        chunk = part.data[at : at + size] if at >= 0 else b""
        more = len(chunk) == size if total is None else asked.start + len(chunk) < total
        if not chunk or (more and len(chunk) < size):  # a part, and not the one that was asked for
            return self._unusable()
        said = [*options, (Option.BLOCK2, Block(num, more, szx).encode())]
        if total is not None and (sized or not asked.num):
            said.append((Option.SIZE2, uint(total)))
        return code, sorted(said, key=number_of), chunk

    def _forget(self, key: bytes) -> None:
        transfer = self._by_operation.pop(key, None)
        if transfer is not None:
            self._shared.release(transfer.body)

    def due(self) -> float:
        """When the longest-unused is forgotten; never if there are none."""
        return next((transfer.expires for transfer in self._by_operation.values()), inf)

    def expire(self, now: float) -> None:
        """Forget what nobody has asked for for long enough."""
        for key in [key for key, transfer in self._by_operation.items() if transfer.expires <= now]:
            self._forget(key)

    def clear(self) -> None:
        """Forget everything."""
        for key in list(self._by_operation):
            self._forget(key)


def _tagged(options: Sequence[OptionValue], payload: bytes) -> tuple[Sequence[OptionValue], bytes]:
    """Options with an ETag, by which a device knows what its blocks are of; and the ETag."""
    etag = next((value for number, value in options if number == Option.ETAG), None)
    if etag is not None:
        return options, etag
    etag = blake2b(payload, digest_size=8).digest()
    return [(Option.ETAG, etag), *options], etag


def part_of(reply: Reply) -> str | None:
    """The Content-Range of an answer that is a part: a 206 has to say one, an event may; None: it is the whole."""
    if reply.status == 206:
        return reply.attributes.get("contentrange", "")
    return reply.attributes.get("contentrange") if reply.is_event else None


def _part(content_range: str, data: bytes) -> Part | None:
    """The part that a 206 is (RFC 9110 §14.4); None: it is not what it says."""
    found = _CONTENT_RANGE.fullmatch(content_range)
    if found is None:
        return None
    start, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    if last - start + 1 != len(data) or (total is not None and not last < total <= LONGEST):
        return None
    return Part(data, start, total)


def check(block: Block, method: int, payload: bytes) -> None:
    """Whether a function can be asked for the block that a request is about, if it is a later one.

    Raises:
        Refused: with 4.08: it can't without the body that the first request had (RFC 7959 §2.9.2).
    """
    if block.num and method != GET and not (method == FETCH and payload):
        raise Refused((REQUEST_ENTITY_INCOMPLETE, (), b"ask for the first block again"), "transfer_lost")
