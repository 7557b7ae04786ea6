"""A device's side of a `World`: its address, its messages one after another, its connections."""

import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thinbridge.protocols.base import LISTENER, Path, Transport
from thinbridge.testing import ledger
from thinbridge.testing.ledger import Heard
from thinbridge.testing.network import Pipe

if typing.TYPE_CHECKING:
    from thinbridge.testing.world import World

BEGIN = 1000.0
"""The time at which a world begins: a core that takes 0 for its start shows it."""


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


class Host:
    """A device's side: one address, its messages one after another."""

    def __init__(self, world: "World", number: int, talk: Talk) -> None:
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
        self.world.call_at(self.world.now + self.talk.patience, lambda: self._give_up(count))
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
                self.world.call_at(self.world.now + self.talk.again, self._attempt)

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
            self.world.call_at(max(when, self.world.now + 0.001), lambda: self._timer(device))

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
        self.world.call_at(self.world.now + self.talk.gap, self.begin)


class Connection:
    """One TCP connection: a pipe each way."""

    def __init__(self, world: "World", host: Host, path: Path) -> None:
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
            self.world.call_at(when, call)

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
