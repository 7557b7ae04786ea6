"""The owner of sessions: what a datagram shell and a stream shell have in common.

An owner does the same things after *any* call into a session: take its events, send its data, arm its timer, look
whether it is over. `_service` is that, once, for everybody.
"""

import asyncio
import os
import socket
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import islice

from thinbridge.errors import ListenError
from thinbridge.protocols.base import (
    Address,
    Closed,
    Decision,
    Endpoint,
    Handover,
    Inbound,
    Limits,
    OnEvent,
    Outbound,
    Path,
    Protocol,
    Pushed,
    PushResult,
    Reply,
    Resource,
    Session,
    Woke,
)
from thinbridge.shells.timers import WHEN, Timers

EVICTIONS = 256
"""How many of the idle sessions are looked up at a time: a dict finds its first only past all that have left it. (An
OrderedDict finds it at once, but each message would pay half a microsecond for that.)"""

SLICE = 16
"""Sessions that are serviced before the loop does something else: a millisecond or two. Half of what a turn of the loop
reads at most (32 datagrams: libuv's bound, and that of `pktinfo`): so what a round has devices say is read as it
comes, and does not fill the kernel's buffer, which would drop what others say, too."""

RESOLUTION = 0.001
"""Seconds; a timer that is due at once waits so long, so that a session can't keep the loop to itself."""


