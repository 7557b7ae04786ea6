"""What every session promises, as one call: `check_protocol`. Run by our own protocols' tests and by strangers'.

A protocol's test gives it a way to make the protocol and some conversations: what a device sends, and what is to come
of it. Each promise is a function below; its first line says it. Everything runs in virtual time, in milliseconds.
"""

from collections.abc import Callable, Hashable, Iterable
from random import Random

from thinbridge.protocols.base import (
    Entropy,
    Outbound,
    Outcome,
    Protocol,
    PushResult,
    Reply,
    Transport,
)
from thinbridge.testing.mutate import Mutator
from thinbridge.testing.owner import seeded
from thinbridge.testing.stage import Conversation, Stage

GARBLED = 2_000


class BrokenPromises(AssertionError):
    """What a protocol does not keep.

    Args:
        broken: the promise's name → what was seen, conversation by conversation.
    """

    def __init__(self, broken: dict[str, list[str]]) -> None:
        self.broken = broken
        super().__init__("\n".join(f"{name}: {seen}" for name, all_seen in broken.items() for seen in all_seen))


def check_protocol(make: Callable[[Entropy], Protocol], *conversations: Conversation) -> None:
    """Check all promises with all conversations.

    Args:
        make: a new protocol from its entropy; asked many times.
        conversations: at least one for each kind of message that the protocol has.

    Raises:
        BrokenPromises: something was not kept; all of it is in the message.
    """
    if not conversations:
        raise ValueError("check_protocol needs at least one conversation")
    broken: dict[str, list[str]] = {}
    for promise in PROMISES:
        for conversation in conversations:
            for seen in _try(promise, make, conversation):
                broken.setdefault(promise.__name__, []).append(f"{conversation.name}: {seen}")
    if broken:
        raise BrokenPromises(broken)


def _try(promise: "Promise", make: Callable[[Entropy], Protocol], conversation: Conversation) -> list[str]:
    stages: list[Stage] = []

    def stage(verified: bool = True, seed: int | None = None) -> Stage:
        stages.append(Stage(make(seeded(len(stages) if seed is None else seed)), conversation, verified))
        return stages[-1]

    try:
        seen = list(promise(stage, conversation))
    except Exception as error:  # whatever a session raises is what we are here to find
        seen = [f"raised {type(error).__name__}: {error}"]
    return seen + [fault for one in stages for fault in one.owner.faults]


NewStage = Callable[..., Stage]
Promise = Callable[[NewStage, Conversation], Iterable[str]]

DONE = Reply(Outcome.ACCEPTED, 200, "application/json", b'{"ok":true}')


def replies() -> Iterable[Reply]:
    """One reply for each outcome that ends an exchange."""
    yield DONE
    yield Reply(Outcome.REFUSED, 404, "text/plain", b"no such thing")
    yield Reply(Outcome.OVERLOADED, 503, retry_after=3)
    yield Reply(Outcome.UNKNOWN)
    yield Reply(Outcome.BAD_GATEWAY, 302)


# --- The promises ------------------------------------------------------------------------------------------------


def silent_until_spoken_to(stage: NewStage, conversation: Conversation) -> Iterable[str]:
    """A session says nothing until it is spoken to."""
    one = stage()
    key: Hashable = one.path
    if one.protocol.transport is Transport.DATAGRAM:
        key = one.protocol.locate(conversation.sends[0], one.path, one.now)
    session = one.protocol.open(key, one.path, one.now)
    if session.data_to_send():
        yield "it sends before it was spoken to"
    if session.next_event() is not None:
        yield "it reports before it was spoken to"
    if session.closed:
        yield "it is closed before it was spoken to"


def one_event_per_message(stage: NewStage, conversation: Conversation) -> Iterable[str]:
    """Each message is reported once; a repeat is not, where the protocol has message identity."""
    one = stage().talk()
    if len(one.inbounds) != conversation.messages:
        yield f"{len(one.inbounds)} events of {conversation.messages} messages"
    if conversation.repeat is None:
        return
    for when in ("before", "after"):
        known = len(one.inbounds)
        one.take(conversation.sends[-1])
        if len(one.inbounds) - known != conversation.repeat:
            yield f"{len(one.inbounds) - known} events of a repeat {when} the answer, not {conversation.repeat}"
        one.answer_all(DONE)


