"""Turns: one at a time by key, in order."""

from thinbridge.turns import Turns


def test_the_next_starts_when_the_one_before_has_left() -> None:
    turns, started = Turns(), list[str]()
    assert not turns.busy("a")
    for name in ("first", "second", "third"):
        turns.enter("a", lambda name=name: started.append(name))  # type: ignore[misc]
    assert started == ["first"]
    assert turns.busy("a")
    turns.leave("a")
    turns.leave("a")
    assert started == ["first", "second", "third"]
    turns.leave("a")
    assert not turns.busy("a")


def test_others_do_not_wait() -> None:
    turns, started = Turns(), list[str]()
    turns.enter("a", lambda: started.append("a"))
    turns.enter("b", lambda: started.append("b"))
    assert started == ["a", "b"]


def test_nobody_starts_after_the_end() -> None:
    turns, started = Turns(), list[str]()
    turns.enter("a", lambda: started.append("first"))
    turns.enter("a", lambda: started.append("second"))
    turns.clear()
    turns.leave("a")
    assert started == ["first"]
