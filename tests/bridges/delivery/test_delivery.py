"""Deliveries in virtual time: what the bridge is told, when, and how often the sink was asked.

Over 400 lines because it mirrors one module, whose parts can't be tested without each other.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from socket import gaierror

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bridges.delivery.virtual import DEAD, EVENT, OK, SINK, Told, VirtualLoop, about, answer, deliver, play

from thinbridge.delivery import Answer, Change, Delivery, DeliveryLimits, Terms, Verdict
from thinbridge.delivery.pool import Pool
from thinbridge.events import Event
from thinbridge.routes import Content

PATIENT = Terms(SINK, retries=None)
DEAD_TERMS = Terms(SINK, DEAD)
REFUSED = ConnectionRefusedError()
EVENT_HEADERS = ("ce-specversion: 1.0", "ce-id: 2", "ce-source: /fn", "ce-type: t.reply")


def event(status: int, body: bytes = b"") -> bytes:
    return answer(status, body, *EVENT_HEADERS)


# --- One attempt -----------------------------------------------------------------------------------------------


def test_accepted() -> None:
    result, loop, delivery, took = deliver([answer(200, b"hello", "Content-Type: text/plain", "ETag: x")])
    assert result == Answer(
        Verdict.ACCEPTED, 200, [(b"content-type", b"text/plain"), (b"etag", b"x"), (b"content-length", b"5")], b"hello"
    )
    assert took == 0
    assert len(loop.requests) == 1
    assert delivery.counters == {"accepted": 1}
    (sink,) = delivery.sinks
    assert sink.error is None


def test_a_reply_event_comes_decoded() -> None:
    result, *_ = deliver([event(200, b"hello")])
    assert result.event is not None
    assert result.event.attributes == {"specversion": "1.0", "id": "2", "source": "/fn", "type": "t.reply"}
    assert result.event.data == b"hello"


@pytest.mark.parametrize("headers", [(), EVENT_HEADERS])
def test_a_202_is_never_a_reply(headers: tuple[str, ...]) -> None:
    """Knative's data plane: "a 202 must never be read as a reply"."""
    result, *_ = deliver([answer(202, b"hello", *headers)])
    assert result == Answer(Verdict.ACCEPTED, 202, [], b"")


@pytest.mark.parametrize("status", [301, 400, 401, 404, 429, 500, 503])
def test_the_functions_own_answer_is_never_retried(status: int) -> None:
    result, loop, *_ = deliver([event(status, b"no")])
    assert (result.verdict, result.status, result.body) == (Verdict.REFUSED, status, b"no")
    assert result.event is not None
    assert len(loop.requests) == 1


@pytest.mark.parametrize("status", [400, 405, 410, 412, 422])
def test_a_bare_4xx_refuses(status: int) -> None:
    result, loop, *_ = deliver([answer(status, b"why")])
    assert (result.verdict, result.status, result.body, result.event) == (Verdict.REFUSED, status, b"why", None)
    assert len(loop.requests) == 1


@pytest.mark.parametrize("target", ["http://169.254.169.254/", "http://127.0.0.1/", "file:///etc/passwd"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(status: int, target: str) -> None:
    result, loop, *_ = deliver([answer(status, b"", f"location: {target}")])
    assert (result.verdict, result.status) == (Verdict.BAD_GATEWAY, status)
    assert {wire.host for wire in loop.wires} == {"sink.test"}
    assert len(loop.wires) == 1


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", ("content-type: application/cloudevents+json",)),
        (b"[]", ("content-type: application/cloudevents-batch+json",)),
        (b"", ("ce-specversion: 1.0",)),
        (b"\x1f\x8b", ("content-encoding: gzip",)),
    ],
)
def test_an_answer_that_cannot_be_read(body: bytes, headers: tuple[str, ...]) -> None:
    """2xx: the function has seen it, so never again; 4xx and 5xx: its status still says what to do."""
    result, loop, delivery, _ = deliver([answer(200, body, *headers)])
    assert result == Answer(Verdict.BAD_GATEWAY, 200, [], b"")
    assert (len(loop.requests), delivery.counters["unreadable"]) == (1, 1)
    assert deliver([answer(422, body, *headers)])[0] == Answer(Verdict.REFUSED, 422, [], b"")
    result, loop, *_ = deliver([answer(500, body, *headers)])
    assert (result.verdict, len(loop.requests)) == (Verdict.ACCEPTED, 2)


