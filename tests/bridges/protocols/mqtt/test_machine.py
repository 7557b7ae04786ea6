"""A device and a bridge that do anything in any order: connect, publish, cut, come back, answer."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.bridges.protocols.mqtt.bench import Bench, Line

from thinbridge.device.mqtt import Client
from thinbridge.protocols.base import Outcome, Reply
from thinbridge.protocols.mqtt import properties
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.connect import V5, V311, Connect


class Machine(RuleBasedStateMachine):
    """One device that keeps what was not acknowledged, as MQTT clients do."""

    line: Line | None = None

    @initialize(
        version=st.sampled_from((V311, V5)), window=st.integers(1, 4), on_refused=st.sampled_from(("ack", "close"))
    )
    def begin(self, version: int, window: int, on_refused: str) -> None:
        self.bench = Bench(window=window, held=1, on_refused=on_refused)
        self.closes = version == V311 and on_refused == "close"
        values = {properties.SESSION_EXPIRY: 1000} if version == V5 else {}
        self.client = Client(Connect("dev", version, clean=False, properties=values))
        self.v5, self.window = version == V5, window
        self.sent: dict[int, bytes] = {}  # by packet identifier, not acknowledged
        self.accepted: set[bytes] = set()
        self.refused: set[bytes] = set()
        self.failed: set[bytes] = set()
        self.open: list[int] = []  # messages that were reported, by number
        self.seen = 0
        self.count = 0

    def exchange(self, size: int = 1000) -> None:
        """Bytes both ways until both are silent, in pieces of a size."""
        while self.line is not None:
            data = b"".join(self.client.data_to_send())
            for start in range(0, len(data), size):
                self.line.send(data[start : start + size])
            answer = self.line.raw()
            self.client.receive(answer, self.bench.now)
            self.acknowledge()
            if self.line.closed:
                self.line = None
            elif not data and not answer:
                return

    def acknowledge(self) -> None:
        for packet_id, reason in self.client.acknowledged:
            data = self.sent.pop(packet_id)
            assert data in (self.accepted if reason == 0 else self.refused) or not self.v5
            assert data in self.accepted or not self.closes, "a PUBACK for what was refused"
            assert data in self.accepted | self.refused, "a PUBACK without an answer"
        self.client.acknowledged.clear()
        for number in range(self.seen, len(self.bench.inbound)):
            self.open.append(number)
        self.seen = len(self.bench.inbound)

    @rule(size=st.sampled_from((1, 2, 7, 1000)))
    def connect(self, size: int) -> None:
        """Connect, also while it is connected (takeover)."""
        self.line = self.bench.line()
        self.client.connect(self.bench.now)
        self.exchange(size)

    @precondition(lambda self: self.line is not None)
    @rule(size=st.sampled_from((1, 3, 1000)))
    def publish(self, size: int) -> None:
        """Publish something new, within the Receive Maximum that MQTT 5 announced."""
        if self.v5 and len(self.sent) >= self.window:
            return
        self.count += 1
        data = b"%d" % self.count
        self.sent[self.client.publish(Publish("t", data, 1))] = data
        self.exchange(size)

    @precondition(lambda self: self.line is not None)
    @rule(cut=st.integers(0, 20))
    def publish_and_cut(self, cut: int) -> None:
        """The connection breaks inside a PUBLISH."""
        if self.v5 and len(self.sent) >= self.window:
            return
        assert self.line is not None
        self.count += 1
        data = b"%d" % self.count
        self.sent[self.client.publish(Publish("t", data, 1))] = data
        self.line.send(b"".join(self.client.data_to_send())[:cut])
        self.line.cut()
        self.line = None
        self.acknowledge()

    @precondition(lambda self: self.line is not None)
    @rule()
    def cut(self) -> None:
        """The connection breaks, and what the bridge had sent with it."""
        assert self.line is not None
        self.line.cut()
        self.line = None

    @precondition(lambda self: bool(self.open))
    @rule(which=st.integers(0, 100), outcome=st.sampled_from(tuple(Outcome)))
    def answer(self, which: int, outcome: Outcome) -> None:
        """Any open message gets any answer."""
        number = self.open[which % len(self.open)]
        data = self.bench.messages[number].data
        if outcome in (Outcome.ACCEPTED, Outcome.PENDING):
            self.accepted.add(data)
        elif outcome is Outcome.REFUSED and not self.closes:
            self.refused.add(data)
        else:
            self.failed.add(data)
        if outcome is not Outcome.PENDING:
            self.open.remove(number)
        self.bench.answer(number, Reply(outcome, 200))
        self.exchange()

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.bench.wait(seconds)

    @invariant()
    def one_use_is_one_message(self) -> None:
        """One Inbound per packet identifier use, but for those that were not accepted."""
        if not hasattr(self, "bench"):
            return
        keys: dict[bytes | None, bytes] = {}
        for inbound in self.bench.messages:
            known = keys.get(inbound.repeat_key)
            assert known is None or (known == inbound.data and known in self.failed)
            assert inbound.repeat_key is not None
            keys[inbound.repeat_key] = inbound.data
        self.bench.check()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
