"""Observing over a terrible network, in virtual time and from seeds; and whatever devices and functions do."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.bridges.protocols.coap.bench import STRANGER, Bench, ack, ask, reset
from tests.bridges.protocols.coap.watching import TEXT, World, fresher

from thinbridge.protocols.base import Outbound, Outcome, PushResult, Reply, Session
from thinbridge.protocols.coap import CoAPSession
from thinbridge.protocols.coap.codec import Message, from_uint, uint
from thinbridge.protocols.coap.codes import GET, Option, Type
from thinbridge.protocols.coap.observation import Notification
from thinbridge.protocols.coap.observations import CONFIRMABLE
from thinbridge.testing.network import Burst, Faults

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
