"""What a device hears."""

import pytest
from tests.bridges.protocols.mqtt.bench import V5, V311, Bench, Line, bye, event

from thinbridge.protocols.base import Outbound, Outcome, PushResult, Reply
from thinbridge.protocols.mqtt import codec, connect, properties, subscribe
from thinbridge.protocols.mqtt.message import Publication
from thinbridge.protocols.mqtt.topics import Levels

VERSIONS = pytest.mark.parametrize("version", [V311, V5])


def said(line: Line) -> str:
    return line.raw().hex()


def refused(status: int) -> Reply:
    return Reply(Outcome.REFUSED, status)


# --- Pushes ----------------------------------------------------------------------------------------------------------


@VERSIONS
def test_a_push_is_delivered_at_the_devices_puback(version: int) -> None:
    bench = Bench()
    line = bench.connect(version=version)
    line.subscribe(("cmd/#", 1))
    bench.push(event("cmd/7", b"on"))
    [published] = line.published()
    assert (published.topic, published.qos, published.data) == ("cmd/7", 1, b"on")
    assert bench.pushed == []
    bench.wait(1000.0)
    assert line.published() == []  # on this connection it is never sent again: MQTT-4.4.0-1
    line.send(codec.encode_ack(codec.PUBACK, published.packet_id, 0, line.v5))
    line.send(codec.encode_ack(codec.PUBACK, published.packet_id, 0, line.v5))
    assert bench.pushed == [PushResult.DELIVERED]
    assert bench.protocol.counters == {"ack_unknown": 1}


def test_a_push_to_an_exchange() -> None:
    bench = Bench()
    line = bench.connect()
    line.subscribe(("r", 0))
    line.publish(values={properties.RESPONSE_TOPIC: "r", properties.CORRELATION_DATA: b"c"})
    bench.push(Outbound(None, b"1"), target=2)
    bench.answer()
    bench.push(Outbound(None, b"2"), target=2)
    bench.push(Outbound(None, b"3"), target=3)
    bench.push(Outbound(None, b"4"))
    assert [published.data for published in line.published()] == [b"1", b"2"]
    assert bench.pushed == [PushResult.DELIVERED] * 2 + [PushResult.REFUSED] * 2


def test_pushes_that_do_not_arrive() -> None:
    bench = Bench(outbound_queue=1)
    line = bench.persistent(properties={properties.MAXIMUM_PACKET_SIZE: 50})
    line.subscribe(("a", 1))
    for outbound in (event("b"), event("a", bytes(100)), event("a"), event("a")):
        bench.push(outbound)
    assert bench.pushed == [PushResult.REFUSED, PushResult.TOO_LARGE, PushResult.BUSY]
    line.cut()
    assert bench.pushed[3:] == [PushResult.QUEUED]
    bench.push(event("a"))
    assert bench.pushed[4:] == [PushResult.BUSY]
    again = bench.persistent(quiet=False)
    assert [published.dup for published in again.published()] == [True]
    assert bench.protocol.counters == {"not_subscribed": 1, "outbound_too_large": 1, "outbound_busy": 2}


def test_a_push_of_qos_0_that_is_longer_than_all_that_may_wait() -> None:
    """It would have the connection reset, since it waits in the socket's buffer."""
    bench = Bench(outbound_bytes=2000)
    line = bench.connect()
    line.subscribe(("a", 0), ("b", 1))
    for outbound in (event("a", bytes(2000)), event("b", bytes(2000), mqttqos="0"), event("a", bytes(1000))):
        bench.push(outbound)
    assert bench.pushed == [PushResult.TOO_LARGE, PushResult.TOO_LARGE, PushResult.DELIVERED]
    assert bench.protocol.counters == {"outbound_too_large": 2}


@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
def test_a_push_to_a_device_that_is_away(version: int, qos: int) -> None:  # 3.1.1: MQTT-3.1.2-5
    bench = Bench()
    line = bench.persistent(version=version)
    line.subscribe(("a", 2))
    line.cut()
    bench.push(event("a", b"1", mqttqos=str(qos)))
    assert bench.pushed == [PushResult.QUEUED]
    again = bench.persistent(version=version, quiet=False)
    packets = again.packets()
    assert connect.decode_connack(packets[0][1], again.v5)[:2] == (0, True)
    assert [first for first, _ in packets] == [0x20, 0x30 | qos << 1]
    assert bench.pushed == [PushResult.QUEUED]


