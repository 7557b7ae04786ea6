"""Requests by multicast."""

import pytest
from tests.bridges.protocols.coap.bench import DEVICE, STRANGER, Bench, ack, ask, reset

from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Outcome, Reply, Resource
from thinbridge.protocols.coap import CoAPSettings
from thinbridge.protocols.coap.codec import Message, OptionValue, encode
from thinbridge.protocols.coap.codes import CHANGED, CONTENT, GET, UNAUTHORIZED, VALID, Option, Type, dotted
from thinbridge.protocols.coap.memory import EXCHANGE_LIFETIME
from thinbridge.testing import seeded

GROUP = DEVICE._replace(local=("0.0.0.0", 5683), multicast=True)
WELL_KNOWN: list[OptionValue] = [(Option.URI_PATH, b".well-known"), (Option.URI_PATH, b"core")]


def member(**settings: float) -> Bench:
    """A bridge that hears All CoAP Nodes."""
    return Bench(GROUP, groups=("224.0.1.187",), **settings)


def non(mid: int = 1, *options: OptionValue, code: int = 2, payload: bytes = b"x") -> Message:
    return ask(mid, *options, code=code, type=Type.NON, payload=payload)


def test_a_request_to_a_group_is_answered_at_leisure() -> None:
    delays: list[float] = []
    for index in range(50):
        bench = member()
        bench.core.entropy = seeded(index)
        assert bench.send(non()) == []
        begin = bench.now
        assert bench.answer() == []
        assert bench.session.busy
        while not (said := bench.wait(0.1)):
            pass
        (response,) = said
        assert (response.type, response.code, response.token) == (Type.NON, CHANGED, b"t")
        assert not bench.session.busy
        assert bench.wait(100) == []
        delays.append(bench.now - 100 - begin)
    assert max(delays) <= 5.1
    assert min(delays) < 0.6
    assert max(delays) > 4.5


def test_each_answer_has_a_time_of_its_own() -> None:
    bench = member(leisure=100)
    for mid in range(8):
        bench.send(non(mid))
        bench.answer()
    heard = [len(bench.wait(10)) for _ in range(10)]
    assert sum(heard) == 8
    assert max(heard) < 8


@pytest.mark.parametrize(
    "data",
    [
        encode(ask(1)),
        encode(ack(1)),
        encode(reset(1)),
        encode(Message(Type.CON, 0, 1)),
        encode(Message(Type.NON, CONTENT, 1, b"t")),
        bytes.fromhex("40011234ff"),
        bytes.fromhex("50011234ff"),
        b"x",
    ],
)
def test_all_but_a_non_request_is_ignored(data: bytes) -> None:
    bench = member()
    assert bench.send(data) == []
    assert bench.counters == {"multicast": 1}
    assert not bench.owner.live


@pytest.mark.parametrize(
    "reply",
    [
        Reply(Outcome.ACCEPTED, 204),
        Reply(Outcome.ACCEPTED, 404, "text/plain", b"no", {"coapcode": "4.04"}, is_event=True),
        Reply(Outcome.REFUSED, 404, "text/plain", b"no"),
        Reply(Outcome.OVERLOADED),
        Reply(Outcome.UNKNOWN),
    ],
)
def test_errors_and_what_says_nothing_are_not_sent(reply: Reply) -> None:
    bench = member()
    bench.send(non())
    assert bench.answer(reply) == []
    assert bench.wait(100) == []
    assert bench.counters["group_suppressed"] == 1


@pytest.mark.parametrize(
    "options", [[(9, b"")], [(Option.PROXY_URI, b"coap://a")], [(Option.ACCEPT, b"\x32")], [(Option.BLOCK2, b"\7")]]
)
def test_what_is_wrong_with_a_request_is_not_said(options: list[OptionValue]) -> None:
    bench = member()
    assert bench.send(non(1, *options)) == []
    if bench.messages:
        bench.answer()
    assert bench.wait(100) == []


def test_a_device_may_want_no_answer() -> None:
    bench = member()
    bench.send(non(1, (Option.NO_RESPONSE, b"\2")))
    bench.answer()
    assert bench.wait(100) == []
    assert bench.counters == {"no_response": 1}


@pytest.mark.parametrize("value", [b"", b"\x02", b"\x12"])
@pytest.mark.parametrize(
    "reply", [Reply(Outcome.REFUSED, 404, "text/plain", b"no"), Reply(Outcome.REFUSED, 400, "text/plain", b"no")]
)
def test_a_device_may_want_errors(value: bytes, reply: Reply) -> None:
    bench = member()
    assert bench.send(non(1, (Option.NO_RESPONSE, value))) == []
    assert bench.answer(reply) == []
    assert [one.code >> 5 for one in bench.wait(6)] == [4]


