"""Observe (RFC 7641): relations of one peer, in virtual time.

Over 400 lines because it mirrors one module.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from tests.bridges.protocols.coap.bench import DEVICE, PENDING, Bench, ack, ask, reset

from thinbridge.protocols.base import Outbound, Outcome, PushResult, Reply
from thinbridge.protocols.coap.codec import Message, OptionValue, from_uint, uint
from thinbridge.protocols.coap.codes import CONTENT, FETCH, GET, NOT_ACCEPTABLE, SERVICE_UNAVAILABLE, Option, Type
from thinbridge.protocols.coap.memory import EXCHANGE_LIFETIME
from thinbridge.protocols.coap.notifier import NON_PACE
from thinbridge.protocols.coap.observation import CONFIRM_WITHIN

TEXT = "text/plain;charset=utf-8"
DAY = CONFIRM_WITHIN


def granted(data: bytes = b"0", grant: str = "true", **attributes: str) -> Reply:
    """The function grants the observation."""
    return Reply(Outcome.ACCEPTED, 200, TEXT, data, {"coapobserve": grant, **attributes}, is_event=True)


def state(data: bytes = b"1", content_type: str | None = TEXT, **attributes: str) -> Outbound:
    """What somebody posts."""
    return Outbound(content_type, data, attributes, is_event=True)


class Scene(Bench):
    """A device that observes.

    Args:
        settings: of the endpoint.
    """

    def __init__(self, **settings: float) -> None:
        super().__init__(DEVICE, **settings)
        self.results: list[PushResult] = []
        self._mids = iter(range(1, 60_000))

    def ask(self, *options: OptionValue, token: bytes = b"t", type: int = Type.CON, observe: int = 0) -> list[Message]:
        """The device sends a GET with Observe."""
        options = tuple(sorted([(Option.OBSERVE, uint(observe)), *options], key=lambda option: option[0]))
        request = ask(next(self._mids), *options, code=GET, token=token, type=type, payload=b"")
        return self.send(request)

    def observe(self, reply: Reply | None = None, token: bytes = b"t", type: int = Type.CON) -> Message:
        """The device registers, and the function grants it."""
        assert self.ask(token=token, type=type) == []
        (first,) = self.answer(reply or granted())
        return first

    def push(self, outbound: Outbound | None = None, target: int | None = 1) -> list[Message]:
        """Somebody posts to the `replyto` of an exchange; what the device hears."""
        self.owner.push(self.session, target, outbound or state(), self.results.append, self.now)
        return self.said()

    def publish(self, subject: str = "", outbound: Outbound | None = None) -> int:
        """Somebody posts to a subject; how many observers there were."""
        return self.owner.publish(subject, outbound or state(), self.now)


def number(message: Message) -> int:
    """A notification's sequence number."""
    value = message.get(Option.OBSERVE)
    assert value is not None, message
    return from_uint(value)


# --- The relation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [GET, FETCH])
def test_the_function_answers_the_registration_and_grants_it(code: int) -> None:
    scene = Scene()
    scene.send(ask(1, (Option.OBSERVE, b""), (Option.URI_PATH, b"a"), code=code))
    assert scene.inbound.attributes["coapobserve"] == "register"
    (first,) = scene.answer(granted())
    assert (first.type, first.code, first.token, first.payload) == (Type.ACK, CONTENT, b"t", b"0")
    assert [option for option, _ in first.options] == [Option.OBSERVE, Option.CONTENT_FORMAT]
    assert scene.session.busy
    assert not scene.session.unsettled
    (notification,) = scene.push()
    assert (notification.type, notification.code, notification.token) == (Type.CON, CONTENT, b"t")
    assert notification.payload == b"1"
    assert number(notification) > number(first)
    assert scene.session.unsettled
    assert scene.results == []
    scene.send(ack(notification.mid))
    assert scene.results == [PushResult.DELIVERED]
    assert scene.session.busy
    assert not scene.session.unsettled