def test_a_push_when_the_session_ends() -> None:
    bench = Bench()
    line = bench.connect()
    line.subscribe(("a", 1))
    bench.push(event("a", b"1"))
    line.cut()
    assert bench.pushed == [PushResult.GONE]
    assert not bench.protocol.sessions
    bench.check()


# --- SUBSCRIBE -------------------------------------------------------------------------------------------------------


def test_granted_and_refused() -> None:
    bench = Bench(subscriptions=3)
    line = bench.connect()
    codes = line.subscribe(("a", 0), ("b", 1), ("c/#", 2), ("$SYS/#", 0), ("x" * 1025, 0), ("d", 0))
    assert codes.hex() == "0001028f8f97"
    line.send(subscribe.encode_unsubscribe(7, ["a", "a"], True))
    assert said(line) == "b005 0007 00 0011".replace(" ", "")
    assert bench.protocol.counters == {"subscriptions_full": 1}
    assert bench.connect("old", V311).subscribe(("a", 2), ("$share/g/a", 1)).hex() == "0280"


@pytest.mark.parametrize(
    ("filters", "code", "counter"),
    [
        (("a#",), 0x81, "filter_invalid"),
        (("",), 0x81, "filter_invalid"),
        (("$share/g/a",), 0x9E, "shared_subscription"),
    ],
)
def test_filters_that_are_none(filters: tuple[str, ...], code: int, counter: str) -> None:
    line = Bench().connect()
    line.send(subscribe.encode_subscribe(1, [(text, 0) for text in filters], True))
    assert said(line) == bye(code, counter)
    line = Bench().connect()
    if code == 0x81:
        line.send(subscribe.encode_unsubscribe(1, filters, True))
        assert said(line) == bye(code, counter)


def test_more_filters_than_the_device_takes_an_answer_to() -> None:  # MQTT-3.1.2-24, MQTT-3.8.4-1, MQTT-3.10.4-4
    for packet in (
        subscribe.encode_subscribe(1, [("a", 0)] * 30, True),
        subscribe.encode_unsubscribe(1, ["a"] * 30, True),
    ):
        bench = Bench()
        line = bench.connect(properties={properties.MAXIMUM_PACKET_SIZE: 30})
        line.send(packet)
        assert said(line) == bye(0x95, "answer_too_large")
        assert line.closed
        assert bench.protocol.counters == {"answer_too_large": 1}


def test_filters_within_the_templates() -> None:
    bench = Bench(may_subscribe=("d/{deviceid}/#",))
    line = bench.connect("7")
    assert line.subscribe(("d/7/x", 1), ("d/8/x", 1), ("#", 0)).hex() == "018787"
    assert bench.protocol.counters == {"subscribe_not_allowed": 2}
    bench.push(event("d/8/x"), client_id="7")
    assert bench.pushed == [PushResult.REFUSED]


@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_sent_is_finished_after_unsubscribe(version: int, qos: int) -> None:  # MQTT-3.10.4-2, MQTT-3.10.4-3
    bench = Bench()
    line = bench.persistent(version=version)
    line.subscribe(("a", 2))
    bench.push(event("a", b"1", mqttqos=str(qos)))
    line.raw()
    line.send(subscribe.encode_unsubscribe(7, ["a"], line.v5))
    bench.push(event("a", b"2"))
    line.cut()
    again = bench.persistent(version=version, quiet=False)
    assert [one.data for one in again.published()] == [b"1"]
    if qos == 2:
        again.send(codec.encode_ack(codec.PUBREC, 1, 0, line.v5))
        assert said(again) == "62020001"
    bench.push(event("a", b"3"))
    again.send(codec.encode_ack(codec.PUBACK if qos == 1 else codec.PUBCOMP, 1, 0, line.v5))
    assert said(again) == ""
    assert bench.pushed == [PushResult.REFUSED, PushResult.QUEUED, PushResult.REFUSED]
    assert not bench.session()._downlink._outbox


# --- Retained values -----------------------------------------------------------------------------------------------