def test_identity_is_no_encoding_and_an_empty_body_has_none() -> None:
    assert deliver([answer(200, b"x", "content-encoding: Identity")])[0].verdict is Verdict.ACCEPTED
    assert deliver([answer(200, b"", "content-encoding: gzip")])[0].verdict is Verdict.ACCEPTED


# --- Retries ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 408, 409, 429, 500, 502, 503])
def test_what_may_be_better_later_is_tried_again(status: int) -> None:
    result, loop, delivery, took = deliver([answer(status)] * 9)
    assert (result.verdict, result.status) == (Verdict.UNKNOWN, status)
    assert len(loop.requests) == 4
    assert len({request for _, request in loop.requests}) == 1  # the same id, every time
    assert took == about(0.2 + 0.4 + 0.8)
    assert delivery.counters == {"retried": 3, "unknown": 1}
    (sink,) = delivery.sinks
    assert sink.error == f"answered {status}"


@pytest.mark.parametrize("status", [401, 403, 407])
def test_credentials_are_the_bridges_own_trouble(status: int) -> None:
    result, loop, *_ = deliver([answer(status)] * 9)
    assert (result.verdict, result.status, len(loop.requests)) == (Verdict.BAD_GATEWAY, status, 4)


def test_a_sink_that_recovers_is_well_again() -> None:
    result, _, delivery, _ = deliver([answer(503), [b"HTTP/1.1 2", None], OK])
    assert result.verdict is Verdict.ACCEPTED
    assert delivery.counters == {"retried": 2, "lost": 1, "accepted": 1}
    (sink,) = delivery.sinks
    assert (sink.error, sink.failing_since) == (None, None)


def test_jitter_takes_its_chance_from_the_rng() -> None:
    *_, took = deliver([answer(503)], rng=lambda: 0.25)
    assert took == about(0.05)


def test_retry_after_is_waited_for() -> None:
    result, loop, _, took = deliver([answer(503, b"", "retry-after: 7"), answer(429, b"", "retry-after: 0"), OK])
    assert result.verdict is Verdict.ACCEPTED
    assert took == about(7.4)
    assert len(loop.requests) == 3


def test_a_retry_after_that_does_not_fit_is_passed_on() -> None:
    result, loop, _, took = deliver([answer(429, b"", "retry-after: 61")])
    assert (result.verdict, result.status, result.retry_after, took) == (Verdict.UNKNOWN, 429, 61.0, 0)
    assert len(loop.requests) == 1


def test_no_attempt_begins_past_the_deadline() -> None:
    result, loop, _, took = deliver([answer(503)] * 9, seconds=0.5)
    assert (result.verdict, len(loop.requests), took) == (Verdict.UNKNOWN, 2, about(0.2))


def test_a_message_that_its_device_keeps_is_tried_until_the_deadline() -> None:
    """Pauses double up to half a minute: 0.2, 0.4, … 25.6, 30, 30, …; here 900 s of it."""
    result, loop, _, took = deliver([answer(503)] * 99, PATIENT, seconds=900)
    assert result.verdict is Verdict.UNKNOWN
    assert len(loop.requests) == 37
    assert 870 <= took < 900
    pauses = [later - earlier for earlier, later in zip(loop.times, loop.times[1:], strict=False)]
    assert max(pauses) == about(30.0)


