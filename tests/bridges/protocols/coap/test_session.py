"""One peer: the message layer, in virtual time.

Over 400 lines because it mirrors one module.
"""

import pytest
from tests.bridges.protocols.coap.bench import DEVICE, DONE, PENDING, Bench, ack, ask, reset

from thinbridge import contract
from thinbridge.protocols.base import Identity, Inbound, Outbound, Outcome, PushResult, Reply
from thinbridge.protocols.coap.codec import Message, uint
from thinbridge.protocols.coap.codes import (
    BAD_OPTION,
    CHANGED,
    CONTINUE,
    DELETE,
    FETCH,
    GATEWAY_TIMEOUT,
    GET,
    POST,
    REQUEST_ENTITY_TOO_LARGE,
    SERVICE_UNAVAILABLE,
    Option,
    Type,
)
from thinbridge.protocols.coap.memory import EXCHANGE_LIFETIME, NON_LIFETIME

TEXT = (Option.CONTENT_FORMAT, b"")
DONE_ACK = Message(Type.ACK, CHANGED, 1, b"t", [TEXT], b"done")


def separate(bench: Bench, mid: int = 1) -> Message:
    """Ask, and answer after the empty ACK; the separate response."""
    bench.send(ask(mid))
    assert bench.wait(1.5) == [ack(mid)]
    (response,) = bench.answer()
    assert (response.type, response.code, response.token, response.payload) == (Type.CON, CHANGED, b"t", b"done")
    return response


def test_a_request_is_an_event_and_its_answer_rides_on_the_ack() -> None:
    bench = Bench()
    assert bench.send(ask(1, (Option.URI_PATH, b"a"), TEXT)) == []
    assert bench.inbound._replace(repeat_key=None) == Inbound(
        1,
        contract.COAP_REQUEST,
        "a",
        {"coapmethod": "POST", "peer": "192.0.2.7:40000", "coapformat": "0"},
        "text/plain;charset=utf-8",
        b"x",
        None,
        EXCHANGE_LIFETIME,
    )
    assert bench.session.busy
    assert bench.answer() == [DONE_ACK]
    assert not bench.session.busy
    assert bench.wait(10) == []


@pytest.mark.parametrize(("method", "data"), [(GET, b""), (DELETE, b""), (FETCH, b"x"), (POST, b"x")])
def test_a_payload_that_a_method_does_not_have_is_ignored(method: int, data: bytes) -> None:
    """RFC 7252 §5.5, RFC 8132 §2."""
    bench = Bench()
    bench.send(ask(1, code=method, payload=b"x"))
    assert bench.inbound.data == data


def test_an_ipv6_peer_is_written_as_urls_have_it() -> None:
    bench = Bench(DEVICE._replace(peer=("2001:db8::7", 40000, 0, 0)))
    bench.send(ask())
    assert bench.inbound.attributes["peer"] == "[2001:db8::7]:40000"


def test_equal_messages_have_equal_keys_and_others_do_not() -> None:
    keys = []
    proven = DEVICE._replace(identity=Identity("psk", "meter 7"))
    for path, message in (
        (DEVICE, ask(1)),
        (DEVICE, ask(1)),
        (DEVICE, ask(2)),
        (DEVICE, ask(1, payload=b"y")),
        (DEVICE, ask(1, token=b"u")),
        (DEVICE, ask(1, type=Type.NON)),
        (DEVICE._replace(peer=("192.0.2.8", 40000)), ask(1)),
        (proven, ask(1)),
        (proven._replace(peer=("192.0.2.8", 40000)), ask(1)),
    ):
        bench = Bench(path)
        bench.send(message)
        keys.append(bench.inbound.repeat_key)
    assert keys[0] == keys[1]
    assert keys[7] == keys[8]
    assert len(set(keys)) == 7


def test_the_same_link_local_address_on_another_link_is_another_device() -> None:
    keys = []
    for scope in (2, 3):
        bench = Bench(DEVICE._replace(peer=("fe80::7", 40000, 0, scope)))
        bench.send(ask(1))
        keys.append(bench.inbound.repeat_key)
    assert keys[0] != keys[1]