@pytest.mark.parametrize(
    "reply",
    [
        granted(grant="false"),
        Reply(Outcome.ACCEPTED, 200, TEXT, b"0"),
        granted(coapcode="4.04"),
        Reply(Outcome.REFUSED, 404, attributes={"coapobserve": "true"}),
        Reply(Outcome.UNKNOWN),
    ],
)
def test_what_is_not_granted_is_no_observation(reply: Reply) -> None:
    scene = Scene()
    scene.ask()
    (answer,) = scene.answer(reply)
    assert answer.get(Option.OBSERVE) is None
    assert scene.push() == []
    assert scene.results == [PushResult.REFUSED]
    assert scene.publish() == 0
    assert not scene.session.busy
    assert len(scene.core.observers) == 0


def test_a_route_may_grant_it_to_a_bare_answer() -> None:
    scene = Scene()
    first = scene.observe(Reply(Outcome.ACCEPTED, 200, TEXT, b"0", {"coapobserve": "true"}))
    assert first.get(Option.OBSERVE) is not None


def test_the_function_is_slow() -> None:
    for kind in (Type.CON, Type.NON):
        scene = Scene()
        scene.ask(type=kind)
        scene.wait(5)
        (first,) = scene.answer(granted())
        assert (first.type, first.payload) == (kind, b"0")
        if kind == Type.CON:
            assert scene.push() == []  # it waits for its turn
            assert scene.results == [PushResult.QUEUED]
            (second,) = scene.send(ack(first.mid))
        else:
            assert scene.push() == []
            (second,) = scene.wait(NON_PACE)
        assert number(second) > number(first)
        assert (second.type, second.payload) == (kind, b"1")


def test_only_the_devices_that_asked_are_notified() -> None:
    scene = Scene()
    scene.observe()
    for target in (None, 7):
        assert scene.push(target=target) == []
    assert scene.results == [PushResult.REFUSED] * 2
    assert scene.counters["push_refused"] == 2
    scene.send(ask(100, (Option.URI_PATH, b"other"), code=GET))
    scene.answer()
    assert scene.push(target=2) == []


def test_a_device_observes_several_things() -> None:
    scene = Scene()
    for index in range(3):
        scene.observe(token=bytes([index]))
    assert scene.publish() == 3
    assert sorted(one.token for one in scene.said()) == [b"\0", b"\1", b"\2"]
    assert scene.publish("elsewhere") == 0


def test_a_get_that_ends_it() -> None:
    scene = Scene()
    scene.observe()
    scene.ask(observe=1, token=b"unknown")
    scene.answer(granted())
    scene.push()
    assert scene.ask(observe=1) == []
    assert "coapobserve" not in scene.inbound.attributes
    (answer,) = scene.answer(granted())  # whatever the function says
    assert answer.get(Option.OBSERVE) is None
    assert scene.results == [PushResult.GONE]
    assert scene.wait(200) == []
    assert scene.publish() == 0
    assert not scene.session.busy


def test_a_get_that_ends_it_before_the_function_has_answered() -> None:
    scene = Scene()
    scene.ask()
    scene.ask(observe=1)
    (first,) = scene.answer(granted(), index=0)
    assert first.get(Option.OBSERVE) is None
    assert scene.publish() == 0
    scene.answer()
    assert not scene.session.busy


def test_to_end_what_never_was() -> None:
    scene = Scene()
    scene.ask(observe=1)
    assert scene.answer()[0].code == CONTENT


def test_a_plain_get_does_not_end_it() -> None:
    scene = Scene()
    scene.observe()
    scene.send(ask(100, code=GET, token=b"t"))
    scene.answer()
    assert scene.publish() == 1


@pytest.mark.parametrize("value", [2, 77, 0xFFFFFF])
def test_other_values_of_the_option_mean_nothing(value: int) -> None:
    scene = Scene()
    scene.ask(observe=value)
    assert "coapobserve" not in scene.inbound.attributes
    assert scene.answer(granted())[0].get(Option.OBSERVE) is None


def test_a_second_registration_takes_the_place_of_the_first() -> None:
    scene = Scene()
    first = scene.observe()
    scene.push()
    again = scene.observe()
    assert number(again) > number(first)
    assert scene.results == [PushResult.GONE]
    assert scene.wait(100) == []
    assert len(scene.core.observers) == 1
    assert scene.push(target=1) == []
    assert len(scene.push(target=2)) == 1
    assert scene.results == [PushResult.GONE, PushResult.REFUSED]


def test_a_second_registration_that_is_not_granted_ends_the_first() -> None:
    scene = Scene()
    scene.observe()
    scene.ask()
    scene.answer(Reply(Outcome.REFUSED, 403))
    assert scene.publish() == 0


