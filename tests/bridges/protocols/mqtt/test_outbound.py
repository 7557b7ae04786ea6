"""What goes to a device."""

from collections import Counter

import pytest

from thinbridge.protocols.base import PushResult
from thinbridge.protocols.mqtt import codec, properties, reasons, wire
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.outbound import Message, Outbox, properties_of


def outbox(limit: int = 10, limit_bytes: int = 10_000, window: int = 2) -> Outbox:
    return Outbox(limit, limit_bytes, window, Counter())


def connected(receive_maximum: int = 10, max_packet: int = 1000, **limits: int) -> Outbox:
    one = outbox(**limits)
    one.attach(True, receive_maximum, max_packet)
    return one


def message(data: bytes = b"x", qos: int = 1, push: int = 0) -> Message:
    return Message("t", data, qos, push=push)


def cut(packets: object) -> list[Publish]:
    data = b"".join(packets)  # type: ignore[arg-type]
    return [codec.decode_publish(first, body, True) for first, body in wire.Framer(10_000).feed(data)]


def test_delivered_at_the_devices_puback() -> None:
    one = connected()
    [sent] = cut(one.add(message(push=1)))
    assert (sent.qos, sent.packet_id, sent.dup) == (1, 1, False)
    assert one.results == []
    assert one.acknowledged(1, 0x10)
    assert one.results == [(1, PushResult.DELIVERED)]
    assert not one.acknowledged(1, 0)


def test_refused_by_the_device() -> None:
    one = connected()
    one.add(message(push=1))
    one.acknowledged(1, reasons.IMPLEMENTATION)
    assert one.results == [(1, PushResult.REFUSED)]


def test_qos0_is_delivered_when_it_is_sent() -> None:
    one = connected()
    assert len(one.add(message(qos=0, push=1))) == 1
    one.detach()
    assert one.add(message(qos=0, push=2)) == ()
    assert one.results == [(1, PushResult.DELIVERED), (2, PushResult.BUSY)]


def test_the_devices_window() -> None:  # MQTT-3.3.4-9
    for one in (connected(1), connected(window=1)):
        assert len(one.add(message())) == 1
        assert len(one.add(message(b"y"))) == 0
        one.acknowledged(1, 0)
        assert [sent.data for sent in cut(one.pump())] == [b"y"]


def test_the_queue_is_bounded() -> None:
    for one in (connected(limit=2), connected(limit_bytes=600)):
        for push in (1, 2, 3):
            one.add(message(push=push))
        assert one.results == [(3, PushResult.BUSY)]
        one.acknowledged(1, 0)
        assert len(one.add(message())) == 1


@pytest.mark.parametrize(
    "values",
    [
        {properties.CORRELATION_DATA: bytes(700)},
        {properties.CONTENT_TYPE: "x" * 700},
        {properties.USER: [("a", "x" * 250), ("b", "x" * 250)]},
        {properties.USER: [("a", "")] * 5},
    ],
)
def test_properties_take_room_in_the_queue(values: dict[int, object]) -> None:
    one = connected(limit_bytes=1500)
    for push in (1, 2):
        one.add(Message("t", b"", 1, properties=values, push=push))
    assert one.results == [(2, PushResult.BUSY)]
    one.acknowledged(1, 0)
    assert one._bytes == 0


def test_offline_it_waits_and_says_so_once() -> None:
    one = connected(1)
    for push in (1, 2):
        one.add(message(push=push))
    one.detach()
    one.add(message(push=3))
    assert one.results == [(1, PushResult.QUEUED), (2, PushResult.QUEUED), (3, PushResult.QUEUED)]
    one.attach(True, 10, 1000)
    resent = cut(one.pump())
    assert [(sent.packet_id, sent.dup) for sent in resent] == [(1, True), (2, False)]  # MQTT-4.4.0-1
    one.acknowledged(1, 0)
    assert [sent.packet_id for sent in cut(one.pump())] == [3]
    assert len(one.results) == 3


def test_resends_keep_their_order_and_identifiers() -> None:
    one = connected(window=3)
    for _ in range(3):
        one.add(message())
    one.acknowledged(2, 0)
    one.detach()
    one.attach(False, 1, 1000)
    assert one.pump()[0][:2] == b"\x3a\x06"
    one.acknowledged(1, 0)
    assert len(one.pump()) == 1
    assert one.acknowledged(3, 0)


def test_the_end() -> None:
    one = connected(1)
    for push in (1, 2):
        one.add(message(push=push))
    one.end()
    assert one.results == [(1, PushResult.GONE), (2, PushResult.GONE)]
    assert one.pump() == []


def test_too_large_for_the_device() -> None:  # MQTT-3.1.2-24
    one = connected(max_packet=20)
    assert one.add(message(bytes(20), qos=0, push=1)) == ()
    assert one.add(message(bytes(20), push=2)) == []
    assert one.results == [(1, PushResult.TOO_LARGE), (2, PushResult.TOO_LARGE)]
    assert one._counters == {"outbound_too_large": 2}
    assert len(one.add(message())) == 1


def test_identifiers_in_flight_are_not_given_twice() -> None:  # MQTT-2.2.1-4
    one = connected()
    one.add(message())
    for packet_id in range(2, 0x10000):
        one.add(message())
        assert one.acknowledged(packet_id, 0)
    assert [sent.packet_id for sent in cut(one.add(message()))] == [2]


def test_properties_of_a_reply() -> None:
    values = properties_of("text/plain", {"type": "a.b", "mqtttopic": "x", "etag": "e", "bad": "\n"}, b"c")
    assert values == {
        properties.CONTENT_TYPE: "text/plain",
        properties.CORRELATION_DATA: b"c",
        properties.USER: [("type", "a.b")],
    }
    assert properties_of("a\nb", {"a": "x" * 10_000}, None) == {}
    assert properties_of("x" * 10_000, {}, None) == {}
    assert len(properties_of(None, {f"a{i}": "" for i in range(100)}, None)[properties.USER]) == properties.MAX_USER
