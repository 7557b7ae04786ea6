"""One connection: clocks and aliases."""

import pytest

from thinbridge.errors import DecodeError
from thinbridge.protocols.base import Path
from thinbridge.protocols.mqtt import properties, reasons, wire
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.connection import Connection


def connection(keep_alive: int = 0) -> Connection:
    return Connection(Path(()), True, keep_alive, wire.Framer(100), 2, 0.0)


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


def test_aliases() -> None:  # MQTT 5 §3.3.2.3.4
    one = connection()
    assert one.topic(Publish("a", b"", properties={properties.TOPIC_ALIAS: 2})) == "a"
    assert one.topic(Publish("", b"", properties={properties.TOPIC_ALIAS: 2})) == "a"
    assert one.topic(Publish("b", b"", properties={properties.MESSAGE_EXPIRY: 2})) == "b"
    for alias, topic, code in (
        (0, "a", reasons.ALIAS_INVALID),
        (3, "a", reasons.ALIAS_INVALID),
        (1, "", reasons.PROTOCOL_ERROR),
        (1, "+", reasons.TOPIC_INVALID),
    ):
        with pytest.raises(DecodeError) as caught:
            one.topic(Publish(topic, b"", properties={properties.TOPIC_ALIAS: alias}))
        assert caught.value.code == code
    with pytest.raises(DecodeError):
        one.topic(Publish("", b""))


def test_bytes_that_are_no_packet() -> None:
    one = connection()
    assert one.error is None
    assert one.feed(b"\xc0\0\xc0\xff\xff\xff\xff", 1.0) == [(0xC0, b"")]
    assert one.error is not None
