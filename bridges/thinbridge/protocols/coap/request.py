"""What a request says, read once: its subject, its attributes, and what its response must know.

`session` calls `read` per request. A request that can't be processed is `Refused` with the code to answer.
"""

from collections.abc import Sequence
from copy import copy
from enum import Enum
from functools import lru_cache
from typing import Final
from unicodedata import category
from urllib.parse import quote

from thinbridge.protocols.cloudevents import JSON
from thinbridge.protocols.coap import unknown
from thinbridge.protocols.coap.blockwise import RESERVED, Block, digest_of, parse
from thinbridge.protocols.coap.codec import Message, OptionValue, from_uint
from thinbridge.protocols.coap.codes import (
    BAD_OPTION,
    BAD_REQUEST,
    BARE,
    FETCH,
    GET,
    LENGTHS,
    METHOD_NOT_ALLOWED,
    METHODS,
    PROXYING_NOT_SUPPORTED,
    REPEATABLE,
    Option,
)
from thinbridge.protocols.coap.content_formats import MEDIA_TYPES

EVENT: Final = b"ce-"
"""How an argument of the query begins that is an attribute of a CloudEvent (docs/coap-binding.md §3.1)."""
_MARK: Final = b"ce-specversion="

REGISTER, DEREGISTER = 0, 1
"""What a request's Observe option says (RFC 7641 §2). To the function the end of an observation is a plain GET."""

_PLAIN: Final = frozenset(range(0x21, 0x7F)) - set(b"/%") | {0x20}
_QUERY_PLAIN: Final = frozenset(range(0x21, 0x7F)) - set(b"&%") | {0x20}


Response = tuple[int, Sequence[OptionValue], bytes]
"""Code, options in order, payload."""


class Carries(Enum):
    """How a request carries a CloudEvent (docs/coap-binding.md §1.3)."""

    STRUCTURED = "structured"
    BINARY = "binary"


class Refused(Exception):
    """The request can't be processed.

    Args:
        response: what to answer.
        counter: the counter's name.
    """

    def __init__(self, response: Response, counter: str) -> None:
        self.response, self.counter = response, counter
        super().__init__(counter)


class TurnedAway(Refused):
    """Refused for now: later there may be room. A copy that comes then must hear the same, as its device was told so; a
    NON hears nothing, since what is too much is not made less by answers."""


def _refused(code: int, reason: str, counter: str) -> Refused:
    """With a diagnostic payload (RFC 7252 §5.5.2)."""
    return Refused((code, [], reason.encode()), counter)


class Request:
    """A request, as its exchange needs it."""

    __slots__ = (
        "accept",
        "asks",
        "attributes",
        "block1",
        "block2",
        "carries",
        "content_type",
        "etags",
        "method",
        "no_response",
        "observe",
        "options",
        "size1",
        "size2",
        "subject",
        "wants_event",
    )

    def __init__(self, method: int, options: Sequence[OptionValue], attributes: dict[str, str]) -> None:
        self.method = method
        self.options = options
        self.subject: str | None = None
        self.attributes = attributes
        self.content_type: str | None = None
        self.asks = b""
        """A digest of the body by which a FETCH says what it asks for."""
        self.accept: int | None = None
        """The only Content-Format that the device takes (RFC 7252 §5.10.4); None: any."""
        self.carries: Carries | None = None
        """How it carries a CloudEvent of the device's own, if it does."""
        self.wants_event = False
        """What it accepts is the Content-Format that stands for a CloudEvent."""
        self.etags: list[bytes] = []
        """The request's ETags: one of them in the answer makes it 2.03 (RFC 7252 §5.10.6.2)."""
        self.no_response: int | None = None
        """Classes of response that the device does not want; those that it could have named and has not, it does (RFC
        7967 §2.1)."""
        self.block1: Block | None = None
        """The part of a body that it is, to be said back (RFC 7959 §2.3)."""
        self.block2: Block | None = None
        """The part of the response that it asks for; only its size counts where `num` is 0: early negotiation."""
        self.size1: int | None = None
        """Bytes that its body is said to have (RFC 7959 §4)."""
        self.size2 = False
        """It asks how many bytes the response has."""
        self.observe: int | None = None
        """`REGISTER` or `DEREGISTER`, where it has something to say about an observation."""

    def without_block1(self) -> "Request":
        """Itself, or a copy that was not the last of several blocks."""
        if self.block1 is None:
            return self
        whole = copy(self)
        whole.block1 = None
        return whole

    def asking(self, body: bytes) -> "Request":
        """A copy with what the body of a FETCH asks for."""
        one = copy(self)
        one.asks = digest_of(body)
        return one

    def without_observe(self) -> "Request":
        """A copy that does not ask to observe: what was read once may be the reading of many requests."""
        plain = copy(self)
        plain.observe = None
        plain.attributes = {name: value for name, value in self.attributes.items() if name != "coapobserve"}
        return plain