def test_a_repeat_of_the_registration_hears_the_same() -> None:
    scene = Scene()
    request = ask(1, (Option.OBSERVE, b""), code=GET)
    scene.send(request)
    (first,) = scene.answer(granted())
    scene.push()
    assert scene.send(request) == [first]
    assert len(scene.messages) == 1


def test_an_observation_keeps_its_session() -> None:
    scene = Scene()
    scene.observe()
    scene.wait(5 * EXCHANGE_LIFETIME)
    assert len(scene.owner.live) == 1
    (notification,) = scene.push()
    scene.send(reset(notification.mid))
    assert scene.results == [PushResult.GONE]
    scene.wait(2 * EXCHANGE_LIFETIME)
    assert not scene.owner.live


def test_no_response_is_wanted() -> None:
    scene = Scene()
    scene.ask((Option.NO_RESPONSE, b"\2"))
    assert scene.answer(granted()) == [ack(1)]
    assert scene.publish() == 0
    assert not scene.session.busy


def test_nobody_answers_the_registration() -> None:
    scene = Scene()
    scene.ask()
    scene.send(ask(100, code=GET))
    scene.wait(EXCHANGE_LIFETIME + 1)
    assert not scene.owner.live
    assert len(scene.core.observers) == 0
    assert scene.counters["expired"] == 2


# --- What comes before the answer -------------------------------------------------------------------------------------


def test_what_comes_before_the_answer_follows_it() -> None:
    scene = Scene()
    scene.ask()
    assert scene.push(state(b"older")) == []
    assert scene.push(state(b"newer")) == []
    assert scene.publish() == 0
    assert scene.push(state(b"newest")) == []
    assert scene.results == [PushResult.QUEUED] * 3
    first, second = scene.answer(granted())
    assert (first.payload, second.payload) == (b"0", b"newest")
    assert number(second) > number(first)


def test_what_comes_before_a_refusal_is_nothing() -> None:
    scene = Scene()
    scene.ask()
    scene.push()
    assert len(scene.answer(Reply(Outcome.REFUSED, 404))) == 1
    assert scene.counters["push_refused"] == 1


# --- One at a time, the latest value ----------------------------------------------------------------------------------


def test_the_latest_waits_for_the_ack() -> None:
    scene = Scene()
    scene.observe()
    (first,) = scene.push(state(b"1"))
    assert scene.push(state(b"2")) == []
    assert scene.push(state(b"3")) == []
    assert scene.results == [PushResult.QUEUED, PushResult.QUEUED]
    (last,) = scene.send(ack(first.mid))
    assert (last.payload, last.mid != first.mid, number(last) > number(first)) == (b"3", True, True)
    assert scene.results == [PushResult.QUEUED, PushResult.QUEUED, PushResult.DELIVERED]
    assert scene.send(ack(last.mid)) == []
    assert scene.counters["superseded"] == 1
    assert scene.wait(100) == []


def test_a_newer_one_takes_the_place_of_one_that_is_repeated_and_its_tries() -> None:
    scene = Scene()
    scene.observe()
    (first,) = scene.push(state(b"1"))
    assert scene.wait(3) == [first]
    scene.push(state(b"2"))
    assert scene.results == [PushResult.QUEUED]
    sent = scene.wait(100)
    assert [one.payload for one in sent] == [b"2"] * 3  # five in all
    assert len({one.mid for one in sent}) == 1
    assert sent[0].mid != first.mid
    assert scene.results == [PushResult.QUEUED, PushResult.QUEUED]  # superseded, and nobody asks for the other
    assert scene.counters["gave_up"] == 1
    assert scene.publish() == 0
    assert not scene.session.busy


def test_a_late_ack_of_what_was_sent_before_says_that_the_device_is_there() -> None:
    scene = Scene()
    scene.observe()
    (first,) = scene.push(state(b"1"))
    scene.push(state(b"2"))
    (second,) = scene.wait(3)
    assert second.payload == b"2"
    assert scene.wait(25) == [second] * 2
    assert scene.send(ack(first.mid)) == []
    assert scene.wait(70) == [second] * 2  # it would have been given up by now
    assert scene.send(ack(second.mid)) == []
    assert scene.session.busy
    assert scene.wait(1000) == []
    (third,) = scene.push(state(b"3"))
    scene.push(state(b"4"))
    (fourth,) = scene.wait(3)
    assert scene.send(reset(third.mid)) == []  # of the first of them, but it knows no such token
    assert fourth.payload == b"4"
    assert not scene.session.busy


