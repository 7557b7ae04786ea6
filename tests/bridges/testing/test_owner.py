"""The duties of an owner that conversations seldom need: stateless answers, a full house, drains, publishing."""

from collections.abc import Hashable, Sequence

from tests.toys.reliable import Reliable, ReliableSession, ReliableSettings

from thinbridge.protocols.base import (
    Closed,
    Event,
    Inbound,
    Outbound,
    Outcome,
    Path,
    PushResult,
    Reply,
    Session,
    Stateless,
)
from thinbridge.testing import Owner, seeded


class Public(Reliable):
    """Answers pings without a session, says when it is full, publishes to everybody."""

    session_type = ReliableSession

    def __init__(self) -> None:
        super().__init__(ReliableSettings(), seeded(1))
        self.everybody: list[ReliableSession] = []

    def locate(self, data: bytes, path: Path, now: float) -> Hashable | Stateless | None:
        return Stateless(b"pong") if data == b"ping" else super().locate(data, path, now)

    def open(self, key: Hashable, path: Path, now: float) -> ReliableSession:
        self.everybody.append(super().open(key, path, now))
        return self.everybody[-1]

    def full(self, data: bytes, path: Path, now: float) -> Stateless | None:
        return Stateless(b"full")

    def publish(self, subject: str, outbound: Outbound, now: float) -> Sequence[Session]:
        for session in self.everybody:
            session.send(outbound.data)
        return self.everybody


class Table:
    def __init__(self, limit: int = 2) -> None:
        self.protocol = Public()
        self.events: list[tuple[Session, Event | Closed]] = []
        self.sent: list[bytes | None] = []
        self.owner = Owner(self.protocol, self._reported, lambda data, path: self.sent.append(data), limit)

    def _reported(self, session: Session, event: Event | Closed) -> None:
        self.events.append((session, event))

    def hear(self, data: bytes, port: int = 1) -> None:
        self.owner.take(data, Path(("198.51.100.7", port), (), 0, False, True), 1.0)

    def answer_all(self) -> None:
        for session, event in list(self.events):
            if isinstance(event, Inbound):
                self.owner.answer(session, event.exchange, Reply(Outcome.ACCEPTED), 1.0)


def test_a_stateless_answer_opens_nothing() -> None:
    table = Table()
    table.hear(b"ping")
    table.hear(b"noise")
    assert table.sent == [b"pong"]
    assert not table.owner.live


def test_a_full_house_of_busy_sessions_refuses() -> None:
    table = Table()
    for port in (1, 2, 3):
        table.hear(b"Q\0\1hello", port)
    assert len(table.owner.live) == 2
    assert table.sent == [b"full"]


def test_a_full_house_evicts_the_longest_silent_that_is_not_busy() -> None:
    table = Table()
    for port in (1, 2):
        table.hear(b"Q\0\1hello", port)
    table.answer_all()
    for port in (1, 2, 1):  # acknowledged: nobody is busy; port 1 was heard last
        table.hear(b"A\0\1", port)
    table.hear(b"Q\0\1hello", 3)
    evicted = [session for session, event in table.events if isinstance(event, Closed)]
    assert evicted == [table.protocol.everybody[1]]
    assert len(table.owner.live) == 2


def test_a_drain_opens_nothing_new() -> None:
    table = Table()
    table.hear(b"Q\0\1hello", 1)
    table.owner.drain(1.0)
    table.hear(b"Q\0\1hello", 2)
    assert table.sent == [b"full"]
    table.answer_all()
    assert table.sent[1:] == [b"R\0\1"]


def test_publish_reaches_all_who_listen() -> None:
    table = Table()
    for port in (1, 2):
        table.hear(b"Q\0\1hello", port)
    assert table.owner.publish("news", Outbound(None, b"news"), 1.0) == 2
    assert table.sent == [b"news"] * 2


def test_a_push_to_one_who_is_gone_or_can_not_is_told_so() -> None:
    table = Table()
    table.hear(b"Q\0\1hello")
    [session] = table.owner.live
    table.owner.close(1.0)
    outcomes: list[PushResult] = []
    table.owner.push(session, None, Outbound(), outcomes.append, 1.0)
    assert outcomes == [PushResult.GONE]


class Mute(ReliableSession):
    push = Session.push


def test_a_protocol_without_pushes_refuses_them() -> None:
    table = Table()
    table.protocol.session_type = Mute  # type: ignore[misc]  # for this table only
    table.hear(b"Q\0\1hello")
    [session] = table.owner.live
    outcomes: list[PushResult] = []
    table.owner.push(session, None, Outbound(), outcomes.append, 1.0)
    assert outcomes == [PushResult.REFUSED]


class Sloppy(ReliableSession):
    """Gives two messages the same number."""

    def asked(self, message: bytes, payload: bytes) -> None:
        self.exchanges = 0
        super().asked(message, payload)


def test_an_exchange_number_that_is_used_twice_is_a_fault() -> None:
    table = Table()
    table.protocol.session_type = Sloppy  # type: ignore[misc]  # for this table only
    table.hear(b"Q\0\1hello")
    table.hear(b"Q\0\2hello")
    assert table.owner.faults == ["exchange 1 was used twice"]
