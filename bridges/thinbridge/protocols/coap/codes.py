"""CoAP's numbers: message types, codes, options (RFC 7252 §12 and the registries it opened)."""

from typing import Final

VERSION: Final = 1


class Type:
    """RFC 7252 §3: the T field. Plain numbers, as `Option` has: an enum's members cost more than a message may."""

    CON: Final = 0
    NON: Final = 1
    ACK: Final = 2
    RST: Final = 3


TYPE_NAMES: Final = ("CON", "NON", "ACK", "RST")


EMPTY: Final = 0

METHODS: Final = {1: "GET", 2: "POST", 3: "PUT", 4: "DELETE", 5: "FETCH", 6: "PATCH", 7: "iPATCH"}
"""RFC 7252 §5.8 and RFC 8132."""

GET, POST, DELETE, FETCH = 1, 2, 4, 5

BARE: Final = frozenset((GET, DELETE))
"""Methods that are not defined to have a payload: one is ignored (RFC 7252 §5.5)."""


def code(text: str) -> int:
    """`2.05` → 69."""
    return int(text[0]) << 5 | int(text[2:])


def dotted(number: int) -> str:
    """69 → `2.05`."""
    return f"{number >> 5}.{number & 31:02d}"


CREATED: Final = code("2.01")
DELETED: Final = code("2.02")
VALID: Final = code("2.03")
CHANGED: Final = code("2.04")
CONTENT: Final = code("2.05")
CONTINUE: Final = code("2.31")
BAD_REQUEST: Final = code("4.00")
UNAUTHORIZED: Final = code("4.01")
BAD_OPTION: Final = code("4.02")
METHOD_NOT_ALLOWED: Final = code("4.05")
NOT_ACCEPTABLE: Final = code("4.06")
REQUEST_ENTITY_INCOMPLETE: Final = code("4.08")
REQUEST_ENTITY_TOO_LARGE: Final = code("4.13")
TOO_MANY_REQUESTS: Final = code("4.29")
INTERNAL_SERVER_ERROR: Final = code("5.00")
BAD_GATEWAY: Final = code("5.02")
SERVICE_UNAVAILABLE: Final = code("5.03")
GATEWAY_TIMEOUT: Final = code("5.04")
PROXYING_NOT_SUPPORTED: Final = code("5.05")
HOP_LIMIT_REACHED: Final = code("5.08")

RESPONSES: Final = {
    dotted(number): number
    for number in map(
        code,
        (
            *("2.01", "2.02", "2.03", "2.04", "2.05"),
            *("4.00", "4.01", "4.02", "4.03", "4.04", "4.05", "4.06", "4.08", "4.09", "4.12", "4.13", "4.15"),
            *("4.22", "4.29", "5.00", "5.01", "5.02", "5.03", "5.04", "5.05", "5.08"),
        ),
    )
}
"""What a function may choose by `coapcode`, by name. 2.31 is the message layer's own."""

STATUS: Final = {
    status: code(twin)
    for status, twin in {
        400: "4.00", 401: "4.01", 403: "4.03", 404: "4.04", 405: "4.05", 406: "4.06", 409: "4.09", 412: "4.12",
        413: "4.13", 415: "4.15", 422: "4.22", 429: "4.29",
        500: "5.00", 501: "5.01", 502: "5.02", 503: "5.03", 504: "5.04", 508: "5.08",
    }.items()
}  # fmt: skip
"""HTTP status → its twin (RFC 8075 §7 read backwards; 4.09 and 4.22: RFC 8132, 4.29: RFC 8516, 5.08: RFC 8768). 408 has
none: 4.08 speaks about blocks that are missing."""


class Option:
    """Option numbers; odd ones are critical (RFC 7252 §5.4.1)."""

    IF_MATCH: Final = 1
    URI_HOST: Final = 3
    ETAG: Final = 4
    IF_NONE_MATCH: Final = 5
    OBSERVE: Final = 6
    URI_PORT: Final = 7
    LOCATION_PATH: Final = 8
    URI_PATH: Final = 11
    CONTENT_FORMAT: Final = 12
    MAX_AGE: Final = 14
    URI_QUERY: Final = 15
    HOP_LIMIT: Final = 16
    ACCEPT: Final = 17
    LOCATION_QUERY: Final = 20
    BLOCK2: Final = 23
    BLOCK1: Final = 27
    SIZE2: Final = 28
    PROXY_URI: Final = 35
    PROXY_SCHEME: Final = 39
    SIZE1: Final = 60
    ECHO: Final = 252
    NO_RESPONSE: Final = 258
    REQUEST_TAG: Final = 292
    PARTIAL_IV: Final = 65_532
    """For experiments, elective and no part of a cache key: ours, from the OSCORE adapter to the core."""


LENGTHS: Final = {
    Option.IF_MATCH: (0, 8), Option.URI_HOST: (1, 255), Option.ETAG: (1, 8), Option.IF_NONE_MATCH: (0, 0),
    Option.OBSERVE: (0, 3), Option.URI_PORT: (0, 2), Option.URI_PATH: (0, 255), Option.CONTENT_FORMAT: (0, 2),
    Option.MAX_AGE: (0, 4), Option.URI_QUERY: (0, 255), Option.HOP_LIMIT: (0, 4), Option.ACCEPT: (0, 2),
    Option.BLOCK2: (0, 3), Option.BLOCK1: (0, 3), Option.SIZE2: (0, 4), Option.PROXY_URI: (1, 1034),
    Option.PROXY_SCHEME: (1, 255), Option.SIZE1: (0, 4), Option.ECHO: (1, 40),
    Option.NO_RESPONSE: (0, 1), Option.REQUEST_TAG: (0, 8), Option.LOCATION_PATH: (0, 255),
    Option.LOCATION_QUERY: (0, 255), Option.PARTIAL_IV: (0, 5),
}  # fmt: skip
"""Bytes that an option's value may have; others make it unrecognised (RFC 7252 §5.4.3). Hop-Limit has one, but
RFC 8768 §3 has an answer to 0 and to what is above 255, however long it is."""

REPEATABLE: Final = frozenset((Option.IF_MATCH, Option.ETAG, Option.URI_PATH, Option.URI_QUERY, Option.REQUEST_TAG))
"""What may occur more than once in a request; a second of any other is unrecognised (RFC 7252 §5.4.5)."""
