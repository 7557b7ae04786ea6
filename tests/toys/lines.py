"""A toy stream protocol: takeover, authorisation that waits, pushes with an outcome, and pausing.

device → bridge   HELLO name secret   who it is; the bridge may take its time to believe it
                  SAY text            a message
                  +3                  it has push 3
bridge → device   OK text, NO         the answer to the oldest message
                  !3 text             push 3
                  BYE reason          and the connection closes
"""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from thinbridge.protocols.base import (
    Authorize,
    Decision,
    Event,
    EventType,
    Handover,
    Inbound,
    Opened,
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
    Woke,
)

MAX_LINE = 256


@dataclass(frozen=True)
class LinesSettings:
    """Every number of the toy."""

    window: int = 2
    """Messages that may wait for their answers; then it stops reading."""
    greeting: float = 5.0
    """Seconds for a HELLO."""
    idle: float = 60.0
    patience: float = 10.0
    """Seconds for a device to confirm a push."""


class Lines(Protocol):
    """The toy; knows its devices by name."""

    name: ClassVar[str] = "toy-lines"
    transport = Transport.STREAM
    port = 4001
    event_types = (EventType("toy.line", "a line"),)
    Settings = LinesSettings
    settings: LinesSettings

    def __init__(self, settings: LinesSettings, *args: object) -> None:
        super().__init__(settings, *args)  # type: ignore[arg-type]
        self.named: dict[str, LineSession] = {}

    def open(self, key: Hashable, path: Path, now: float) -> "Greeting":
        return Greeting(self, path, now)


class Greeting(Session):
    """A connection until its HELLO is believed."""

    def __init__(self, protocol: Lines, path: Path, now: float) -> None:
        self.id = protocol.session_id()
        self.protocol, self.path = protocol, path
        self.deadline = now + protocol.settings.greeting
        self.buffer = b""
        self.name: str | None = None
        self.events: deque[Event] = deque()
        self.out: list[Sent] = []

    def receive(self, data: bytes, path: Path, now: float) -> None:
        self.buffer += data
        if self.name is None and b"\n" in self.buffer:
            line, self.buffer = self.buffer.split(b"\n", 1)
            self.hello(line)
        elif len(self.buffer) > MAX_LINE:
            self.refuse(b"too long")

    def hello(self, line: bytes) -> None:
        words = line.split(b" ")
        if len(words) != 3 or words[0] != b"HELLO" or not words[1].isalnum():
            self.refuse(b"no hello")
            return
        self.name = words[1].decode()
        self.paused = True  # what follows waits for the decision
        self.events.append(Authorize("connect", self.name, self.name, words[2]))

    def authorized(self, decision: Decision, now: float) -> None:
        if self.name is None or self.closed:
            return
        if not decision.allowed:
            self.refuse(b"not you")
            return
        older = self.protocol.named.get(self.name)
        if older is not None:
            older.bye(b"taken over")
            self.events.append(Woke(older))
        session = LineSession(self.protocol, self.name, decision, self.path, now)
        self.protocol.named[self.name] = session
        self.events.append(Handover(session, self.path, self.buffer))
        self.paused, self.closed = False, True

    def refuse(self, why: bytes) -> None:
        if not self.closed:
            self.out += [(b"BYE " + why + b"\n", self.path), (None, self.path)]
        self.paused, self.closed = False, True

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        return False

    def push(self, target: int | None, outbound: Outbound, now: float) -> int:
        self.events.append(Pushed(0, PushResult.REFUSED))
        return 0

    def eof(self, path: Path, now: float) -> None:
        self.closed = True

    def close(self, reason: str, now: float) -> None:
        self.refuse(reason.encode())

    def next_event(self) -> Event | None:
        return self.events.popleft() if self.events else None

    def data_to_send(self) -> Sequence[Sent]:
        out, self.out = self.out, []
        return out

    def next_timer(self) -> float | None:
        return None if self.name else self.deadline

    def handle_timer(self, now: float) -> None:
        if self.name is None and now >= self.deadline:
            self.refuse(b"too slow")