def answers_say_something(stage: NewStage, conversation: Conversation) -> Iterable[str]:
    """Any answer gives the device something to hear, where the protocol answers at all."""
    for reply in replies():
        one = stage().talk()
        for index in range(len(one.inbounds)):
            before = len(one.sent)
            if not one.answer(index, reply):
                yield f"an open exchange does not take {reply.outcome.value!r}"
            elif reply.outcome in conversation.answers and len(one.sent) == before:
                yield f"nothing is sent for {reply.outcome.value!r}"


def unasked_answers_are_ignored(stage: NewStage, conversation: Conversation) -> Iterable[str]:
    """An answer that nobody waits for returns False and sends nothing; a pending one keeps its exchange open."""
    one = stage().talk()
    for session, inbound in list(one.inbounds):
        before = len(one.sent)
        if one.owner.answer(session, inbound.exchange + 1_000_000, DONE, one.now):
            yield "it takes an answer to an exchange that never was"
        if len(one.sent) != before:
            yield "it sends an answer to an exchange that never was"
        one.owner.answer(session, inbound.exchange, Reply(Outcome.PENDING, 202), one.now)
        if not one.owner.answer(session, inbound.exchange, DONE, one.now):
            yield "a pending answer closed the exchange"
        before = len(one.sent)
        if one.owner.answer(session, inbound.exchange, DONE, one.now):
            yield "it takes a second answer"
        if len(one.sent) != before:
            yield "it sends a second answer"


def abandoned_sessions_end(stage: NewStage, conversation: Conversation) -> Iterable[str]:
    """Timers run out: a session with nobody there, answered or not, ends within the hour or says why it may stay."""
    for reply in (None, *replies()):
        one = stage().talk()
        if reply is not None:
            one.answer_all(reply)
        yield from one.wait_for_the_end()
        one = stage().talk()
        one.eof()
        if reply is not None:
            one.answer_all(reply)
        yield from one.wait_for_the_end()


def late_answers_end(stage: NewStage, conversation: Conversation) -> Iterable[str]:
    """Timers run out when the function answers late, however late that is."""
    for seconds in (3.0, 30.0, 300.0, 3000.0):
        one = stage().talk()
        yield from one.wait(seconds)
        one.answer_all(DONE)
        yield from one.wait_for_the_end()


def early_timers_are_harmless(stage: NewStage, conversation: Conversation) -> Iterable[str]:
    """Asking a session for its timers before they are due changes nothing."""
    one = stage().talk()
    before = len(one.sent), len(one.inbounds), len(one.owner.live)
    for session in list(one.owner.live):
        due = session.next_timer()
        if due is not None and due > one.now:
            session.handle_timer(one.now)
            one.sent.extend(session.data_to_send())
            if session.closed or session.next_event() is not None or len(one.sent) != before[0]:
                yield "a timer that was asked early did something"


