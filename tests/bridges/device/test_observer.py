"""The CoAP device that observes, against our own core in virtual time, and message by message."""

import pytest
from tests.bridges.protocols.coap.bench import STRANGER, Bench, reset

from thinbridge.device.base import Result
from thinbridge.device.observer import Observer
from thinbridge.protocols.base import Outbound, Outcome, Path, Reply
from thinbridge.protocols.coap.codec import Message, decode, encode, uint
from thinbridge.protocols.coap.codes import CONTENT, Option, Type
from thinbridge.testing import seeded

TEXT = "text/plain;charset=utf-8"
GRANT = Reply(Outcome.ACCEPTED, 200, TEXT, b"0", {"coapobserve": "true"})


class Scene:
    """A device that observes, and a bridge."""

    def __init__(self, path: Path | None = None, confirmable: bool = True, stay: float = 20.0) -> None:
        self.bench = Bench(path) if path else Bench()
        self.told: list[Result] = []
        self.device = Observer(
            "GET",
            "/a",
            stay=stay,
            patience=10.0,
            tell=self.told.append,
            entropy=seeded(1),
            confirmable=confirmable,
        )
        self.device.start(self.bench.now)
        self.answered = 0

    @property
    def states(self) -> list[bytes]:
        return [one.data for one in self.told]

    def flow(self, reply: Reply = GRANT) -> None:
        """Until both have nothing to say."""
        while out := self.device.data_to_send():
            for data in out:
                self.hear(self.bench.send(data))
            while self.answered < len(self.bench.messages):
                self.answered += 1
                self.hear(self.bench.answer(reply))

    def hear(self, messages: list[Message]) -> None:
        for message in messages:
            self.device.receive(encode(message), self.bench.now)

    def publish(self, data: bytes, **attributes: str) -> None:
        self.bench.owner.publish("a", Outbound(TEXT, data, attributes), self.bench.now)
        self.hear(self.bench.said())
        self.flow()

    def wait(self, seconds: float) -> None:
        end = self.bench.now + seconds
        while (due := self.device.next_timer()) is not None and due <= end and self.device.result is None:
            self.hear(self.bench.wait(max(0.0, due - self.bench.now)))
            self.device.handle_timer(self.bench.now)
            self.flow()
        self.hear(self.bench.wait(max(0.0, end - self.bench.now)))
        self.flow()


@pytest.mark.parametrize("path", [None, STRANGER], ids=["proven", "challenged"])
def test_it_tells_each_state_and_cancels(path: Path | None) -> None:
    scene = Scene(path)
    scene.flow()
    scene.publish(b"1")
    scene.wait(1)
    scene.publish(b"2" * 3000)
    assert scene.states == [b"0", b"1", b"2" * 3000]
    assert scene.told[0] == Result(True, "2.05", TEXT, b"0")
    assert scene.device.result is None
    scene.wait(20)
    assert scene.device.result == Result(True, "2.05, no longer observed")
    assert len(scene.bench.core.observers) == 0
    assert scene.states == [b"0", b"1", b"2" * 3000]


def test_a_state_that_comes_while_it_cancels() -> None:
    scene = Scene()
    scene.flow()
    scene.bench.now += 20
    scene.device.handle_timer(scene.bench.now)
    scene.publish(b"1")
    assert scene.states == [b"0", b"1"]
    assert scene.device.result == Result(True, "2.05, no longer observed")


def test_a_first_state_in_blocks() -> None:
    scene = Scene()
    scene.flow(GRANT._replace(data=bytes(2000)))
    assert scene.states == [bytes(2000)]
    scene.publish(b"1")
    assert scene.states[1:] == [b"1"]


def test_a_newer_state_while_it_fetches_the_blocks_of_an_older_one() -> None:
    scene = Scene()
    scene.flow()
    scene.bench.owner.publish("a", Outbound(TEXT, bytes(2000)), scene.bench.now)
    scene.hear(scene.bench.said())
    ack, fetch = scene.device.data_to_send()
    newer = scene.bench.send(ack)
    assert newer == []
    scene.publish(b"1")
    assert scene.states == [b"0", b"1"]
    scene.hear(scene.bench.send(fetch))
    scene.flow()
    assert scene.states == [b"0", b"1"]


def test_by_non() -> None:
    scene = Scene(confirmable=False)
    scene.flow()
    scene.publish(b"1")
    scene.wait(3)
    assert scene.states == [b"0", b"1"]
    scene.wait(30)
    assert scene.device.result == Result(True, "2.05, no longer observed")


def test_what_can_not_be_observed() -> None:
    scene = Scene()
    scene.flow(Reply(Outcome.ACCEPTED, 200, TEXT, b"x"))
    assert scene.device.result == Result(True, "2.05", TEXT, b"x")
    assert scene.told == []


def test_the_bridge_ends_it() -> None:
    scene = Scene()
    scene.flow()
    scene.publish(b"gone", coapcode="4.04")
    assert scene.device.result == Result(False, "4.04, ended", None, b"")


def test_nobody_answers() -> None:
    scene = Scene()
    scene.device.data_to_send()
    for _ in range(20):
        scene.device.handle_timer(scene.bench.now)
        scene.bench.now += 1
    assert scene.device.result == Result(False, "no answer")


def test_nobody_answers_when_it_cancels() -> None:
    scene = Scene()
    scene.flow()
    for _ in range(40):
        scene.bench.now += 1
        scene.device.handle_timer(scene.bench.now)
        scene.device.data_to_send()
    assert scene.device.result == Result(False, "no answer")


def test_old_and_repeated_notifications_and_other_things() -> None:
    scene = Scene()
    (request,) = scene.device.data_to_send()
    token = decode(request).token

    def hear(number: int, data: bytes, mid: int = 1) -> list[bytes]:
        message = Message(Type.CON, CONTENT, mid, token, [(Option.OBSERVE, uint(number))], data)
        scene.device.receive(encode(message), scene.bench.now)
        return scene.device.data_to_send()

    assert hear(5, b"a") == [bytes.fromhex("60000001")]
    assert hear(5, b"a") == [bytes.fromhex("60000001")]
    hear(3, b"old")
    hear(7, b"b")
    hear(0xFFFFFF, b"older still")
    assert scene.states == [b"a", b"b"]
    scene.bench.now += 129
    hear(3, b"c")
    scene.bench.now += 1
    hear(0x900000, b"d")
    hear(4, b"e")
    assert scene.states == [b"a", b"b", b"c", b"e"]
    scene.device.receive(b"\xff", scene.bench.now)
    scene.device.receive(encode(Message(Type.CON, CONTENT, 9, b"else")), scene.bench.now)
    assert [decode(data) for data in scene.device.data_to_send()] == [reset(9)]
