"""A toy datagram protocol with message identity: what CoAP's message layer is, in a hundred lines.

    device → bridge   Q id payload    a question; repeated until answered
    bridge → device   R id payload    its answer; repeated until `A id`, four times at most
    device → bridge   A id            an acknowledgement
    bridge → device   P id payload    a push; repeated like an answer
    bridge → device   N id            refused: busy, malformed or draining

Each behaviour that a promise is about is a method or a number of its own, so that tests can plant a fault there.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

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
)


@dataclass(frozen=True)
class ReliableSettings:
    """Every number of the toy."""

    first: float = 2.0
    """Seconds until the first retransmission; doubles."""
    retries: int = 4
    remember: float = 250.0
    """Seconds for which a message's id is known."""
    memory: int = 64
    """Messages that are known at most."""


class Reliable(Protocol):
    """The toy."""

    name: ClassVar[str] = "toy-reliable"
    transport = Transport.DATAGRAM
    port = 4000
    event_types = (EventType("toy.question", "a question"),)
    Settings = ReliableSettings
    settings: ReliableSettings
    session_type: ClassVar[type["ReliableSession"]]

    def locate(self, data: bytes, path: Path, now: float) -> Hashable | None:
        """One session per address; nothing but a question opens one."""
        return path.peer if data[:1] in (b"Q", b"A") and len(data) >= 3 else None

    def open(self, key: Hashable, path: Path, now: float) -> "ReliableSession":
        return self.session_type(self, path, now)


class ReliableSession(Session):
    """One peer."""

    def __init__(self, protocol: Reliable, path: Path, now: float) -> None:
        self.id = protocol.session_id()
        self.peer = str(path.peer)
        self.protocol = protocol
        self.path = path
        self.heard = now
        self.draining = False
        self.known: dict[bytes, bytes | None] = {}  # id → its answer, once there is one; oldest first
        self.open: dict[int, bytes] = {}  # exchange → id
        self.unacked: dict[bytes, tuple[bytes, float, int, int]] = {}  # id → datagram, due, tries, push
        self.exchanges = 0
        self.pushes = 0
        self.credit = 0
        self.events: deque[Event] = deque()
        self.out: list[Sent] = []

    def receive(self, data: bytes, path: Path, now: float) -> None:
        self.heard, self.path = now, path
        self.credit += 3 * len(data)
        if len(data) < 3 or data[:1] not in (b"Q", b"A"):
            self.protocol.counters["malformed"] += 1
        elif data[:1] == b"A":
            self.acknowledged(data[1:3])
        elif data[1:3] in self.known:
            self.repeated(data[1:3], data[3:])
        elif self.draining or len(self.open) >= self.protocol.settings.memory:
            self.send(b"N" + data[1:3])
        else:
            self.asked(data[1:3], data[3:])

    def asked(self, message: bytes, payload: bytes) -> None:
        self.exchanges += 1
        self.remember(message)
        self.open[self.exchanges] = message
        self.busy = True
        self.events.append(
            Inbound(self.exchanges, "toy.question", None, {}, None, payload, b"%s/%s" % (self.id.encode(), message))
        )

    def remember(self, message: bytes) -> None:
        if len(self.known) >= self.protocol.settings.memory:  # the oldest that is answered goes
            del self.known[
                next((one for one, answer in self.known.items() if answer is not None), next(iter(self.known)))
            ]
        self.known[message] = None

    def repeated(self, message: bytes, payload: bytes) -> None:
        answer = self.known[message]
        if answer is not None and message not in self.unacked:
            self.send(answer)

    def acknowledged(self, message: bytes) -> None:
        waiting = self.unacked.pop(message, None)
        if waiting is not None and waiting[3]:
            self.events.append(Pushed(waiting[3], PushResult.DELIVERED))
        self.settle()

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        message = self.open.get(exchange)
        if message is None:
            return False
        if reply.outcome is Outcome.PENDING:
            return True
        del self.open[exchange]
        datagram = (
            b"R" + message + (reply.data if reply.outcome is Outcome.ACCEPTED else b"!" + bytes((reply.status & 7,)))
        )
        self.known[message] = datagram
        self.insist(message, datagram, now, 0)
        return True

    def insist(self, message: bytes, datagram: bytes, now: float, push: int) -> None:
        self.unacked[message] = datagram, now + self.protocol.settings.first, 0, push
        self.settle()
        self.send(datagram)

    def push(self, target: int | None, outbound: Outbound, now: float) -> int:
        self.pushes += 1
        if len(self.unacked) >= self.protocol.settings.memory:
            self.events.append(Pushed(self.pushes, PushResult.BUSY))
        else:
            message = (0xFFFF - self.pushes & 0x7FFF | 0x8000).to_bytes(2, "big")
            self.insist(message, b"P" + message + outbound.data, now, self.pushes)
        return self.pushes

    def send(self, data: bytes) -> None:
        if not self.path.verified:
            if len(data) > self.credit:
                self.protocol.counters["amplification"] += 1
                return
            self.credit -= len(data)
        self.out.append((data, self.path))

    def close(self, reason: str, now: float) -> None:
        self.closed = True
        self.open.clear()

    def drain(self, now: float) -> None:
        self.draining = True

    def next_event(self) -> Event | None:
        return self.events.popleft() if self.events else None

    def data_to_send(self) -> Sequence[Sent]:
        out, self.out = self.out, []
        return out

    def next_timer(self) -> float | None:
        return min([self.heard + self.protocol.settings.remember, *(due for _, due, _, _ in self.unacked.values())])

    def handle_timer(self, now: float) -> None:
        for message, (datagram, due, tries, push) in list(self.unacked.items()):
            if now >= due:
                self.insist_again(message, datagram, now, tries + 1, push)
        if now >= self.heard + self.protocol.settings.remember:
            self.closed = True

    def insist_again(self, message: bytes, datagram: bytes, now: float, tries: int, push: int) -> None:
        if tries > self.protocol.settings.retries:
            del self.unacked[message]
            if push:
                self.events.append(Pushed(push, PushResult.GONE))
            self.settle()
        else:
            self.unacked[message] = datagram, now + self.protocol.settings.first * 2**tries, tries, push
            self.send(datagram)

    def settle(self) -> None:
        self.unsettled = bool(self.unacked)
        self.busy = bool(self.open) or self.unsettled


Reliable.session_type = ReliableSession


class Asker:
    """The device's side: one question."""

    result: Any = None

    def __init__(self, message: bytes, payload: bytes) -> None:
        self.message = message
        self.datagram = b"Q" + message + payload
        self.out = [self.datagram]
        self.due = self.end = 0.0
        self.tries = 0

    def start(self, now: float) -> None:
        self.due, self.end = now + 2, now + 93

    def receive(self, data: bytes, now: float) -> None:
        if data[:1] in (b"R", b"P") and len(data) >= 3:
            self.out.append(b"A" + data[1:3])
        if data[:3] == b"R" + self.message and self.result is None:
            self.result = data[3:]
        elif data[:3] == b"N" + self.message and self.result is None:
            self.result = b"!"

    def data_to_send(self) -> Sequence[bytes]:
        out, self.out = self.out, []
        return out

    def next_timer(self) -> float | None:
        return self.due if self.result is None and self.tries < 5 else None

    def handle_timer(self, now: float) -> None:
        if now >= self.due and self.result is None:
            self.tries += 1
            self.due = now + 2 * 2**self.tries
            self.out.append(self.datagram)
