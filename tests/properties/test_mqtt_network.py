"""MQTT over a terrible network, 500 seeds in virtual time: bytes split, merged and delayed, connections cut anywhere.

Devices keep their Session and send again what was not acknowledged, as real ones do: the first at QoS 1, the second at
QoS 2. In the end every message is acknowledged, and nothing acknowledged is missing at the sink. At QoS 2, while the
bridge lives, a message is accepted once, and its answer heard once.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import pytest

from thinbridge.device.mqtt import Client
from thinbridge.protocols.base import Entropy, Outcome
from thinbridge.protocols.mqtt import MQTT, MQTTSettings, properties, reasons
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.connect import V5, V311, Connect
from thinbridge.testing import Faults, Function, Heard, World, seeded
from thinbridge.testing.ledger import find, label

SEEDS = 250  # of each version
DEVICES, MESSAGES, WINDOW = 2, 6, 3
TERRIBLE = Faults(split=0.5, merge=0.2, jitter=0.3, behind=0.5, cut=0.08)


def make(entropy: Entropy) -> MQTT:
    return MQTT(MQTTSettings(), entropy)


class Publisher:
    """A device that keeps its Session: publishes a few messages at a time until all are acknowledged."""

    result: str | None = None

    def __init__(self, world: World, number: int, version: int) -> None:
        self.ledger = world.ledger
        self.topic = f"answers/{number}"
        values = {properties.SESSION_EXPIRY: 3600} if version == V5 else {}
        self.client = Client(Connect(f"device-{number}", version, False, 30, properties=values))
        self.qos = number + 1
        self.replies: list[bytes] = []
        self.waiting = [label(100 + number, count) for count in range(MESSAGES)]
        self.open: dict[int, bytes] = {}
        self.subscribed = False

    def start(self, now: float) -> None:
        self.client.connect(now)

    def receive(self, data: bytes, now: float) -> None:
        self.client.receive(data, now)
        for packet_id, reason in self.client.acknowledged:
            message = self.open.pop(packet_id, None)
            if message is not None:  # None: the same PUBACK for a message that was sent twice
                self.ledger.heard(message, Heard(reason < reasons.FAILURE))
        self.client.acknowledged.clear()
        while self.client.received:
            self._answered(self.client.received.popleft())
        if self.client.connack == 0 and self.client.closed is None:
            self._go_on()

    def _answered(self, publish: Publish) -> None:
        asked, about = publish.properties.get(properties.CORRELATION_DATA), find(publish.data)
        assert isinstance(asked, bytes), "a 3.1.1 device names no Response Topic, so it hears no answers"
        assert about is not None
        self.ledger.replies.append((asked, about))
        self.replies.append(about)

    def _go_on(self) -> None:
        if not self.subscribed:
            self.client.subscribe((self.topic, self.qos))
            self.subscribed = True
        while self.waiting and len(self.open) < WINDOW:
            message = self.waiting.pop(0)
            self.ledger.sent.append(message)
            self.open[self.client.publish(self._publish(message))] = message
        if not self.waiting and not self.open and self.result is None:
            self.result = "all acknowledged"
            self.client.disconnect()

    def _publish(self, message: bytes) -> Publish:
        values: dict[int, object] = {}
        if self.client.hello.v5:
            values = {properties.RESPONSE_TOPIC: self.topic, properties.CORRELATION_DATA: message}
        return Publish("data", message, self.qos, properties=values)

    def data_to_send(self) -> Sequence[bytes]:
        return self.client.data_to_send()

    def next_timer(self) -> float | None:
        return None if self.result else self.client.next_timer()

    def handle_timer(self, now: float) -> None:
        self.client.handle_timer(now)


def told(result: str) -> Heard:
    """What the host itself notes: its messages are in the ledger already."""
    return Heard(False)


def worlds(version: int) -> Iterable[tuple[int, World, list[Publisher]]]:
    for seed in range(SEEDS):
        refuse = 0.1 if version == V5 else 0.0  # a 3.1.1 device hears of a refusal by a PUBACK, which says nothing else
        function = Function(seed, latency=(0, 4), fail=0.05, refuse=refuse, lose=0.02)
        world = World(make(seeded(seed)), seed=seed, up=TERRIBLE, down=TERRIBLE, function=function)
        publishers = [Publisher(world, number, version) for number in range(DEVICES)]
        for publisher in publishers:
            world.talk(lambda _, publisher=publisher: publisher, patience=20_000.0, judge=told)  # type: ignore[misc]
        world.run(30_000.0)
        yield seed, world, publishers


def check_qos2(seed: int, world: World, publisher: Publisher) -> None:
    """Once to the sink, once to the device."""
    accepted = Counter(
        inbound.data
        for inbound, outcome, _ in world.answered
        if inbound.attributes["mqttqos"] == "2" and outcome is Outcome.ACCEPTED
    )
    assert set(accepted.values()) <= {1}, f"seed {seed}: accepted twice"
    heard = Counter(publisher.replies)
    assert set(heard.values()) <= {1}, f"seed {seed}: an answer was heard twice"


@pytest.mark.parametrize("version", [V311, V5])
def test_everything_acknowledged_is_at_the_sink(version: int) -> None:
    messages = deliveries = replies = 0
    for seed, world, publishers in worlds(version):
        try:
            world.check()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        assert not world.ledger.hidden, f"seed {seed}: {world.ledger.hidden}"
        assert not world.ledger.unexpected, f"seed {seed}: {world.ledger.unexpected}"
        assert not any(host.gave_up for host in world.hosts), f"seed {seed}: a device never got through"
        assert len(world.answered) == len(world.ledger.started)
        check_qos2(seed, world, publishers[1])
        outcomes = {outcome for _, outcome, _ in world.answered}
        assert outcomes <= set(Outcome)
        messages += DEVICES * MESSAGES
        deliveries += len(world.ledger.started)
        replies += len(world.ledger.replies)
    assert messages < deliveries < 2 * messages, "repeats are few, and there are some"
    if version == V5:
        assert replies > 0.8 * messages
