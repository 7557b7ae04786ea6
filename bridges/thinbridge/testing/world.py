"""Devices, a protocol and a function, joined by a terrible network, in virtual time and from a seed.

`World` plays the network, the owner of sessions (`owner`), the bridge's delivery (`function`) and keeps the `ledger`;
`converse` is one whole conversation as one call. Hours pass in milliseconds, and a seed that fails always fails.
"""

import heapq
import itertools
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from thinbridge.protocols.base import (
    LISTENER,
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
    Session,
    Transport,
)
from thinbridge.testing import ledger
from thinbridge.testing.function import Call, Function
from thinbridge.testing.ledger import Heard, Ledger
from thinbridge.testing.network import CLEAN, Faults, Link, Pipe
from thinbridge.testing.owner import Owner, seeded

BEGIN = 1000.0
"""The time at which a world begins: a core that takes 0 for its start shows it."""

SETTLED = frozenset((Outcome.ACCEPTED, Outcome.REFUSED, Outcome.PENDING))
"""Outcomes after which nothing is to be delivered again."""

MAX_STEPS = 1_000_000
"""A world that takes more is a storm, such as retransmissions without end."""


class Device(typing.Protocol):
    """The shape of `thinbridge.device.base.Exchange`: one message and its answer."""

    @property
    def result(self) -> typing.Any:
        """None until it is over."""

    def start(self, now: float) -> None:
        """Begin."""

    def receive(self, data: bytes, now: float) -> None:
        """Take a datagram, or bytes of a stream."""

    def data_to_send(self) -> Sequence[bytes]:
        """What to send."""

    def next_timer(self) -> float | None:
        """When `handle_timer` is due."""

    def handle_timer(self, now: float) -> None:
        """Time has come."""


def judge(result: typing.Any) -> Heard:
    """What a `thinbridge.device.base.Result` says to the ledger."""
    return Heard(result.ok, True, result.data)


