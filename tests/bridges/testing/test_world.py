"""The world: its clock, its calls, its judgement, and that a seed says everything."""

import pytest
from tests.toys.reliable import Asker, Reliable, ReliableSession, ReliableSettings

from thinbridge.protocols.base import Closed, Event, Inbound, Outbound, Outcome, PushResult, Reply, Session
from thinbridge.testing import Faults, Heard, World, seeded
from thinbridge.testing.function import Call
from thinbridge.testing.host import BEGIN


def judge(result: bytes) -> Heard:
    return Heard(not result.startswith(b"!"), True, result)


def asker(payload: bytes) -> Asker:
    return Asker(b"\0" + payload[-2:-1], payload)


def world(seed: int = 1, protocol: type[Reliable] = Reliable, **more: object) -> World:
    return World(protocol(ReliableSettings(), seeded(seed)), seed=seed, **more)  # type: ignore[arg-type]


def test_the_same_seed_is_the_same_world() -> None:
    bad = Faults(loss=0.3, duplicate=0.3, jitter=1.0, reorder=0.3)

    def run(seed: int) -> list[object]:
        one = world(seed, up=bad, down=bad)
        for _ in range(3):
            one.talk(asker, messages=3, judge=judge)
        seen: list[object] = []
        one.watch = lambda session, event: seen.append((one.now, type(event)))
        one.run()
        return seen

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_things_happen_at_their_time_and_pushes_are_remembered() -> None:
    one = world()
    one.talk(asker, judge=judge)
    times: list[float] = []

    def push() -> None:
        times.append(one.now - BEGIN)
        [session] = one.owner.live
        one.push(session, Outbound(None, b"on"))

    one.at(20.0, push)
    one.run(30.0)
    assert times == [20.0]
    assert one.pushed == [PushResult.DELIVERED]  # the device acknowledges what it is sent
    assert one.now == BEGIN + 30
    one.run()
    one.check()
    assert not one.owner.live


def test_an_answer_that_is_late_is_answered_all_the_same() -> None:
    def slow(inbound: Inbound) -> Call:
        return Call(50.0, Reply(Outcome.ACCEPTED, 200, None, inbound.data), accepted=True)

    one = world(function=slow)
    one.talk(asker, judge=judge)
    one.run()
    one.check()
    assert [(outcome, taken) for _, outcome, taken in one.answered] == [(Outcome.ACCEPTED, True)]
    assert not one.ledger.hidden


def test_a_device_that_hears_nothing_gives_up() -> None:
    one = world(down=Faults(loss=1.0))
    host = one.talk(asker, patience=10.0, judge=judge)
    one.run()
    assert (host.done, host.gave_up) == (True, 1)
    assert one.ledger.hidden == set(one.ledger.sent)


def test_a_device_that_is_not_done_is_a_fault() -> None:
    one = world()
    one.talk(asker, messages=5, gap=100.0, judge=judge)
    one.run(50.0)
    with pytest.raises(AssertionError, match="device 0 is not done"):
        one.check()


class Chatter(ReliableSession):
    """Answers every acknowledgement, and what it sends is acknowledged."""

    def receive(self, data: bytes, path: object, now: float) -> None:
        super().receive(data, path, now)  # type: ignore[arg-type]
        self.send(b"P\0\0")


def test_a_storm_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thinbridge.testing.world.MAX_STEPS", 5_000)
    one = world(protocol=type("Planted", (Reliable,), {"session_type": Chatter}))
    one.talk(asker, judge=judge)
    with pytest.raises(AssertionError, match="a storm: 5000 things happened"):
        one.run()


def test_whoever_watches_sees_the_end() -> None:
    one = world()
    one.talk(asker, judge=judge)
    seen: list[Event | Closed] = []

    def watch(session: Session, event: Event | Closed) -> None:
        seen.append(event)

    one.watch = watch
    one.run()
    assert [type(event) for event in seen] == [Inbound, Closed]
