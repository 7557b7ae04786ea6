"""What an event is to a CoAP server that it is forwarded to, and what that server's response is to the bridge. Pure.

`forward` calls both. A CoAP device's request is forwarded as it was, any other message as a POST to the sink's path.
"""

from collections.abc import Sequence
from itertools import count
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from thinbridge import contract
from thinbridge.delivery.http import Headers
from thinbridge.delivery.sink import Sink
from thinbridge.events import Event
from thinbridge.protocols.coap import unknown
from thinbridge.protocols.coap.codec import OptionValue, from_uint, uint
from thinbridge.protocols.coap.codes import (
    BAD_GATEWAY,
    BAD_OPTION,
    CREATED,
    FETCH,
    GET,
    HOP_LIMIT_REACHED,
    METHODS,
    POST,
    STATUS,
    TOO_MANY_REQUESTS,
    Option,
    dotted,
)
from thinbridge.protocols.coap.content_formats import MEDIA_TYPES, content_format

HOPS: Final = 16
"""Proxies that a request may pass where nobody has said a number (RFC 8768 §3): RFC 8768's own; loops end."""

MAX_WAY: Final = 128
"""Bytes of names of proxies in a 5.08: enough to see a loop, and a small message."""

_NUMBERS: Final = {name: number for number, name in METHODS.items()}
_TWINS: Final = {number: status for status, number in STATUS.items()}
_IDS: Final = count(1)


class Call(NamedTuple):
    """A request to a CoAP server."""

    code: int
    options: Sequence[OptionValue]
    """In the order of their numbers."""
    payload: bytes
    exact: bool
    """A CoAP device asks, and hears the response as it is; else it is an answer to something else."""
    name: bytes = b""
    """Who the bridge is, where a 5.08 says which way it came (RFC 8768 §3)."""

    @property
    def safe(self) -> bool:
        """It changes nothing, so its answer may be had from a cache."""
        return self.code in (GET, FETCH)


class Response(NamedTuple):
    """What the server, or the cache, says."""

    code: int
    options: Sequence[OptionValue] = ()
    payload: bytes = b""

    def get(self, number: int) -> bytes | None:
        """The first value of an option."""
        return next((value for option, value in self.options if option == number), None)

    def all(self, number: int) -> list[bytes]:
        """All values of an option."""
        return [value for option, value in self.options if option == number]


UNSAFE: Final = Response(BAD_OPTION, (), b"an option that is unsafe to forward")
"""4.02: what a request hears that has an option which no proxy may hand on that does not know it (RFC 7252 §5.7.1)."""


def call(sink: Sink, event: Event) -> Call | Response:
    """The request that an event is; or what is answered in its place."""
    attributes = event.attributes
    method = attributes.get("coapmethod", "")
    if attributes["type"] == contract.COAP_REQUEST and method in _NUMBERS:
        try:
            return _same(sink, _NUMBERS[method], attributes, event.data)
        except ValueError:  # `ce_overrides` has put something else in place of a number
            pass
    number = content_format(attributes.get("datacontenttype"))
    options = [*_place(sink), (Option.HOP_LIMIT, bytes((HOPS,)))]
    if number is not None:
        options.append((Option.CONTENT_FORMAT, uint(number)))
    return Call(POST, _sorted(options), event.data, exact=False)


def _same(sink: Sink, method: int, attributes: dict[str, str], data: bytes) -> Call | Response:
    """What a CoAP device asked for, a hop further."""
    hops = int(attributes.get("coaphoplimit", HOPS + 1)) - 1
    name = attributes["source"].rpartition("/")[2].encode()
    if not hops:
        return Response(HOP_LIMIT_REACHED, (), name)
    others = unknown.options(attributes["coapoptions"]) if "coapoptions" in attributes else []
    if any(unknown.is_unsafe(number) for number, _ in others):
        return UNSAFE
    options = [*_place(sink, attributes), *_conditions(attributes), *others, (Option.HOP_LIMIT, bytes((hops,)))]
    return Call(method, _sorted(options), data, exact=True, name=name)


def _place(sink: Sink, attributes: dict[str, str] | None = None) -> list[OptionValue]:
    """Uri-Path and Uri-Query: the sink's, then the message's."""
    path, _, query = sink.target.partition("?")
    segments = [segment for segment in path.split("/") if segment]
    arguments = query.split("&") if query else []
    if attributes is not None:
        segments += attributes["subject"].split("/") if "subject" in attributes else []
        arguments += attributes["coapquery"].split("&") if "coapquery" in attributes else []
    return [
        *((Option.URI_PATH, unquote_to_bytes(segment)) for segment in segments),
        *((Option.URI_QUERY, unquote_to_bytes(argument)) for argument in arguments),
    ]


