"""A CoAP device that observes (RFC 7641): registers, tells each newer state as it comes, and cancels after a while."""

from collections.abc import Callable
from math import inf
from typing import Any, Final

from thinbridge.device.base import Result
from thinbridge.device.coap import RESPONSE_CLASSES, TOKEN_LENGTH, Request
from thinbridge.errors import DecodeError
from thinbridge.protocols.coap.codec import Message, OptionValue, decode, empty, from_uint
from thinbridge.protocols.coap.codes import Option, Type, dotted

STALE: Final = 128.0
"""Seconds after which any notification is newer, whatever its number (RFC 7641 §3.4)."""
HALF: Final = 1 << 23

REGISTER: Final[OptionValue] = (Option.OBSERVE, b"")
CANCEL: Final[OptionValue] = (Option.OBSERVE, b"\1")


class Observer(Request):
    """One registration and what comes of it. Over when it has cancelled, or the bridge has ended it.

    Args:
        method: `GET` or `FETCH`.
        target: as `Request` has it.
        data: of a FETCH.
        stay: seconds to observe, from the first state on.
        patience: seconds to wait for the first state, and for the answer when it cancels.
        tell: hears each state, the first one too, in order and none twice.
        more: as `Request` has it.
    """

    def __init__(
        self,
        method: str,
        target: str,
        data: bytes = b"",
        *,
        stay: float,
        patience: float,
        tell: Callable[[Result], None],
        **more: Any,
    ) -> None:
        super().__init__(method, target, data, options=(REGISTER,), **more)
        self._stay, self._patience, self._tell = stay, patience, tell
        self._relation: bytes | None = None  # its token
        self._newest = 0, -inf  # number, and when it came
        self._due = inf
        self._cancelling = False

    def start(self, now: float) -> None:
        """Register."""
        self._due = now + self._patience
        super().start(now)

    def receive(self, data: bytes, now: float) -> None:
        """A datagram of the bridge; a notification may come at any time."""
        try:
            message = decode(data)
        except DecodeError:
            return
        if message.type <= Type.NON and message.code >> 5 in RESPONSE_CLASSES and message.token == self._relation:
            if message.type == Type.CON:
                self._out.append(empty(Type.ACK, message.mid))
            self._respond(message, now)
        else:
            super().receive(data, now)

    def _respond(self, message: Message, now: float) -> None:
        if message.token == self._relation:
            self._notified(message, now)
            return
        number = message.get(Option.OBSERVE)
        if number is not None and self._relation is None:
            self._relation, self._newest = message.token, (from_uint(number), now)
            self._due = now + self._stay
        super()._respond(message, now)
        self._complete()

    def _notified(self, message: Message, now: float) -> None:
        """Something with the registration's token: a newer state, or the end."""
        number = message.get(Option.OBSERVE)
        if number is None:
            word = "no longer observed" if self._cancelling else "ended"
            self.result = Result(self._cancelling, f"{dotted(message.code)}, {word}", None, b"")
        elif _is_newer(self._newest, from_uint(number), now):
            self._newest = from_uint(number), now
            if not self._cancelling:
                self._drop(now)  # what asks for blocks of the older one
            self._transfer = self._new_transfer(self._options)
            super()._respond(message, now)
            self._complete()

    def _complete(self) -> None:
        """A state is here, all its blocks: tell, and go on; without a relation that was all."""
        if self.result is not None and self._relation is not None:
            self._tell(self.result)
            self.result = None

    def next_timer(self) -> float | None:
        """When a CON is repeated, or the time to observe is over."""
        when = super().next_timer()
        return self._due if when is None else min(when, self._due)

    def handle_timer(self, now: float) -> None:
        """Repeat what is to be repeated; cancel in time, or give up."""
        super().handle_timer(now)
        if self.result is not None or now < self._due:
            return
        if self._relation is None or self._cancelling:
            self.result = Result(False, "no answer")
            return
        self._cancelling = True
        self._due = now + self._patience
        self._drop(now)
        options = [CANCEL if option == REGISTER else option for option in self._options]  # RFC 7641 §3.6: the same else
        self._transfer = self._new_transfer(options)
        self._send(now, token=self._relation)

    def _drop(self, now: float) -> None:
        """Forget what was asked last; its response is nobody's."""
        self._mid, self._token = -1, self._entropy(TOKEN_LENGTH)
        for transmission in list(self._outgoing.open.values()):
            self._outgoing.drop(transmission, now)


def _is_newer(newest: tuple[int, float], number: int, now: float) -> bool:
    """RFC 7641 §3.4."""
    before, then = newest
    return (before < number < before + HALF) or before > number + HALF or now > then + STALE