def test_a_repeat_hears_what_the_first_one_heard() -> None:
    bench = Bench()
    bench.send(ask())
    assert bench.send(ask()) == [ack(1)]
    assert bench.send(ask()) == [ack(1)]
    (response,) = bench.answer()
    assert response.type == Type.CON
    assert bench.send(ask()) == [ack(1)]
    bench.send(ask(2))
    (piggybacked,) = bench.answer()
    bench.wait(200)
    assert bench.send(ask(2)) == [piggybacked]
    assert (len(bench.messages), bench.counters["repeated"]) == (2, 4)


def test_a_repeat_whose_reply_was_let_go_of_is_no_promise() -> None:
    bench = Bench(replies=1)
    for mid in (1, 2):
        bench.send(ask(mid))
        bench.answer()
    assert bench.send(ask(1)) == [Message(Type.ACK, GATEWAY_TIMEOUT, 1, b"t")]
    assert len(bench.messages) == 2


def test_a_repeated_non_is_ignored() -> None:
    bench = Bench()
    bench.send(ask(type=Type.NON))
    assert bench.inbound.repeat_window == NON_LIFETIME
    (response,) = bench.answer()
    assert (response.type, response.code, response.token) == (Type.NON, CHANGED, b"t")
    assert bench.send(ask(type=Type.NON)) == []
    assert len(bench.messages) == 1
    assert bench.wait(10) == []


def test_the_empty_ack_comes_in_time_and_the_separate_response_until_it_is_acknowledged() -> None:
    bench = Bench()
    response = separate(bench)
    assert bench.session.busy
    assert bench.session.unsettled
    assert bench.wait(3.0) == [response]
    assert bench.wait(6.0) == [response]
    assert bench.send(ack(response.mid)) == []
    assert not bench.session.busy
    assert not bench.session.unsettled
    assert bench.wait(100) == []
    assert len(bench.messages) == 1


def test_what_is_answered_needs_no_empty_ack() -> None:
    bench = Bench()
    bench.send(ask(1))
    bench.send(ask(2))
    bench.answer(index=1)
    assert bench.wait(1.5) == [ack(1)]


def test_a_device_that_does_not_know_the_response_resets_it() -> None:
    bench = Bench()
    response = separate(bench)
    assert bench.send(reset(response.mid)) == []
    assert bench.wait(100) == []
    assert bench.counters["reset"] == 1


def test_nobody_acknowledges() -> None:
    bench = Bench()
    response = separate(bench)
    assert bench.wait(100) == [response] * 4
    assert bench.counters["gave_up"] == 1
    assert not bench.session.busy


def test_responses_take_their_turns() -> None:
    bench = Bench(nstart=1)
    for mid in (1, 2):
        bench.send(ask(mid, token=bytes((mid,))))
    bench.wait(1.5)
    (first,) = bench.answer(index=0)
    assert bench.answer(index=1) == []
    (second,) = bench.send(ack(first.mid))
    assert (first.token, second.token) == (b"\1", b"\2")


def test_what_is_not_acknowledged_counts_as_open() -> None:
    bench = Bench(open_exchanges=2, nstart=1)
    first = separate(bench, 1)
    bench.send(ask(2))
    (refusal,) = bench.send(ask(3))
    assert (refusal.type, refusal.code, refusal.mid) == (Type.ACK, SERVICE_UNAVAILABLE, 3)
    assert refusal.options == [(Option.MAX_AGE, b"\1")]
    bench.send(ack(first.mid))
    assert bench.send(ask(4)) == []
    assert (len(bench.messages), bench.counters["exchanges_full"]) == (3, 1)


def test_a_message_id_that_is_used_again() -> None:
    bench = Bench()
    bench.send(ask(1, token=b"old"))
    bench.send(ask(1, token=b"new"))
    assert len(bench.messages) == 2
    (late,) = bench.answer(index=0)
    assert (late.type, late.token) == (Type.CON, b"old")  # the ACK of this Message ID belongs to the new one
    (response,) = bench.answer(index=1)
    assert (response.type, response.mid, response.token) == (Type.ACK, 1, b"new")


def test_after_its_lifetime_a_message_is_new() -> None:
    bench = Bench()
    bench.send(ask())
    bench.answer()
    bench.wait(200)
    bench.send(ask(2))
    bench.answer()
    bench.wait(47.5)
    assert bench.send(ask()) == []
    assert len(bench.messages) == 3