def test_a_device_that_is_gone_is_forgotten() -> None:
    scene = Scene()
    scene.observe()
    (notification,) = scene.push()
    assert scene.wait(100) == [notification] * 4
    assert scene.results == [PushResult.GONE]
    assert scene.push() == []
    assert scene.results == [PushResult.GONE, PushResult.REFUSED]
    assert not scene.session.busy


def test_a_reset_ends_it_and_what_waits() -> None:
    scene = Scene()
    scene.observe()
    (first,) = scene.push()
    scene.push()
    assert scene.send(reset(first.mid)) == []
    assert scene.results == [PushResult.QUEUED, PushResult.GONE]
    assert scene.publish() == 0


def test_what_waits_for_its_turn_is_the_latest_when_it_comes() -> None:
    scene = Scene(nstart=1)
    for token in (b"a", b"b"):
        scene.observe(token=token)
    (first,) = scene.push(target=1)
    assert scene.push(state(b"old"), target=2) == []
    assert scene.push(state(b"new"), target=2) == []
    (second,) = scene.send(ack(first.mid))
    assert (second.token, second.payload) == (b"b", b"new")
    assert sorted(one.value for one in scene.results) == [200, 202, 202]


def test_the_end_of_one_lets_the_next_go() -> None:
    scene = Scene(nstart=1)
    for token in (b"a", b"b", b"c"):
        scene.observe(token=token)
    scene.push(target=1)
    scene.push(target=2)
    scene.push(target=3)
    assert [one.token for one in scene.ask(observe=1, token=b"b")] == []
    assert [one.token for one in scene.ask(observe=1, token=b"a")] == [b"c"]


def test_notifications_do_not_fill_the_room_for_requests() -> None:
    scene = Scene(open_exchanges=2, nstart=1)
    for token in (b"a", b"b", b"c"):
        scene.observe(token=token)
    scene.publish()
    scene.said()
    assert scene.ask(token=b"d") == []
    assert scene.ask(token=b"e") == []
    (refusal,) = scene.ask(token=b"f")
    assert refusal.code == SERVICE_UNAVAILABLE


# --- The sequence -----------------------------------------------------------------------------------------------------


def newer(v1: int, t1: float, v2: int, t2: float) -> bool:
    """Whether a device takes 2 for newer than 1 (§3.4)."""
    return (v1 < v2 and v2 - v1 < 1 << 23) or (v1 > v2 and v1 - v2 > 1 << 23) or t2 > t1 + 128


def test_numbers_grow_for_ever() -> None:
    scene = Scene(refresh_pause=1e9)
    last, at = number(scene.observe()), scene.now
    for pause in (0.0, 0.0, 0.001, 127.9, 200.0, 32_768.0, 65_536.0, 50_000.0, 32_000.0, 1e6, 0.0):
        scene.wait(pause)
        for message in scene.said() + scene.push():
            assert newer(last, at, number(message), scene.now)
            last, at = number(message), scene.now
            scene.send(ack(message.mid))


def test_numbers_go_on_in_a_new_session() -> None:
    scene = Scene()
    first = number(scene.observe())
    (notification,) = scene.push()
    scene.send(reset(notification.mid))
    scene.wait(2 * EXCHANGE_LIFETIME)
    assert not scene.owner.live
    assert number(scene.observe()) > first


def test_the_order_is_that_of_the_calls() -> None:
    scene = Scene()
    scene.observe()
    older = scene.core.publish("", state(b"older"), scene.now)  # goes through the observers a slice at a time
    (notification,) = scene.push(state(b"newer"))
    assert notification.payload == b"newer"
    assert list(older) == [scene.session]
    assert scene.send(ack(notification.mid)) == []
    assert scene.counters["superseded"] == 1


def test_one_that_ends_in_the_middle_of_a_round() -> None:
    scene = Scene()
    for token in (b"a", b"b"):
        scene.observe(token=token)
    sessions = scene.core.publish("", state(), scene.now)
    assert next(iter(sessions)) is scene.session
    scene.ask(observe=1, token=b"b")
    assert list(sessions) == []