# --- Time ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.1, 1.9, 2.1, 30.0, 59.0])
def test_a_slow_function_is_waited_for(seconds: float) -> None:
    result, loop, _, took = deliver([[seconds, OK]])
    assert (result.verdict, len(loop.requests), took) == (Verdict.ACCEPTED, 1, about(seconds))


def test_the_deadline_ends_an_attempt() -> None:
    result, loop, delivery, took = deliver([[61.0, OK]])
    assert result == Answer(Verdict.UNKNOWN)
    assert (took, len(loop.requests)) == (about(60, 0.02), 1)
    assert loop.wires[0].closed
    assert delivery.counters == {"timeout": 1, "unknown": 1}


def test_an_attempt_may_take_its_timeout_then_there_is_another() -> None:
    result, loop, _, took = deliver([[99.0], OK], Terms(SINK, attempt_timeout=10.0))
    assert (result.verdict, took, len(loop.requests)) == (Verdict.ACCEPTED, about(10.2, 0.02), 2)


def test_an_answer_that_has_begun_has_less_time() -> None:
    result, _, _, took = deliver([[1.0, b"HTTP/1.1 200 OK\r\n"], OK])
    assert (result.verdict, took) == (Verdict.ACCEPTED, about(16.2, 0.02))
    result, _, _, took = deliver([[50.0, b"HTTP/1.1 200 OK\r\n", 30.0, b"\r\n"]])
    assert (result.verdict, took) == (Verdict.UNKNOWN, about(60, 0.02))


def test_too_late_is_not_even_tried() -> None:
    async def scene(loop: VirtualLoop) -> None:
        delivery, told = Delivery(), Told(loop)
        delivery.deliver(EVENT, Terms(SINK), loop.time(), told)
        assert told.answers == []
        assert await told.wait() == Answer(Verdict.UNREACHED)
        assert (loop.requests, delivery.in_flight) == ([], 0)
        await delivery.close()

    play(scene)


# --- No connection ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "counter"),
    [(REFUSED, "unreachable"), (gaierror(), "name"), (UnicodeError(), "name"), (OSError("route"), "unreachable")],
)
def test_unreached_if_no_attempt_had_a_connection(error: Exception, counter: str) -> None:
    result, loop, delivery, took = deliver(dials=[error] * 9)
    assert result == Answer(Verdict.UNREACHED)
    assert (loop.requests, took) == ([], about(1.4))
    assert delivery.counters[counter] >= 4


def test_unknown_once_an_attempt_was_written() -> None:
    result, *_ = deliver([None], dials=[0.0, *[REFUSED] * 9])
    assert result == Answer(Verdict.UNKNOWN)


def test_the_last_attempt_gives_the_status() -> None:
    result, *_ = deliver([answer(503, b"", "connection: close")] * 2, Terms(SINK, retries=2), dials=[0.0, 0.0, REFUSED])
    assert result == Answer(Verdict.UNKNOWN)


def test_a_connection_has_its_own_timeout() -> None:
    result, _, delivery, took = deliver(dials=[99.0], seconds=60)
    assert (result.verdict, took) == (Verdict.ACCEPTED, about(5.2))
    assert delivery.counters["connect_timeout"] == 1


def test_the_deadline_ends_the_wait_for_a_connection() -> None:
    result, loop, delivery, took = deliver(dials=[99.0], seconds=3)
    assert result == Answer(Verdict.UNREACHED)
    assert (took, loop.requests) == (about(3, 0.02), [])
    assert delivery.counters["no_connection"] == 1


# --- Overrides, tokens, modes ------------------------------------------------------------------------------------


def test_overrides_go_onto_every_event() -> None:
    _, loop, *_ = deliver([answer(422)], DEAD_TERMS, overrides={"tenant": "a", "id": "9"})
    for _, request in loop.requests:
        assert b"ce-tenant: a\r\n" in request
        assert b"ce-id: 9\r\n" in request
    assert len(loop.requests) == 2
    assert EVENT.attributes["id"] == "1"