def test_an_answer_that_is_pending() -> None:
    bench = Bench()
    bench.send(ask())
    assert bench.answer(PENDING) == []
    assert bench.session.busy
    assert bench.answer() == [DONE_ACK]
    assert not bench.session.answer(1, PENDING, bench.now)
    assert not bench.session.answer(1, DONE, bench.now)


@pytest.mark.parametrize(
    ("reply", "classes", "wanted"),
    [
        (DONE, 0, True),
        (DONE, 2, False),
        (DONE, 24, True),
        (Reply(Outcome.REFUSED, 404), 8, False),
        (Reply(Outcome.UNKNOWN), 8, True),
        (Reply(Outcome.UNKNOWN), 16, False),
    ],
)
def test_responses_that_are_not_wanted(reply: Reply, classes: int, wanted: bool) -> None:
    for kind in (Type.CON, Type.NON):
        bench = Bench()
        bench.send(ask(1, (Option.NO_RESPONSE, uint(classes)), type=kind))
        said = bench.answer(reply)
        if wanted:
            assert said[0].code
        else:
            assert said == ([ack(1)] if kind == Type.CON else [])
            assert bench.counters["no_response"] == 1
            assert bench.send(ask(1, (Option.NO_RESPONSE, uint(classes)), type=kind)) == said
        assert bench.wait(100) == []
    bench = Bench()
    bench.send(ask(1, (Option.NO_RESPONSE, b"\x1a")))
    assert bench.wait(2) == [ack(1)]
    assert bench.answer(reply) == []


@pytest.mark.parametrize(
    ("kind", "options", "answer"),
    [
        (Type.CON, [(9, b"")], Message(Type.ACK, BAD_OPTION, 1, b"t", [], b"critical option 9")),
        (Type.NON, [(9, b"")], reset(1)),
        (Type.CON, [(9, b""), (Option.NO_RESPONSE, b"\x08")], ack(1)),
        (Type.NON, [(Option.PROXY_URI, b"coap://a"), (Option.NO_RESPONSE, b"\x1a")], None),
        (Type.CON, [(Option.PROXY_URI, b"x"), (Option.NO_RESPONSE, b"\x08")], "5.05"),
        (Type.NON, [(Option.PROXY_URI, b"coap://a")], "5.05"),
    ],
)
def test_refusals(kind: int, options: list[tuple[int, bytes]], answer: Message | str | None) -> None:
    bench = Bench()
    said = bench.send(ask(1, *options, type=kind))
    if isinstance(answer, str):
        assert [(one.type, one.code >> 5, one.token) for one in said] == [(kind or Type.ACK, 5, b"t")]
    else:
        assert said == ([] if answer is None else [answer])
    assert not bench.messages
    assert not bench.session.busy


def test_a_message_that_is_too_long() -> None:
    bench = Bench(max_message=100)
    (refusal,) = bench.send(ask(payload=bytes(100)))
    sizes = [(Option.BLOCK1, b"\x02"), (Option.SIZE1, b"\x10\0\0")]  # in blocks of 64, and how much then
    assert (refusal.code, refusal.options) == (REQUEST_ENTITY_TOO_LARGE, sizes)
    assert bench.counters["too_large"] == 1
    (goes_on,) = bench.send(ask(2, (Option.BLOCK1, b"\x0a"), sizes[1], payload=bytes(64)))
    assert goes_on.code == CONTINUE


@pytest.mark.parametrize(
    ("data", "answer", "counter"),
    [
        ("40001234", "70001234", "ping"),
        ("50001234", "", "unexpected"),
        ("60001234", "", "unexpected"),
        ("70001234", "", "unexpected"),
        ("60451234", "", "unexpected"),
        ("70451234", "", "unexpected"),
        ("40451234", "70001234", "unexpected"),
        ("50451234", "", "unexpected"),
        ("40211234", "70001234", "unexpected"),
        ("40e11234", "70001234", "unexpected"),
        ("60011234", "", "unexpected"),
        ("40011234ff", "70001234", "malformed_empty_payload"),
        ("50011234ff", "", "malformed_empty_payload"),
        ("4f011234", "70001234", "malformed_token_length"),
        ("80011234", "", "malformed_version"),
        ("40", "", "malformed_truncated"),
    ],
)
def test_what_is_no_request(data: str, answer: str, counter: str) -> None:
    for path in (DEVICE, DEVICE._replace(verified=False)):
        bench = Bench()
        bench.owner.datagram(bytes.fromhex(data), path, bench.now)
        assert [one for one, _ in bench._sent] == ([bytes.fromhex(answer)] if answer else [])
        assert bench.counters == {counter: 1}


