"""Takeover, authorisation that waits, pushes with an outcome, pausing: in virtual time and over the real shell."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.toys.lines import Lines, LineSession, LinesSettings
from tests.waiting import until

from thinbridge.protocols.base import (
    Authorize,
    Closed,
    Decision,
    Endpoint,
    Entropy,
    Event,
    Identity,
    Inbound,
    Opened,
    Outbound,
    Outcome,
    Path,
    PushResult,
    Reply,
    Session,
)
from thinbridge.shells.stream import StreamShell
from thinbridge.testing import Conversation, Faults, Function, Heard, Owner, check_protocol, converse, seeded
from thinbridge.testing.ledger import find

HELLO = b"HELLO pump secret\n"
FINAL = frozenset(Outcome) - {Outcome.PENDING}


def make(entropy: Entropy) -> Lines:
    return Lines(LinesSettings(), entropy)


def test_keeps_all_promises() -> None:
    check_protocol(
        make,
        Conversation("a message", (HELLO, b"SAY 21.5\n"), repeat=1, push=Outbound(None, b"on")),
        Conversation("more than the window", (HELLO, b"SAY 1\nSAY 2\n"), messages=2, answers=frozenset()),
        Conversation("nothing but hello", (HELLO,), messages=0, answers=frozenset()),
        Conversation("nobody", (b"GOODBYE\n",), messages=0),
    )


class Table:
    """An owner and what it saw; connections by number."""

    def __init__(self) -> None:
        self.events: list[tuple[Session, Event | Closed]] = []
        self.sent: list[tuple[bytes | None, int]] = []
        self.owner = Owner(make(seeded(1)), lambda session, event: self.events.append((session, event)), self._sent)
        self.now = 100.0

    def _sent(self, data: bytes | None, path: Path) -> None:
        self.sent.append((data, path.socket))

    @staticmethod
    def path(number: int) -> Path:
        return Path(("198.51.100.7", 4000 + number), (), number, False, True)

    def connect(self, number: int, data: bytes = HELLO) -> None:
        self.owner.connect(self.path(number), self.now)
        self.say(number, data)

    def say(self, number: int, data: bytes) -> None:
        self.owner.stream(data, self.path(number), self.now)

    def decide(self, decision: Decision | None = None) -> None:
        """Answer the newest question."""
        asked = [session for session, event in self.events if isinstance(event, Authorize)]
        self.owner.authorized(asked[-1], decision or Decision(True), self.now)

    def messages(self) -> list[tuple[Session, Inbound]]:
        return [(session, event) for session, event in self.events if isinstance(event, Inbound)]

    def answer(self, index: int, data: bytes = b"ok") -> bool:
        session, inbound = self.messages()[index]
        return self.owner.answer(session, inbound.exchange, Reply(Outcome.ACCEPTED, 200, None, data), self.now)


@contextmanager
def table() -> Iterator[Table]:
    one = Table()
    yield one
    assert not one.owner.faults


def test_authorisation_waits_and_nothing_is_read_meanwhile() -> None:
    with table() as one:
        one.connect(1, HELLO + b"SAY early\n")
        one.say(1, b"SAY later\n")
        assert [type(event) for _, event in one.events] == [Authorize]
        assert one.sent == []
        one.decide(Decision(True, Identity("user", "pump")))
        assert [inbound.data for _, inbound in one.messages()] == [b"early", b"later"]
        [session] = one.owner.live
        assert session.identity == Identity("user", "pump")


def test_who_is_not_allowed_is_told_and_closed() -> None:
    with table() as one:
        one.connect(1)
        one.decide(Decision(False))
        assert one.sent == [(b"BYE not you\n", 1), (None, 1)]
        assert not one.owner.live


def test_a_decision_for_one_who_left_changes_nothing() -> None:
    with table() as one:
        one.connect(1)
        one.owner.eof(one.path(1), one.now)
        one.decide()
        assert not one.owner.live
        assert one.sent == []


def test_takeover_ends_the_older_session() -> None:
    with table() as one:
        one.connect(1)
        one.decide()
        one.say(1, b"SAY first\n")
        one.connect(2)
        one.decide()
        assert one.sent == [(b"BYE taken over\n", 1), (None, 1)]
        [survivor] = one.owner.live
        assert sum(isinstance(event, Closed) for _, event in one.events) == 3  # the older one and both greetings
        assert not one.answer(0), "the older session's exchange is gone"
        one.say(2, b"SAY second\n")
        assert one.answer(1, b"yes")
        assert one.sent[-1] == (b"OK yes\n", 2)
        assert isinstance(survivor, LineSession)


def test_a_push_is_delivered_when_the_device_says_so() -> None:
    with table() as one:
        one.connect(1)
        one.decide()
        [session] = one.owner.live
        outcomes: list[PushResult] = []
        one.owner.push(session, None, Outbound(None, b"on"), outcomes.append, one.now)
        assert one.sent == [(b"!1 on\n", 1)]
        assert outcomes == []
        one.say(1, b"+1\n+1\n+9\n")
        assert outcomes == [PushResult.DELIVERED]


def test_a_push_is_gone_when_the_device_does_not_say_so_or_leaves() -> None:
    with table() as one:
        one.connect(1)
        one.decide()
        [session] = one.owner.live
        outcomes: list[PushResult] = []
        one.owner.push(session, None, Outbound(None, b"on"), outcomes.append, one.now)
        one.owner.handle_timers(one.now + 10)
        assert outcomes == [PushResult.GONE]
        one.owner.push(session, None, Outbound(None, b"off"), outcomes.append, one.now + 11)
        one.owner.eof(one.path(1), one.now + 12)
        one.owner.push(session, None, Outbound(None, b"off"), outcomes.append, one.now + 13)
        assert outcomes == [PushResult.GONE] * 3


def test_a_full_window_stops_reading_until_there_is_room() -> None:
    with table() as one:
        one.connect(1)
        one.decide()
        one.say(1, b"SAY a\nSAY b\nSAY c\n")
        one.say(1, b"SAY d\n")
        assert len(one.messages()) == 2
        assert one.answer(1, b"b")
        assert len(one.messages()) == 2, "answers keep their order, so there is no room yet"
        assert one.answer(0, b"a")
        assert one.sent == [(b"OK a\n", 1), (b"OK b\n", 1)]
        assert [inbound.data for _, inbound in one.messages()] == [b"a", b"b", b"c", b"d"]


# --- Over a terrible network, and over real sockets ----------------------------------------------------------------


class Speaker:
    """A device with one message; greets again on each new connection."""

    result: bytes | None = None

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.heard = b""
        self.out: list[bytes] = []

    def start(self, now: float) -> None:
        name = (find(self.payload) or b"").strip(b"<>").replace(b".", b"x")
        self.out = [b"HELLO " + name + b" secret\n", b"SAY " + self.payload + b"\n"]

    def receive(self, data: bytes, now: float) -> None:
        self.heard += data
        for line in self.heard.split(b"\n")[:-1]:
            if line.startswith((b"OK", b"NO")):
                self.result = line

    def data_to_send(self) -> Sequence[bytes]:
        out, self.out = self.out, []
        return out

    def next_timer(self) -> float | None:
        return None

    def handle_timer(self, now: float) -> None: ...


def judge(line: bytes) -> Heard:
    return Heard(line.startswith(b"OK"), True, line)


def test_connections_may_be_cut_at_any_byte() -> None:
    bad = Faults(split=0.5, merge=0.3, jitter=0.5, cut=0.1)
    for seed in range(100):
        setting: dict[str, Any] = {"up": bad, "down": bad, "function": Function(seed, latency=(0, 8), refuse=0.1)}
        world = converse(make, Speaker, seed=seed, messages=3, judge=judge, world=setting)
        assert not world.ledger.hidden
        assert not world.owner.live


def test_the_real_shell_takes_over_and_pauses() -> None:
    async def main() -> None:
        shell = StreamShell(make(os.urandom), "lines", "127.0.0.1", 0)
        seen: list[Event | Closed] = []

        def on_event(endpoint: Endpoint, session: Session, event: Event | Closed) -> None:
            seen.append(event)
            loop = asyncio.get_running_loop()
            if isinstance(event, Authorize):
                loop.call_later(0.01, endpoint.authorized, session, Decision(True))
            elif isinstance(event, Inbound):
                reply = Reply(Outcome.ACCEPTED, 200, None, event.data)
                loop.call_later(0.01, endpoint.answer, session, event.exchange, reply)

        await shell.open()
        shell.serve(on_event)
        reader, writer = await asyncio.open_connection("127.0.0.1", shell.port)
        said = [b"%d" % number for number in range(20)]
        writer.write(HELLO + b"".join(b"SAY " + one + b"\n" for one in said))
        for one in said:
            assert await asyncio.wait_for(reader.readline(), 5) == b"OK " + one + b"\n"
        other, second = await asyncio.open_connection("127.0.0.1", shell.port)
        second.write(HELLO)
        assert await asyncio.wait_for(reader.read(), 5) == b"BYE taken over\n"
        await until(lambda: sum(isinstance(event, Opened) for event in seen) == 2)
        assert shell.sessions == 1
        await shell.close()
        assert await asyncio.wait_for(other.read(), 5) == b"BYE shutdown\n"
        writer.close()
        second.close()

    asyncio.run(main())
