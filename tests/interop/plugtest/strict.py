"""A judge of CoAP datagrams: what RFC 7252 and its companions forbid a server to send, found in the bytes.

`wire.Device` hands it each datagram before a test believes it. Two decoders must agree: our own and aiocoap's.
"""

from dataclasses import dataclass
from typing import Final

import aiocoap

from thinbridge.protocols.coap.codec import Message, decode, encode, from_uint
from thinbridge.protocols.coap.codes import EMPTY, dotted

MAX_DATAGRAM: Final = 1152
"""RFC 7252 §4.6: what a message has at most where nothing is known of the path."""

CODES: Final = frozenset(
    (
        *("2.01", "2.02", "2.03", "2.04", "2.05", "2.31"),
        *(
            "4.00",
            "4.01",
            "4.02",
            "4.03",
            "4.04",
            "4.05",
            "4.06",
            "4.08",
            "4.09",
            "4.12",
            "4.13",
            "4.15",
            "4.22",
            "4.29",
        ),
        *("5.00", "5.01", "5.02", "5.03", "5.04", "5.05", "5.08"),
    )
)
"""The registry of response codes (IANA, CoRE parameters)."""


@dataclass(frozen=True)
class Rule:
    """What an option of a response may be."""

    shortest: int
    longest: int
    repeatable: bool = False
    number: bool = False
    """Its value is a uint, which a sender encodes with as few bytes as it can (RFC 7252 §3.2)."""


OPTIONS: Final = {
    4: Rule(1, 8),  # ETag; in a response once
    6: Rule(0, 3, number=True),  # Observe (RFC 7641 §2)
    8: Rule(0, 255, repeatable=True),  # Location-Path
    12: Rule(0, 2, number=True),  # Content-Format
    14: Rule(0, 4, number=True),  # Max-Age
    20: Rule(0, 255, repeatable=True),  # Location-Query
    23: Rule(0, 3, number=True),  # Block2 (RFC 7959 §2.1)
    27: Rule(0, 3, number=True),  # Block1
    28: Rule(0, 4, number=True),  # Size2 (RFC 7959 §4)
    60: Rule(0, 4, number=True),  # Size1
    252: Rule(1, 40),  # Echo (RFC 9175 §2.2.1)
}


def judge(data: bytes) -> Message:
    """The message in a datagram of a server.

    Raises:
        AssertionError: no server may send that.
    """
    message = decode(data)
    assert encode(message) == data, "there are bytes that mean nothing"
    assert len(data) <= MAX_DATAGRAM, f"{len(data)} bytes"
    if message.code == EMPTY:
        assert message.type >= 2, "an empty CON is a ping, and an empty NON is nothing at all (RFC 7252 §4.3)"
        return message
    assert dotted(message.code) in CODES, dotted(message.code)
    assert message.type != 3, "a RST is empty (RFC 7252 §4.2)"
    previous = None
    for number, value in message.options:
        rule = OPTIONS.get(number)
        assert rule is not None, f"option {number} is none of a response"
        assert rule.shortest <= len(value) <= rule.longest, f"option {number} of {len(value)} bytes"
        assert rule.repeatable or number != previous, f"option {number} is there twice (RFC 7252 §5.4.5)"
        assert not (rule.number and value[:1] == b"\0"), f"option {number} has leading zeros (RFC 7252 §3.2)"
        previous = number
    _payload(message)
    _same_to_aiocoap(data, message)
    return message


def _payload(message: Message) -> None:
    if message.code >> 5 > 2 and message.get(12) is None:
        message.payload.decode()  # a diagnostic payload is UTF-8 (RFC 7252 §5.5.2)
    if message.code == 0x43:
        assert message.get(4) is not None, "2.03 without an ETag (RFC 7252 §5.9.1.3)"
        assert not message.payload, "2.03 with a payload (RFC 7252 §5.9.1.3)"
    if not message.payload:
        assert message.get(12) is None, "a Content-Format of nothing"
    block = message.get(23)
    if block is not None:
        size = 16 << (from_uint(block) & 7)
        assert size <= 1024, "a block size that UDP does not have (RFC 7959 §2.2)"
        assert len(message.payload) <= size
        if from_uint(block) & 8:
            assert len(message.payload) == size, "a block that is not the last one is full (RFC 7959 §2.2)"
    for part in (value for number, value in message.options if number == 8):
        assert part not in (b".", b".."), "a dot segment (RFC 7252 §5.10.7)"


def _same_to_aiocoap(data: bytes, message: Message) -> None:
    """A decoder that is not ours reads the same."""
    other = aiocoap.Message.decode(data)
    assert (int(other.mtype), int(other.code), other.mid, other.token, other.payload) == (
        message.type, message.code, message.mid, message.token, message.payload,
    )  # fmt: skip
    options = [(int(option.number), option.encode()) for option in other.opt.option_list()]
    assert options == list(message.options)
