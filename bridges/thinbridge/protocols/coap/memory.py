"""What is remembered of requests, so that a repeat is answered and not delivered (RFC 7252 §4.5). Bounded.

Each session has a `Memory`; all of an endpoint count together in one `Shared`. When there is too much, those go first
that were not delivered (turned away, or one block of many), then the oldest *answered* request, first its stored reply,
then its key: a request that waits for its answer is never forgotten for a new one, and a new one is never refused for
lack of memory. Past a bound that is shared each peer pays with its own oldest, so that none can push out what another
needs.
"""

from collections import Counter
from typing import Final

from thinbridge.protocols.coap.codec import Message
from thinbridge.protocols.coap.codes import Type
from thinbridge.protocols.coap.request import Request

EXCHANGE_LIFETIME: Final = 247.0
"""Seconds from a CON until its Message ID may mean another message (RFC 7252 §4.8.2)."""
NON_LIFETIME: Final = 145.0
"""The same for a NON."""
LIFETIMES: Final = EXCHANGE_LIFETIME, NON_LIFETIME
"""By `Type`: for how long a request is known again. The event `id` of one that comes later must be another."""


class Entry:
    """One request: while it is open, and remembered afterwards."""

    __slots__ = ("acknowledged", "digest", "due", "exchange", "expires", "mid", "reply", "request", "token", "type")

    def __init__(
        self, exchange: int, message: Message, request: Request | None, digest: int, now: float, ack_delay: float
    ) -> None:
        self.exchange = exchange
        self.type = message.type
        self.mid = message.mid
        self.token = message.token
        self.request = request
        """None: it is answered."""
        self.digest = digest
        """Tells a repeat from another message with the same Message ID: a device that rebooted starts anew."""
        self.due = now + ack_delay
        """When it is to be acknowledged, if it is not answered by then."""
        self.expires = now + LIFETIMES[message.type]
        self.reply: bytes | None = None
        """The ACK with the response, for repeats; None: it has none, they hear the empty ACK; empty: let go of."""
        self.acknowledged = message.type != Type.CON
        """No ACK of it may carry the response, or may no more."""


class Shared:
    """What the memories of all sessions hold together.

    Args:
        entries: how many requests they may remember.
        octets: bytes of replies that they may store.
    """

    def __init__(self, entries: int, octets: int) -> None:
        self.max_entries, self.max_octets = entries, octets
        self.entries = self.octets = 0


class Memory:
    """The requests of one session.

    Args:
        shared: the bounds over all sessions.
        entries: how many are remembered.
        replies: how many of their replies are stored.
        counters: where what is forgotten too early is counted.
    """

    __slots__ = (
        "_arrived",
        "_by_mid",
        "_counters",
        "_max_entries",
        "_max_replies",
        "_noted",
        "_shared",
        "_stored",
    )

    def __init__(self, shared: Shared, entries: int, replies: int, counters: Counter[str]) -> None:
        self._shared = shared
        self._max_entries, self._max_replies = entries, replies
        self._counters = counters
        self._by_mid: dict[int, Entry] = {}
        # Lists, not deques: taking the first of some hundred costs nothing, and an empty deque has 600 bytes.
        self._arrived: list[Entry] = []  # all that were taken, in order
        self._stored: list[Entry] = []  # with a reply, in order of answer
        self._noted: list[Entry] = []  # all others, in order

    def known(self, mid: int, digest: int, now: float) -> Entry | None:
        """The request that a message repeats; None: it is new."""
        entry = self._by_mid.get(mid)
        if entry is None or (entry.digest == digest and now < entry.expires):
            return entry
        entry.acknowledged = True  # its Message ID means the new message now, so a late response goes separately
        return None

    def add(self, entry: Entry) -> None:
        """Remember a request."""
        if self._full():
            self._make_room()
        self._arrived.append(entry)
        self._by_mid[entry.mid] = entry
        self._shared.entries += 1

    def note(self, entry: Entry, reply: bytes) -> None:
        """Remember one that was not delivered, if nothing else needs the room: a copy hears the same (§4.5)."""
        if self._full():
            if not self._noted:
                return
            self._make_room()
        entry.reply = reply
        self._noted.append(entry)
        self._by_mid[entry.mid] = entry
        self._shared.entries += 1
        self._shared.octets += len(reply)

    def _full(self) -> bool:
        shared = self._shared
        entries = len(self._arrived) + len(self._noted)
        return entries >= self._max_entries or shared.entries >= shared.max_entries

    def _make_room(self) -> None:
        """The oldest that was not delivered goes, else the oldest that is answered; those that wait are few
        (`open_exchanges`)."""
        if self._noted:
            self._forget(self._noted.pop(0))
            self._counters["forgotten"] += 1
            return
        for index, entry in enumerate(self._arrived):
            if entry.request is None:
                del self._arrived[index]
                self._forget(entry)
                self._counters["forgotten"] += 1
                return

    def _forget(self, entry: Entry) -> None:
        self._shared.entries -= 1
        self._release(entry)
        if self._by_mid.get(entry.mid) is entry:
            del self._by_mid[entry.mid]

    def store(self, entry: Entry, reply: bytes) -> None:
        """Keep what a repeat will hear; older replies make room."""
        shared, stored = self._shared, self._stored
        entry.reply = reply
        shared.octets += len(reply)
        stored.append(entry)
        while len(stored) > self._max_replies or (shared.octets > shared.max_octets and len(stored) > 1):
            self._release(stored.pop(0))

    def _release(self, entry: Entry) -> None:
        if entry.reply:
            self._shared.octets -= len(entry.reply)
            entry.reply = b""

    def due(self) -> float | None:
        """When the oldest is forgotten; None: nothing is remembered."""
        oldest = self._arrived or self._noted
        return oldest[0].expires if oldest else None

    def expire(self, now: float) -> list[Entry]:
        """Forget what is old enough; those that nobody has answered."""
        unanswered = []
        while self._arrived and self._arrived[0].expires <= now:
            entry = self._arrived.pop(0)
            self._forget(entry)
            if entry.request is not None:
                unanswered.append(entry)
        while self._stored and not self._stored[0].reply:
            self._stored.pop(0)
        while self._noted and self._noted[0].expires <= now:
            self._forget(self._noted.pop(0))
        return unanswered

    def clear(self) -> None:
        """Forget everything."""
        for entry in (*self._arrived, *self._noted):
            self._forget(entry)
        self._arrived.clear()
        self._stored.clear()
        self._noted.clear()
