"""From a reply to a response: code, options, payload. Nothing that a function says is trusted to be valid."""

from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b
from math import ceil
from typing import Final
from urllib.parse import unquote

from thinbridge.protocols.base import Outcome, Reply
from thinbridge.protocols.cloudevents import to_json
from thinbridge.protocols.coap import unknown
from thinbridge.protocols.coap.codec import MAX_OPTIONS, OptionValue, uint
from thinbridge.protocols.coap.codes import (
    BAD_GATEWAY,
    BAD_REQUEST,
    CHANGED,
    CONTENT,
    CREATED,
    DELETE,
    DELETED,
    FETCH,
    GATEWAY_TIMEOUT,
    GET,
    INTERNAL_SERVER_ERROR,
    NOT_ACCEPTABLE,
    RESPONSES,
    SERVICE_UNAVAILABLE,
    STATUS,
    VALID,
    Option,
)
from thinbridge.protocols.coap.content_formats import content_format
from thinbridge.protocols.coap.request import Request, Response

RETRY_AFTER: Final = 5.0
"""Seconds of Max-Age of a 5.03 where nobody said more: a cold start is over by then (RFC 7252 §5.9.3.4)."""

MAX_AGE_LIMIT: Final = 2**32 - 1  # RFC 7252 §5.10.5
MAX_ETAG: Final = 8  # RFC 7252 §5.10.6
MAX_LOCATION: Final = 128
"""Characters of a Location: with 1024 bytes of payload, the datagram still is what RFC 7252 §4.6 assumes to cross
every network."""
MAX_PARTS: Final = MAX_OPTIONS // 2
"""Segments and arguments of a Location: each is an option, and there are others."""
MAX_DIAGNOSTIC: Final = 128
"""Bytes of a diagnostic payload: it is for people (RFC 7252 §5.5.2)."""

BUSY: Final[Response] = (SERVICE_UNAVAILABLE, ((Option.MAX_AGE, b"\1"),), b"")
"""5.03: not taken, for reasons that may be over in a second: other requests are open, this bridge is about to end."""


def respond(request: Request, reply: Reply, counters: Counter[str]) -> Response:
    """The response that a reply is for a request, whole, however long it is.

    Args:
        request: what was asked.
        reply: any outcome but `PENDING`.
        counters: where `reply_invalid` is counted: steering that can't be said in CoAP.
    """
    outcome = reply.outcome
    if outcome is Outcome.ACCEPTED or (outcome is Outcome.REFUSED and reply.is_event):
        return _content(request, reply, counters)
    if outcome is Outcome.REFUSED:
        return STATUS.get(reply.status, BAD_REQUEST), [], _diagnostic(reply.data)
    if outcome is Outcome.OVERLOADED:
        return SERVICE_UNAVAILABLE, [_seconds(RETRY_AFTER if reply.retry_after is None else reply.retry_after)], b""
    if outcome is Outcome.BAD_GATEWAY:
        return BAD_GATEWAY, [], b""
    if reply.status == 404 or reply.status == 429:  # the function's, or the platform's, last word
        return STATUS[reply.status], [] if reply.retry_after is None else [_seconds(reply.retry_after)], b""
    return GATEWAY_TIMEOUT, [], b""


def _seconds(seconds: float) -> OptionValue:
    """Max-Age: when it is worth another try (RFC 7252 §5.9.3.4, RFC 8516 §4)."""
    return Option.MAX_AGE, uint(ceil(max(0.0, min(seconds, MAX_AGE_LIMIT))))


def _content(request: Request, reply: Reply, counters: Counter[str]) -> Response:
    """The function's own answer."""
    attributes, payload = reply.attributes, reply.data
    etag = _etag(attributes, counters) if attributes else None
    number = _code(request, reply, counters)
    if etag is None:
        if number == VALID:
            number = CONTENT  # a 2.03 without an ETag says nothing (RFC 7252 §5.9.1.3)
    elif number == VALID or (number == CONTENT and etag in request.etags):
        number, payload = VALID, b""  # the device has it already
    media_type = _format(reply, counters) if payload else None
    if request.wants_event and reply.event and number >> 5 == 2 and number != VALID:
        media_type, payload = request.accept, to_json(reply.event, reply.content_type, payload)
    if payload and request.accept is not None and request.accept != media_type and number >> 5 == 2:
        counters["not_acceptable"] += 1  # RFC 7252 §5.10.4: what the device can't read is no success
        return NOT_ACCEPTABLE, [], _diagnostic(f"it is {reply.content_type or 'of no type'}".encode())
    options: list[OptionValue] = []
    if etag is not None:
        options.append((Option.ETAG, etag))
    if number == CREATED and "location" in attributes:
        options += _location(attributes["location"], counters)
    max_age = _max_age(attributes, counters) if attributes else None
    if max_age is None and number == CONTENT and not payload:
        max_age = 0  # nothing to keep
    if media_type is not None:
        options.append((Option.CONTENT_FORMAT, uint(media_type)))
    if max_age is not None:
        options.append((Option.MAX_AGE, uint(max_age)))
    if "coapoptions" in attributes:
        options += _unknown(attributes["coapoptions"], counters)
    if len(options) > 1:
        options.sort(key=number_of)
    return number, options, payload