def test_a_device_may_want_successes_that_say_nothing() -> None:
    bench = member()
    bench.send(non(1, (Option.NO_RESPONSE, b"\x18")))
    bench.answer(Reply(Outcome.ACCEPTED, 204))
    assert [one.code for one in bench.wait(6)] == [CHANGED]


@pytest.mark.parametrize(("value", "heard"), [(b"", 1), (b"\x02", 1), (b"\x08", 0)])
def test_a_device_may_want_to_know_what_is_wrong(value: bytes, heard: int) -> None:
    bench = member()
    assert bench.send(non(1, (Option.NO_RESPONSE, value), code=8)) == []
    assert bench.session.busy is bool(heard)
    assert [dotted(one.code) for one in bench.wait(6)] == ["4.05"] * heard


def test_an_option_that_is_unheard_of_is_rejected_in_silence() -> None:
    bench = member()
    assert bench.send(non(1, (9, b""), (Option.NO_RESPONSE, b""))) == []
    assert bench.wait(100) == []


def test_that_it_has_the_newest_is_worth_saying() -> None:
    bench = member()
    bench.send(non(1, (Option.ETAG, b"a"), code=GET))
    bench.answer(Reply(Outcome.ACCEPTED, 200, None, b"x", {"etag": "a"}))
    assert [one.code for one in bench.wait(6)] == [VALID]


def test_discovery_of_nothing_is_silent() -> None:
    bench = member()
    bench.core.resources = (Resource("light", {"rt": "light"}),)
    for mid, query, found in ((1, b"rt=light", 1), (2, b"rt=heat", 0)):
        assert bench.send(non(mid, *WELL_KNOWN, (Option.URI_QUERY, query), code=GET, payload=b"")) == []
        assert len(bench.wait(6)) == found


def test_a_repeat_is_ignored_and_the_session_ends() -> None:
    bench = member()
    bench.send(non())
    bench.send(non())
    bench.answer()
    assert len(bench.wait(6)) == 1
    assert len(bench.messages) == 1
    bench.wait(EXCHANGE_LIFETIME)
    assert not bench.owner.live


def test_nobody_observes_a_group() -> None:
    bench = member()
    bench.send(non(1, (Option.OBSERVE, b""), code=GET, payload=b""))
    assert "coapobserve" not in bench.inbound.attributes
    assert bench.answer(Reply(Outcome.ACCEPTED, 200, "text/plain", b"x", {"coapobserve": "true"})) == []
    (response,) = bench.wait(10)
    assert response.get(Option.OBSERVE) is None
    assert not bench.session.busy


def test_too_much_is_silent() -> None:
    bench = member(open_exchanges=1)
    for mid in (1, 2):
        assert bench.send(non(mid)) == []
    assert bench.counters["exchanges_full"] == 1
    full = member()
    full.owner.limit = 0
    assert full.send(non()) == []


def test_answers_that_wait_for_their_time_are_bounded() -> None:
    bench = member(open_exchanges=2)
    for mid in range(5):
        bench.send(non(mid))
        if len(bench.messages) == mid + 1:
            bench.answer()
    assert bench.counters["exchanges_full"] == 3
    assert len(bench.wait(6)) == 2
    bench.send(non(9))
    assert len(bench.messages) == 3


def test_a_stranger_is_not_heard_until_it_has_an_echo() -> None:
    bench = member()
    stranger = GROUP._replace(verified=False)
    assert bench.send(non(1), stranger) == []
    assert bench.counters == {"multicast": 1}
    (challenge,) = bench.send(ask(2), STRANGER)
    assert challenge.code == UNAUTHORIZED
    echo = (Option.ECHO, challenge.get(Option.ECHO) or b"")
    assert bench.send(non(3, echo), stranger) == []
    assert bench.send(non(4), stranger) == []
    assert len(bench.messages) == 2
    bench.answer()
    assert len(bench.wait(6)) == 1


def test_it_is_off_unless_asked_for() -> None:
    assert CoAPSettings().groups == ()
    for group in ("192.0.2.1", "224.0.1.187:5683", "all", ""):
        with pytest.raises(SettingsError, match=r"groups: .*: a multicast address"):
            CoAPSettings(groups=(group,))
    assert CoAPSettings(groups=("224.0.1.187", "ff02::fd%eth0", "ff05::fd"))