class LineSession(Session):
    """A device that was believed."""

    def __init__(self, protocol: Lines, name: str, decision: Decision, path: Path, now: float) -> None:
        self.id = protocol.session_id()
        self.device, self.identity = name, decision.identity
        self.protocol, self.path = protocol, path
        self.buffer = b""
        self.heard = now
        self.draining = False
        self.exchanges = self.pushes = 0
        self.open: deque[int] = deque()
        self.answers: dict[int, bytes] = {}
        self.unconfirmed: dict[int, float] = {}
        self.events: deque[Event] = deque((Opened(),))
        self.out: list[Sent] = []

    def receive(self, data: bytes, path: Path, now: float) -> None:
        self.heard = now
        self.buffer += data
        self.read()

    def read(self) -> None:
        """Lines, as long as the window has room; what is left waits here, and reading stops."""
        while b"\n" in self.buffer and not self.closed and len(self.open) < self.protocol.settings.window:
            line, self.buffer = self.buffer.split(b"\n", 1)
            self.line(line)
        self.paused = len(self.open) >= self.protocol.settings.window
        if len(self.buffer) > MAX_LINE and not self.paused:
            self.bye(b"too long")

    def line(self, line: bytes) -> None:
        if line[:1] == b"+" and line[1:6].isdigit():
            if self.unconfirmed.pop(int(line[1:6]), None) is not None:
                self.events.append(Pushed(int(line[1:6]), PushResult.DELIVERED))
        elif line[:4] == b"SAY " and not self.draining:
            self.exchanges += 1
            self.open.append(self.exchanges)
            self.events.append(Inbound(self.exchanges, "toy.line", self.device, {}, "text/plain", line[4:]))
        else:
            self.protocol.counters["ignored"] += 1

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        if exchange not in self.open or exchange in self.answers:
            return False
        if reply.outcome is not Outcome.PENDING:
            said = b"OK " + reply.data.replace(b"\n", b" ") if reply.outcome is Outcome.ACCEPTED else b"NO"
            self.answers[exchange] = said
            while self.open and self.open[0] in self.answers:  # in the order in which they were asked
                self.out.append((self.answers.pop(self.open.popleft()) + b"\n", self.path))
            self.read()
        return True

    def push(self, target: int | None, outbound: Outbound, now: float) -> int:
        self.pushes += 1
        self.unconfirmed[self.pushes] = now + self.protocol.settings.patience
        self.out.append((b"!%d %s\n" % (self.pushes, outbound.data.replace(b"\n", b" ")), self.path))
        return self.pushes

    def bye(self, why: bytes) -> None:
        if self.closed:
            return
        self.out += [(b"BYE " + why + b"\n", self.path), (None, self.path)]
        self.end()

    def end(self) -> None:
        self.closed, self.paused = True, False
        self.open.clear()
        self.events.extend(Pushed(push, PushResult.GONE) for push in self.unconfirmed)
        self.unconfirmed.clear()
        if self.device is not None and self.protocol.named.get(self.device) is self:
            del self.protocol.named[self.device]

    def eof(self, path: Path, now: float) -> None:
        self.end()

    def close(self, reason: str, now: float) -> None:
        self.bye(reason.encode())

    def drain(self, now: float) -> None:
        self.draining = True

    def next_event(self) -> Event | None:
        return self.events.popleft() if self.events else None

    def data_to_send(self) -> Sequence[Sent]:
        out, self.out = self.out, []
        return out

    def next_timer(self) -> float:
        return min([self.heard + self.protocol.settings.idle, *self.unconfirmed.values()])

    def handle_timer(self, now: float) -> None:
        for push in [push for push, due in self.unconfirmed.items() if now >= due]:
            del self.unconfirmed[push]
            self.events.append(Pushed(push, PushResult.GONE))
        if now >= self.heard + self.protocol.settings.idle:
            self.bye(b"idle")
