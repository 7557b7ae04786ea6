"""A device and a bridge that do anything in any order: connect, publish at QoS 1 and 2, cut, come back, answer, push.

What QoS 2 promises while the Session lives is checked at each step: a message is accepted once, both ways.
"""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.bridges.protocols.mqtt.bench import Bench, Line, event

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
        self.unfinished: set[int] = set()  # QoS 2: acknowledged, no PUBCOMP yet
        self.done: dict[bytes, int] = {}  # how often each message was accepted
        self.pushed: set[bytes] = set()  # at QoS 2, taken by the bridge
        self.heard: list[bytes] = []
        self.subscribed = False

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
            if packet_id in self.client._released:
                self.unfinished.add(packet_id)
            assert data in (self.accepted if reason == 0 else self.refused) or not self.v5
            assert data in self.accepted or not self.closes, "a PUBACK for what was refused"
            assert data in self.accepted | self.refused, "a PUBACK without an answer"
        self.client.acknowledged.clear()
        self.unfinished.difference_update(self.client.completed)
        self.client.completed.clear()
        self.heard.extend(one.data for one in self.client.received)
        self.client.received.clear()
        for number in range(self.seen, len(self.bench.inbound)):
            self.open.append(number)
        self.seen = len(self.bench.inbound)

    @rule(size=st.sampled_from((1, 2, 7, 1000)))
    def connect(self, size: int) -> None:
        """Connect, also while it is connected (takeover)."""
        self.line = self.bench.line()
        self.client.connect(self.bench.now)
        self.exchange(size)
        if not self.subscribed and self.line is not None:
            self.client.subscribe(("push", 2))
            self.subscribed = True
            self.exchange(size)

    @property
    def full(self) -> bool:
        """MQTT 5 announced a Receive Maximum, and a QoS 2 message counts until its PUBCOMP."""
        return self.v5 and len(self.sent) + len(self.unfinished) >= self.window

    def send(self, qos: int) -> None:
        self.count += 1
        data = b"%d of QoS %d" % (self.count, qos)
        self.sent[self.client.publish(Publish("t", data, qos))] = data

    @precondition(lambda self: self.line is not None and not self.full)
    @rule(size=st.sampled_from((1, 3, 1000)), qos=st.sampled_from((1, 2)))
    def publish(self, size: int, qos: int) -> None:
        """Publish something new."""
        self.send(qos)
        self.exchange(size)

    @precondition(lambda self: self.line is not None and not self.full)
    @rule(cut=st.integers(0, 30), qos=st.sampled_from((1, 2)))
    def publish_and_cut(self, cut: int, qos: int) -> None:
        """The connection breaks inside a PUBLISH."""
        assert self.line is not None
        self.send(qos)
        self.line.send(b"".join(self.client.data_to_send())[:cut])
        self.line.cut()
        self.line = None
        self.acknowledge()

    @precondition(lambda self: self.line is not None)
    @rule()
    def cut(self) -> None:
        """The connection breaks, and what was on its way with it."""
        assert self.line is not None
        self.client.data_to_send()
        self.line.cut()
        self.line = None

    @precondition(lambda self: bool(self.open))
    @rule(which=st.integers(0, 100), outcome=st.sampled_from(tuple(Outcome)), cut=st.none() | st.integers(0, 6))
    def answer(self, which: int, outcome: Outcome, cut: int | None = None) -> None:
        """Any open message gets any answer; the connection may break inside what the bridge says about it."""
        number = self.open[which % len(self.open)]
        data = self.bench.messages[number].data
        if outcome is Outcome.ACCEPTED:
            self.done[data] = self.done.get(data, 0) + 1
        if outcome in (Outcome.ACCEPTED, Outcome.PENDING):
            self.accepted.add(data)
        elif outcome is Outcome.REFUSED and not self.closes:
            self.refused.add(data)
        else:
            self.failed.add(data)
        if outcome is not Outcome.PENDING:
            self.open.remove(number)
        self.bench.answer(number, Reply(outcome, 200))
        if cut is not None and self.line is not None:
            self.client.receive(self.line.raw()[:cut], self.bench.now)
            self.acknowledge()
            self.cut()
        self.exchange()

    @precondition(lambda self: self.subscribed)
    @rule(qos=st.sampled_from((1, 2)), cut=st.none() | st.integers(0, 20))
    def push(self, qos: int, cut: int | None) -> None:
        """A function sends something; the connection may break in the middle of it."""
        self.count += 1
        data = b"%d of QoS %d" % (self.count, qos)
        self.bench.push(event("push", data, mqttqos=str(qos)))
        if qos == 2:
            self.pushed.add(data)
        if cut is not None and self.line is not None:
            self.client.receive(self.line.raw()[:cut], self.bench.now)
            self.line.send(b"".join(self.client.data_to_send()))
            self.acknowledge()
            self.cut()
        self.exchange()

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.bench.wait(seconds)

    @invariant()
    def one_use_is_one_message(self) -> None:
        """One key per message, and at QoS 2 one Inbound, but for those that were not accepted."""
        if not hasattr(self, "bench"):
            return
        keys: dict[bytes | None, bytes] = {}
        uses: dict[bytes, bytes | None] = {}
        for inbound in self.bench.messages:
            if inbound.data.endswith(b"2") and inbound.data not in self.refused:  # MQTT-4.3.3-9, MQTT-4.3.3-10
                assert uses.setdefault(inbound.data, inbound.repeat_key) == inbound.repeat_key
            known = keys.get(inbound.repeat_key)
            assert known in (None, inbound.data)
            if known is not None and known.endswith(b"2"):  # at QoS 1 it may be its PUBACK that was lost
                assert known in self.failed | self.refused
            assert inbound.repeat_key is not None
            keys[inbound.repeat_key] = inbound.data
        self.bench.check()

    @invariant()
    def qos2_is_once(self) -> None:
        """Accepted once from the device, heard once by it."""
        if not hasattr(self, "bench"):
            return
        twice = [data for data, count in self.done.items() if count > 1 and data.endswith(b"2")]
        assert not twice, f"accepted twice: {twice}"
        heard = [data for data in self.heard if data.endswith(b"2")]
        assert len(heard) == len(set(heard)), "heard twice"
        assert set(heard) <= self.pushed

    def teardown(self) -> None:
        """When all is quiet, what was pushed at QoS 2 has been heard, and nothing is left to be finished."""
        if not getattr(self, "subscribed", False):
            return
        self.connect(1000)
        while self.open and self.line is not None:
            self.answer(0, Outcome.ACCEPTED)
        if self.line is None:
            return  # refused in a way that ends connections: 3.1.1
        assert self.pushed <= set(self.heard)
        assert not self.unfinished


pytestmark = pytest.mark.timeout(300)  # it steps thousands of times: more than a minute on a busy machine, measured
TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