def read(message: Message, peer: str, events: int = 0) -> Request:
    """Read a request's options.

    Args:
        message: the request.
        peer: the device's address as text.
        events: the Content-Format that stands for a CloudEvent; 0: none does.

    Raises:
        Refused: unknown method, unknown critical option, or what is not supported.
    """
    method = METHODS.get(message.code)
    if method is None:
        raise _refused(METHOD_NOT_ALLOWED, "unknown method", "method")
    attributes = {"coapmethod": method, "peer": peer}
    request = Request(message.code, message.options, attributes)
    path: list[str] = []
    query: list[bytes] = []
    previous = -1
    for number, value in message.options:
        if number == Option.URI_PATH and len(value) <= 255:
            path.append(segment(value))
        elif number == Option.CONTENT_FORMAT and number != previous and len(value) <= 2:
            content_format = from_uint(value)
            attributes["coapformat"] = str(content_format)
            request.content_type = MEDIA_TYPES.get(content_format)
        elif number == Option.URI_QUERY and len(value) <= 255:
            query.append(value)
        else:
            _rare(request, number, value, number == previous)
        previous = number
    if path:
        if "." in path or ".." in path:
            raise _refused(BAD_REQUEST, "dot segment in the path", "dot_segment")  # RFC 7252 §5.10.1: MUST NOT be one
        request.subject = "/".join(path) or None  # CloudEvents §3.1: a subject is not empty
    if events and request.accept == events:
        request.wants_event = True
        attributes["coapaccept"] = JSON
    if message.code not in BARE:
        if events and attributes.get("coapformat") == str(events):
            request.carries = Carries.STRUCTURED
        elif query and any(value.startswith(_MARK) for value in query):
            request.carries = Carries.BINARY
            query = [value for value in query if not value.startswith(EVENT)]
    if query:
        attributes["coapquery"] = "&".join(map(argument, query))
    return request