def test_the_token_is_for_the_sink_alone(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret")
    _, loop, *_ = deliver([answer(422)], Terms(replace(SINK, token_file=str(file)), DEAD))
    (_, to_sink), (_, to_dead_letter) = loop.requests
    assert b"\r\nauthorization: Bearer secret\r\n" in to_sink
    assert b"authorization" not in to_dead_letter


def test_the_mode_is_the_routes() -> None:
    _, loop, *_ = deliver(terms=Terms(SINK, content=Content.STRUCTURED))
    assert b"content-type: application/cloudevents+json\r\n" in loop.requests[0][1]


# --- Dead letters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [[answer(503)] * 9, [answer(301)], [None] * 9])
def test_what_nobody_took_is_dead_lettered(failure: list[bytes | None]) -> None:
    result, loop, delivery, _ = deliver(failure, DEAD_TERMS)
    assert result == Answer(Verdict.DEAD_LETTERED)
    host, letter = loop.requests[-1]
    assert host == "dead.test"
    assert letter.startswith(b"POST /letters HTTP/1.1\r\n")
    assert b"ce-id: 1\r\n" in letter
    assert b"ce-knativeerrordest: http://sink.test/fn\r\n" in letter
    assert letter.endswith(b"data")
    assert (delivery.counters["dead_letters"], delivery.counters["dead_lettered"]) == (1, 1)


def test_a_refusal_is_recorded_and_stays_a_refusal() -> None:
    result, loop, delivery, _ = deliver([event(422, b"why")], DEAD_TERMS)
    assert (result.verdict, result.status, result.body) == (Verdict.REFUSED, 422, b"why")
    assert b"ce-knativeerrorcode: 422\r\nce-knativeerrordata: d2h5\r\n" in loop.requests[-1][1]
    assert delivery.counters == {"dead_letters": 1, "refused": 1}


def test_without_a_receipt_the_verdict_stays() -> None:
    result, loop, delivery, took = deliver([answer(503)] * 9, DEAD_TERMS, dead=[answer(500)] * 9)
    assert (result.verdict, result.status) == (Verdict.UNKNOWN, 503)
    assert len(loop.requests) == 4 + 4
    assert took == about(2.8)
    assert delivery.counters["dead_letters_failed"] == 1


def test_a_dead_letter_has_a_little_time_after_the_deadline() -> None:
    result, *_, took = deliver([[99.0]], DEAD_TERMS, dead=[[4.0, OK]])
    assert (result.verdict, took) == (Verdict.DEAD_LETTERED, about(64, 0.02))
    result, *_, took = deliver([[99.0]], DEAD_TERMS, dead=[[99.0]] * 9)
    assert (result.verdict, took) == (Verdict.UNKNOWN, about(70, 0.04))


def test_what_was_accepted_is_no_dead_letter() -> None:
    result, loop, *_ = deliver([OK], DEAD_TERMS)
    assert (result.verdict, len(loop.requests)) == (Verdict.ACCEPTED, 1)


def test_both_sinks_may_be_one() -> None:
    result, loop, *_ = deliver([answer(422), OK], Terms(SINK, SINK))
    assert (result.verdict, len(loop.requests)) == (Verdict.REFUSED, 2)


# --- Limits ------------------------------------------------------------------------------------------------------


def test_more_than_the_limit_is_refused_at_once() -> None:
    async def scene(loop: VirtualLoop) -> None:
        loop.scripts["sink.test"] = iter([[1.0, OK]] * 9)
        delivery = Delivery(DeliveryLimits(deliveries=2))
        told = [Told(loop) for _ in range(4)]
        for each in told:
            delivery.deliver(EVENT, Terms(SINK), loop.time() + 60, each)
        assert [each.answers for each in told] == [[], [], [], []]  # never before `deliver` returns
        assert [(await each.wait()).verdict.value for each in told] == ["accepted"] * 2 + ["overloaded"] * 2
        assert told[3].answers[0].retry_after == 2.0
        assert told[3].at < told[0].at
        delivery.deliver(EVENT, Terms(SINK), loop.time() + 60, last := Told(loop))
        assert (await last.wait()).verdict is Verdict.ACCEPTED
        assert delivery.counters == {"accepted": 3, "overloaded": 2}
        await delivery.close()

    play(scene)


def test_a_sink_that_hangs_leaves_room_for_others() -> None:
    async def scene(loop: VirtualLoop) -> None:
        loop.scripts["sink.test"] = iter([[30.0, OK]] * 99)
        loop.dials = [0.0, 0.0, 99.0]
        delivery = Delivery(DeliveryLimits(connections=1, waiting=3))
        hanging = [Told(loop) for _ in range(9)]
        for each in hanging:
            delivery.deliver(EVENT, Terms(SINK), loop.time() + 70, each)
            await asyncio.sleep(0.01)
        delivery.deliver(EVENT, Terms(DEAD), loop.time() + 60, other := Told(loop))
        assert (await other.wait()).verdict is Verdict.ACCEPTED
        verdicts = [(await each.wait()).verdict.value for each in hanging]
        assert verdicts == ["accepted"] * 2 + ["unknown", "unreached"] + ["overloaded"] * 5
        assert len([wire for wire in loop.wires if wire.host == "sink.test"]) == 1
        await delivery.close()

    play(scene)


def test_the_poison_of_one_does_not_delay_the_others() -> None:
    async def scene(loop: VirtualLoop) -> None:
        def sink() -> object:
            while True:
                yield answer(500) if b"ce-id: poison\r\n" in loop.requests[-1][1] else OK

        loop.scripts["sink.test"] = sink()
        delivery = Delivery()
        poison = type(EVENT)(EVENT.attributes | {"id": "poison"})
        delivery.deliver(poison, DEAD_TERMS, loop.time() + 60, bad := Told(loop))
        good = [Told(loop) for _ in range(1000)]
        start = loop.time()
        for each in good:
            delivery.deliver(EVENT, DEAD_TERMS, loop.time() + 60, each)
        for each in good:
            assert (await each.wait()).verdict is Verdict.ACCEPTED
            assert each.at == start
        assert (await bad.wait()).verdict is Verdict.DEAD_LETTERED
        await delivery.close()

    play(scene)


# --- The end -----------------------------------------------------------------------------------------------------


def test_close_cancels_whatever_state_it_is_in() -> None:
    async def scene(loop: VirtualLoop) -> None:
        loop.scripts |= {"sink.test": iter([[99.0], answer(503), answer(422)]), "dead.test": iter([[99.0]])}
        loop.dials = [0.0, 0.0, 0.0, 0.0, 99.0]
        delivery = Delivery(rng=lambda: 1.0)
        told = [Told(loop) for _ in range(4)]
        terms = [Terms(SINK), Terms(SINK, pause=50.0), DEAD_TERMS, Terms(SINK)]
        for each, term in zip(told, terms, strict=True):  # it waits for an answer, a pause, a letter, a connection
            delivery.deliver(EVENT, term, loop.time() + 90, each)
            await asyncio.sleep(0.1)
            loop.dials = loop.dials if each is not told[2] else [99.0]
            if each is told[2]:
                for pool in delivery._pools.values():
                    assert isinstance(pool, Pool)
                    pool._free.clear()
        await asyncio.sleep(0.1)
        assert delivery.in_flight == 4
        late = Told(loop)
        for each in told:
            assert each.answers == []
        closing = asyncio.ensure_future(delivery.close())
        assert [await each.wait() for each in told] == [Answer(Verdict.CANCELLED)] * 4
        delivery.deliver(EVENT, Terms(SINK), loop.time() + 60, late)
        assert await late.wait() == Answer(Verdict.CANCELLED)
        await closing
        await delivery.close()
        assert delivery.in_flight == 0
        await asyncio.sleep(200)
        assert all(len(each.answers) == 1 for each in told)

    play(scene)


def test_close_before_the_first_event() -> None:
    async def scene(_: VirtualLoop) -> None:
        await Delivery().close()

    play(scene)


def test_every_verdict_is_observed_with_its_seconds() -> None:
    observed: list[tuple[Verdict, float]] = []
    deliver([[2.0, OK]], observe=lambda verdict, seconds: observed.append((verdict, seconds)))
    deliver([answer(503)] * 9, observe=lambda verdict, seconds: observed.append((verdict, seconds)))
    assert observed == [(Verdict.ACCEPTED, about(2.0)), (Verdict.UNKNOWN, about(1.4))]


# --- Whatever happens ----------------------------------------------------------------------------------------------

steps = st.one_of(
    st.none(),
    st.floats(0, 20),
    st.sampled_from(
        [OK, event(200), event(404), b"HTTP/1.1 200", b"garbage", OK + OK, b"HTTP/1.1 100 Continue\r\n\r\n"]
    ),
    st.sampled_from([200, 202, 301, 401, 404, 422, 429, 503]).map(answer),
)
scripts = st.lists(st.lists(steps, max_size=4), max_size=6)


@settings(max_examples=150, deadline=None)
@given(scripts, scripts, st.booleans(), st.sampled_from([0, 3, None]), st.lists(st.sampled_from([0.0, 9.0, REFUSED])))
def test_one_verdict_in_time_and_accepted_means_accepted(
    script: list[list[bytes | float | None]],
    dead: list[list[bytes | float | None]],
    letters: bool,
    retries: int | None,
    dials: list[Exception | float],
) -> None:
    terms = Terms(SINK, DEAD if letters else None, retries=retries, attempt_timeout=20.0)
    result, loop, delivery, took = deliver(script, terms, dials=dials, dead=dead)
    assert took <= (70.1 if letters else 60.05)
    if result.verdict is Verdict.ACCEPTED:
        assert 200 <= result.status < 300
    if result.verdict is Verdict.DEAD_LETTERED:
        assert loop.requests[-1][0] == "dead.test"
    if not any(host == "sink.test" for host, _ in loop.requests):
        assert result.verdict in (Verdict.UNREACHED, Verdict.DEAD_LETTERED)
    else:
        assert result.verdict is not Verdict.UNREACHED
    if retries is not None:
        attempts = sum(host == "sink.test" for host, _ in loop.requests) - delivery.counters["stale"]
        assert attempts <= retries + 1


# --- Too much to do, and a device that keeps its message ----------------------------------------------------------


async def _crowd(
    loop: VirtualLoop, seconds: float, observe: Callable[[Verdict, float], None] | None = None, **limits: int
) -> tuple[Delivery, list[Told]]:
    """One delivery whose answer takes 10 s, and two that come while there is room for one."""
    loop.scripts["sink.test"] = iter([[10.0, OK]])
    delivery = Delivery(DeliveryLimits(deliveries=1, **limits), rng=lambda: 0.5, observe=observe)
    told = [Told(loop) for _ in range(3)]
    for one in told:
        delivery.deliver(EVENT, PATIENT, loop.time() + seconds, one)
    return delivery, told


def test_what_its_device_keeps_waits_for_its_turn() -> None:
    async def scene(loop: VirtualLoop) -> None:
        delivery, told = await _crowd(loop, 60.0)
        assert [(await one.wait()).verdict for one in told] == [Verdict.ACCEPTED] * 3
        assert delivery.counters["postponed"] >= 2
        assert delivery.counters["overloaded"] == 0
        assert delivery.in_flight == 0
        await delivery.close()

    play(scene)


def test_until_its_time_is_up() -> None:
    async def scene(loop: VirtualLoop) -> None:
        seen: list[tuple[Verdict, float]] = []
        await asyncio.sleep(1000.0)
        delivery, told = await _crowd(loop, 5.0, lambda verdict, seconds: seen.append((verdict, seconds)))
        assert [(await one.wait()).verdict for one in told[1:]] == [Verdict.UNREACHED] * 2
        await told[0].wait()
        assert (delivery.in_flight, delivery.held_bytes) == (0, 0)
        assert [round(seconds) for verdict, seconds in seen if verdict is Verdict.UNREACHED] == [6, 6]
        await delivery.close()

    play(scene)


def test_only_so_many_can_wait() -> None:
    async def scene(loop: VirtualLoop) -> None:
        delivery, told = await _crowd(loop, 60.0, postponed=1)
        assert (await told[2].wait()).verdict is Verdict.OVERLOADED
        assert [(await one.wait()).verdict for one in told[:2]] == [Verdict.ACCEPTED] * 2
        await delivery.close()

    play(scene)


@pytest.mark.parametrize("patient", [True, False])
def test_only_so_many_bytes_can_be_held(patient: bool) -> None:
    """In flight or waiting for their turn, whoever keeps them: a sink that hangs must not fill the memory."""

    async def scene(loop: VirtualLoop) -> None:
        loop.scripts["sink.test"] = iter([[10.0, OK]])
        large = Event(EVENT.attributes, bytes(10_000))
        delivery = Delivery(DeliveryLimits(deliveries=1 if patient else 99, held_bytes=2 * large.size), rng=lambda: 0.5)
        told = [Told(loop) for _ in range(3)]
        for one in told:
            delivery.deliver(large, PATIENT if patient else Terms(SINK), loop.time() + 60, one)
        assert delivery.held_bytes == 2 * large.size
        assert (await told[2].wait()).verdict is Verdict.OVERLOADED
        assert [(await one.wait()).verdict for one in told[:2]] == [Verdict.ACCEPTED] * 2
        assert delivery.held_bytes == 0
        await delivery.close()

    play(scene)


def test_closing_ends_what_waits_for_its_turn() -> None:
    async def scene(loop: VirtualLoop) -> None:
        delivery, told = await _crowd(loop, 60.0)
        await delivery.close()
        assert [(await one.wait()).verdict for one in told] == [Verdict.CANCELLED] * 3
        assert delivery.counters["cancelled"] == 3
        assert delivery.held_bytes == 0

    play(scene)


# --- Draining ------------------------------------------------------------------------------------------------------


def test_a_drain_tries_nothing_again_that_its_device_keeps() -> None:
    async def scene(loop: VirtualLoop) -> None:
        loop.scripts["sink.test"] = iter([answer(503), [5.0, answer(503)], [5.0, OK], answer(503), OK])
        delivery = Delivery(rng=lambda: 1.0)
        pausing, failing, working, waiting = (Told(loop) for _ in range(4))
        kept = replace(PATIENT, dead_letter=DEAD)  # and is no dead letter: another bridge will be brought it
        delivery.deliver(EVENT, kept, loop.time() + 60, pausing)
        await asyncio.sleep(0.1)
        for told in (failing, working):
            delivery.deliver(EVENT, kept, loop.time() + 60, told)
        await asyncio.sleep(0.01)
        delivery.deliver(EVENT, Terms(SINK), loop.time() + 60, waiting)  # its device is there and waits: it is tried on
        await asyncio.sleep(0.01)
        delivery.drain()
        assert (await pausing.wait()).verdict is Verdict.CANCELLED
        assert [(await told.wait()).verdict for told in (failing, working, waiting)] == [
            Verdict.CANCELLED,
            Verdict.ACCEPTED,
            Verdict.ACCEPTED,
        ]
        assert {host for host, _ in loop.requests} == {"sink.test"}
        await delivery.close()

    play(scene)


@pytest.mark.parametrize(("asked", "at"), [(1000, 840.0), (100, 100.0)])
def test_a_sink_that_asks_to_come_too_late_is_asked_once_more_in_time(asked: int, at: float) -> None:
    """What its device keeps is tried for all of `retry_for`: the sink may be back sooner than it thinks."""
    told, loop, *_ = deliver([answer(503, b"", f"retry-after: {asked}"), OK], PATIENT, seconds=900)
    assert told.verdict is Verdict.ACCEPTED
    assert loop.times[1] - loop.times[0] == about(at)


def test_a_drain_postpones_nothing() -> None:
    async def scene(loop: VirtualLoop) -> None:
        delivery, told = await _crowd(loop, 60.0)
        delivery.drain()
        assert [(await one.wait()).verdict for one in told[1:]] == [Verdict.CANCELLED] * 2
        delivery.deliver(EVENT, PATIENT, loop.time() + 60, late := Told(loop))
        assert (await late.wait()).verdict is Verdict.OVERLOADED
        assert (await told[0].wait()).verdict is Verdict.ACCEPTED
        await delivery.close()

    play(scene)


def test_a_drain_before_anything_was_delivered() -> None:
    Delivery().drain()


def test_who_asked_hears_when_a_sink_begins_to_fail_and_when_it_answers_again() -> None:
    heard: list[str | None] = []
    deliver([answer(503), answer(503), OK], notice=lambda sink, _: heard.append(sink.error))
    assert heard == ["answered 503", None]


@pytest.mark.parametrize(
    "useless",
    [answer(301, b"", "location: http://elsewhere/"), answer(200, b"{", "content-type: application/cloudevents+json")],
)
def test_a_sink_whose_answers_cannot_be_used_is_told_of_as_one_that_fails(useless: bytes) -> None:
    heard: list[str | None] = []
    told, *_ = deliver([useless], notice=lambda sink, _: heard.append(sink.error))
    assert told.verdict is Verdict.BAD_GATEWAY
    assert heard == [f"answered {told.status}"]


def test_what_waits_elsewhere_for_its_turn_is_counted_and_bounded() -> None:
    delivery = Delivery(DeliveryLimits(postponed=2, held_bytes=3 * EVENT.size))
    assert [delivery.hold(EVENT) for _ in range(3)] == [True, True, False]  # by number
    assert (delivery.held_bytes, delivery.counters) == (2 * EVENT.size, {"overloaded": 1})
    delivery.release(EVENT)
    assert delivery.held_bytes == EVENT.size
    assert not delivery.hold(Event(EVENT.attributes, bytes(3 * EVENT.size)))  # by bytes


# --- What is held up ---------------------------------------------------------------------------------------------


def test_a_message_that_is_refused_again_and_again_is_told_of() -> None:
    """One message, while others pass: the sink is well, and yet somebody waits."""
    heard: list[Change] = []
    script = [answer(503)] * 8 + [OK]
    told, _, delivery, took = deliver(script, PATIENT, seconds=900.0, notice=lambda _, change: heard.append(change))
    assert told.verdict is Verdict.ACCEPTED
    assert took > 30.0
    assert delivery.counters["held_up"] == 1
    assert [change for change in heard if change in (Change.HOLDS_UP, Change.LETS_GO)] == [
        Change.HOLDS_UP,
        Change.LETS_GO,
    ]
    assert delivery.sinks[0].held_up == 0


def test_a_message_whose_device_does_not_keep_it_holds_up_nobody() -> None:
    heard: list[Change] = []
    impatient = Terms(SINK, retries=9, pause=10.0)
    deliver([answer(503)] * 6 + [OK], impatient, seconds=900.0, notice=lambda _, change: heard.append(change))
    assert Change.HOLDS_UP not in heard


def test_what_is_held_up_is_let_go_in_the_end() -> None:
    heard: list[Change] = []
    told, _, delivery, _ = deliver(
        [answer(503)] * 99, PATIENT, seconds=120.0, notice=lambda _, change: heard.append(change)
    )
    assert told.verdict is Verdict.UNKNOWN
    assert heard[-1] is Change.LETS_GO
    assert delivery.sinks[0].held_up_since is None