def values(line: Line) -> list[tuple[str, bytes, int, bool, list[int]]]:
    return [
        (one.topic, one.data, one.qos, one.retain, one.properties.get(properties.SUBSCRIPTION_ID, []))
        for one in line.published()
    ]


def ask(line: Line, text: str, options: int, number: int = 0) -> None:
    wanted = {properties.SUBSCRIPTION_ID: number} if number else {}
    line.send(subscribe.encode_subscribe(9, [(text, options)], line.v5, wanted))


def test_what_is_retained_reaches_those_who_subscribe_later() -> None:  # MQTT-3.3.1-9
    bench = Bench()
    ended = bench.connect("a")
    bench.push(event("t/1", b"1", mqttretain="true"), client_id="a")
    bench.push(event("t/2", b"2", mqttretain="true", mqttqos="0"), client_id="a")
    assert bench.pushed == [PushResult.QUEUED] * 2
    ended.cut()  # its Session ends, what is retained stays: MQTT-3.1.2-7 of 3.1.1
    assert not bench.protocol.sessions
    line = bench.connect("b")
    ask(line, "t/+", 2, 7)
    assert values(line) == [("t/1", b"1", 1, True, [7]), ("t/2", b"2", 0, True, [7])]
    bench.push(event("t/1", mqttretain="true"), client_id="b")  # an empty one takes it away
    assert values(line) == [("t/1", b"", 1, False, [7])]
    ask(line, "t/#", 0)
    assert values(line) == [("t/2", b"2", 0, True, [])]


def test_filters_that_are_asked_for_at_once_may_overlap() -> None:  # MQTT-3.3.4-2, MQTT-3.3.4-4
    bench = Bench()
    line = bench.connect()
    bench.push(event("t/1", b"1", mqttretain="true", mqttqos="2"))
    line.send(
        subscribe.encode_subscribe(1, [("t/#", 1), ("t/1", 0)], True, {properties.SUBSCRIPTION_ID: 7}),
        subscribe.encode_subscribe(2, [("t/+", 2)], True, {properties.SUBSCRIPTION_ID: 8}),
    )
    assert values(line) == [("t/1", b"1", 2, True, [7, 7, 8])]


@pytest.mark.parametrize(("options", "first", "second"), [(0x00, 1, 1), (0x10, 1, 0), (0x20, 0, 0)])
def test_retain_handling(options: int, first: int, second: int) -> None:  # MQTT-3.3.1-9, MQTT-3.3.1-10, MQTT-3.3.1-11
    bench = Bench()
    line = bench.connect()
    bench.push(event("t", b"1", mqttretain="true"))
    for count in (first, second):
        ask(line, "t", options)
        assert len(line.published()) == count


def test_many_retained_values_wait_for_the_device() -> None:
    bench = Bench(outbound_queue=2, outbound_window=1)
    line = bench.persistent()
    for number in range(5):
        bench.push(event(f"t/{number}", b"%d" % number, mqttretain="true"))
    ask(line, "#", 1)
    seen = []
    for _ in range(2):
        [one] = line.published()
        seen.append(one.data)
        line.send(codec.encode_ack(codec.PUBACK, one.packet_id, 0, True))
    line.cut()
    line = bench.persistent(quiet=False)
    for _ in range(3):
        [one] = line.published()
        seen.append(one.data)
        line.send(codec.encode_ack(codec.PUBACK, one.packet_id, 0, True))
    assert seen == [b"0", b"1", b"2", b"3", b"4"]
    assert not bench.protocol.counters