# --- CON and NON ------------------------------------------------------------------------------------------------------


def heard(scene: Scene, rounds: int) -> Iterator[int]:
    """Types of notifications to a device that acknowledges each CON; they come one after another."""
    for index in range(rounds):
        (message,) = scene.push(state(b"%d" % index))
        if message.type == Type.CON:
            scene.send(ack(message.mid))
        scene.wait(NON_PACE)
        yield message.type


def test_who_asks_by_non_hears_nons_and_now_and_then_a_con() -> None:
    scene = Scene(confirm_every=5)
    first = scene.observe(type=Type.NON)
    assert first.type == Type.NON
    scene.wait(NON_PACE)
    assert "".join("CN"[kind] for kind in heard(scene, 15)) == "NNNCNNNNCNNNNCN"
    assert scene.results == [PushResult.DELIVERED] * 15


def test_a_non_is_sent_once_in_three_seconds_until_the_round_trip_is_known() -> None:
    scene = Scene(confirm_every=6)
    scene.observe(type=Type.NON)
    times = []
    for _ in range(100):
        scene.publish()
        for message in scene.said() + scene.wait(0.5):
            times.append((scene.now, message.type))
            if message.type == Type.CON:
                scene.wait(0.25)
                scene.send(ack(message.mid))
    gaps = [after[0] - before[0] for before, after in pairwise(times)]
    con = [kind for _, kind in times].index(Type.CON)
    assert min(gaps[:con]) >= NON_PACE - 0.5
    assert len(times) > 60


def test_the_round_trip_paces_nons() -> None:
    scene = Scene()
    scene.observe()
    (notification,) = scene.push(state(coapconfirmable="true"))
    scene.wait(0.25)
    scene.send(ack(notification.mid))
    (first,) = scene.push(state(b"1", coapconfirmable="false"))
    assert first.type == Type.NON
    assert scene.push(state(b"2", coapconfirmable="false")) == []
    (second,) = scene.wait(0.3)
    assert (second.type, second.payload) == (Type.NON, b"2")
    assert scene.results == [PushResult.DELIVERED, PushResult.DELIVERED, PushResult.QUEUED]


def test_many_observations_of_one_peer_share_its_pace() -> None:
    scene = Scene(nstart=2)
    for index in range(5):
        scene.observe(token=bytes([index]), type=Type.NON)
    scene.wait(NON_PACE)
    scene.publish()
    assert [one.token for one in scene.said()] == [b"\0", b"\1"]
    assert [one.token for one in scene.wait(NON_PACE)] == [b"\2", b"\3"]
    assert [one.token for one in scene.wait(NON_PACE)] == [b"\4"]


def test_a_reset_of_a_non_ends_it() -> None:
    scene = Scene()
    scene.observe(type=Type.NON)
    scene.wait(NON_PACE)
    (notification,) = scene.push()
    assert scene.send(reset(notification.mid - 7 & 0xFFFF)) == []
    assert scene.publish() == 1
    scene.send(reset(notification.mid))
    assert scene.publish() == 0
    assert scene.counters["reset"] == 1
    assert scene.wait(100) == []


def test_a_con_takes_the_place_of_a_non_that_waits() -> None:
    scene = Scene()
    scene.observe(type=Type.NON)
    assert scene.push(state(b"1")) == []
    (notification,) = scene.push(state(b"2", coapconfirmable="true"))
    assert (notification.type, notification.payload) == (Type.CON, b"2")
    scene.send(ack(notification.mid))
    assert scene.wait(100) == []


def test_once_a_day_the_device_has_to_confirm() -> None:
    scene = Scene()
    scene.observe(type=Type.NON)
    scene.wait(DAY - 1)
    assert len(scene.messages) == 1
    (notification,) = scene.push()
    assert notification.type == Type.NON
    scene.wait(NON_PACE)
    (notification,) = scene.push()
    assert notification.type == Type.CON
    scene.wait(1.5)
    scene.send(ack(notification.mid))
    scene.wait(DAY - 1)
    assert len(scene.messages) == 1
    scene.wait(2)  # nothing was sent for a day: the function says what there is
    assert scene.inbound.attributes["coapobserve"] == "refresh"
    (notification,) = scene.answer(granted())
    assert notification.type == Type.CON
    assert scene.wait(100) == [notification] * 4
    assert len(scene.core.observers) == 0


