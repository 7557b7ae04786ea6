"""Observing over a terrible network, in virtual time and from seeds; and whatever devices and functions do."""

import heapq
import itertools
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.bridges.protocols.coap.bench import DEVICE, STRANGER, Bench, ack, ask, reset

from thinbridge.protocols.base import Closed, Event, Inbound, Outbound, Outcome, Path, PushResult, Reply, Session
from thinbridge.protocols.coap import CoAP, CoAPSession, CoAPSettings
from thinbridge.protocols.coap.codec import Message, decode, encode, from_uint, uint
from thinbridge.protocols.coap.codes import GET, Option, Type
from thinbridge.protocols.coap.observation import Notification
from thinbridge.protocols.coap.observations import CONFIRMABLE
from thinbridge.protocols.coap.outgoing import ACK_TIMEOUT
from thinbridge.testing import Owner, seeded
from thinbridge.testing.network import Burst, Faults, Link

TEXT = "text/plain;charset=utf-8"


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
        self.newest: tuple[int, float] | None = None
        self.mid = 0

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
        self.results: list[PushResult] = []
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
            self.owner.push(session, 1, outbound, self.results.append, self.now)

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


MAX_AGE = 60.0
TERRIBLE = Faults(loss=0.2, burst=Burst(0.02, 0.3), delay=0.05, jitter=0.5, reorder=0.2, behind=2.0, duplicate=0.2)


@pytest.mark.parametrize("kind", [Type.CON, Type.NON], ids=["CON", "NON"])
@pytest.mark.parametrize("seed", range(12))
def test_the_order_never_turns_and_the_last_state_arrives(seed: int, kind: int) -> None:
    world = World(seed, TERRIBLE, kind)
    changes = 60
    for _ in range(changes):
        world.at(world.random.random() * 120, world.change)
    world.run(600)
    for watcher in world.watchers:
        assert watcher.values == sorted(watcher.values)
        assert watcher.values[-1] == changes
        assert len(watcher.values) > 5
    assert not world.owner.faults
    assert len(world.core.observers) <= 2 * 3  # of each device one, and one that is being answered


def test_a_stranger_has_no_stream_sent_to_somebody_else() -> None:
    """T3: a registration with a forged address is challenged, and nothing follows."""
    bench = Bench(STRANGER)
    (challenge,) = bench.send(ask(1, (Option.OBSERVE, b""), code=GET))
    assert challenge.get(Option.OBSERVE) is None
    assert bench.bytes_out <= 3 * bench.bytes_in
    assert bench.owner.publish("", Outbound(TEXT, b"x"), bench.now) == 0
    assert bench.wait(100_000) == []
    assert not bench.messages


def test_another_replica_knows_nothing_of_it() -> None:
    """P25: its replica is gone; the next one resets what it can't know, and takes the device's registration."""
    first, second = Bench(), Bench()
    register = ask(1, (Option.OBSERVE, b""), code=GET)
    granted = Reply(Outcome.ACCEPTED, 200, TEXT, b"0", {"coapobserve": "true"})
    first.send(register)
    first.answer(granted)
    first.owner.publish("", Outbound(TEXT, b"1"), first.now)
    (notification,) = first.said()
    assert second.send(ack(notification.mid)) == []
    assert second.send(register) == []
    assert second.inbound.repeat_key == first.inbound.repeat_key
    results: list[PushResult] = []
    second.owner.push(second.session, 1, Outbound(TEXT, b"early"), results.append, second.now)
    assert [one.payload for one in second.answer(granted)] == [b"0", b"early"]
    assert results == [PushResult.QUEUED]


