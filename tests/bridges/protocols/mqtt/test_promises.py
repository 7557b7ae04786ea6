"""What every session promises, and a network that splits, merges, delays and cuts."""

import pytest
from tests.bridges.protocols.mqtt.bench import event

from thinbridge.device.mqtt import Client
from thinbridge.protocols.base import Entropy, Inbound
from thinbridge.protocols.mqtt import MQTT, MQTTSettings, codec, connect, properties, subscribe
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.connect import V5, V311, Connect
from thinbridge.testing import Conversation, Faults, Function, Heard, World, check_protocol, seeded


def make(entropy: Entropy) -> MQTT:
    return MQTT(MQTTSettings(), entropy)


def hello(version: int = V5, **more: object) -> bytes:
    return connect.encode_connect(Connect("dev", version, keep_alive=60, **more))  # type: ignore[arg-type]


def publish(qos: int, v5: bool = True, **values: object) -> bytes:
    found = {getattr(properties, name): value for name, value in values.items()}
    return codec.encode_publish(Publish("a/b", b"21", qos, packet_id=qos, properties=found), v5)


RELEASE = codec.encode_ack(codec.PUBREL, 7, 0, True)
"""Of another message than the one that is open: its own may only follow its PUBREC."""

CONVERSATIONS = (
    Conversation("QoS 1", (hello(), publish(1))),
    Conversation("QoS 1, 3.1.1", (hello(V311), publish(1, False))),
    Conversation("QoS 2", (hello(), publish(2), RELEASE)),
    Conversation("QoS 2, 3.1.1", (hello(V311), publish(2, False))),
    Conversation("QoS 0", (hello(), publish(0)), answers=frozenset()),
    Conversation(
        "request",
        (
            hello(),
            subscribe.encode_subscribe(1, [("r", 1)], True),
            publish(1, RESPONSE_TOPIC="r", CORRELATION_DATA=b"c"),
        ),
        push=event("r", b"x"),
    ),
    Conversation(
        "persistent",
        (hello(clean=False, properties={properties.SESSION_EXPIRY: 7200}), publish(1)),
        stays="its Session Expiry Interval is two hours",
    ),
)


def test_promises() -> None:
    check_protocol(make, *CONVERSATIONS)


class Publisher:
    """A device with one persistent Session: a message at a time for the kit, and two more that nobody waits for."""

    def __init__(self, number: bytes, version: int) -> None:
        values = {properties.SESSION_EXPIRY: 7200} if version == V5 else {}
        self.client = Client(Connect(number.decode(), version, clean=False, keep_alive=10, properties=values))
        self.result: bool | None = None
        self.extra: dict[int, bytes] = {}
        self.acknowledged: list[bytes] = []
        self._data = b""
        self._packet_id = 0

    def ask(self, data: bytes) -> "Publisher":
        """For this message; again for it after a lost connection."""
        if data != self._data:
            self._data, self._packet_id, self.result = data, 0, None
        return self

    def start(self, now: float) -> None:
        self.client.connect(now)

    def receive(self, data: bytes, now: float) -> None:
        client = self.client
        client.receive(data, now)
        for packet_id, reason in client.acknowledged:
            if packet_id == self._packet_id:
                self.result = reason == 0
            elif packet_id in self.extra:
                assert reason == 0
                self.acknowledged.append(self.extra.pop(packet_id))
        client.acknowledged.clear()
        if client.connack == 0 and not self._packet_id:
            self._packet_id = client.publish(Publish("t", self._data, 1))
            for count in b"12":
                body = b"extra %c of %s" % (count, self._data.strip(b"<>"))
                self.extra[client.publish(Publish("t", body.replace(b"<", b"("), 1))] = body.replace(b"<", b"(")

    def data_to_send(self) -> list[bytes]:
        return self.client.data_to_send()

    def next_timer(self) -> float | None:
        return self.client.next_timer()

    def handle_timer(self, now: float) -> None:
        self.client.handle_timer(now)


ROUGH = Faults(delay=0.02, jitter=0.2, split=0.4, merge=0.3, cut=0.2)


def converse(seed: int, fail: float) -> tuple[World, Function]:
    function = Function(seed, latency=(0.0, 1.0), fail=fail, lose=fail / 3, patience=5.0)
    world = World(make(seeded(seed)), seed=seed, up=ROUGH, down=ROUGH, function=function)
    publishers: list[Publisher] = []
    for number in range(2):
        publisher = Publisher(b"dev%d" % number, V5 if (seed + number) % 2 else V311)
        publishers.append(publisher)
        world.talk(publisher.ask, messages=2, patience=7200.0, judge=lambda result: Heard(result))
    world.run(40_000.0)
    for publisher in publishers:  # what nobody waited for is held to the same
        for data in publisher.acknowledged:
            assert data in {inbound.data for inbound in function.calls}
    return world, function


@pytest.mark.parametrize("block", range(10))
def test_a_connection_that_is_split_merged_delayed_and_cut(block: int) -> None:
    deliveries = 0
    for seed in range(block * 50, block * 50 + 50):
        fail = 0.0 if seed % 2 else 0.3
        world, function = converse(seed, fail)
        faults = [*world.owner.faults, *world.ledger.faults()]
        if fail:  # a message that was not accepted is tried again under its own key
            faults = [fault for fault in faults if not fault.startswith("doubled")]
        assert not faults, f"seed {seed}: {faults}"
        assert not world.ledger.hidden, f"seed {seed}"
        assert len(world.ledger.acknowledged) == 4
        assert all(host.done for host in world.hosts)
        assert one_use_one_key(function.calls), f"seed {seed}"
        deliveries += len(function.calls)
    assert deliveries > 50 * 12 * 1.1  # cut and sent again: the network was as bad as it was meant to be


def one_use_one_key(calls: list[Inbound]) -> bool:
    """A key never stands for two messages."""
    seen: dict[bytes | None, bytes] = {}
    return all(seen.setdefault(inbound.repeat_key, inbound.data) == inbound.data for inbound in calls)
