"""An endpoint without sessions: a library drives it, as paho-mqtt or python-can will, in front of the real bridge.

The "library" is a bus: whoever is on it hears every frame. There is no peer to keep a session for, so the whole bus is
one, and it lives as long as the endpoint.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from tests.waiting import until

from thinbridge.bridge import Bridge
from thinbridge.delivery import Delivery
from thinbridge.protocols.base import (
    Endpoint,
    Event,
    Inbound,
    OnEvent,
    Outbound,
    Outcome,
    Path,
    PushResult,
    Reply,
    Sent,
    Session,
)
from thinbridge.routes import Destination, Route, Routes
from thinbridge.testing import Sink
from thinbridge.testing.function import Answer


class Bus:
    """The library: frames of (identifier, data), a callback for each, and its own idea of a full queue."""

    def __init__(self, room: int = 8) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self.room = room
        self.on_frame: Callable[[int, bytes], None] = lambda identifier, data: None

    def transmit(self, identifier: int, data: bytes) -> bool:
        """Put a frame on the bus; False: the controller's queue is full."""
        if len(self.frames) >= self.room:
            return False
        self.frames.append((identifier, data))
        return True


class BusSession(Session):
    """The bus. Its endpoint calls it directly: there are no bytes to take in or to hand out."""

    id = "b5"
    peer = "bus0"
    busy = True

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.open: deque[tuple[int, int]] = deque(maxlen=64)  # (exchange, identifier); the oldest are forgotten
        self.exchanges = 0

    def frame(self, identifier: int, data: bytes) -> Inbound:
        self.exchanges += 1
        self.open.append((self.exchanges, identifier))
        return Inbound(self.exchanges, "toy.frame", f"{identifier:x}", {}, None, data)

    def receive(self, data: bytes, path: Path, now: float) -> None:
        raise AssertionError("no shell drives it")

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        for one in self.open:
            if one[0] == exchange:
                if reply.outcome is not Outcome.PENDING:
                    self.open.remove(one)
                    if reply.outcome is Outcome.ACCEPTED and reply.data:
                        self.bus.transmit(one[1] + 1, reply.data)
                return True
        return False

    def close(self, reason: str, now: float) -> None:
        self.closed = True

    def next_event(self) -> Event | None:
        return None

    def data_to_send(self) -> Sequence[Sent]:
        return ()


class BusEndpoint(Endpoint):
    """The adapter."""

    name = "bus"
    url = "bus://bus0"
    protocol = "bus"

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.session = BusSession(bus)
        self.draining = False
        self.counted: dict[str, int] = {}

    async def open(self) -> None: ...

    def serve(self, on_event: OnEvent) -> None:
        def on_frame(identifier: int, data: bytes) -> None:
            if self.draining:
                self.counted["draining"] = self.counted.get("draining", 0) + 1
            else:
                on_event(self, self.session, self.session.frame(identifier, data))

        self.bus.on_frame = on_frame

    def answer(self, session: Session, exchange: int, reply: Reply) -> bool:
        return session.answer(exchange, reply, 0.0)

    def push(
        self, session: Session, target: int | None, outbound: Outbound, done: Callable[[PushResult], None]
    ) -> None:
        identifier = int(outbound.attributes.get("busid", "0"), 16)
        done(PushResult.DELIVERED if self.bus.transmit(identifier, outbound.data) else PushResult.BUSY)

    def drain(self) -> None:
        self.draining = True

    async def close(self) -> None:
        self.session.close("shutdown", 0.0)

    @property
    def sessions(self) -> int:
        return 0

    @property
    def counters(self) -> Mapping[str, int]:
        return self.counted


def bridge_of(bus: Bus, sink: Sink) -> Bridge:
    routes = Routes([], Route(sink=Destination(sink.url)))
    return Bridge([BusEndpoint(bus)], Delivery(), routes, replyto="http://bridge.example")


def test_frames_become_events_and_answers_become_frames() -> None:
    async def main() -> None:
        bus = Bus()
        async with Sink() as sink:
            bridge = bridge_of(bus, sink)
            await bridge.start()
            bus.on_frame(0x123, b"\1\2")
            await until(lambda: bus.frames)
            assert bus.frames == [(0x124, b"\1\2")]
            [posted] = sink.posted
            assert (posted.headers["ce-type"], posted.headers["ce-subject"]) == ("toy.frame", "123")
            assert await bridge.drain(1)
            bus.on_frame(0x123, b"late")
            assert bridge.endpoints[0].counters == {"draining": 1}
            await bridge.stop()
            assert len(sink.posted) == 1

    asyncio.run(main())


def test_pushes_reach_the_bus_and_say_when_it_is_full() -> None:
    async def main() -> None:
        bus = Bus(room=1)
        async with Sink(lambda posted: Answer(204)) as sink:
            bridge = bridge_of(bus, sink)
            await bridge.start()
            bus.on_frame(0x10, b"hello")
            await until(lambda: sink.accepted)
            token, exchange = sink.posted[0].headers["ce-replyto"].split("/")[-2:]
            outbound = Outbound(None, b"on", {"busid": "20"}, is_event=True)
            assert await bridge.post(token, int(exchange), outbound) is PushResult.DELIVERED
            assert bus.frames == [(0x20, b"on")]
            assert await bridge.post(token, int(exchange), outbound) is PushResult.BUSY
            await bridge.stop()

    asyncio.run(main())
