"""Devices, a protocol and a function, joined by a terrible network, in virtual time and from a seed.

`World` plays the network, the owner of sessions (`owner`), the bridge's delivery (`function`) and keeps the `ledger`;
`converse` is one whole conversation as one call. Hours pass in milliseconds, and a seed that fails always fails.
"""

import heapq
import itertools
import typing
from collections.abc import Callable
from functools import partial
from random import Random

from thinbridge import contract
from thinbridge.protocols.base import (
    Authorize,
    Closed,
    Decision,
    Entropy,
    Event,
    Inbound,
    Outbound,
    Outcome,
    Path,
    Protocol,
    PushResult,
    Reply,
    Session,
    Transport,
)
from thinbridge.testing import ledger
from thinbridge.testing.function import Call, Function
from thinbridge.testing.host import BEGIN, Connection, Device, Host, Talk
from thinbridge.testing.ledger import Ledger
from thinbridge.testing.network import CLEAN, Faults, Link
from thinbridge.testing.owner import Owner, seeded

SETTLED = frozenset((Outcome.ACCEPTED, Outcome.REFUSED, Outcome.PENDING))
"""Outcomes after which nothing is to be delivered again."""

MAX_STEPS = 1_000_000
"""A world that takes more is a storm, such as retransmissions without end."""


