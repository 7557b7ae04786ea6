"""Plain UDP: every datagram is a message, every reply a datagram to its sender. The smallest protocol; read it first.

A session is a peer's address and port, from its first datagram until it has been silent for `idle` seconds with
nothing open. There is no message identity: at most once, a new event `id` each, and no answer but the function's own.
Found through the registry; driven by `thinbridge.shells.datagram`.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from thinbridge import contract
from thinbridge.protocols.base import (
    Event,
    EventType,
    Inbound,
    Outbound,
    Outcome,
    Path,
    Protocol,
    Pushed,
    PushResult,
    Reply,
    Sent,
    Session,
    Transport,
    peer_text,
)

AMPLIFICATION = 3
"""How many times the bytes received may go to an address that nothing has proven (RFC 9000 §8.1 has the same)."""

MAX_DATAGRAM = 65507
"""What fits into one IPv4 datagram: 65535 − 20 (IP) − 8 (UDP)."""


@dataclass(frozen=True)
class UDPSettings:
    """Keys of a `udp://` listener."""

    idle: float = 300.0
    """Seconds of silence after which a session is forgotten; conntrack keeps an assured UDP flow 120 s, so a reply
    after that is not likely to arrive anyway, and a device that reports every five minutes keeps its session."""
    max_datagram: int = 1400
    """Bytes of a datagram to a device: what crosses most paths unfragmented. A longer reply is dropped, counted."""
    open_exchanges: int = 64
    """Messages of one session that may wait for their answers; more are dropped, counted: one peer can't fill the
    delivery's queue."""


class UDP(Protocol):
    """Datagrams in, datagrams out."""

    name: ClassVar[str] = "udp"
    transport = Transport.DATAGRAM
    port = 9000
    event_types = (EventType(contract.UDP_DATAGRAM, "a datagram from a device", (contract.PEER,)),)
    Settings = UDPSettings
    settings: UDPSettings

    def locate(self, data: bytes, path: Path, now: float) -> Hashable | None:
        """A session is the peer's address and port, at the address that it spoke to."""
        if not data:
            self.counters["empty"] += 1
            return None
        return path.peer, path.local

    def open(self, key: Hashable, path: Path, now: float) -> "UDPSession":
        """A session for a peer that is new."""
        return UDPSession(self, path, now)


class UDPSession(Session):
    """One peer."""

    def __init__(self, protocol: UDP, path: Path, now: float) -> None:
        self.id = protocol.session_id()
        self.identity = path.identity
        self.peer = peer_text(path.peer)
        self._protocol = protocol
        self._path = path
        self._credit = 0  # bytes that may still go to an address that nothing has proven
        self._attributes = {contract.PEER: self.peer}
        self._exchanges = 0
        self._open: set[int] = set()
        self._pushes = 0
        self._heard = now
        self._draining = False
        self._events: list[Event] = []  # an empty deque has 600 bytes
        self._out: list[Sent] = []

    def receive(self, data: bytes, path: Path, now: float) -> None:
        """One datagram, one message."""
        counters = self._protocol.counters
        self._heard = now
        self._path = path
        self._credit += AMPLIFICATION * len(data)
        if self._draining:
            counters["draining"] += 1
            return
        if len(self._open) >= self._protocol.settings.open_exchanges:
            counters["exchanges_full"] += 1
            return
        self._exchanges += 1
        self._open.add(self._exchanges)
        self.busy = True
        self._events.append(
            Inbound(
                self._exchanges,
                contract.UDP_DATAGRAM,
                self._protocol.endpoint,
                self._attributes,
                None,
                data,
            )
        )

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        """The function's body becomes a datagram; everything else is silence and a counter."""
        if exchange not in self._open:
            return False
        if reply.outcome is Outcome.PENDING:
            return True  # stays open: the answer follows by `replyto`
        self._open.discard(exchange)
        self.busy = bool(self._open)
        self._heard = now
        if reply.outcome is not Outcome.ACCEPTED:
            self._protocol.counters[f"not_{reply.outcome.name.lower()}"] += 1
        elif reply.data:
            self._send(reply.data)
        return True

    def push(self, target: int | None, outbound: Outbound, now: float) -> int:
        """A datagram; `DELIVERED` means that the kernel was given it: UDP has no more to say."""
        self._pushes += 1
        self._heard = now
        result = self._send(outbound.data) if outbound.data else PushResult.REFUSED
        self._events.append(Pushed(self._pushes, result))
        return self._pushes

    def _send(self, data: bytes) -> PushResult:
        counters = self._protocol.counters
        if len(data) > min(self._protocol.settings.max_datagram, MAX_DATAGRAM):
            counters["reply_too_large"] += 1
            return PushResult.TOO_LARGE
        if not self._path.verified:
            if len(data) > self._credit:
                counters["amplification"] += 1
                return PushResult.REFUSED
            self._credit -= len(data)
        self._out.append((data, self._path))
        return PushResult.DELIVERED

    def close(self, reason: str, now: float) -> None:
        """Forget it; UDP has no way to tell the peer."""
        self._open.clear()
        self.closed = True

    def drain(self, now: float) -> None:
        """New datagrams are dropped and counted."""
        self._draining = True

    def next_event(self) -> Event | None:
        """Messages and the outcomes of pushes."""
        return self._events.pop(0) if self._events else None

    def data_to_send(self) -> Sequence[Sent]:
        """Datagrams to the peer."""
        if not self._out:
            return ()
        out, self._out = self._out, []
        return out

    def next_timer(self) -> float:
        """When it has been silent for long enough."""
        return self._heard + self._protocol.settings.idle

    def handle_timer(self, now: float) -> None:
        """Silent for long enough: gone, open or not; an answer this late finds no way back through a NAT."""
        if now >= self.next_timer():
            self.closed = True
