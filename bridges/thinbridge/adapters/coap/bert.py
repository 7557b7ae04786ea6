"""BERT (RFC 8323 §6): a run of whole 1024-byte blocks in one message, SZX 7; here it becomes those blocks, and back.

`stream` hands each request to the core through `unfold`, and each response to the device through `refold`. To the core,
which speaks RFC 7959, a run is its blocks, one after another; only the answer to the last of them is the device's.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from thinbridge.errors import DecodeError
from thinbridge.protocols.coap.codec import Message, OptionValue, decode, encode, from_uint, uint
from thinbridge.protocols.coap.codes import Option

UNIT: Final = 1024
"""Bytes that a block number counts (RFC 8323 §6)."""
BERT: Final = 7
"""SZX of a run; on UDP it is reserved."""
SINGLE: Final = 6
"""SZX of 1024 bytes."""
KEPT: Final = 256
"""Requests of one connection with runs whose answers are to come; a device with more has its oldest forgotten."""


class Run(NamedTuple):
    """What a request said of its blocks."""

    block1: bytes | None
    """Its Block1, to be said back as it was."""
    block2: bool
    """It asked for runs."""


class Runs:
    """The requests of one connection that speak of runs, by token."""

    def __init__(self) -> None:
        self._runs: dict[bytes, Run] = {}

    def unfold(self, request: bytes) -> list[bytes]:
        """A request as requests that are no runs: one for each block of its payload, all with its Message ID."""
        try:
            message = decode(request)
        except DecodeError:
            return [request]  # the core says so to the device
        block1, block2 = message.get(Option.BLOCK1), message.get(Option.BLOCK2)
        run = Run(block1 if _is_run(block1) else None, _is_run(block2))
        if run.block1 is None and not run.block2:
            return [request]
        if len(self._runs) >= KEPT:
            del self._runs[next(iter(self._runs))]
        self._runs[message.token] = run
        if run.block2 and block2 is not None:
            message.options = _replaced(message.options, Option.BLOCK2, uint(from_uint(block2) & ~7 | SINGLE))
        return [encode(message)] if run.block1 is None else _blocks(message, from_uint(run.block1))

    def refold(self, response: bytes) -> bytes:
        """A response in the words of its request."""
        token = response[4 : 4 + (response[0] & 15)]
        run = self._runs.pop(token, None)
        if run is None:
            return response
        message = decode(response)
        if message.get(Option.OBSERVE) is not None:
            self._runs[token] = run  # more will follow
        if run.block1 is not None:
            message.options = _replaced(message.options, Option.BLOCK1, run.block1)
        block2 = message.get(Option.BLOCK2)
        if run.block2 and block2 is not None and from_uint(block2) & 7 == SINGLE:
            message.options = _replaced(message.options, Option.BLOCK2, uint(from_uint(block2) | BERT))
        return encode(message)


def _is_run(value: bytes | None) -> bool:
    return value is not None and len(value) <= 3 and from_uint(value) & 7 == BERT


def _blocks(message: Message, run: int) -> list[bytes]:
    number, more = run >> 4, run >> 3 & 1
    options, payload = message.options, message.payload
    pieces = []
    for at in range(0, max(1, len(payload)), UNIT):
        message.payload = payload[at : at + UNIT]
        follows = more if at + UNIT >= len(payload) else 1
        block = number + at // UNIT << 4 | follows << 3 | SINGLE
        message.options = _replaced(options, Option.BLOCK1, uint(block))
        pieces.append(encode(message))
    return pieces


def _replaced(options: Sequence[OptionValue], number: int, value: bytes) -> list[OptionValue]:
    return [(option, value if option == number else old) for option, old in options]
