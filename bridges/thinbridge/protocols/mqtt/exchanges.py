"""The book of a Session's exchanges: which wait for their answers, and where answers of others may still go.

One per MQTT Session; it outlives connections. `inbound` keeps the order of acknowledgements, `uplink` asks both.
"""

from collections import Counter
from typing import Final

OPEN: Final = -1
"""Not answered yet."""
OVERHEAD: Final = 512
"""Bytes of a message beside its packet's, about."""

WITHHELD: Final = -2
"""Not accepted: never acknowledged; the same use is tried again when the device sends it again."""


class Exchange:
    """One message of a device and its answer. `reason` is what its PUBACK or PUBREC says, once there is one."""

    __slots__ = (
        "correlation",
        "digest",
        "here",
        "key",
        "number",
        "packet_id",
        "qos",
        "reason",
        "response",
        "size",
        "text",
        "tried",
    )

    def __init__(self, qos: int) -> None:
        self.qos = qos
        self.number = 0
        self.response: str | None = None
        self.correlation: bytes | None = None
        self.size = 0
        """Bytes that it holds, about: its packet's until it is answered, then those of where an answer goes."""
        self.packet_id = 0
        self.key = b""
        """The use of the packet identifier: the event's `id` is made from it."""
        self.digest = 0
        """Of topic and payload: tells a resend from a new message of a device that has lost its memory. 0: of a message
        that was no valid one, which is read anew on another connection."""
        self.reason = OPEN
        self.text = ""
        """Reason String of what says no."""
        self.tried = False
        """It was withheld, and is tried again: its key stays."""
        self.here = False
        """This connection has sent it, so this connection gets its acknowledgement."""


class Kept:
    """Exchanges that are kept for where an answer goes, their Response Topic and Correlation Data, the oldest first.

    Args:
        limit: how many.
        octets: bytes of their topics and Correlation Data, which may have 65,535 each (MQTT 5 §3.3.2.3.6).
    """

    __slots__ = ("exchanges", "limit", "max_octets", "octets")

    def __init__(self, limit: int, octets: int) -> None:
        self.limit, self.max_octets = limit, octets
        self.octets = 0
        self.exchanges: dict[int, Exchange] = {}

    def add(self, exchange: Exchange) -> None:
        """Keep it; ask for the `excess` then."""
        exchange.size = len(exchange.response or "") + len(exchange.correlation or b"")
        self.octets += exchange.size
        self.exchanges[exchange.number] = exchange

    def remove(self, exchange: Exchange) -> None:
        """Let go of it."""
        del self.exchanges[exchange.number]
        self.octets -= exchange.size

    def excess(self) -> Exchange | None:
        """The one to let go of: the oldest, if there are too many, or they are too large."""
        exchanges = self.exchanges
        if len(exchanges) <= self.limit and self.octets <= self.max_octets:
            return None
        return next(iter(exchanges.values()))

    def clear(self) -> None:
        """Let go of all."""
        self.exchanges.clear()
        self.octets = 0


class Exchanges:
    """The messages of a Session whose answers are to come, and those whose Response Topic may still be of use.

    Args:
        replies: how many may be pending, and how many are remembered after their answer.
        octets: bytes of the Response Topics and Correlation Data of each of the two.
        counters: what was forgotten early.
    """

    __slots__ = ("_answered", "_counters", "_last", "_open", "_pending", "held", "qos0")

    def __init__(self, replies: int, octets: int, counters: Counter[str]) -> None:
        self._counters = counters
        self._last = 0
        self._open: dict[int, Exchange] = {}  # not answered, or pending
        self._pending = Kept(replies, octets)  # those that answer later
        self._answered = Kept(replies, octets)
        self.qos0 = 0
        """How many open ones are QoS 0."""
        self.held = 0
        """Bytes of messages that are not answered, about."""

    def number(self) -> int:
        """A new exchange's number."""
        self._last += 1
        return self._last

    def begin(self, exchange: Exchange, response: str | None, correlation: bytes | None, size: int) -> Exchange:
        """It is reported now, and waits for its answer; one that was withheld is reported again, under a new number."""
        if self._answered.exchanges.get(exchange.number) is exchange:
            self._answered.remove(exchange)
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
        return None if number is None else self._open.get(number) or self._answered.exchanges.get(number)

    def wait(self, exchange: Exchange) -> None:
        """Its answer follows later; if too many wait, or too much does, the oldest gives up."""
        pending = self._pending
        if exchange.number in pending.exchanges:
            return
        self.held -= exchange.size
        pending.add(exchange)
        while (oldest := pending.excess()) is not None:
            self._counters["pending_full"] += 1
            self.end(oldest)

    def end(self, exchange: Exchange) -> None:
        """It has its answer, or will never have one."""
        if self._open.pop(exchange.number, None) is None:
            return
        if exchange.number in self._pending.exchanges:
            self._pending.remove(exchange)
        else:
            self.held -= exchange.size
        self.qos0 -= not exchange.qos
        if exchange.response is not None:
            self._remember(exchange)

    def _remember(self, exchange: Exchange) -> None:
        answered = self._answered
        answered.add(exchange)
        while (oldest := answered.excess()) is not None:
            if len(answered.exchanges) <= answered.limit:  # each new one takes an older one's place: no news
                self._counters["replies_forgotten"] += 1
            answered.remove(oldest)

    @property
    def unanswered(self) -> int:
        """How many are open, without those that answer later."""
        return len(self._open) - len(self._pending.exchanges)

    def __bool__(self) -> bool:
        return bool(self._open)

    def clear(self) -> None:
        """The Session is over."""
        self._open.clear()
        self._pending.clear()
        self._answered.clear()