@dataclass(frozen=True, slots=True)
class Talk:
    """What a device has to say."""

    make: Callable[[bytes], Device]
    """A device for a payload; asked again for each new connection of the same message, may then return the same."""
    messages: int = 1
    """How many, one after another."""
    gap: float = 1.0
    """Seconds between one that is over and the next."""
    patience: float = 120.0
    """Seconds after which it waits for an answer no longer."""
    again: float = 1.0
    """Seconds until it connects again when its connection is cut (streams)."""
    follow: bool = False
    """It sends to the port that it last heard from (TFTP)."""
    fresh: bool = False
    """It takes a new source port for each message."""
    judge: Callable[[typing.Any], Heard] = judge


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

    def talk(self, make: Callable[[bytes], Device], **how: typing.Any) -> "Host":
        """Add a device; see `Talk` for its arguments."""
        host = Host(self, len(self.hosts), Talk(make, **how))
        self.hosts.append(host)
        self._at(self.now + self.random.random(), host.begin)
        return host

    def push(self, session: Session, outbound: Outbound, target: int | None = None) -> None:
        """Push to a session; its outcome is added to `pushed`."""
        self.owner.push(session, target, outbound, self.pushed.append, self.now)

    def at(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something so many seconds after the beginning."""
        self._at(BEGIN + seconds, call)

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

    def _at(self, when: float, call: Callable[[], None]) -> None:
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
            self._at(self.now, lambda: self.owner.authorized(session, decision, self.now))
        self.watch(session, event)

    def _deliver(self, session: Session, inbound: Inbound) -> None:
        message = self._identify(inbound)
        if message is not None:
            self.ledger.begun(message, inbound.repeat_key)
        call = self._function(inbound)

        def delivered() -> None:
            if message is not None:
                self.ledger.ended(message, inbound.repeat_key, call.accepted, call.reply.outcome in SETTLED)
            taken = self.owner.answer(session, inbound.exchange, call.reply, self.now)
            self.answered.append((inbound, call.reply.outcome, taken))

        self._at(self.now + call.after, delivered)

    # --- The network ------------------------------------------------------------------------------------------------

    def _sent(self, data: bytes | None, path: Path) -> None:
        """The bridge sends."""
        if self.protocol.transport is Transport.STREAM:
            connection = self._connections.get(path.socket)
            if connection is not None:
                connection.from_bridge(data)
        elif data is not None:
            for when, copy in self._links[1].carry(data, self.now):
                self._at(when, lambda copy=copy: self._to_host(copy, path))  # type: ignore[misc]

    def _to_host(self, data: bytes, path: Path) -> None:
        host = self._by_peer.get((path.peer[0], path.peer[1]))
        if host is not None:  # an address that was given up is nobody's
            host.receive(data, path.socket)

    def datagram(self, host: "Host", data: bytes) -> None:
        """A host sends a datagram."""
        if self._links[0].rebinds():
            self.rebind(host)
        self._by_peer[host.peer] = host
        path = Path(host.peer, self.local, host.to, False, self._verified)
        for when, copy in self._links[0].carry(data, self.now):
            self._at(when, lambda copy=copy: self.owner.datagram(copy, path, self.now))  # type: ignore[misc]

    def rebind(self, host: "Host") -> None:
        """A host gets a new source port; what is sent to the old one is lost."""
        self._by_peer.pop(host.peer, None)
        host.peer = host.peer[0], host.peer[1] + 1

    def connect(self, host: "Host") -> "Connection":
        """A host makes a connection."""
        number = next(self._numbers)
        connection = Connection(self, host, Path(host.peer, self.local, number, False, True))
        self._connections[number] = connection
        return connection

    def disconnected(self, connection: "Connection") -> None:
        """A connection is over for both."""
        self._connections.pop(connection.path.socket, None)

    @property
    def local(self) -> tuple[str, int]:
        """The bridge's address."""
        return "192.0.2.1", self.protocol.port


class Host:
    """A device's side: one address, its messages one after another."""

    def __init__(self, world: World, number: int, talk: Talk) -> None:
        self.world = world
        self.number = number
        self.talk = talk
        self.peer = f"198.51.100.{number % 250}", 20_000 + number * 100
        self.to = LISTENER
        self.done = False
        """It has said all, and was answered, or gave up."""
        self.gave_up = 0
        """How many messages it waited for in vain."""
        self._device: Device | None = None
        self._connection: Connection | None = None
        self._message = b""
        self._count = 0
        self._waiting = False

    def begin(self) -> None:
        """The next message."""
        if self._count == self.talk.messages:
            self.done = True
            return
        self._count += 1
        self._message = ledger.label(self.number, self._count)
        self.world.ledger.sent.append(self._message)
        self._waiting = True
        if self.talk.fresh:
            self.world.rebind(self)
        self.to = LISTENER
        count = self._count
        self.world._at(self.world.now + self.talk.patience, lambda: self._give_up(count))
        self._attempt()

    def _attempt(self) -> None:
        if not self._waiting:
            return
        self._device = self.talk.make(b"message " + self._message)
        if self.world.protocol.transport is Transport.STREAM:
            self._connection = self.world.connect(self)
            if not self._connection.open():
                self.lost(self._connection)
                return
        self._device.start(self.world.now)
        self._service()

    def receive(self, data: bytes, socket: int = LISTENER) -> None:
        """Bytes arrived."""
        if self.talk.follow:
            self.to = socket
        if self._device is not None:
            self._device.receive(data, self.world.now)
            self._service()

    def lost(self, connection: "Connection") -> None:
        """Its connection is gone."""
        if connection is self._connection:
            self._connection = None
            if self._waiting:
                self.world._at(self.world.now + self.talk.again, self._attempt)

    def _service(self) -> None:
        device = self._device
        assert device is not None
        for data in device.data_to_send():
            if self._connection is not None:
                self._connection.from_device(data)
            elif self.world.protocol.transport is Transport.DATAGRAM:
                self.world.datagram(self, data)
        if device.result is not None and self._waiting:
            self._over(self.talk.judge(device.result))
        when = device.next_timer()
        if when is not None:
            self.world._at(max(when, self.world.now + 0.001), lambda: self._timer(device))

    def _timer(self, device: Device) -> None:
        when = device.next_timer()
        if device is self._device and when is not None and when <= self.world.now:
            device.handle_timer(self.world.now)
            self._service()

    def _give_up(self, count: int) -> None:
        if self._waiting and count == self._count:
            self.gave_up += 1
            self._over(Heard(False, told=False))

    def _over(self, heard: Heard) -> None:
        self._waiting = False
        self.world.ledger.heard(self._message, heard)
        if self._connection is not None:
            self._connection.from_device(None)
        self.world._at(self.world.now + self.talk.gap, self.begin)


class Connection:
    """One TCP connection: a pipe each way."""

    def __init__(self, world: World, host: Host, path: Path) -> None:
        self.world, self.host, self.path = world, host, path
        self._up = Pipe(world.up, world.random, BEGIN)
        self._down = Pipe(world.down, world.random, BEGIN)

    def open(self) -> bool:
        """Tell the bridge; False: refused."""
        return self.world.owner.connect(self.path, self.world.now)

    def from_device(self, data: bytes | None) -> None:
        """The device sends, or closes."""
        if data is None:
            self._up.close(self.world.now)
        else:
            self._up.write(data, self.world.now)
        self._arm(self._up, self._at_bridge)

    def from_bridge(self, data: bytes | None) -> None:
        """The bridge sends, or closes."""
        if data is None:
            self._down.close(self.world.now)
        else:
            self._down.write(data, self.world.now)
        self._arm(self._down, self._at_device)

    def _arm(self, pipe: Pipe, call: Callable[[], None]) -> None:
        when = pipe.when()
        if when is not None:
            self.world._at(when, call)

    def _at_bridge(self) -> None:
        data = self._up.read(self.world.now)
        if data:
            self.world.owner.stream(data, self.path, self.world.now)
        self._look(self._up, self._at_bridge)

    def _at_device(self) -> None:
        data = self._down.read(self.world.now)
        if data and self.host._connection is self:
            self.host.receive(data)
        self._look(self._down, self._at_device)

    def _look(self, pipe: Pipe, call: Callable[[], None]) -> None:
        if pipe.over:
            self.world.disconnected(self)
            self.world.owner.eof(self.path, self.world.now)
            self.host.lost(self)
        else:
            self._arm(pipe, call)


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
