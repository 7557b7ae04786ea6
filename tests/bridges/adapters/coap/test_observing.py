"""Observing over a connection (RFC 8323 §7): the same relations, and nothing to acknowledge."""

from tests.bridges.adapters.coap.streams import Device, frame

from thinbridge.protocols.base import Outbound, Outcome, PushResult, Reply
from thinbridge.protocols.coap.codec import Message, from_uint
from thinbridge.protocols.coap.codes import CONTENT, GET, SERVICE_UNAVAILABLE, Option

REGISTER = frame(GET, (Option.OBSERVE, b""), (Option.URI_PATH, b"a"))
GRANT = Reply(Outcome.ACCEPTED, 200, "text/plain", b"0", {"coapobserve": "true"})


def observing() -> tuple[Device, Message]:
    device = Device()
    assert device.send(REGISTER) == []
    [first] = device.answer(GRANT)
    return device, first


def test_each_state_goes_out_and_counts_as_delivered() -> None:
    device, first = observing()
    results: list[PushResult] = []
    numbers = [first.get(Option.OBSERVE)]
    for value in (b"1", b"2", b"3"):
        session, _ = device.messages[0]
        device.owner.push(session, 1, Outbound("text/plain", value, {}), results.append, device.now)
        [notification] = device.said()
        assert (notification.code, notification.token, notification.payload) == (CONTENT, b"t", value)
        numbers.append(notification.get(Option.OBSERVE))
        assert device.wait(0.01) == []
    assert results == [PushResult.DELIVERED] * 3
    assert sorted(from_uint(number or b"") for number in numbers) == [from_uint(number or b"") for number in numbers]


def test_it_cancels_by_a_get() -> None:
    device, _ = observing()
    device.send(frame(GET, (Option.OBSERVE, b"\1"), (Option.URI_PATH, b"a")))
    [answer] = device.answer()
    assert answer.get(Option.OBSERVE) is None
    assert device.owner.publish("a", Outbound("text/plain", b"1"), device.now) == 0


def test_it_ends_with_its_connection() -> None:
    device, _ = observing()
    device.owner.eof(device.path, device.now)
    assert device.gone
    assert len(device.core.observers) == 0
    assert device.owner.publish("a", Outbound("text/plain", b"1"), device.now) == 0


def test_a_bridge_that_ends_says_so() -> None:
    device, _ = observing()
    device.owner.close(device.now)
    assert [message.code for message in device.said() if message.token] == [SERVICE_UNAVAILABLE]
