"""Clients that take each other's Session over and over."""

from thinbridge.protocols.mqtt import flaps
from thinbridge.protocols.mqtt.flaps import Flaps


def test_a_fight_ends() -> None:
    one = Flaps(2)
    assert [one.takeover("a", now) for now in (0.0, 1.0, 2.0, 3.0)] == [True, True, False, False]
    assert one.takeover("b", 3.0)
    assert one.takeover("a", 60.0)  # the first is a minute ago
    assert not one.takeover("a", 60.5)


def test_any_number_may_be_allowed() -> None:
    one = Flaps(0)
    assert all(one.takeover("a", 0.0) for _ in range(100))
    assert len(one) == 0


def test_few_are_remembered() -> None:
    one = Flaps(1)
    for number in range(flaps.REMEMBERED + 10):
        one.takeover(str(number), 0.0)
    assert len(one) == flaps.REMEMBERED
    assert one.takeover("0", 1.0)
    assert not one.takeover(str(flaps.REMEMBERED), 1.0)
