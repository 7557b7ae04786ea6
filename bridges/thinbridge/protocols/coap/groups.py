"""Requests to a group (RFC 7252 §8): who is heard, which answers are worth sending, and when.

A group has many members, and one forged request has all of them answer: only devices whose address is proven are heard,
and nothing is ever said about what is wrong. `CoAP.open` makes a `GroupSession` of a device that spoke to a group.
"""

from collections.abc import Hashable
from ipaddress import ip_address
from math import inf
from typing import TYPE_CHECKING

from thinbridge.errors import DecodeError
from thinbridge.protocols.base import Path
from thinbridge.protocols.coap.codec import Message, compose, decode
from thinbridge.protocols.coap.codes import BAD_OPTION, VALID, Option, Type
from thinbridge.protocols.coap.memory import Entry
from thinbridge.protocols.coap.request import Request, Response
from thinbridge.protocols.coap.session import CoAPSession

if TYPE_CHECKING:
    from thinbridge.protocols.coap import CoAP


def is_group(text: str) -> bool:
    """Whether a setting names a multicast group."""
    try:
        return ip_address(text.partition("%")[0]).is_multicast
    except ValueError:
        return False


def heard(data: bytes) -> Message | None:
    """The request in a datagram that came to a group: a NON (§8.1); to all else silence is the answer."""
    try:
        message = decode(data)
    except DecodeError:
        return None
    return message if message.type == Type.NON and 0 < message.code < 32 else None


class GroupSession(CoAPSession):
    """A peer's address and port, as it speaks to groups. Answers go to it alone, each at a time of its own."""

    def __init__(self, protocol: "CoAP", key: Hashable, path: Path, now: float) -> None:
        super().__init__(protocol, key, path, now)
        self._entropy = protocol.entropy
        self._waiting: list[tuple[float, bytes]] = []  # when, and what
        self._heard = now

    def receive(self, data: bytes, path: Path, now: float) -> None:
        """One datagram."""
        self._heard = now
        super().receive(data, path, now)

    def _observe(self, exchange: int, message: Message, request: Request, body: bytes, now: float) -> Request:
        """Nobody observes a group: notifications of its members would have one token and sequences of their own."""
        return request.without_observe()

    def _full(self) -> bool:
        """An answer that waits for its time is kept, too."""
        return len(self._open) + len(self._waiting) >= self._settings.open_exchanges

    def _reply(self, message: Message, response: Response) -> bytes:
        """Nothing is said at once: not what is wrong (§8.1), nor which block comes next; later, if it is wanted."""
        if message.get(Option.NO_RESPONSE) is not None and response[0] != BAD_OPTION:
            data = self._composed(message, response)
            if data:
                self._at_leisure(data, self._heard)
                self._see_busy()
        return b""

    def _respond(self, entry: Entry, response: Response, now: float) -> None:
        """All members of the group answer, but not all at once (§8.2)."""
        code, options, payload = response
        # RFC 7967 §2.1: who says which classes it does not want has the others, whatever members do by default.
        wanted = entry.request is not None and entry.request.no_response is not None
        if not wanted and not _is_worth_saying(response):
            self._counters["group_suppressed"] += 1
            return
        self._at_leisure(compose(Type.NON, code, self._outgoing.next_mid(), entry.token, options, payload), now)

    def _at_leisure(self, data: bytes, now: float) -> None:
        chance = int.from_bytes(self._entropy(2), "big") / 65536
        self._waiting.append((now + self._settings.leisure * chance, data))

    def _see_busy(self) -> None:
        super()._see_busy()
        self.busy = self.busy or bool(self._waiting)

    def next_timer(self) -> float:
        """Also: an answer whose time has come."""
        return min(super().next_timer(), min((when for when, _ in self._waiting), default=inf))

    def handle_timer(self, now: float) -> None:
        """Send what has waited long enough."""
        self._send_all([data for when, data in self._waiting if when <= now])
        self._waiting = [one for one in self._waiting if one[0] > now]
        super().handle_timer(now)


def _is_worth_saying(response: Response) -> bool:
    """Not errors, nor what says nothing (§8.2)."""
    code, _, payload = response
    return code >> 5 == 2 and (bool(payload) or code == VALID)
