"""One connection: clocks, topics, packets on their way out."""

import pytest

from thinbridge.errors import DecodeError
from thinbridge.protocols.base import Path
from thinbridge.protocols.mqtt import aliases, codec, properties, reasons, wire
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.connection import Connection
from thinbridge.protocols.mqtt.message import Message


def connection(keep_alive: int = 0, v5: bool = True) -> Connection:
    return Connection(Path(()), v5, keep_alive, 100, 0.0)


def overdue(one: Connection, now: float) -> str | None:
    error = one.overdue(now, 60.0)
    return None if error is None else error.reason


def test_keep_alive_counts_packets() -> None:  # MQTT-3.1.2-22
    one = connection(10)
    assert one.next_timer(60.0) == 15.0
    one.feed(b"\xc0\0", 10.0)
    assert one.next_timer(60.0) == 25.0
    one.feed(b"\xc0", 20.0)  # no packet yet
    assert one.next_timer(60.0) == 25.0
    assert overdue(one, 24.9) is None
    assert overdue(one, 25.0) == "keep_alive_timeout"


def test_a_packet_must_not_take_for_ever() -> None:
    one = connection()
    assert one.next_timer(60.0) is None
    one.feed(b"\x30", 10.0)
    one.feed(b"\x05", 50.0)
    assert one.next_timer(60.0) == 70.0
    assert overdue(one, 69.0) is None
    assert overdue(one, 70.0) == "packet_timeout"
    one.feed(b"12345", 69.0)
    assert overdue(one, 1000.0) is None


def test_the_slow_packet_may_be_due_first() -> None:
    one = connection(100)
    one.feed(b"\x30", 10.0)
    assert one.next_timer(60.0) == 70.0


def test_a_silence_of_our_own_is_excused() -> None:
    one = connection(10)
    one.excuse(5.0)
    assert one.next_timer(60.0) == 20.0
    one.feed(b"\x30", 6.0)
    one.excuse(10.0)
    assert overdue(one, 24.0) is None
    assert one.next_timer(3.0) == 13.0


@pytest.mark.parametrize(
    ("topic", "v5", "code"),
    [
        ("+", True, reasons.MALFORMED),
        ("a/#", False, reasons.MALFORMED),
        ("", True, reasons.PROTOCOL_ERROR),
        ("", False, reasons.MALFORMED),
    ],
)
def test_no_topic(topic: str, v5: bool, code: int) -> None:  # MQTT-3.3.2-2, MQTT-4.7.3-1
    with pytest.raises(DecodeError) as caught:
        connection(v5=v5).topic(Publish(topic, b""))
    assert caught.value.code == code


def test_a_topic_by_its_alias() -> None:
    one = connection()
    one.aliases = aliases.Incoming(2)
    assert one.topic(Publish("a", b"", properties={properties.TOPIC_ALIAS: 2})) == "a"
    assert one.topic(Publish("", b"", properties={properties.TOPIC_ALIAS: 2})) == "a"


def test_bytes_that_are_no_packet() -> None:
    one = connection()
    assert one.error is None
    assert one.feed(b"\xc0\0\xc0\xff\xff\xff\xff", 1.0) == [(0xC0, b"")]
    assert one.error is not None


@pytest.mark.parametrize("v5", [False, True])
def test_lengths_have_their_shortest_form_in_mqtt_5(v5: bool) -> None:  # MQTT-1.5.5-1
    one = connection(v5=v5)
    one.feed(b"\xc0\x80\x00", 1.0)
    assert (one.error is not None) is v5


def test_reason_strings_where_they_are_wanted_and_fit() -> None:  # MQTT-3.1.2-29, MQTT-3.4.2-2, MQTT-3.14.2-3
    one = connection()
    one.acknowledge(codec.PUBACK, 1, 0x83, "no")
    one.goodbye(0x82, "no")
    assert one.take() == bytes.fromhex("4009 0001 83 051f0002 6e6f") + bytes.fromhex("e007 82 051f0002 6e6f")
    one.verbose = False
    one.acknowledge(codec.PUBACK, 1, 0x83, "no")
    assert one.take() == bytes.fromhex("4003 0001 83")
    one.verbose, one.max_outgoing = True, 5
    one.acknowledge(codec.PUBREC, 1, 0x83, "no")
    one.goodbye(0x82, "no")
    assert one.take() == bytes.fromhex("5003 0001 83") + bytes.fromhex("e001 82")
    one.max_outgoing = 2
    one.acknowledge(codec.PUBCOMP, 1, 0)
    one.goodbye(0x82, "no")
    assert one.take() == b""
    old = connection(v5=False)
    old.goodbye(0x82, "no")
    old.acknowledge(codec.PUBREL, 1, 0x92, "no")
    assert old.take() == bytes.fromhex("6202 0001")


def published(one: Connection) -> list[tuple[str, int | None]]:
    packets = wire.Framer(1000).feed(one.take())
    decoded = [codec.decode_publish(first, body, True) for first, body in packets]
    return [(publish.topic, publish.properties.get(properties.TOPIC_ALIAS)) for publish in decoded]


def test_topics_get_aliases_as_long_as_there_are_some() -> None:  # MQTT-3.1.2-26, MQTT-3.1.2-27, MQTT-3.3.2-11
    one = connection()
    one.outgoing = aliases.Outgoing(1)
    for topic in ("a", "a", "b", "a"):
        assert one.publish(Message(topic, b""), 0.0)
    assert published(one) == [("a", 1), ("", 1), ("b", None), ("", 1)]
    two = connection()
    assert two.publish(Message("a", b""), 0.0)
    assert published(two) == [("a", None)]


def test_an_alias_that_does_not_fit_is_not_set() -> None:
    one = connection()
    one.outgoing = aliases.Outgoing(1)
    one.max_outgoing = 11
    assert one.publish(Message("abc", b"xy"), 0.0)
    assert one.publish(Message("a", b"xy"), 0.0)
    assert published(one) == [("abc", None), ("a", 1)]
    assert not one.publish(Message("a", bytes(10)), 0.0)
