"""Devices that observe over a terrible network, in virtual time: what tests, and `make faults`, play."""

import heapq
import itertools
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

from tests.bridges.protocols.coap.bench import DEVICE, ack, ask

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
    peer_text,
)
from thinbridge.protocols.coap import CoAP, CoAPSession, CoAPSettings
from thinbridge.protocols.coap.codec import decode, encode, from_uint
from thinbridge.protocols.coap.codes import GET, Option, Type
from thinbridge.protocols.coap.outgoing import ACK_TIMEOUT
from thinbridge.testing import Owner, seeded
from thinbridge.testing.network import Faults, Link

TEXT: Final = "text/plain;charset=utf-8"
MAX_AGE: Final = 60.0
"""Seconds for which a response is fresh that does not say (RFC 7252 §5.10.5)."""


def fresher(old: tuple[int, float], new: tuple[int, float]) -> bool:
    """Whether a device takes a notification for newer (RFC 7641 §3.4)."""
    (v1, t1), (v2, t2) = old, new
    return (v1 < v2 and v2 - v1 < 1 << 23) or (v1 > v2 and v1 - v2 > 1 << 23) or t2 > t1 + 128


class Watcher:
    """A device that observes: it keeps the newest state, and registers anew when that goes stale (RFC 7641 §3.3.1)."""

    def __init__(self, world: "World", number: int, kind: int) -> None:
        self.world, self.kind = world, kind
        self.path = DEVICE._replace(peer=("192.0.2.7", number))
        self.values: list[int] = []
        """The states that it took for newer than the one it had, in order."""
        self.heard: set[int] = set()
        """All that arrived."""
        self.newest: tuple[int, float] | None = None
        self.mid = 0

    @property
    def observes(self) -> bool:
        """Whether it has the state that is the last."""
        return bool(self.values) and self.values[-1] == self.world.value

    def register(self) -> None:
        """Ask for it, again and again until there is an answer."""
        self.mid += 1
        self.attempt(encode(ask(self.mid, (Option.OBSERVE, b""), code=GET, token=b"t", type=self.kind, payload=b"")), 0)

    def attempt(self, request: bytes, tries: int) -> None:
        if self.newest is not None and self.world.now < self.newest[1] + MAX_AGE:
            self.world.at(MAX_AGE, self.register)
        elif tries < 5:
            self.world.up(request, self.path)
            self.world.at(ACK_TIMEOUT * 1.5 * 2**tries, lambda: self.attempt(request, tries + 1))
        else:
            self.register()

    def hear(self, data: bytes) -> None:
        message = decode(data)
        if not message.code:
            return
        if message.type == Type.CON:
            self.world.up(encode(ack(message.mid)), self.path)
        number = message.get(Option.OBSERVE)
        assert number is not None, message
        known = self.world.numbers.setdefault((self.path, from_uint(number)), message.payload)
        assert known == message.payload, "a number means one state"
        self.heard.add(int(message.payload))
        now = from_uint(number), self.world.now
        if self.newest is None or fresher(self.newest, now):
            self.newest = now
            self.values.append(int(message.payload))


class World:
    """Devices, a network and a bridge whose function grants what is asked for."""

    def __init__(self, seed: int, faults: Faults, kind: int, devices: int = 3) -> None:
        random = Random(seed)
        self.random = random
        self.now = 1000.0
        self.numbers: dict[tuple[Path, int], bytes] = {}
        self.results: list[tuple[Watcher, int, PushResult]] = []
        """What became of the states that were pushed to a device alone."""
        self.agenda: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.links = Link(faults, random, self.now), Link(faults, random, self.now)
        self.core = CoAP(CoAPSettings(), seeded(seed), "coap")
        self.owner = Owner(self.core, self.reported, self.down)
        self.value = 0
        self.watchers = [Watcher(self, number, kind) for number in range(devices)]
        for watcher in self.watchers:
            self.at(random.random(), watcher.register)

    def at(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self.agenda, (self.now + seconds, next(self.order), call))

    def reported(self, session: Session, event: Event | Closed) -> None:
        if isinstance(event, Inbound):
            value, exchange = b"%d" % self.value, event.exchange
            reply = Reply(Outcome.ACCEPTED, 200, TEXT, value, {"coapobserve": "true"})
            self.at(self.random.random() * 3, lambda: self.answer(session, exchange, reply))

    def answer(self, session: Session, exchange: int, reply: Reply) -> None:
        self.owner.answer(session, exchange, reply, self.now)

    def up(self, data: bytes, path: Path) -> None:
        for when, copy in self.links[0].carry(data, self.now):
            self.at(when - self.now, lambda copy=copy: self.owner.datagram(copy, path, self.now))  # type: ignore[misc]

    def down(self, data: bytes | None, path: Path) -> None:
        assert data is not None
        (watcher,) = [one for one in self.watchers if one.path.peer == path.peer]
        for when, copy in self.links[1].carry(data, self.now):
            self.at(when - self.now, lambda copy=copy: watcher.hear(copy))  # type: ignore[misc]

    def change(self) -> None:
        """The state changes, and everybody is told: by subject or each by its own address."""
        self.value += 1
        outbound = Outbound(TEXT, b"%d" % self.value)
        if self.random.random() < 0.7:
            self.owner.publish("", outbound, self.now)
            return
        for session in list(self.owner.live):
            assert isinstance(session, CoAPSession)
            [watcher] = [one for one in self.watchers if peer_text(one.path.peer) == session.peer]
            done = partial(self.pushed, watcher, self.value)
            self.owner.push(session, 1, outbound, done, self.now)

    def pushed(self, watcher: Watcher, value: int, result: PushResult) -> None:
        self.results.append((watcher, value, result))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            timer = self.owner.next_timer()
            when = min(self.agenda[0][0] if self.agenda else end, end if timer is None else timer)
            if when >= end:
                self.now = end
                return
            self.now = max(self.now, when)
            if self.agenda and self.agenda[0][0] <= self.now:
                heapq.heappop(self.agenda)[2]()
            else:
                self.owner.handle_timers(self.now)