class Machine(RuleBasedStateMachine):
    """Devices and functions do what they like, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(observations=4, open_exchanges=4, confirm_every=3)
        self.unanswered: list[tuple[Session, int]] = []
        self.seen = 0
        self.cons: dict[int, bytes] = {}
        self.nons: list[int] = []
        self.sequence: dict[bytes, tuple[int, float]] = {}
        self.pushes = 0
        self.results: list[PushResult] = []
        self.mid = 0

    def take(self, said: list[Message]) -> None:
        """What the device hears."""
        for message in said:
            if message.type == Type.CON:
                self.cons[message.mid] = message.token
            elif message.type == Type.NON:
                self.nons.append(message.mid)
            number = message.get(Option.OBSERVE)
            if number is not None and message.type != Type.ACK:
                last = self.sequence.get(message.token)
                now = from_uint(number), self.bench.now
                assert last is None or now[0] == last[0] or fresher(last, now)
                self.sequence[message.token] = now
        for session, inbound in self.bench.messages[self.seen :]:
            self.unanswered.append((session, inbound.exchange))
        self.seen = len(self.bench.messages)

    @rule(
        token=st.sampled_from([b"a", b"b", b"c", b"d", b"e"]),
        kind=st.sampled_from([Type.CON, Type.NON]),
        observe=st.sampled_from([0, 0, 0, 1, 5]),
    )
    def request(self, token: bytes, kind: int, observe: int) -> None:
        self.mid += 1
        request = ask(self.mid, (Option.OBSERVE, uint(observe)), code=GET, token=token, type=kind, payload=b"")
        self.take(self.bench.send(request))

    @precondition(lambda self: self.unanswered)
    @rule(
        data=st.data(),
        outcome=st.sampled_from(
            [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.REFUSED, Outcome.UNKNOWN, Outcome.PENDING]
        ),
        grant=st.sampled_from(["true", "refresh", "false"]),
        age=st.sampled_from(["0", "3", "x"]),
    )
    def answer(self, data: st.DataObject, outcome: Outcome, grant: str, age: str) -> None:
        index = data.draw(st.integers(0, len(self.unanswered) - 1))
        session, exchange = self.unanswered[index]
        if outcome is not Outcome.PENDING:
            del self.unanswered[index]
        reply = Reply(outcome, 200, TEXT, b"x", {"coapobserve": grant, "coapmaxage": age})
        self.bench.owner.answer(session, exchange, reply, self.bench.now)
        self.take(self.bench.said())

    @rule(
        exchange=st.integers(0, 12),
        code=st.sampled_from(["2.05", "2.05", "2.05", "4.04"]),
        confirmable=st.sampled_from(["", *CONFIRMABLE]),
        content_type=st.sampled_from([TEXT, TEXT, None, "application/json"]),
    )
    def push(self, exchange: int, code: str, confirmable: str, content_type: str | None) -> None:
        outbound = Outbound(content_type, b"y", {"coapcode": code, "coapconfirmable": confirmable})
        if exchange == 0:
            self.bench.owner.publish("", outbound, self.bench.now)
        else:
            for session in list(self.bench.owner.live):
                self.pushes += 1
                self.bench.owner.push(session, exchange, outbound, self.results.append, self.bench.now)
        self.take(self.bench.said())

    @precondition(lambda self: self.cons)
    @rule(data=st.data(), known=st.booleans())
    def acknowledge(self, data: st.DataObject, known: bool) -> None:
        mid = data.draw(st.sampled_from(sorted(self.cons)))
        self.take(self.bench.send(ack(mid) if known else reset(mid)))

    @precondition(lambda self: self.nons)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        self.take(self.bench.send(reset(data.draw(st.sampled_from(self.nons)))))

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 30.0, 300.0, 90_000.0]))
    def wait(self, seconds: float) -> None:
        self.take(self.bench.wait(seconds))

    @invariant()
    def each_push_has_at_most_one_outcome(self) -> None:
        assert not self.bench.owner.faults
        assert len(self.results) <= self.pushes

    @invariant()
    def the_list_is_that_of_the_sessions(self) -> None:
        relations = [session._observations for session in self.bench.owner.live]  # type: ignore[attr-defined]
        assert len(self.bench.core.observers) == sum(len(one) for one in relations if one is not None)
        assert all(one is None or len(one) <= 8 for one in relations)  # 4, and their successors

    @invariant()
    def one_con_for_each_observation(self) -> None:
        for session in self.bench.owner.live:
            assert isinstance(session, CoAPSession)
            sent = [one.observation for one in session._outgoing.open.values() if isinstance(one, Notification)]
            assert len(sent) == len(set(sent))

    def teardown(self) -> None:
        """All is over at last, and nothing is left."""
        for session, exchange in self.unanswered:
            self.bench.owner.answer(session, exchange, Reply(Outcome.UNKNOWN), self.bench.now)
        self.bench.owner.publish("", Outbound(TEXT, b"", {"coapcode": "4.04"}), self.bench.now)
        self.bench.wait(1000)
        assert len(self.bench.core.observers) == 0
        assert len(self.results) == self.pushes
        assert not self.bench.owner.live


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
