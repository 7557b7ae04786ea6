"""Each verdict of the ledger."""

from thinbridge.testing.ledger import Heard, Ledger, find, label

A, B = label(1, 1), label(1, 2)


def test_a_message_carries_its_id() -> None:
    assert find(b"hello " + A + b" world") == A
    assert find(b"hello <1> world") is None


def test_a_good_run_has_no_verdict() -> None:
    ledger = Ledger(sent=[A])
    ledger.begun(A, b"key")
    ledger.ended(A, b"key", accepted=True, settled=True)
    ledger.heard(A, Heard(True, True, A))
    assert ledger.faults() == []
    assert [ledger.hidden, ledger.unexpected, ledger.duplicated, ledger.restarted] == [set(), set(), [], []]


def test_done_without_the_sink_is_lost_and_phantom() -> None:
    ledger = Ledger(sent=[A])
    ledger.heard(A, Heard(True))
    assert ledger.lost == {A}
    assert ledger.phantom == [A]
    ledger.ended(A, None, accepted=True, settled=True)
    assert not ledger.lost, "it came after all, but the device had been lied to"
    assert ledger.faults() == [f"phantom: {[A]}"]


def test_hidden_unexpected_and_crossed() -> None:
    ledger = Ledger(sent=[A])
    ledger.begun(B, None)
    ledger.heard(B, Heard(False, False, A))
    assert ledger.hidden == {A}
    assert ledger.unexpected == {B}
    assert ledger.crossed == [(B, A)]


def test_a_delivery_may_be_tried_again_only_when_it_was_not_settled() -> None:
    ledger = Ledger()
    ledger.begun(A, b"key")
    ledger.ended(A, b"key", accepted=False, settled=False)
    ledger.begun(A, b"key")
    assert not ledger.doubled
    assert ledger.restarted == [b"key"]
    ledger.begun(A, b"key")  # while it runs
    ledger.ended(A, b"key", accepted=True, settled=True)
    ledger.begun(A, b"key")  # when it was settled
    assert ledger.doubled == [b"key", b"key"]


def test_keys_are_not_shared_and_copies_are_counted() -> None:
    ledger = Ledger()
    for message in (A, B):
        ledger.begun(message, b"key")
        ledger.ended(message, b"key", accepted=True, settled=False)
    ledger.begun(A, None)
    ledger.ended(A, None, accepted=True, settled=True)
    assert ledger.confused == [b"key"]
    assert ledger.duplicated == [A]