def test_what_is_retained_is_looked_up_once_for_a_filter_that_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A packet holds 65,000 of the shortest, and as many bytes as are read at once 29,000 packets of one."""
    bench = Bench()
    bench.protocol.retain(Publication("a", b"x", 0, retain=True), 0.0)
    asked: list[Levels] = []
    matching = bench.protocol.retained.matching

    def counted(levels: Levels) -> list[str]:
        asked.append(levels)
        return matching(levels)

    monkeypatch.setattr(bench.protocol.retained, "matching", counted)
    line = bench.connect()
    line.send(*[subscribe.encode_subscribe(9, [("#", 0)] * 100, line.v5)] * 10)
    assert asked == [("#",)]
    assert values(line) == [("a", b"x", 0, True, [])]


def test_what_is_retained_is_not_sent_any_more_after_unsubscribe() -> None:  # MQTT-3.10.4-2
    bench = Bench(outbound_queue=1)
    line = bench.connect()
    for number in range(3):
        bench.push(event(f"t/{number}", b"1", mqttretain="true"))
    ask(line, "t/#", 1)
    [one] = line.published()
    line.send(subscribe.encode_unsubscribe(7, ["t/#"], True))
    line.send(codec.encode_ack(codec.PUBACK, one.packet_id, 0, True))
    assert line.published() == []


def test_a_retained_value_that_has_expired_is_not_sent() -> None:
    bench = Bench()
    line = bench.connect()
    bench.push(event("t", b"1", mqttretain="true", mqttexpiry="10"))
    bench.wait(10.0)
    ask(line, "t", 0)
    assert values(line) == []


def test_retained_values_are_bounded() -> None:
    bench = Bench(retained=1)
    line = bench.connect()
    ask(line, "#", 0)
    for topic in ("a", "b", "$c"):
        bench.push(event(topic, b"1", mqttretain="true"))
    assert bench.pushed == [PushResult.DELIVERED, PushResult.BUSY, PushResult.REFUSED]
    assert bench.protocol.counters == {"retained_full": 1, "not_subscribed": 1}


# --- To everyone ---------------------------------------------------------------------------------------------------


def test_what_is_published_reaches_all_who_listen() -> None:
    bench = Bench(outbound_queue=1)
    lines = [bench.connect(name) for name in "abcd"]
    for line, text in zip(lines, ("t/#", "t/1", "+/1", "x"), strict=True):
        ask(line, text, 1)
        line.raw()
    assert bench.owner.publish("t/1", Outbound("text/plain", b"21"), bench.now) == 3
    assert [[one.data for one in line.published()] for line in lines] == [[b"21"], [b"21"], [b"21"], []]
    assert bench.owner.publish("t/1", Outbound(None, b"22"), bench.now) == 0  # their queues are full
    assert bench.owner.publish("t/2", Outbound(None, b"2"), bench.now) == 0
    assert bench.owner.publish("$t", Outbound(None, b"2"), bench.now) == 0
    assert bench.protocol.counters == {"outbound_busy": 4}


def test_what_is_published_may_be_retained() -> None:
    bench = Bench()
    assert bench.owner.publish("t", event(None, b"1", mqttretain="true"), bench.now) == 0
    line = bench.connect()
    ask(line, "t", 0)
    assert values(line) == [("t", b"1", 0, True, [])]
    bench.push(event("t", b"2"))  # neither kept, nor in the place of what was: MQTT-3.3.1-8; 3.1.1: MQTT-3.3.1-12
    assert bench.owner.publish("t", event(None, b""), bench.now) == 1
    assert values(line) == [("t", b"2", 0, False, []), ("t", b"", 0, False, [])]
    ask(line, "t", 0)
    assert values(line) == [("t", b"1", 0, True, [])]


def test_a_device_that_takes_no_more_is_answered_all_the_same() -> None:  # MQTT-3.3.4-10, MQTT-4.9.0-3
    bench = Bench()
    line = bench.connect(properties={properties.RECEIVE_MAXIMUM: 1})
    line.subscribe(("t", 1))
    for _ in range(3):
        bench.push(event("t"))
    assert len(line.published()) == 1
    line.send(codec.PING)
    assert line.raw() == codec.PONG
    assert line.subscribe(("u", 0)) == b"\0"
    bench.push(event("u", b"QoS 0"))
    assert [one.data for one in line.published()] == [b"QoS 0"]
    line.publish()
    bench.answer()
    assert said(line) == "40020001"


def test_a_subscription_that_is_replaced_loses_nothing() -> None:  # MQTT-3.8.4-4
    bench = Bench()
    line = bench.connect(properties={properties.RECEIVE_MAXIMUM: 1})
    bench.push(event("t", b"kept", mqttretain="true"))
    ask(line, "t", 0x21)  # Retain Handling 2
    for data in (b"1", b"2"):
        bench.push(event("t", data))
    ask(line, "t", 0x01)
    seen = []
    for _ in range(3):
        [one] = line.published()
        seen.append(one.data)
        line.send(codec.encode_ack(codec.PUBACK, one.packet_id, 0, True))
    assert seen == [b"1", b"2", b"kept"]
