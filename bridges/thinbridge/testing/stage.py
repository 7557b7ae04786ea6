"""One device and one protocol, with everything that is said written down: where `promises` plays its scenes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from thinbridge import contract
from thinbridge.protocols.base import (
    LISTENER,
    Authorize,
    Closed,
    Decision,
    Event,
    Inbound,
    Outbound,
    Outcome,
    Path,
    Protocol,
    Reply,
    Session,
    Transport,
)
from thinbridge.testing.owner import Owner

FINAL = frozenset(Outcome) - {Outcome.PENDING}
"""The outcomes that end an exchange."""

HOUR = 3600.0
MAX_TIMERS = 2_000
"""Timers that one conversation may need in an hour; more is a storm."""

MAX_SENDS = 30
"""Datagrams or writes that a conversation may cause with nobody there to hear them: any back-off gives up before."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a device sends, and what is to come of it."""

    name: str
    sends: tuple[bytes, ...]
    """Datagrams, or pieces of a stream, one after another; the last one completes the last message."""
    messages: int = 1
    """How many `Inbound` it makes."""
    repeat: int | None = None
    """How many more when the last of `sends` is sent again: 0 where the protocol knows a repeat. None: not tried."""
    answers: frozenset[Outcome] = FINAL
    """Outcomes that give the device something to hear; empty for messages that nobody answers (QoS 0)."""
    stays: str = ""
    """Why its session may outlive the hour with nobody there (a Session Expiry Interval); empty: it may not."""
    push: Outbound | None = None
    """Something that can be pushed to the session afterwards; None: any push will do, and may be refused."""
    follow: bool = False
    """The device sends to the port that it last heard from (TFTP)."""
    proves: bool = False
    """What it sends proves its address (a handshake): it may hear more than three times as much."""


class Stage:
    """A protocol, its owner and one device's side, with everything that is said written down."""

    def __init__(self, protocol: Protocol, conversation: Conversation, verified: bool) -> None:
        self.protocol = protocol
        self.conversation = conversation
        self.now = 1000.0
        self.owner = Owner(protocol, self._reported, self._sent)
        self.inbounds: list[tuple[Session, Inbound]] = []
        self.sent: list[tuple[bytes | None, Path]] = []
        self.timers = 0
        self._asked: list[Session] = []
        self._streams = protocol.transport is Transport.STREAM
        peer = "198.51.100.7", 40_000
        self.path = Path(peer, ("192.0.2.1", protocol.port), 1 if self._streams else LISTENER, False, verified)

    def _reported(self, session: Session, event: Event | Closed) -> None:
        if isinstance(event, Inbound) and event.type not in contract.SESSION_TYPES:
            self.inbounds.append((session, event))
        elif isinstance(event, Authorize):
            self._asked.append(session)

    def _sent(self, data: bytes | None, path: Path) -> None:
        self.sent.append((data, path))
        if self.conversation.follow and data is not None:
            self.path = self.path._replace(socket=path.socket)

    @property
    def bytes_sent(self) -> int:
        """All that the device was sent."""
        return sum(len(data) for data, _ in self.sent if data is not None)

    def connect(self) -> None:
        """Make the connection, where there is one."""
        if self._streams:
            self.owner.connect(self.path, self.now)
            self._decide()

    def take(self, data: bytes) -> None:
        """The device sends."""
        self.owner.take(data, self.path, self.now)
        self._decide()

    def talk(self, sends: Sequence[bytes] | None = None) -> "Stage":
        """The device connects and says all."""
        self.connect()
        for data in self.conversation.sends if sends is None else sends:
            self.now += 0.01
            self.take(data)
        return self

    def eof(self) -> None:
        """The connection is gone."""
        if self._streams:
            self.owner.eof(self.path, self.now)

    def answer(self, index: int, reply: Reply) -> bool:
        """Answer one of the messages."""
        session, inbound = self.inbounds[index]
        return self.owner.answer(session, inbound.exchange, reply, self.now)

    def answer_all(self, reply: Reply) -> None:
        """Answer all messages that are there."""
        for index in range(len(self.inbounds)):
            self.answer(index, reply)

    def last_exchanges(self) -> Iterable[tuple[Session, int]]:
        """The sessions that live, each with the newest exchange it has."""
        newest = {session: inbound.exchange for session, inbound in self.inbounds}
        return [(session, newest.get(session, 0)) for session in self.owner.live]

    def wait(self, seconds: float = HOUR) -> Iterable[str]:
        """Let time pass; what is wrong with the timers."""
        end = self.now + seconds
        while (when := self.owner.next_timer()) is not None and when <= end:
            self.timers += 1
            if self.timers > MAX_TIMERS:
                yield f"timers never run out: {self.timers} in {self.now - end + seconds:.0f} s"
                break
            self.now = max(self.now, when)
            self.owner.handle_timers(self.now)
            self._decide()
        self.now = end

    def wait_for_the_end(self) -> Iterable[str]:
        """An hour passes with nobody there; what is wrong with it."""
        before = len(self.sent)
        yield from self.wait()
        if len(self.sent) - before > MAX_SENDS:
            yield f"{len(self.sent) - before} messages sent to nobody within the hour"
        if self.owner.live and not self.conversation.stays:
            yield "an abandoned session lives on after an hour, and does not say why"
        if any(session.unsettled for session in self.owner.live):
            yield "an answer still waits for its acknowledgement after an hour: a drain would never end"

    def _decide(self) -> None:
        while self._asked:
            self.owner.authorized(self._asked.pop(0), Decision(True), self.now)