def garbled_messages_raise_nothing(stage: NewStage, conversation: Conversation) -> Iterable[str]:
    """Two thousand garbled messages raise nothing, in an old session or a new one, and leave nothing behind."""
    mutator = Mutator(1, [*conversation.sends, b"".join(conversation.sends), Random(1).randbytes(64)])
    one = stage().talk()
    for count in range(GARBLED):
        if count % 20 == 0 and one.protocol.transport is Transport.STREAM:
            one.path = one.path._replace(socket=count + 2)
            one.talk(conversation.sends[: count // 20 % len(conversation.sends)])
        one.now += 0.001
        one.take(mutator.next())
        if count % 7 == 0:
            one.answer_all(DONE)
            one.inbounds.clear()
    yield from one.wait()
    if one.owner.live and not conversation.stays:
        yield "a session lives on an hour after it was garbled"


def pushes_have_one_outcome(stage: NewStage, conversation: Conversation) -> Iterable[str]:
    """A push has exactly one outcome, whatever happens to it."""
    outbound = conversation.push or Outbound("text/plain", b"unasked")
    for answered in (False, True):
        for target in _TARGETS:
            one = stage().talk()
            if answered:
                one.answer_all(DONE)
            outcomes: list[PushResult] = []
            pushes = 0
            for session, exchange in one.last_exchanges():
                number = exchange if target == _OWN else target
                one.owner.push(session, number, outbound, outcomes.append, one.now)
                pushes += 1
            if conversation.push is not None and target is None and not set(outcomes) <= _TAKEN:
                yield f"a push that it should take is {outcomes[0].name}"
            if answered:
                one.eof()
            else:
                one.owner.close(one.now)
            yield from one.wait()
            if len(outcomes) != pushes:
                yield f"{len(outcomes)} outcomes of {pushes} pushes"


_OWN = -1
_TARGETS = (None, _OWN, 1_000_000)
_TAKEN = {PushResult.DELIVERED, PushResult.QUEUED}


def closing_closes(stage: NewStage, conversation: Conversation) -> Iterable[str]:
    """After `close` a session is closed, and no answer, repeat or eof brings it back or raises."""
    one = stage().talk()
    one.owner.close(one.now)
    if one.owner.live:
        yield "sessions live on after close"
    before = len(one.sent)
    for index in range(len(one.inbounds)):
        if one.answer(index, DONE):
            yield "a closed session takes an answer"
    if len(one.sent) != before:
        yield "a closed session sends"
    one.eof()


def draining_answers_what_is_open(stage: NewStage, conversation: Conversation) -> Iterable[str]:
    """While it drains, a session takes answers to what is open, and no new messages (conversations of two show it)."""
    one = stage().talk()
    one.owner.drain(one.now)
    for index in range(len(one.inbounds)):
        if not one.answer(index, DONE):
            yield "an exchange that was open before the drain takes no answer"
    if conversation.messages < 2:
        return
    one = stage().talk(conversation.sends[:-1])
    one.owner.drain(one.now)
    known = len(one.inbounds)
    one.take(conversation.sends[-1])
    if len(one.inbounds) != known:
        yield "it takes a new message while it drains"


def chance_is_handed_in(stage: NewStage, conversation: Conversation) -> Iterable[str]:
    """The same entropy gives the same bytes: there is no other source of chance, and no clock."""
    said = []
    for _ in range(2):
        one = stage(seed=7).talk()
        one.answer_all(DONE)
        list(one.wait())
        said.append(one.sent)
    if said[0] != said[1]:
        yield "two runs from the same seed differ"


def unproven_addresses_get_little(stage: NewStage, conversation: Conversation) -> Iterable[str]:
    """A datagram address that nothing has proven gets at most three times the bytes that came from it."""
    for reply in (DONE, Reply(Outcome.ACCEPTED, 200, None, bytes(1200)), Reply(Outcome.UNKNOWN)):
        one = stage(verified=False)
        if one.protocol.transport is not Transport.DATAGRAM or conversation.proves:
            return
        one.talk().answer_all(reply)
        yield from one.wait()
        received = sum(map(len, conversation.sends))
        if one.bytes_sent > 3 * received:
            yield f"{one.bytes_sent} bytes went to an unproven address that sent {received}"


def streams_may_come_in_pieces(stage: NewStage, conversation: Conversation) -> Iterable[str]:
    """A stream says the same in one piece, in two, or byte by byte."""
    whole = b"".join(conversation.sends)
    if stage().protocol.transport is not Transport.STREAM:
        return
    expected = _contents(stage().talk())
    cuts = range(1, len(whole), max(1, len(whole) // 64))
    for pieces in ([whole], [whole[i : i + 1] for i in range(len(whole))], *([whole[:i], whole[i:]] for i in cuts)):
        if _contents(stage().talk(pieces)) != expected:
            yield f"in {len(pieces)} pieces, the first of {len(pieces[0])} bytes, it says something else"


def streams_may_end_anywhere(stage: NewStage, conversation: Conversation) -> Iterable[str]:
    """A connection may be cut after any byte: nothing is raised, and what was open is answered into the void."""
    whole = b"".join(conversation.sends)
    if stage().protocol.transport is not Transport.STREAM:
        return
    for end in range(0, len(whole), max(1, len(whole) // 64)):
        one = stage().talk([whole[:end]])
        one.eof()
        one.answer_all(DONE)
        yield from one.wait_for_the_end()


def _contents(stage: Stage) -> list[tuple[str, str | None, bytes]]:
    return [(inbound.type, inbound.subject, inbound.data) for _, inbound in stage.inbounds]


PROMISES: tuple[Promise, ...] = (
    silent_until_spoken_to,
    one_event_per_message,
    answers_say_something,
    unasked_answers_are_ignored,
    abandoned_sessions_end,
    late_answers_end,
    early_timers_are_harmless,
    garbled_messages_raise_nothing,
    pushes_have_one_outcome,
    closing_closes,
    draining_answers_what_is_open,
    chance_is_handed_in,
    unproven_addresses_get_little,
    streams_may_come_in_pieces,
    streams_may_end_anywhere,
)
"""All of them, in the order in which they are checked."""