# --- Ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Type.CON, Type.NON])
def test_an_error_ends_it(kind: int) -> None:
    scene = Scene()
    scene.observe(type=kind)
    assert scene.publish(outbound=state(b"gone", coapcode="4.04")) == 1
    (last,) = scene.said()
    assert (last.type, last.code, last.get(Option.OBSERVE), last.token) == (Type.CON, 0x84, None, b"t")
    assert scene.publish() == 0
    assert scene.session.unsettled
    scene.send(ack(last.mid))
    assert not scene.session.busy


def test_an_error_waits_for_its_turn_and_nothing_takes_its_place() -> None:
    scene = Scene()
    scene.observe()
    (first,) = scene.push()
    assert scene.push(state(b"", coapcode="4.04")) == []
    assert scene.push() == []
    assert scene.results == [PushResult.QUEUED, PushResult.REFUSED]
    (last,) = scene.send(ack(first.mid))
    assert last.code == 0x84
    assert scene.send(ack(last.mid)) == []
    assert scene.wait(100) == []


def test_an_error_takes_the_place_of_one_that_is_repeated() -> None:
    scene = Scene()
    scene.observe()
    scene.push()
    scene.push(state(b"", coapcode="5.00"))
    (last,) = scene.wait(3)
    assert (last.code, last.get(Option.OBSERVE)) == (0xA0, None)
    assert scene.send(ack(last.mid)) == []
    assert not scene.session.busy


def test_an_error_that_is_reset() -> None:
    scene = Scene()
    scene.observe()
    (last,) = scene.push(state(b"", coapcode="4.04"))
    scene.send(reset(last.mid))
    assert scene.results == [PushResult.GONE]
    assert not scene.session.busy


def test_the_content_format_stays_the_same() -> None:
    scene = Scene()
    scene.observe()
    for outbound in (state(), state(b"2", None), state(b""), state(b"3", "text/plain; charset=UTF-8")):
        (notification,) = scene.push(outbound)
        assert notification.get(Option.CONTENT_FORMAT) == (b"" if outbound.data else None)
        scene.send(ack(notification.mid))
    (last,) = scene.push(state(b"{}", "application/json"))
    assert (last.code, last.get(Option.OBSERVE)) == (NOT_ACCEPTABLE, None)
    assert scene.counters["format_changed"] == 1
    assert scene.publish() == 0


def test_the_first_content_says_the_format() -> None:
    scene = Scene()
    scene.observe(granted(b""))
    (notification,) = scene.push(state(b"x", "application/unheard-of"))
    assert notification.get(Option.CONTENT_FORMAT) is None
    scene.send(ack(notification.mid))
    (notification,) = scene.push(state(b"y", coapmaxage="7"))
    assert notification.code == CONTENT
    assert [option for option, _ in notification.options] == [Option.OBSERVE, Option.MAX_AGE]


def test_a_bridge_that_ends_says_so() -> None:
    scene = Scene()
    scene.observe()
    scene.ask(token=b"u")
    scene.push()
    scene.owner.close(scene.now)
    (last,) = scene.said()
    assert (last.type, last.code, last.token, last.options) == (
        Type.NON,
        SERVICE_UNAVAILABLE,
        b"t",
        [(Option.MAX_AGE, b"\1")],
    )
    assert scene.results == [PushResult.GONE]
    assert len(scene.core.observers) == 0


# --- Validation -------------------------------------------------------------------------------------------------------


def test_a_state_that_the_device_has_is_valid() -> None:
    scene = Scene()
    scene.ask((Option.ETAG, b"\1"), (Option.ETAG, b"\2"))
    (first,) = scene.answer(granted(coapetag="01"))
    assert (first.code, first.payload) == (0x43, b"")
    assert number(first)
    for etag, code in (("03", CONTENT), ("02", 0x43), ("01", 0x43)):
        (notification,) = scene.push(state(coapetag=etag))
        assert (notification.code, notification.get(Option.ETAG)) == (code, bytes.fromhex(etag))
        assert bool(notification.payload) is (code == CONTENT)
        number(notification)
        scene.send(ack(notification.mid))


# --- Asking again -----------------------------------------------------------------------------------------------------


