"""The kit finds what it is for: a good toy passes, and each planted fault is caught by the promise that it breaks."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from tests.toys.reliable import Asker, Reliable, ReliableSession, ReliableSettings

from thinbridge.protocols.base import (
    Entropy,
    Event,
    Inbound,
    Outbound,
    Outcome,
    Path,
    Pushed,
    PushResult,
    Reply,
    Sent,
)
from thinbridge.protocols.udp import UDP, UDPSettings
from thinbridge.testing import (
    BrokenPromises,
    Conversation,
    Faults,
    Function,
    Heard,
    World,
    check_protocol,
    converse,
)

QUESTION = Conversation("question", (b"Q\0\1hello, bridge",), repeat=0, push=Outbound(None, b"psst"))
TWO = Conversation("two questions", (b"Q\0\1hello, bridge", b"Q\0\2hello again"), messages=2, repeat=0)


def good(entropy: Entropy) -> Reliable:
    return Reliable(ReliableSettings(), entropy)


def test_a_good_protocol_keeps_all_promises() -> None:
    check_protocol(good, QUESTION, TWO)


def test_udp_keeps_all_promises() -> None:
    datagram = Conversation(
        "datagram", (b"21.5",), repeat=1, answers=frozenset((Outcome.ACCEPTED,)), push=Outbound(None, b"on")
    )
    check_protocol(lambda entropy: UDP(UDPSettings(), entropy), datagram)


def test_without_conversations_nothing_is_promised() -> None:
    with pytest.raises(ValueError, match="at least one conversation"):
        check_protocol(good)


# --- Planted faults ------------------------------------------------------------------------------------------------


class NoDedupe(ReliableSession):
    def repeated(self, message: bytes, payload: bytes) -> None:
        self.asked(message, payload)


class NoRepeatAfterAnswer(ReliableSession):
    """It forgets a message as soon as it is answered."""

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        message = self.open.get(exchange)
        answered = super().answer(exchange, reply, now)
        if message is not None and reply.outcome is not Outcome.PENDING:
            self.known.pop(message, None)
        return answered


class UncheckedLength(ReliableSession):
    def receive(self, data: bytes, path: Path, now: float) -> None:
        assert data[3] >= 0
        super().receive(data, path, now)


class EndlessRetransmission(ReliableSession):
    def insist_again(self, message: bytes, datagram: bytes, now: float, tries: int, push: int) -> None:
        super().insist_again(message, datagram, now, 0, push)


class Storm(ReliableSession):
    """Its retransmission is due at once, always."""

    def next_timer(self) -> float | None:
        return min(self.unacked.values(), default=None) and self.heard

    def handle_timer(self, now: float) -> None: ...


class NeverDies(ReliableSession):
    def handle_timer(self, now: float) -> None:
        self.heard = now
        super().handle_timer(now)


class NeverSettles(ReliableSession):
    """It lives on for a reason, and for ever with an answer that nobody acknowledges."""

    def insist_again(self, message: bytes, datagram: bytes, now: float, tries: int, push: int) -> None: ...

    def handle_timer(self, now: float) -> None:
        self.heard = now


class NoTimerWhenAnswered(ReliableSession):
    """It arms no timer while it waits for the function, and forgets to once it has answered late."""

    def next_timer(self) -> float | None:
        return None if self.unacked or self.open else super().next_timer()


class SilentRefusal(ReliableSession):
    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        if reply.outcome is Outcome.REFUSED:
            return self.open.pop(exchange, None) is not None
        return super().answer(exchange, reply, now)


class AnswersToNobody(ReliableSession):
    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        self.open.setdefault(exchange, b"\0\0")
        return super().answer(exchange, reply, now)


class AnswersTwice(ReliableSession):
    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        message = self.open.get(exchange)
        answered = super().answer(exchange, reply, now)
        if message is not None:
            self.open[exchange] = message
        return answered


class PendingCloses(ReliableSession):
    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        return super().answer(exchange, reply._replace(outcome=Outcome.ACCEPTED), now)


class EventTwice(ReliableSession):
    def asked(self, message: bytes, payload: bytes) -> None:
        super().asked(message, payload)
        self.events.append(self.events[-1])


class PushWithoutOutcome(ReliableSession):
    def insist_again(self, message: bytes, datagram: bytes, now: float, tries: int, push: int) -> None:
        super().insist_again(message, datagram, now, tries, 0)

    def close(self, reason: str, now: float) -> None: ...


class PushWithTwoOutcomes(ReliableSession):
    def push(self, target: int | None, outbound: Outbound, now: float) -> int:
        number = super().push(target, outbound, now)
        self.events.append(Pushed(number, PushResult.QUEUED))
        self.events.append(Pushed(number, PushResult.DELIVERED))
        return number


class PushRefused(ReliableSession):
    def push(self, target: int | None, outbound: Outbound, now: float) -> int:
        self.pushes += 1
        self.events.append(Pushed(self.pushes, PushResult.REFUSED))
        return self.pushes


class StaysOpen(ReliableSession):
    def close(self, reason: str, now: float) -> None: ...


class SpeaksFirst(ReliableSession):
    def __init__(self, protocol: Reliable, path: Path, now: float) -> None:
        super().__init__(protocol, path, now)
        self.out.append((b"welcome", path))


class ReportsFirst(ReliableSession):
    def __init__(self, protocol: Reliable, path: Path, now: float) -> None:
        super().__init__(protocol, path, now)
        self.asked(b"\0\0", b"")


class DeafAfterDrain(ReliableSession):
    def drain(self, now: float) -> None:
        self.open.clear()


class DrainsNothing(ReliableSession):
    def drain(self, now: float) -> None: ...


class SendsTwice(ReliableSession):
    def data_to_send(self) -> Sequence[Sent]:
        return list(self.out)


_IDS = count()


class OwnChance(ReliableSession):
    def send(self, data: bytes) -> None:
        super().send(data + str(next(_IDS)).encode())


class EagerTimer(ReliableSession):
    def handle_timer(self, now: float) -> None:
        self.closed = True


class Amplifier(ReliableSession):
    def send(self, data: bytes) -> None:
        self.out.append((data, self.path))


class AfterLife(ReliableSession):
    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        if self.closed:
            self.out.append((reply.data, self.path))
        return super().answer(exchange, reply, now) or self.closed


FAULTS: list[tuple[type[ReliableSession], str]] = [
    (NoDedupe, "one_event_per_message"),
    (NoRepeatAfterAnswer, "one_event_per_message"),
    (EventTwice, "one_event_per_message"),
    (UncheckedLength, "garbled_messages_raise_nothing"),
    (EndlessRetransmission, "abandoned_sessions_end"),
    (Storm, "abandoned_sessions_end"),
    (NeverDies, "abandoned_sessions_end"),
    (NoTimerWhenAnswered, "late_answers_end"),
    (SilentRefusal, "answers_say_something"),
    (AnswersToNobody, "unasked_answers_are_ignored"),
    (AnswersTwice, "unasked_answers_are_ignored"),
    (PendingCloses, "unasked_answers_are_ignored"),
    (PushWithoutOutcome, "pushes_have_one_outcome"),
    (PushWithTwoOutcomes, "pushes_have_one_outcome"),
    (PushRefused, "pushes_have_one_outcome"),
    (StaysOpen, "closing_closes"),
    (AfterLife, "closing_closes"),
    (SpeaksFirst, "silent_until_spoken_to"),
    (ReportsFirst, "silent_until_spoken_to"),
    (DeafAfterDrain, "draining_answers_what_is_open"),
    (DrainsNothing, "draining_answers_what_is_open"),
    (SendsTwice, "one_event_per_message"),
    (OwnChance, "chance_is_handed_in"),
    (EagerTimer, "early_timers_are_harmless"),
    (Amplifier, "unproven_addresses_get_little"),
]


def test_an_answer_that_is_never_settled_is_caught_though_the_session_may_stay() -> None:
    staying = replace(QUESTION, stays="it has a Session Expiry Interval")
    with pytest.raises(BrokenPromises, match="a drain would never end"):
        check_protocol(lambda entropy: planted(NeverSettles)(ReliableSettings(), entropy), staying)


def planted(fault: type[ReliableSession]) -> type[Reliable]:
    return type("Planted", (Reliable,), {"session_type": fault})


@pytest.mark.parametrize(("fault", "promise"), FAULTS, ids=lambda one: getattr(one, "__name__", one))
def test_a_planted_fault_is_caught(fault: type[ReliableSession], promise: str) -> None:
    with pytest.raises(BrokenPromises) as caught:
        check_protocol(lambda entropy: planted(fault)(ReliableSettings(), entropy), QUESTION, TWO)
    assert promise in caught.value.broken
    assert promise in str(caught.value)


# --- Faults that only a terrible network shows ----------------------------------------------------------------------

_MESSAGES = count()
BAD = Faults(loss=0.3, duplicate=0.3, reorder=0.3, jitter=0.5)


def asker(payload: bytes) -> Asker:
    return Asker((next(_MESSAGES) & 0x7FFF).to_bytes(2, "big"), payload)


def judge(result: bytes) -> Heard:
    return Heard(not result.startswith(b"!"), True, result)


def talk(protocol: type[Reliable], seed: int, **world: Any) -> World:
    return converse(
        lambda entropy: protocol(ReliableSettings(), entropy),
        asker,
        seed=seed,
        messages=3,
        judge=judge,
        world={"up": BAD, "down": BAD, "function": Function(seed, latency=(0, 20), fail=0.2, refuse=0.1)} | world,
    )


def test_the_good_toy_survives() -> None:
    for seed in range(50):
        world = talk(Reliable, seed)
        assert not world.ledger.duplicated
        assert not world.ledger.unexpected
        assert not world.owner.live
        assert all(taken for _, _, taken in world.answered)


class LostAnswer(ReliableSession):
    """An answer is sent once, and a repeat does not bring it back."""

    def insist(self, message: bytes, datagram: bytes, now: float, push: int) -> None:
        self.send(datagram)

    def repeated(self, message: bytes, payload: bytes) -> None: ...


def test_a_lost_answer_that_is_not_sent_again_is_seen_by_the_devices() -> None:
    assert sum(host.gave_up for seed in range(20) for host in talk(planted(LostAnswer), seed).hosts) > 20
    assert sum(host.gave_up for seed in range(20) for host in talk(Reliable, seed).hosts) < 20


class Liar(ReliableSession):
    """It says "done" before anyone has accepted anything."""

    def asked(self, message: bytes, payload: bytes) -> None:
        super().asked(message, payload)
        self.send(b"R" + message)


def test_done_before_it_is_accepted_is_caught() -> None:
    with pytest.raises(AssertionError, match=r"seed 0: .*phantom"):
        talk(planted(Liar), 0)


class CrossedWires(ReliableSession):
    """It answers with what came before."""

    last = b""

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        data, CrossedWires.last = CrossedWires.last or reply.data, reply.data
        return super().answer(exchange, reply._replace(data=data), now)


def test_crossed_answers_are_caught() -> None:
    with pytest.raises(AssertionError, match="crossed"):
        talk(planted(CrossedWires), 0)


class SharedKey(ReliableSession):
    """Two messages have the same key."""

    def next_event(self) -> Event | None:
        event = super().next_event()
        return event._replace(repeat_key=b"same") if isinstance(event, Inbound) else event


def test_messages_that_share_an_id_are_caught() -> None:
    with pytest.raises(AssertionError, match="confused"):
        talk(planted(SharedKey), 0)


def test_two_deliveries_of_one_message_are_caught() -> None:
    with pytest.raises(AssertionError, match="doubled"):
        talk(planted(NoDedupe), 3)