def _rare(request: Request, number: int, value: bytes, again: bool) -> None:
    """An option that most requests don't have."""
    attributes = request.attributes
    low, high = LENGTHS.get(number, (1, 0))  # an unknown number has no length that fits
    if not low <= len(value) <= high or (again and number not in REPEATABLE):
        if number & 1:  # RFC 7252 §5.4.1: unrecognised and critical; an elective one is as if it were not there
            raise _refused(BAD_OPTION, f"critical option {number}", "bad_option")
        if unknown.is_unknown(number) and (text := unknown.said(attributes.get("coapoptions"), number, value)):
            attributes["coapoptions"] = text
    elif number == Option.ACCEPT:
        request.accept = accept = from_uint(value)
        attributes["coapacceptformat"] = str(accept)
        if accept in MEDIA_TYPES:
            attributes["coapaccept"] = MEDIA_TYPES[accept]
    elif number == Option.ETAG:
        request.etags.append(value)
    elif number == Option.IF_MATCH:
        before = attributes.get("coapifmatch")
        attributes["coapifmatch"] = value.hex() if before is None else f"{before},{value.hex()}"
    elif number == Option.IF_NONE_MATCH:
        attributes["coapifnonematch"] = "true"
    elif number == Option.OBSERVE:
        if request.method in (GET, FETCH) and from_uint(value) in (REGISTER, DEREGISTER):  # others: as if not there
            request.observe = from_uint(value)
            if request.observe == REGISTER:
                attributes["coapobserve"] = "register"
    elif number == Option.NO_RESPONSE:
        request.no_response = from_uint(value)
    elif number == Option.URI_HOST:
        attributes["coaphost"] = host(value)
    elif number == Option.URI_PORT:
        attributes["coapport"] = str(from_uint(value))
    elif number in (Option.BLOCK1, Option.BLOCK2):
        _block(request, number, value)
    elif number == Option.HOP_LIMIT:
        hops = from_uint(value)
        if not 0 < hops < 256:  # RFC 8768 §3; 0 has no bytes where it is encoded as RFC 7252 §3.2 wants
            raise _refused(BAD_REQUEST, "Hop-Limit is not from 1 to 255", "hop_limit")
        attributes["coaphoplimit"] = str(hops)
    elif number == Option.SIZE1:
        request.size1 = from_uint(value)
    elif number == Option.SIZE2:
        request.size2 = True
    elif number in (Option.PROXY_URI, Option.PROXY_SCHEME):
        raise _refused(PROXYING_NOT_SUPPORTED, "this is no proxy", "proxy")
    # Echo, Request-Tag, those of responses: understood, and nothing to do here


def _block(request: Request, number: int, value: bytes) -> None:
    """A part of a body, of the request's or of the response's (RFC 7959 §2.1)."""
    block = parse(value)
    if block.szx == RESERVED:
        raise _refused(BAD_REQUEST, "reserved block size", "block")  # RFC 7959 §2.2
    if number == Option.BLOCK1:
        request.block1 = block
        if request.block2 is not None and request.block2.num:
            raise _refused(BAD_REQUEST, "a later block of a response to a body that is not complete", "block")
        return
    request.block2 = block
    if block.num:
        request.attributes["coaprange"] = f"bytes={block.start}-{block.start + block.size - 1}"
        request.attributes.pop("coapobserve", None)  # RFC 7959 §2.6: the first block registers


@lru_cache(4096)
def segment(value: bytes) -> str:
    """A path segment as a part of `subject`: `/` and `%` in it, controls, noncharacters and bad UTF-8 are encoded."""
    if _PLAIN.issuperset(value):
        return value.decode("ascii")
    return _encoded(value, "/%")


@lru_cache(4096)
def argument(value: bytes) -> str:
    """A query argument as a part of `coapquery`, which joins them by `&`."""
    if _QUERY_PLAIN.issuperset(value):
        return value.decode("ascii")
    return _encoded(value, "&%")


@lru_cache(256)
def host(value: bytes) -> str:
    """Uri-Host as `coaphost`: whom the device thinks it speaks to, in lower case (RFC 3986 §3.2.2)."""
    return _encoded(value, "%").lower()


def _encoded(value: bytes, reserved: str) -> str:
    """Text with all that must not stand in an attribute percent-encoded; bytes that are no UTF-8, byte by byte."""
    return "".join(
        quote(character.encode("utf-8", "surrogateescape"), safe="")
        if character in reserved or _unfit(character)
        else character
        for character in value.decode("utf-8", "surrogateescape")
    )


def _unfit(character: str) -> bool:
    """Controls, noncharacters, surrogates (CloudEvents §3.1, String); `surrogateescape` makes surrogates of bytes."""
    point = ord(character)
    return category(character) in ("Cc", "Cs") or point & 0xFFFE == 0xFFFE or 0xFDD0 <= point <= 0xFDEF