def test_the_function_is_asked_again_before_max_age_ends() -> None:
    scene = Scene()
    request = ask(1, (Option.OBSERVE, b""), (Option.URI_PATH, b"a"), (Option.URI_QUERY, b"q"), code=FETCH)
    scene.send(request)
    first = scene.inbound
    scene.answer(granted(grant="refresh", coapmaxage="30"))
    scene.wait(26.9)
    assert len(scene.messages) == 1
    scene.wait(0.2)
    assert scene.inbound.attributes == {**first.attributes, "coapobserve": "refresh"}
    assert scene.inbound[1:3] + scene.inbound[4:6] == first[1:3] + first[4:6]
    assert (scene.inbound.repeat_key, scene.inbound.exchange) == (None, 2)
    (notification,) = scene.answer(granted(b"new", "refresh"))
    assert (notification.type, notification.payload) == (Type.CON, b"new")
    scene.send(ack(notification.mid))
    assert scene.push(target=2)[0].payload == b"1"  # the address of the asking is good, too


def test_who_does_not_acknowledge_is_not_asked_for() -> None:
    scene = Scene()
    scene.observe(granted(grant="refresh", coapmaxage="10"))
    scene.wait(10)
    (notification,) = scene.answer(granted(grant="refresh", coapmaxage="10"))
    scene.wait(40)
    assert len(scene.messages) == 2
    scene.send(ack(notification.mid))
    scene.wait(0.01)
    assert len(scene.messages) == 3


@pytest.mark.parametrize(("age", "pause"), [("0", 60.0), ("1", 2.0), ("100", 95.0), (None, 55.0)])
def test_how_soon_it_is_asked(age: str | None, pause: float) -> None:
    scene = Scene(refresh_pause=2.0)
    scene.observe(granted(b"0", "refresh", **({} if age is None else {"coapmaxage": age})))
    scene.wait(pause - 5.01 if pause == 60 else pause - 0.01)
    assert len(scene.messages) == 1
    scene.wait(0.02)
    assert len(scene.messages) == 2


def test_an_answer_that_is_older_than_a_push_is_nothing_new() -> None:
    scene = Scene()
    scene.observe(granted(grant="refresh", coapmaxage="10"))
    scene.wait(10)
    (notification,) = scene.push(state(b"pushed", coapmaxage="10"))
    assert scene.answer(granted(b"asked")) == []
    assert scene.send(ack(notification.mid)) == []
    assert scene.counters["superseded"] == 1
    scene.wait(10)
    assert len(scene.messages) == 3


def test_a_function_that_fails_for_a_while_ends_nothing() -> None:
    scene = Scene()
    scene.observe(granted(grant="refresh", coapmaxage="10"))
    scene.wait(10)
    assert scene.answer(Reply(Outcome.OVERLOADED, 503, retry_after=30.0)) == []
    assert scene.counters["refresh_failed"] == 1
    scene.wait(29)
    assert len(scene.messages) == 2
    scene.wait(2)
    assert scene.answer(Reply(Outcome.UNKNOWN)) == []
    scene.wait(10)
    assert scene.answer(granted(b"new", "refresh"))[0].payload == b"new"


@pytest.mark.parametrize(
    ("reply", "code"),
    [(Reply(Outcome.REFUSED, 403), 0x83), (Reply(Outcome.UNKNOWN, 404), 0x84), (granted(coapcode="5.00"), 0xA0)],
)
def test_a_function_that_says_no_ends_it(reply: Reply, code: int) -> None:
    scene = Scene()
    scene.observe(granted(grant="refresh", coapmaxage="10"))
    scene.wait(10)
    (last,) = scene.answer(reply)
    assert (last.code, last.get(Option.OBSERVE)) == (code, None)
    assert scene.publish() == 0


def test_a_function_that_answers_later() -> None:
    scene = Scene()
    scene.observe(granted(grant="refresh", coapmaxage="10"))
    scene.wait(10)
    assert scene.answer(PENDING) == []
    assert scene.answer(granted(b"late"))[0].payload == b"late"
    assert not scene.session.answer(2, granted(), scene.now)
    assert not scene.session.answer(1, granted(), scene.now)