def _conditions(attributes: dict[str, str]) -> list[OptionValue]:
    options: list[OptionValue] = []
    for name, number in (("coapformat", Option.CONTENT_FORMAT), ("coapacceptformat", Option.ACCEPT)):
        if name in attributes:
            options.append((number, uint(int(attributes[name]))))
    if "coapifmatch" in attributes:
        options += [(Option.IF_MATCH, bytes.fromhex(value)) for value in attributes["coapifmatch"].split(",")]
    if "coapifnonematch" in attributes:
        options.append((Option.IF_NONE_MATCH, b""))
    return options


def _sorted(options: list[OptionValue]) -> list[OptionValue]:
    return sorted(options, key=lambda option: option[0])  # stable: a path keeps its order


def answer(call: Call | Response, response: Response) -> tuple[int, Headers, bytes]:
    """A response as an HTTP answer: status, headers, body.

    To a CoAP device it is an event, so that it is the last word, whatever its code, and says that code. To anybody else
    an error that may be over later is a bare one, so that it is tried again; what refuses the message is final, too.
    """
    code = response.code
    failed = code >> 5 != 2
    exact = not isinstance(call, Call) or call.exact
    status = _TWINS.get(code, 400 if code >> 5 == 4 else 502) if failed else 201 if code == CREATED else 200
    headers: Headers = []
    media_type = MEDIA_TYPES.get(from_uint(response.get(Option.CONTENT_FORMAT) or b"")) if _typed(response) else None
    if media_type is not None:
        headers.append((b"content-type", media_type.encode()))
    if exact or (failed and code >> 5 == 4 and code != TOO_MANY_REQUESTS):
        headers += _steering(response)
    elif failed and (age := response.get(Option.MAX_AGE)) is not None:
        headers.append((b"retry-after", str(from_uint(age)).encode()))
    body = response.payload
    if code == HOP_LIMIT_REACHED and isinstance(call, Call) and call.name and len(call.name) + len(body) < MAX_WAY:
        body = b" ".join((call.name, body)) if body else call.name
    return status, headers, body


def understood(response: Response) -> Response:
    """The response of a server; 5.02 if it has an option that can be neither read nor handed on (RFC 7252 §5.7.1)."""
    strange = [number for number, _ in response.options if unknown.is_unknown(number)]
    if any(number & 1 or unknown.is_unsafe(number) for number in strange):
        return Response(BAD_GATEWAY)
    return response


def _typed(response: Response) -> bool:
    return bool(response.payload) and response.get(Option.CONTENT_FORMAT) is not None


def _steering(response: Response) -> Headers:
    """The event that says how it is answered."""
    said = {
        "specversion": contract.SPECVERSION,
        "id": str(next(_IDS)),
        "source": "coap",
        "type": contract.COAP_REQUEST + contract.REPLY_SUFFIX,
        "coapcode": dotted(response.code),
    }
    etag, age, format = (response.get(number) for number in (Option.ETAG, Option.MAX_AGE, Option.CONTENT_FORMAT))
    if format is not None:
        said["coapformat"] = str(from_uint(format))  # also of those that no media type names
    if etag is not None:
        said["coapetag"] = etag.hex()
    if age is not None:
        said["coapmaxage"] = str(from_uint(age))
    others: str | None = None
    for number, value in response.options:
        if unknown.is_unknown(number):
            others = unknown.said(others, number, value)
    if others is not None:
        said["coapoptions"] = others
    headers = [(f"ce-{name}".encode(), value.encode()) for name, value in said.items()]
    location = "".join(f"/{quote(segment, safe='')}" for segment in response.all(Option.LOCATION_PATH))
    query = "&".join(quote(argument, safe="=") for argument in response.all(Option.LOCATION_QUERY))
    if location or query:
        headers.append((b"location", (f"{location}?{query}" if query else location).encode()))
    return headers


def max_age(response: Response) -> float:
    """Seconds that a response is fresh (RFC 7252 §5.10.5)."""
    value = response.get(Option.MAX_AGE)
    return 60.0 if value is None else float(from_uint(value))
