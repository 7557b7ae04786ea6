"""MQTT 5 reason codes (§2.4) and what they are elsewhere: in 3.1.1's CONNACK, for a function's refusal.

Used by every module of the package; a code travels in `DecodeError.code` from the codec to the session.
"""

from collections.abc import Mapping
from typing import Final

from thinbridge.protocols.base import Reply

SUCCESS: Final = 0x00
NO_SUBSCRIPTION: Final = 0x11
UNSPECIFIED: Final = 0x80
MALFORMED: Final = 0x81
PROTOCOL_ERROR: Final = 0x82
IMPLEMENTATION: Final = 0x83
UNSUPPORTED_VERSION: Final = 0x84
CLIENT_ID_INVALID: Final = 0x85
BAD_CREDENTIALS: Final = 0x86
NOT_AUTHORIZED: Final = 0x87
SERVER_UNAVAILABLE: Final = 0x88
SHUTTING_DOWN: Final = 0x8B
BAD_AUTH_METHOD: Final = 0x8C
KEEP_ALIVE_TIMEOUT: Final = 0x8D
TAKEN_OVER: Final = 0x8E
FILTER_INVALID: Final = 0x8F
TOPIC_INVALID: Final = 0x90
"""Both are for what is well-formed, and not taken (§3.14.2.1); what is no name or filter at all is `MALFORMED`."""
PACKET_ID_UNKNOWN: Final = 0x92
RECEIVE_MAXIMUM: Final = 0x93
ALIAS_INVALID: Final = 0x94
TOO_LARGE: Final = 0x95
QUOTA: Final = 0x97
PAYLOAD_FORMAT: Final = 0x99
NO_SHARED_SUBSCRIPTIONS: Final = 0x9E
CONNECTION_RATE: Final = 0x9F

OF_PUBLISH: Final = frozenset((0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99))
"""What a PUBACK or a PUBREC may say (§3.4.2.1, §3.5.2.1)."""
OF_RELEASE: Final = frozenset((0x00, 0x92))
"""What a PUBREL or a PUBCOMP may say (§3.6.2.1, §3.7.2.1)."""
OF_GOODBYE: Final = frozenset((0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99))
"""What a client's DISCONNECT may say (§3.14.2.1): not what only servers say."""

FAILURE: Final = 0x80
"""Codes from here on say no (§2.4); also 3.1.1's one failure in a SUBACK (MQTT 3.1.1 §3.9.3)."""

NAMES: Final[Mapping[int, str]] = {
    0x10: "No matching subscribers",
    NO_SUBSCRIPTION: "No subscription existed",
    UNSPECIFIED: "Unspecified error",
    MALFORMED: "Malformed Packet",
    PROTOCOL_ERROR: "Protocol Error",
    IMPLEMENTATION: "Implementation specific error",
    UNSUPPORTED_VERSION: "Unsupported Protocol Version",
    CLIENT_ID_INVALID: "Client Identifier not valid",
    BAD_CREDENTIALS: "Bad User Name or Password",
    NOT_AUTHORIZED: "Not authorized",
    SERVER_UNAVAILABLE: "Server unavailable",
    0x89: "Server busy",
    0x8A: "Banned",
    SHUTTING_DOWN: "Server shutting down",
    BAD_AUTH_METHOD: "Bad authentication method",
    KEEP_ALIVE_TIMEOUT: "Keep Alive timeout",
    TAKEN_OVER: "Session taken over",
    FILTER_INVALID: "Topic Filter invalid",
    TOPIC_INVALID: "Topic Name invalid",
    0x91: "Packet Identifier in use",
    PACKET_ID_UNKNOWN: "Packet Identifier not found",
    RECEIVE_MAXIMUM: "Receive Maximum exceeded",
    ALIAS_INVALID: "Topic Alias invalid",
    TOO_LARGE: "Packet too large",
    0x96: "Message rate too high",
    QUOTA: "Quota exceeded",
    0x98: "Administrative action",
    PAYLOAD_FORMAT: "Payload format invalid",
    0x9A: "Retain not supported",
    0x9B: "QoS not supported",
    0x9C: "Use another server",
    0x9D: "Server moved",
    NO_SHARED_SUBSCRIPTIONS: "Shared Subscriptions not supported",
    CONNECTION_RATE: "Connection rate exceeded",
    0xA0: "Maximum connect time",
    0xA1: "Subscription Identifiers not supported",
    0xA2: "Wildcard Subscriptions not supported",
}
"""For people, in the words of §2.4; what says yes has a different name in each packet, so those are left out."""

CONNACK_311: Final[Mapping[int, int]] = {
    SUCCESS: 0,
    UNSUPPORTED_VERSION: 1,
    CLIENT_ID_INVALID: 2,
    SERVER_UNAVAILABLE: 3,
    BAD_CREDENTIALS: 4,
    NOT_AUTHORIZED: 5,
}
"""MQTT 3.1.1 §3.2.2.3: the six return codes; a reason without one closes the connection and says nothing."""

_REFUSED: Final[Mapping[int, int]] = {
    401: NOT_AUTHORIZED,
    403: NOT_AUTHORIZED,
    407: NOT_AUTHORIZED,
    404: TOPIC_INVALID,
    410: TOPIC_INVALID,
    413: QUOTA,  # PUBACK may not say 0x95 (MQTT 5 §3.4.2.1)
    429: QUOTA,
    415: PAYLOAD_FORMAT,
    422: PAYLOAD_FORMAT,
}


def refused(status: int) -> int:
    """The PUBACK code (MQTT 5 §3.4.2.1) for a function's refusal with this HTTP status."""
    return _REFUSED.get(status, IMPLEMENTATION)


MAX_TEXT: Final = 200
"""Characters of a Reason String: a sentence for a log."""


def text(counter: str) -> str:
    """The Reason String of something that is counted (§4.13): the counter's name as words."""
    return counter.replace("_", " ")


def diagnosis(reply: Reply) -> str:
    """The Reason String of a function's refusal: what it says as text, if that is printable."""
    if (reply.content_type or "").partition(";")[0].strip().lower() != "text/plain":
        return ""
    said = reply.data[: 4 * MAX_TEXT].decode(errors="replace").strip()[:MAX_TEXT]
    return said if said.isprintable() else ""