def number_of(option: OptionValue) -> int:
    """The key by which options are sorted: those of the same number keep their order."""
    return option[0]


def _code(request: Request, reply: Reply, counters: Counter[str]) -> int:
    """`coapcode` if it is a response code, else what the method and the HTTP status say (RFC 8075 §7)."""
    steered = reply.attributes.get("coapcode")
    if steered is not None:
        if steered in RESPONSES:
            return RESPONSES[steered]
        counters["reply_invalid"] += 1
    if reply.outcome is Outcome.REFUSED:
        return STATUS.get(reply.status, INTERNAL_SERVER_ERROR if reply.status >= 500 else BAD_REQUEST)
    if reply.status == 201:
        return CREATED
    if request.method == GET or request.method == FETCH:
        return CONTENT
    return DELETED if request.method == DELETE else CHANGED


def _format(reply: Reply, counters: Counter[str]) -> int | None:
    """The Content-Format: `coapformat` for those that no media type names, else that of the media type."""
    steered = reply.attributes.get("coapformat")
    if steered is not None:
        if steered.isascii() and steered.isdigit() and len(steered) <= 5 and int(steered) <= 65535:
            return int(steered)
        counters["reply_invalid"] += 1
    return content_format(reply.content_type)


def _etag(attributes: Mapping[str, str], counters: Counter[str]) -> bytes | None:
    """`coapetag` is hex; HTTP's own is text, and its hash where CoAP has no room for it."""
    if "coapetag" in attributes:
        try:
            value = bytes.fromhex(attributes["coapetag"])
        except ValueError:
            value = b""
        if 1 <= len(value) <= MAX_ETAG:
            return value
        counters["reply_invalid"] += 1
        return None
    text = attributes.get("etag")
    if not text:
        return None
    value = text.encode("utf-8", "replace")
    return value if len(value) <= MAX_ETAG else blake2b(value, digest_size=MAX_ETAG).digest()


def _max_age(attributes: Mapping[str, str], counters: Counter[str]) -> int | None:
    text = attributes.get("coapmaxage")
    if text is None:
        text = attributes.get("maxage")
        if text is None:
            return None
    if not text.isascii() or not text.isdigit():
        counters["reply_invalid"] += 1
        return None
    return min(int(text[:11]), MAX_AGE_LIMIT)


def _location(location: str, counters: Counter[str]) -> list[OptionValue]:
    """Location-Path and Location-Query; none at all if a part can't be said (RFC 7252 §5.10.7: no dot segments)."""
    path, _, query = location.partition("?")
    try:
        segments = [unquote(part, errors="strict").encode() for part in path.split("/") if part]
        arguments = [unquote(part, errors="strict").encode() for part in query.split("&") if part]
    except UnicodeError:
        segments, arguments = [b"."], []
    too_long = len(location) > MAX_LOCATION or len(segments) + len(arguments) > MAX_PARTS
    if too_long or b"." in segments or b".." in segments:
        counters["reply_invalid"] += 1
        return []
    return [(Option.LOCATION_PATH, part) for part in segments] + [(Option.LOCATION_QUERY, part) for part in arguments]


def _unknown(text: str, counters: Counter[str]) -> list[OptionValue]:
    """Options that nobody here knows, but the device may."""
    try:
        return unknown.options(text)
    except ValueError:
        counters["reply_invalid"] += 1
        return []


def _diagnostic(data: bytes) -> bytes:
    """A body as a diagnostic payload: valid UTF-8, short."""
    return data[:MAX_DIAGNOSTIC].decode("utf-8", "ignore").encode()