class World:
    """A small world of its own.

    Args:
        protocol: the core, made with `seeded` entropy.
        seed: where all chance comes from.
        up: faults from the devices to the bridge.
        down: faults on the way back.
        function: what messages are delivered to: anything that turns an Inbound into a `Call`.
        verified: whether the devices' addresses count as proven (datagrams).
        authorize: decides when a session asks; allows all if not given.
        identify: finds a message's id; looks into its payload if not given.
    """

    def __init__(
        self,
        protocol: Protocol,
        *,
        seed: int = 0,
        up: Faults = CLEAN,
        down: Faults = CLEAN,
        function: Callable[[Inbound], Call] | None = None,
        verified: bool = True,
        authorize: Callable[[Authorize], Decision] = lambda _: Decision(True),
        identify: Callable[[Inbound], bytes | None] = lambda inbound: ledger.find(inbound.data),
    ) -> None:
        self.protocol = protocol
        self.random = Random(seed)
        self.up, self.down = up, down
        self.now = BEGIN
        self.ledger = Ledger()
        self.owner = Owner(protocol, self._reported, self._sent)
        self.watch: Callable[[Session, Event | Closed], None] = lambda session, event: None
        """Sees every event after the world has seen to it."""
        self.answered: list[tuple[Inbound, Outcome, bool]] = []
        """What each delivery came to, and whether the session took it; in order."""
        self.pushed: list[PushResult] = []
        """Outcomes of `push`, in order."""
        self.hosts: list[Host] = []
        self._function = function or Function(seed)
        self._verified = verified
        self._authorize = authorize
        self._identify = identify
        self._links = Link(up, self.random, BEGIN), Link(down, self.random, BEGIN)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._by_peer: dict[tuple[str, int], Host] = {}
        self._connections: dict[int, Connection] = {}
        self._numbers = itertools.count(1)

    # --- What tests do --------------------------------------------------------------------------------------------

    def talk(self, make: Callable[[bytes], Device], **how: typing.Any) -> Host:
        """Add a device; see `Talk` for its arguments."""
        host = Host(self, len(self.hosts), Talk(make, **how))
        self.hosts.append(host)
        self.call_at(self.now + self.random.random(), host.begin)
        return host

    def push(self, session: Session, outbound: Outbound, target: int | None = None) -> None:
        """Push to a session; its outcome is added to `pushed`."""
        self.owner.push(session, target, outbound, self.pushed.append, self.now)

    def at(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something so many seconds after the beginning."""
        self.call_at(BEGIN + seconds, call)

    def run(self, seconds: float = 3600.0) -> None:
        """Let time pass until nothing is left to happen, at most so long.

        Raises:
            AssertionError: so much happens that it will never end.
        """
        end = self.now + seconds
        for _ in range(MAX_STEPS):
            when = self._next()
            if when is None or when > end:
                self.now = end
                return
            self.now = max(self.now, when)
            self._step()
        raise AssertionError(f"a storm: {MAX_STEPS} things happened in {self.now - end + seconds:.0f} s")

    def check(self) -> None:
        """Judge what happened.

        Raises:
            AssertionError: what must never be has been; the message says what.
        """
        faults = [*self.owner.faults, *self.ledger.faults()]
        faults += [f"device {host.number} is not done" for host in self.hosts if not host.done]
        if faults:
            raise AssertionError("; ".join(faults))

    # --- Time -------------------------------------------------------------------------------------------------------

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        """Call something at a time of this world's clock."""
        heapq.heappush(self._agenda, (when, next(self._order), call))

    def _next(self) -> float | None:
        times = [self._agenda[0][0]] if self._agenda else []
        timer = self.owner.next_timer()
        if timer is not None:
            times.append(timer)
        return min(times, default=None)

    def _step(self) -> None:
        if self._agenda and self._agenda[0][0] <= self.now:
            heapq.heappop(self._agenda)[2]()
        else:
            self.owner.handle_timers(self.now)

    # --- The bridge -------------------------------------------------------------------------------------------------

    def _reported(self, session: Session, event: Event | Closed) -> None:
        if isinstance(event, Inbound):
            self._deliver(session, event)
        elif isinstance(event, Authorize):
            decision = self._authorize(event)
            self.call_at(self.now, lambda: self.owner.authorized(session, decision, self.now))
        self.watch(session, event)

    def _deliver(self, session: Session, inbound: Inbound) -> None:
        if inbound.type in contract.SESSION_TYPES:  # as a bridge does without a route that asks for them
            self.owner.answer(session, inbound.exchange, Reply(Outcome.ACCEPTED), self.now)
            return
        message = self._identify(inbound)
        if message is not None:
            self.ledger.begun(message, inbound.repeat_key)
        call = self._function(inbound)

        def delivered() -> None:
            if message is not None:
                settled = call.reply.outcome in SETTLED and not inbound.at_least_once  # its acknowledgement may be lost
                self.ledger.ended(message, inbound.repeat_key, call.accepted, settled)
            taken = self.owner.answer(session, inbound.exchange, call.reply, self.now)
            self.answered.append((inbound, call.reply.outcome, taken))

        self.call_at(self.now + call.after, delivered)

    # --- The network ------------------------------------------------------------------------------------------------

    def _sent(self, data: bytes | None, path: Path) -> None:
        """The bridge sends."""
        if self.protocol.transport is Transport.STREAM:
            connection = self._connections.get(path.socket)
            if connection is not None:
                connection.from_bridge(data)
        elif data is not None:
            for when, copy in self._links[1].carry(data, self.now):
                self.call_at(when, partial(self._to_host, copy, path))

    def _to_host(self, data: bytes, path: Path) -> None:
        host = self._by_peer.get((path.peer[0], path.peer[1]))
        if host is not None:  # an address that was given up is nobody's
            host.receive(data, path.socket)

    def _to_bridge(self, data: bytes, path: Path) -> None:
        self.owner.datagram(data, path, self.now)

    def datagram(self, host: Host, data: bytes) -> None:
        """A host sends a datagram."""
        if self._links[0].rebinds():
            self.rebind(host)
        self._by_peer[host.peer] = host
        path = Path(host.peer, self.local, host.to, False, self._verified)
        for when, copy in self._links[0].carry(data, self.now):
            self.call_at(when, partial(self._to_bridge, copy, path))

    def rebind(self, host: Host) -> None:
        """A host gets a new source port; what is sent to the old one is lost."""
        self._by_peer.pop(host.peer, None)
        host.peer = host.peer[0], host.peer[1] + 1

    def connect(self, host: Host) -> Connection:
        """A host makes a connection."""
        number = next(self._numbers)
        connection = Connection(self, host, Path(host.peer, self.local, number, False, True))
        self._connections[number] = connection
        return connection

    def disconnected(self, connection: Connection) -> None:
        """A connection is over for both."""
        self._connections.pop(connection.path.socket, None)

    @property
    def local(self) -> tuple[str, int]:
        """The bridge's address."""
        return "192.0.2.1", self.protocol.port


def converse(
    make: Callable[[Entropy], Protocol],
    device: Callable[[bytes], Device],
    *,
    seed: int,
    devices: int = 3,
    seconds: float = 7200.0,
    world: dict[str, typing.Any] | None = None,
    **how: typing.Any,
) -> World:
    """One whole conversation: devices talk, the network and the function do their worst, everything runs out.

    Args:
        make: the protocol, from its entropy.
        device: makes a device for a payload.
        seed: where all chance comes from.
        devices: how many.
        seconds: how long it may last.
        world: arguments for `World`.
        how: arguments for `Talk`.

    Returns:
        The world, judged; look at its `ledger` for more.

    Raises:
        AssertionError: a promise was broken; the seed is in the message.
    """
    one = World(make(seeded(seed)), seed=seed, **(world or {}))
    for _ in range(devices):
        one.talk(device, **how)
    try:
        one.run(seconds)
        one.check()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    return one