def test_nothing_can_be_pushed_yet() -> None:
    bench = Bench()
    bench.send(ask())
    results: list[PushResult] = []
    for target in (1, None):
        bench.owner.push(bench.session, target, Outbound(None, b"x"), results.append, bench.now)
    assert results == [PushResult.REFUSED, PushResult.REFUSED]
    assert bench.said() == []


def test_while_it_drains_only_what_is_open_goes_on() -> None:
    bench = Bench()
    bench.send(ask(1))
    bench.send(ask(2))
    bench.answer(index=1)
    bench.owner.drain(bench.now)
    (refusal,) = bench.send(ask(3))
    assert (refusal.code, refusal.options) == (SERVICE_UNAVAILABLE, [(Option.MAX_AGE, b"\1")])
    assert bench.send(ask(1)) == [ack(1)]
    assert bench.send(ask(2))[0].code == CHANGED
    assert bench.answer(index=0)[0].code == CHANGED
    assert len(bench.messages) == 2


def test_memory_is_bounded() -> None:
    bench = Bench(remembered=8, replies=4, open_exchanges=4)
    for mid in range(1000):
        bench.send(ask(mid))
        bench.answer()
    assert (bench.core.shared.entries, bench.counters["forgotten"]) == (8, 992)
    assert bench.core.shared.octets == 4 * len(b"\x61\x44\0\0t\xc0\xffdone")


def test_a_session_without_memory_ends() -> None:
    bench = Bench()
    for _ in range(10):
        bench.send(Message(Type.CON, 0, 1))
        bench.wait(20)
    bench.wait(EXCHANGE_LIFETIME)
    assert not bench.owner.live
    bench.send(ask())
    bench.answer()
    bench.wait(EXCHANGE_LIFETIME + 1)
    assert not bench.owner.live
    assert (bench.core.shared.entries, bench.core.shared.octets) == (0, 0)


def test_an_exchange_that_nobody_answers_expires() -> None:
    bench = Bench()
    bench.send(ask(1))
    bench.send(ask(2))
    bench.send(ask(2, token=b"again"))
    session = bench.session
    bench.wait(EXCHANGE_LIFETIME + 1)
    assert not bench.owner.live
    assert not session.answer(1, DONE, bench.now)
    assert bench.counters["expired"] == 3


def test_a_late_answer_outlives_the_memory_until_it_is_acknowledged() -> None:
    bench = Bench()
    bench.send(ask())
    bench.wait(240)
    (response,) = bench.answer()
    bench.wait(10)
    assert bench.session.unsettled
    bench.send(ack(response.mid))
    bench.wait(EXCHANGE_LIFETIME)
    assert not bench.owner.live


def test_a_session_that_is_closed_takes_nothing_with_it() -> None:
    bench = Bench()
    bench.send(ask(1))
    bench.send(ask(2))
    bench.answer()
    session = bench.session
    bench.owner.close(bench.now)
    assert session.closed
    assert not session.answer(1, DONE, bench.now)
    assert (bench.core.shared.entries, bench.core.shared.octets) == (0, 0)


def test_what_was_asked_is_not_kept_if_it_is_large() -> None:
    bench = Bench()
    for mid, size in enumerate((1, 60_000, 1, 60_000)):
        bench.send(ask(mid, (Option.URI_PATH, b"%d" % size), (2048, bytes(size))))
        bench.answer()
    assert [one.subject for _, one in bench.messages] == ["1", "60000", "1", "60000"]
    assert max(len(value) for _, value in bench.session._asked[1]) == 1


def test_a_device_that_asks_for_the_same_again() -> None:
    bench = Bench()
    for mid, options in enumerate(([(11, b"a")], [(11, b"a")], [(11, b"b")], [(9, b"")], [(11, b"b")])):
        bench.send(ask(mid, *options, code=GET if mid == 1 else 2))
    assert [(one.subject, one.attributes["coapmethod"]) for _, one in bench.messages] == [
        ("a", "POST"),
        ("a", "GET"),
        ("b", "POST"),
        ("b", "POST"),
    ]
