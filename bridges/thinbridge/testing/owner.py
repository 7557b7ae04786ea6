"""An owner of sessions in virtual time: does for a `Protocol` what a shell does, without sockets, and watches.

Used by `promises` directly and by `world` over a terrible network. The duties are those of `protocols.base`: after any
call into a session take its events, send its data, look at its timer and whether it is over. What a session does that
no session may is noted in `faults`.
"""

from collections.abc import Callable, Hashable
from random import Random

from thinbridge.protocols.base import (
    Closed,
    Decision,
    Entropy,
    Event,
    Handover,
    Inbound,
    Outbound,
    Path,
    Protocol,
    Pushed,
    PushResult,
    Reply,
    Session,
    Stateless,
    Transport,
    Woke,
)

RESOLUTION = 0.001
"""Seconds: a timer that is due at once waits so long, as in a shell."""

Report = Callable[[Session, Event | Closed], None]
"""Hears the events that the bridge would hear: Inbound, Opened, Authorize, Closed."""

Send = Callable[[bytes | None, Path], None]
"""Takes what goes out, in order; None: the path is closed."""


def seeded(seed: int) -> Entropy:
    """Chance from a seed, for a protocol's `entropy`."""
    return Random(seed).randbytes


class Owner:
    """The owner of a protocol's sessions.

    Args:
        protocol: the core; made with `seeded` entropy.
        report: hears events, as a bridge does.
        send: takes bytes that go out.
        limit: how many sessions may live; past it the longest-silent one that is not busy is evicted.
    """

    def __init__(self, protocol: Protocol, report: Report, send: Send, limit: int = 100_000) -> None:
        self.protocol = protocol
        self.limit = limit
        self.faults: list[str] = []
        """What no session may do, in words; empty when all is well."""
        self._streams = protocol.transport is Transport.STREAM
        self.live: dict[Session, float | None] = {}
        """The sessions, each with the time its timer is due."""
        self._report = report
        self._send = send
        self._by_key: dict[Hashable, Session] = {}  # longest-silent first; streams: by the connection's number
        self._held: dict[int, tuple[Path, bytearray]] = {}  # what came for a session that is paused
        self._pushes: dict[tuple[Session, int], Callable[[PushResult], None]] = {}
        self._seen: dict[Session, set[int]] = {}  # the exchanges that each has had

    # --- In ---------------------------------------------------------------------------------------------------

    def datagram(self, data: bytes, path: Path, now: float) -> None:
        """A datagram came."""
        key = self.protocol.locate(data, path, now)
        if key is None:
            return
        if isinstance(key, Stateless):
            self._answer_stateless(key, path)
            return
        session = self._by_key.pop(key, None)
        if session is None:
            if self.protocol.draining or not self._room(now):
                self._answer_stateless(self.protocol.full(data, path, now), path)
                return
            session = self.protocol.open(key, path, now)
            self.live[session] = None
        self._by_key[key] = session
        session.receive(data, path, now)
        self._service(session, now)

    def connect(self, path: Path, now: float) -> bool:
        """A connection was made; False: refused."""
        if not self._room(now):
            return False
        session = self.protocol.open(path, path, now)
        self.live[session] = None
        self._by_key[path.socket] = session
        self._service(session, now)
        return True

    def stream(self, data: bytes, path: Path, now: float) -> None:
        """Bytes came by a connection; they wait while its session is paused."""
        session = self._by_key.get(path.socket)
        if session is None:
            return
        if session.paused:
            self._held.setdefault(path.socket, (path, bytearray()))[1].extend(data)
        else:
            session.receive(data, path, now)
            self._service(session, now)

    def eof(self, path: Path, now: float) -> None:
        """A connection is gone."""
        self._held.pop(path.socket, None)
        session = self._by_key.pop(path.socket, None)
        if session is not None:
            session.eof(path, now)
            self._service(session, now)

    def take(self, data: bytes, path: Path, now: float) -> None:
        """`datagram` or `stream`, whatever the protocol runs over."""
        if self._streams:
            self.stream(data, path, now)
        else:
            self.datagram(data, path, now)

    # --- From the bridge ----------------------------------------------------------------------------------------

    def answer(self, session: Session, exchange: int, reply: Reply, now: float) -> bool:
        """What `Endpoint.answer` does."""
        answered = session.answer(exchange, reply, now)
        self._service(session, now)
        return answered

    def push(
        self, session: Session, target: int | None, outbound: Outbound, done: Callable[[PushResult], None], now: float
    ) -> None:
        """What `Endpoint.push` does."""
        if session not in self.live:
            done(PushResult.GONE)
            return
        number = session.push(target, outbound, now)
        if not number:  # this protocol has no pushes
            done(PushResult.REFUSED)
            return
        if (session, number) in self._pushes:
            self.faults.append(f"push {number} has the number of one that is open")
        self._pushes[session, number] = done
        self._service(session, now)

    def authorized(self, session: Session, decision: Decision, now: float) -> None:
        """What `Endpoint.authorized` does."""
        session.authorized(decision, now)
        self._service(session, now)

    def publish(self, subject: str, outbound: Outbound, now: float) -> int:
        """Send to everyone who listens to a subject; how many sessions had something to say."""
        count = 0
        for session in self.protocol.publish(subject, outbound, now):
            self._service(session, now)
            count += 1
        return count

    def drain(self, now: float) -> None:
        """Take nothing new."""
        self.protocol.draining = True
        for session in list(self.live):
            session.drain(now)
            self._service(session, now)

    def close(self, now: float) -> None:
        """End every session."""
        for session in list(self.live):
            session.close("shutdown", now)
            if not session.closed:
                self.faults.append("a session that was closed is not closed")
            self._service(session, now)

    # --- Time ---------------------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When the first timer is due."""
        return min((when for when in self.live.values() if when is not None), default=None)

    def handle_timers(self, now: float) -> None:
        """Serve all timers that are due."""
        for session in [session for session, when in self.live.items() if when is not None and when <= now]:
            if session in self.live:
                session.handle_timer(now)
                self._service(session, now)

    # --- The duties -----------------------------------------------------------------------------------------------

    def _service(self, session: Session, now: float) -> None:
        while (event := session.next_event()) is not None:
            self._take(session, event, now)
        for data, path in session.data_to_send():
            self._send(data, path)
            if data is None and self._streams:
                self._by_key.pop(path.socket, None)
        if session.data_to_send() or session.next_event() is not None:
            self.faults.append("draining twice is not idle")
        if session.closed:
            self._forget(session)
        elif session in self.live:
            when = session.next_timer()
            self.live[session] = None if when is None else max(when, now + RESOLUTION)
            if self._held:
                self._resume(session, now)

    def _take(self, session: Session, event: Event, now: float) -> None:
        if isinstance(event, Pushed):
            done = self._pushes.pop((session, event.push), None)
            if done is None:
                self.faults.append(f"an outcome for push {event.push}, which has had one or never was")
            else:
                done(event.result)
        elif isinstance(event, Handover):
            self._hand_over(event, now)
        elif isinstance(event, Woke):
            self._service(event.session, now)
        else:
            if isinstance(event, Inbound):
                self._number(session, event.exchange)
            self._report(session, event)

    def _number(self, session: Session, exchange: int) -> None:
        """Exchange numbers are never used twice within a session."""
        seen = self._seen.setdefault(session, set())
        if exchange in seen:
            self.faults.append(f"exchange {exchange} was used twice")
        seen.add(exchange)

    def _hand_over(self, event: Handover, now: float) -> None:
        self.live.setdefault(event.session, None)
        if event.path.socket in self._by_key:
            self._by_key[event.path.socket] = event.session
            if event.rest:
                event.session.receive(event.rest, event.path, now)
        else:  # it went in the meantime
            event.session.eof(event.path, now)
        self._service(event.session, now)

    def _resume(self, session: Session, now: float) -> None:
        """Hand on what was held back for a session that reads again."""
        for number in [number for number in self._held if self._by_key.get(number) is session]:
            if not session.paused:
                path, data = self._held.pop(number)
                session.receive(bytes(data), path, now)
                self._service(session, now)

    def _forget(self, session: Session) -> None:
        if session not in self.live:
            return
        del self.live[session]
        self._seen.pop(session, None)
        for key in [key for key, one in self._by_key.items() if one is session]:
            del self._by_key[key]
            if self._streams:
                self._send(None, Path((), (), key if isinstance(key, int) else 0))
        for waiting in [waiting for waiting in self._pushes if waiting[0] is session]:
            self._pushes.pop(waiting)(PushResult.GONE)
        self._report(session, Closed())

    def _room(self, now: float) -> bool:
        if len(self.live) < self.limit:
            return True
        for session in list(self._by_key.values()):
            if not session.busy:
                session.close("evicted", now)
                self._service(session, now)
                return True
        return False

    def _answer_stateless(self, answer: Stateless | None, path: Path) -> None:
        if answer is not None and answer.data:
            self._send(answer.data, path)
