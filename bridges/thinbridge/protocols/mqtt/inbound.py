"""The QoS 1 window: which messages of a device are open, and the order in which their PUBACKs go out.

One per MQTT Session; it outlives connections, since a device sends again what was not acknowledged (MQTT-4.4.0-1).
A packet identifier is *used* from its PUBLISH until its PUBACK is sent (MQTT-4.3.2-2); one use is one `Inbound`.
"""

from collections import deque
from typing import Final

from thinbridge.errors import DecodeError
from thinbridge.protocols.base import Inbound
from thinbridge.protocols.mqtt import codec, reasons

OPEN: Final = -1
"""Not answered yet."""
OVERHEAD: Final = 512
"""Bytes of a message beside its topic and payload, about."""

WITHHELD: Final = -2
"""Not accepted: never acknowledged; the same use is tried again when the device sends it again."""


class Exchange:
    """One message of a device and its answer. `reason` is what its PUBACK says, once there is one."""

    __slots__ = (
        "correlation",
        "deadline",
        "digest",
        "here",
        "key",
        "number",
        "packet_id",
        "qos",
        "reason",
        "response",
        "size",
        "tried",
    )

    def __init__(self, qos: int) -> None:
        self.qos = qos
        self.number = 0
        self.response: str | None = None
        self.correlation: bytes | None = None
        self.size = 0
        """Bytes that it holds until it is answered, about."""
        self.packet_id = 0
        self.key = b""
        """The use of the packet identifier: the event's `id` is made from it."""
        self.digest = 0
        """Of topic and payload: tells a resend from a new message of a device that has lost its memory. 0: of a message
        that was no valid one, which is read anew on another connection."""
        self.reason = OPEN
        self.tried = False
        """It was withheld, and is tried again: its key stays."""
        self.here = False
        """This connection has sent it, so this connection gets the PUBACK."""
        self.deadline = 0.0
        """Mode `later`: when it stops waiting; 0: not pending."""


class Exchanges:
    """The messages of a Session whose answers are to come, and those whose Response Topic may still be of use.

    Args:
        replies: how many may be pending, and how many are remembered after their answer.
    """

    def __init__(self, replies: int) -> None:
        self._replies = replies
        self._last = 0
        self._open: dict[int, Exchange] = {}  # not answered, or pending
        self._pending: dict[int, Exchange] = {}  # those that answer later, by deadline
        self._answered: dict[int, Exchange] = {}
        self.qos0 = 0
        """How many open ones are QoS 0."""
        self.held = 0
        """Bytes of messages that are not answered, about."""

    def number(self) -> int:
        """A new exchange's number."""
        self._last += 1
        return self._last

    def begin(self, exchange: Exchange, response: str | None, correlation: bytes | None, size: int) -> Exchange:
        """It is reported now, and waits for its answer."""
        exchange.number = self.number()
        exchange.reason = OPEN
        exchange.response, exchange.correlation = response, correlation
        self._open[exchange.number] = exchange
        self.qos0 += not exchange.qos
        exchange.size = size + OVERHEAD
        self.held += exchange.size
        return exchange

    def find(self, number: int) -> Exchange | None:
        """An exchange that is open."""
        return self._open.get(number)

    def target(self, number: int | None) -> Exchange | None:
        """An exchange that something can be pushed to: open, or answered not long ago."""
        return None if number is None else self._open.get(number) or self._answered.get(number)

    def wait(self, exchange: Exchange, deadline: float) -> bool:
        """Its answer follows later; False: too many wait, so the oldest was forgotten."""
        if exchange.number in self._pending:
            return True
        exchange.deadline = deadline
        self._release(exchange)
        self._pending[exchange.number] = exchange
        if len(self._pending) <= self._replies:
            return True
        self.end(next(iter(self._pending.values())))
        return False

    def end(self, exchange: Exchange) -> None:
        """It has its answer, or will never have one."""
        if self._open.pop(exchange.number, None) is None:
            return
        self._pending.pop(exchange.number, None)
        self._release(exchange)
        self.qos0 -= not exchange.qos
        if exchange.response is not None:
            self._answered[exchange.number] = exchange
            if len(self._answered) > self._replies:
                del self._answered[next(iter(self._answered))]

    def _release(self, exchange: Exchange) -> None:
        self.held -= exchange.size
        exchange.size = 0

    def oldest_pending(self) -> Exchange | None:
        """The one whose wait ends first."""
        return next(iter(self._pending.values())) if self._pending else None

    @property
    def unanswered(self) -> int:
        """How many are open, without those that answer later."""
        return len(self._open) - len(self._pending)

    def __bool__(self) -> bool:
        return bool(self._open)

    def clear(self) -> None:
        """The Session is over."""
        self._open.clear()
        self._pending.clear()
        self._answered.clear()


class Window:
    """The open QoS 1 messages of a Session.

    Args:
        limit: how many may wait for their PUBACK on one connection.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._uses: dict[int, Exchange] = {}
        self._acks: deque[Exchange] = deque()
        self._waiting: deque[tuple[Exchange, Inbound | None]] = deque()

    def find(self, packet_id: int, dup: bool, digest: int) -> Exchange | None:
        """The use that a PUBLISH repeats; None: it is a new message.

        Raises:
            DecodeError: the identifier is in use on this connection, and this is another message (MQTT-2.2.1-3).
        """
        use = self._uses.get(packet_id)
        if use is None:
            return None
        if use.here and not dup:
            raise DecodeError("packet_id_in_use", reasons.PROTOCOL_ERROR)
        return use if use.here or (dup and use.digest == digest) else None

    def full(self) -> bool:
        """More are unacknowledged than a MQTT 5 client was allowed (MQTT-3.3.4-7)."""
        return len(self._acks) >= self.limit

    def add(self, exchange: Exchange, inbound: Inbound | None) -> Inbound | None:
        """A message has arrived on this connection, in this order; what is to be delivered now."""
        exchange.here = True
        self._uses[exchange.packet_id] = exchange
        if len(self._acks) < self.limit and not self._waiting:
            self._acks.append(exchange)
            return inbound
        self._waiting.append((exchange, inbound))
        return None

    def acknowledge(self, v5: bool) -> bytes:
        """The PUBACKs that are due, in the order in which the messages came (MQTT-4.6.0-2)."""
        acks = self._acks
        out = b""
        while acks and acks[0].reason >= 0:
            exchange = acks.popleft()
            del self._uses[exchange.packet_id]
            out += codec.encode_puback(exchange.packet_id, exchange.reason, v5)
        return out

    def admit(self) -> Inbound | None:
        """The next message that has waited for room, to be delivered now. Call until None, `acknowledge` between."""
        while self._waiting and len(self._acks) < self.limit:
            exchange, inbound = self._waiting.popleft()
            self._acks.append(exchange)
            if inbound is not None:
                return inbound
        return None

    def disconnect(self) -> list[Exchange]:
        """The connection is gone; the exchanges that are forgotten: never delivered, or older than the window."""
        forgotten: list[Exchange] = []
        for exchange, inbound in self._waiting:
            if inbound is not None:
                forgotten.append(exchange)
                if exchange.tried:
                    exchange.reason = WITHHELD
                else:
                    del self._uses[exchange.packet_id]
        self._waiting.clear()
        self._acks.clear()
        for exchange in self._uses.values():
            exchange.here = False
        while len(self._uses) > self.limit:
            forgotten.append(self._uses.pop(next(iter(self._uses))))
        return forgotten