class Shell(Endpoint):
    """An `Endpoint` around a `Protocol`.

    Args:
        protocol: the sans-IO core.
        name: the endpoint's name.
        host: address to bind.
        port: port to bind; 0: any, `url` then has the one that was given.
        limits: what it may hold.
    """

    def __init__(self, protocol: Protocol, name: str, host: str, port: int, limits: Limits | None = None) -> None:
        self.core = protocol
        self.name = name
        self.protocol = protocol.name
        self.host, self.port = host, port
        self.limits = limits or Limits()
        self._live: dict[Session, None] = {}
        self._idle: dict[Session, None] = {}  # all that are not busy, the longest-silent first
        self._next: list[Session] = []  # the first of them, taken out; the last in here goes next
        self._pushes: dict[Session, dict[int, Callable[[PushResult], None]]] = {}
        self._timers = Timers(self._ring)
        self._on_event: OnEvent
        self._loop: asyncio.AbstractEventLoop
        self._trust: dict[str, bool] = {}

    # --- Endpoint ---------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:  # type: ignore[override]  # read-only here: it follows from the port
        """The listener's URL with the port that was really given."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.protocol}://{host}:{self.port}"

    @property
    def sessions(self) -> int:
        """How many are live."""
        return len(self._live)

    @property
    def settled(self) -> bool:
        """Whether no session waits for an acknowledgement of its answer."""
        return not any(session.unsettled for session in self._live)

    @property
    def counters(self) -> Mapping[str, int]:
        """The protocol's counters; the shell counts there too."""
        return self.core.counters

    def answer(self, session: Session, exchange: int, reply: Reply) -> bool:
        """Answer an exchange and send what that gives."""
        now = self._loop.time()
        answered = session.answer(exchange, reply, now)
        self._service(session, now)
        return answered

    def push(
        self, session: Session, target: int | None, outbound: Outbound, done: Callable[[PushResult], None]
    ) -> None:
        """Push to a session; `done` hears the outcome exactly once."""
        if session not in self._live:
            done(PushResult.GONE)
            return
        now = self._loop.time()
        push = session.push(target, outbound, now)
        if not push:
            done(PushResult.REFUSED)
            return
        self._pushes.setdefault(session, {})[push] = done
        self._service(session, now)

    def authorized(self, session: Session, decision: Decision) -> None:
        """Hand a decision to the session that asked."""
        now = self._loop.time()
        session.authorized(decision, now)
        self._service(session, now)

    def offer(self, resources: Sequence[Resource]) -> None:
        """What devices may ask for by name."""
        self.core.resources = resources

    async def publish(self, subject: str, outbound: Outbound) -> int:
        """Push to everyone who listens to `subject`, a slice at a time; how many there were."""
        count = 0
        for session in self.core.publish(subject, outbound, self._loop.time()):
            count += 1
            if session in self._live:
                self._service(session, self._loop.time())
            if not count % SLICE:
                await asyncio.sleep(0)
        return count

    def drain(self) -> None:
        """No new sessions, no new exchanges; what is open goes on."""
        self.core.draining = True
        now = self._loop.time()
        for session in list(self._live):
            session.drain(now)
            self._service(session, now)

    async def close(self) -> None:
        """End every session and free the port."""
        now = self._loop.time()
        for session in list(self._live):
            session.close("shutdown", now)
            self._service(session, now)
        self._timers.stop()
        await self._close_sockets()

    @abstractmethod
    async def _close_sockets(self) -> None: ...

    # --- An owner's duties ------------------------------------------------------------------------------------

    @abstractmethod
    def _send(self, session: Session | None, data: bytes | None, path: Path) -> None: ...

    def _service(self, session: Session, now: float) -> None:
        """Take events, send data, arm the timer, notice the end: after any call into a session."""
        while (event := session.next_event()) is not None:
            if isinstance(event, Inbound):
                self._on_event(self, session, event)
            elif isinstance(event, Pushed):
                self._pushed(session, event)
            elif isinstance(event, Handover):
                self._hand_over(session, event, now)
            elif isinstance(event, Woke):
                self._service(event.session, now)
            else:
                self._on_event(self, session, event)
        for data, path in session.data_to_send():
            self._send(session, data, path)
        if session.closed:
            self._forget(session)
            return
        if not session.busy:
            self._idle[session] = None  # at the end; if it is there already, it stays where it is
        self._flow(session)
        when = session.next_timer()
        if when is not None:
            armed = self._timers.armed.get(session)
            if armed is None or when < armed[WHEN]:  # a later timer waits for the armed one to come and look again
                self._timers.arm(session, max(now + RESOLUTION, when))  # in this order NaN, no time at all, is at once

    def _pushed(self, session: Session, event: Pushed) -> None:
        pushes = self._pushes.get(session, {})
        done = pushes.pop(event.push, None)
        if not pushes:
            self._pushes.pop(session, None)
        if done is not None:
            done(event.result)

    def _ring(self, session: Session, now: float) -> None:
        session.handle_timer(now)
        self._service(session, now)

    def _evict(self, now: float) -> bool:
        """Make room: the longest-silent goes whose end breaks no promise."""
        while self._next or self._idle:
            if not self._next:
                self._next = list(islice(self._idle, EVICTIONS))[::-1]
                for session in self._next:
                    del self._idle[session]
            session = self._next.pop()
            if session in self._live and session not in self._idle and not session.busy:  # as it was when it was idle
                self.core.counters["evicted"] += 1
                session.close("evicted", now)
                self._service(session, now)
                return True
        return False

    def _adopt(self, session: Session) -> None:
        """Own a new session."""
        self._live[session] = None

    def _hand_over(self, session: Session, event: Handover, now: float) -> None:
        """A path changes hands; only streams have that."""
        raise NotImplementedError(f"{type(self).__name__} has no paths to hand over")

    def _flow(self, session: Session) -> None:
        """Stop or go on reading as the session says; only streams can."""

    def _forget(self, session: Session) -> None:
        if session not in self._live:
            return
        del self._live[session]
        self._idle.pop(session, None)
        self._timers.disarm(session)
        for done in self._pushes.pop(session, {}).values():
            done(PushResult.GONE)
        self._on_event(self, session, Closed())

    def _trusts(self, host: str) -> bool:
        """Whether an address is taken as proven; remembered, since parsing one costs more than a message may."""
        known = self._trust.get(host)
        if known is None:
            if len(self._trust) >= 4096:  # spoofed sources must not grow it
                self._trust.clear()
            known = self._trust[host] = any(_plain(host) in network for network in self.limits.trusted)
        return known


def _plain(host: str) -> IPv4Address | IPv6Address:
    """An address without its zone, an IPv4-mapped one as IPv4."""
    address = ip_address(host.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def bind(kind: socket.SocketKind, url: str, host: str, port: int) -> socket.socket:
    """A non-blocking socket bound to an address.

    Raises:
        ListenError: the address can't be had; UDP too never shares a port silently.
    """
    try:
        family, _, proto, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
    except OSError:
        raise ListenError("listen", url, f"no such address: {host!r}; use one of this machine, or 0.0.0.0") from None
    sock = None
    try:
        sock = socket.socket(family, kind, proto)  # without `proto`, asyncio leaves Nagle on: 40 ms an answer
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT must not stop a restart
        if family == socket.AF_INET6:
            where = _plain(str(address[0]))  # `::` and IPv4-mapped addresses speak IPv4, too, whatever the system says
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, where.version == 6 and not where.is_unspecified)
        sock.setblocking(False)
        sock.bind(address)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise ListenError("listen", url, f"{os.strerror(error.errno or 0)}; choose another port or address") from None
    return sock


def local_address(sock: socket.socket) -> Address:
    """The address that a socket was really given."""
    address: Address = sock.getsockname()
    return address
