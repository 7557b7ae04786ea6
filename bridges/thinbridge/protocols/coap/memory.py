"""What is remembered of messages, so that a repeat is answered and not delivered (RFC 7252 §4.5). Bounded.

One `Memory` per endpoint holds the entries of all its sessions in order of arrival; each session finds its own by
Message ID. When there are too many, the oldest *answered* entry goes, first its stored reply, then its key: a request
that waits for its answer is never forgotten for a new one, and a new one is never refused for lack of memory.
"""

from collections import deque
from typing import TYPE_CHECKING, Final

from thinbridge.protocols.base import Path
from thinbridge.protocols.coap.codec import Message
from thinbridge.protocols.coap.codes import Type
from thinbridge.protocols.coap.request import Request

if TYPE_CHECKING:
    from thinbridge.protocols.coap.session import CoAPSession

EXCHANGE_LIFETIME: Final = 247.0
"""Seconds from a CON until its Message ID may mean another message (RFC 7252 §4.8.2)."""
NON_LIFETIME: Final = 145.0
"""The same for a NON."""

SCAN: Final = 64
"""How many of the oldest entries are looked at for one that is answered."""


class Entry:
    """One request: while it is open, and remembered afterwards."""

    __slots__ = (
        "acknowledged", "answered", "digest", "exchange", "expires", "forgotten", "mid", "path", "reply", "request",
        "session", "token", "type",
    )  # fmt: skip

    def __init__(
        self,
        session: "CoAPSession",
        exchange: int,
        message: Message,
        request: Request,
        digest: int,
        path: Path,
        now: float,
    ) -> None:
        self.session = session
        self.exchange = exchange
        self.type = message.type
        self.mid = message.mid
        self.token = message.token
        self.request: Request | None = request
        """None: it is answered."""
        self.digest = digest
        """Tells a repeat from another message with the same Message ID: a device that rebooted starts anew."""
        self.path = path
        self.expires = now + (EXCHANGE_LIFETIME if message.type is Type.CON else NON_LIFETIME)
        self.reply: bytes | None = None
        """What a repeat hears."""
        self.acknowledged = False
        self.answered = False
        self.forgotten = False


class Memory:
    """The bounds over all sessions of an endpoint.

    Args:
        replies: bytes of stored replies.
        entries: how many requests are remembered.
    """

    def __init__(self, replies: int, entries: int) -> None:
        self._max_bytes, self._max_entries = replies, entries
        self._entries: deque[Entry] = deque()  # in order of arrival, with some that are forgotten
        self._stored: deque[Entry] = deque()  # in order of answer, with some whose reply is gone
        self._bytes = 0
        self._count = 0

    def add(self, entry: Entry) -> list[Entry]:
        """Remember a request.

        Returns:
            The oldest ones, answered, if there are too many now; the caller forgets them.
        """
        entries = self._entries
        entries.append(entry)
        self._count += 1
        while entries[0].forgotten:
            entries.popleft()
        return self._surplus() if self._count > self._max_entries else []

    def _surplus(self) -> list[Entry]:
        """The oldest that is answered; those before it that wait move to the end: they are looked at once a round."""
        entries = self._entries
        for _ in range(min(len(entries), SCAN)):
            entry = entries.popleft()
            if entry.forgotten:
                continue
            if entry.answered:
                return [entry]
            entries.append(entry)
        return []

    def forget(self, entry: Entry) -> None:
        """It is remembered no more; harmless when said twice."""
        if not entry.forgotten:
            entry.forgotten = True
            self._count -= 1
            self.release(entry)

    def store(self, entry: Entry, reply: bytes) -> None:
        """Keep what a repeat will hear; the oldest replies make room."""
        entry.reply = reply
        self._bytes += len(reply)
        stored = self._stored
        stored.append(entry)
        while stored and (self._bytes > self._max_bytes or stored[0].reply is None):
            self.release(stored.popleft())

    def release(self, entry: Entry) -> None:
        """Let go of a stored reply."""
        if entry.reply is not None:
            self._bytes -= len(entry.reply)
            entry.reply = None