def test_a_function_that_is_asked_no_more() -> None:
    scene = Scene()
    scene.observe(granted(grant="refresh", coapmaxage="10"))
    (notification,) = scene.push(state(coapobserve="true"))
    scene.send(ack(notification.mid))
    scene.wait(1000)
    assert len(scene.messages) == 1


def test_an_observation_that_ended_while_the_function_was_asked() -> None:
    scene = Scene()
    scene.observe(granted(grant="refresh", coapmaxage="10"))
    scene.wait(10)
    session, asked = scene.messages[-1]
    scene.ask(observe=1)
    scene.answer()
    assert not scene.owner.answer(session, asked.exchange, granted(), scene.now)
    assert scene.said() == []


def test_while_it_drains_nobody_is_asked() -> None:
    scene = Scene()
    scene.observe(granted(grant="refresh", coapmaxage="10"))
    scene.owner.drain(scene.now)
    scene.wait(1000)
    assert len(scene.messages) == 1
    assert len(scene.push()) == 1


# --- Bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"observations": 2}, {"observations_in_all": 2}])
def test_more_than_there_is_room_for(settings: dict[str, float]) -> None:
    scene = Scene(**settings)
    scene.observe(token=b"a")
    scene.ask(token=b"b")
    scene.ask(token=b"c")
    assert "coapobserve" not in scene.inbound.attributes
    assert scene.counters["observations_full"] == 1
    (plain,) = scene.answer(granted())
    assert (plain.code, plain.get(Option.OBSERVE)) == (CONTENT, None)
    (second,) = scene.answer(granted(), index=1)
    assert second.get(Option.OBSERVE) is not None
    assert scene.observe(token=b"a").get(Option.OBSERVE) is not None  # the same again takes no more
    scene.ask(observe=1, token=b"b")
    scene.answer()
    assert scene.observe(token=b"c").get(Option.OBSERVE) is not None


def test_what_a_datagram_does_not_hold_goes_in_blocks() -> None:
    scene = Scene()
    scene.observe()
    body = bytes(range(256)) * 10
    (notification,) = scene.push(state(body))
    assert number(notification)
    assert notification.payload == body[:1024]
    assert notification.get(Option.BLOCK2) == b"\x0e"
    rest = b""
    for index in (1, 2):
        block = (Option.BLOCK2, uint(index << 4 | 6))
        (part,) = scene.send(ask(500 + index, block, code=GET, token=b"b", payload=b""))
        assert part.get(Option.OBSERVE) is None
        rest += part.payload
    assert notification.payload + rest == body
    assert len(scene.messages) == 1


def test_a_later_block_is_not_observed() -> None:
    scene = Scene()
    scene.ask((Option.BLOCK2, b"\x16"))
    assert "coapobserve" not in scene.inbound.attributes
    assert scene.answer(granted(bytes(2000)))[0].get(Option.OBSERVE) is None
    assert scene.publish() == 0


def test_a_body_in_blocks_may_say_what_is_observed() -> None:
    scene = Scene()
    observe = (Option.OBSERVE, b"")
    scene.send(ask(500, observe, (Option.BLOCK1, b"\x08"), code=FETCH, payload=bytes(16)))
    assert scene.messages == []
    scene.send(ask(501, observe, (Option.BLOCK1, b"\x10"), code=FETCH, payload=b"end"))
    (first,) = scene.answer(granted(grant="refresh", coapmaxage="10"))
    assert first.get(Option.BLOCK1) == b"\x10"
    (notification,) = scene.push(state(coapmaxage="10"))
    assert notification.get(Option.BLOCK1) is None
    scene.send(ack(notification.mid))
    scene.wait(10)
    assert scene.inbound.data == bytes(16) + b"end"


class Counting(dict[str, str]):
    """Attributes that count how often they are read."""

    reads = 0

    def get(self, *arguments: Any) -> Any:
        self.reads += 1
        return super().get(*arguments)


def test_a_round_of_many_is_linear() -> None:
    """Each observer is notified once, whatever their number: counted, not timed."""
    costs = []
    for count in (10, 1000):
        scene = Scene()
        for index in range(count):
            scene.path = DEVICE._replace(peer=("192.0.2.7", index))
            scene.observe()
        attributes = Counting()
        assert scene.owner.publish("", Outbound(TEXT, b"1", attributes), scene.now) == count
        assert len(scene.said()) == count
        costs.append(attributes.reads / count)
    assert costs[0] == costs[1]
