"""From a reply to a response: code, options, payload. Nothing that a function says is trusted to be valid."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from thinbridge.protocols.base import Outcome, Reply
from thinbridge.protocols.coap.codec import OptionValue, uint
from thinbridge.protocols.coap.codes import (
    BAD_GATEWAY,
    CHANGED,
    CONTENT,
    CREATED,
    DELETE,
    DELETED,
    FETCH,
    GATEWAY_TIMEOUT,
    GET,
    INTERNAL_SERVER_ERROR,
    RESPONSES,
    SERVICE_UNAVAILABLE,
    STATUS,
    VALID,
    Option,
    code,
    content_format,
)
from thinbridge.protocols.coap.request import Request

RETRY_AFTER: Final = 5
"""Seconds of Max-Age of a 5.03 where nobody said more: a cold start is over by then (RFC 7252 §5.9.3.4)."""

MAX_AGE_LIMIT: Final = 2**32 - 1  # RFC 7252 §5.10.5
MAX_DIAGNOSTIC: Final = 128
"""Bytes of a diagnostic payload: it is for people (RFC 7252 §5.5.2)."""

Response = tuple[int, list[OptionValue], bytes]
"""Code, options in order, payload."""


def respond(request: Request, reply: Reply, max_payload: int) -> Response:
    """The response that a reply is for a request.

    Args:
        request: what was asked.
        reply: any outcome but `PENDING`.
        max_payload: bytes that a response may carry.
    """
    if reply.outcome is Outcome.ACCEPTED:
        return _content(request, reply, max_payload)
    if reply.outcome is Outcome.REFUSED:
        if reply.is_event:
            return _content(request, reply, max_payload)
        return code(STATUS.get(reply.status, "4.00")), [], _diagnostic(reply.data)
    if reply.outcome is Outcome.OVERLOADED:
        return unavailable(RETRY_AFTER if reply.retry_after is None else int(reply.retry_after + 0.999))
    if reply.outcome is Outcome.BAD_GATEWAY:
        return BAD_GATEWAY, [], b""
    if reply.status == 404 or reply.status == 429:  # the function's, or the platform's, last word
        options = [] if reply.retry_after is None else [(Option.MAX_AGE, uint(int(reply.retry_after + 0.999)))]
        return code(STATUS[reply.status]), list(options), b""
    return GATEWAY_TIMEOUT, [], b""


def unavailable(max_age: int) -> Response:
    """5.03: not accepted, and worth another try after so many seconds."""
    return SERVICE_UNAVAILABLE, [(Option.MAX_AGE, uint(max(0, min(max_age, MAX_AGE_LIMIT))))], b""


def _content(request: Request, reply: Reply, max_payload: int) -> Response:
    """The function's own answer."""
    attributes, payload = reply.attributes, reply.data
    number = _code(request, reply)
    etag = _etag(attributes)
    if etag is not None and number == CONTENT and etag in request.etags:
        number, payload = VALID, b""  # RFC 7252 §5.9.1.3: the device has it already
    if len(payload) > min(max_payload, request.room or max_payload):
        return INTERNAL_SERVER_ERROR, [], f"the reply's {len(payload)} bytes need blockwise transfer".encode()
    options: list[OptionValue] = []
    if etag is not None:
        options.append((Option.ETAG, etag))
    location = attributes.get("location")
    if number == CREATED and location:
        options += _location(location)
    if payload:
        media_type = content_format(reply.content_type)
        if media_type is not None:
            options.append((Option.CONTENT_FORMAT, uint(media_type)))
    max_age = _max_age(attributes)
    if max_age is None and number == CONTENT and not payload:
        max_age = 0  # nothing to keep
    if max_age is not None:
        options.append((Option.MAX_AGE, uint(max_age)))
    if len(options) > 1:
        options.sort(key=_by_number)
    return number, options, payload


def _by_number(option: OptionValue) -> int:
    return option[0]


def _code(request: Request, reply: Reply) -> int:
    """`coapcode` if it is a response code, else what the method and the HTTP status say (RFC 8075 §7)."""
    steered = reply.attributes.get("coapcode") if reply.is_event else None
    if steered is not None and len(steered) == 4 and steered[1] == "." and (steered[0] + steered[2:]).isdigit():
        number = code(steered)
        if number in RESPONSES:
            return number
    if reply.outcome is Outcome.REFUSED:
        return code(STATUS.get(reply.status, "5.00" if reply.status >= 500 else "4.00"))
    if reply.status == 201:
        return CREATED
    if request.method in (GET, FETCH):
        return CONTENT
    return DELETED if request.method == DELETE else CHANGED


def _etag(attributes: Mapping[str, str]) -> bytes | None:
    """`coapetag` is hex; HTTP's own is text. Too long for CoAP (8 bytes): none."""
    steered = attributes.get("coapetag")
    if steered is not None:
        try:
            value = bytes.fromhex(steered)
        except ValueError:
            return None
    else:
        value = attributes.get("etag", "").encode()
    return value if 1 <= len(value) <= 8 else None


def _max_age(attributes: Mapping[str, str]) -> int | None:
    text = attributes.get("coapmaxage") or attributes.get("maxage")
    if text is None or not text.isascii() or not text.isdigit():
        return None
    return min(int(text[:11]), MAX_AGE_LIMIT)


def _location(location: str) -> list[OptionValue]:
    """Location-Path and Location-Query; none at all if a part can't be said (RFC 7252 §5.10.7: no dot segments)."""
    path, _, query = location.partition("?")
    options: list[OptionValue] = [
        (Option.LOCATION_PATH, unquote_to_bytes(part)) for part in path.strip("/").split("/") if part
    ]
    options += [(Option.LOCATION_QUERY, unquote_to_bytes(part)) for part in query.split("&") if part]
    if any(len(value) > 255 or value in (b".", b"..") for _, value in options) or len(options) > 16:
        return []
    return options


def _diagnostic(data: bytes) -> bytes:
    """A body as a diagnostic payload: valid UTF-8, short."""
    return data[:MAX_DIAGNOSTIC].decode("utf-8", "ignore").encode()
