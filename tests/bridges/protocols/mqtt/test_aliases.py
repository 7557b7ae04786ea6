"""Topic Aliases, both ways (MQTT 5 §3.3.2.3.4)."""

import pytest

from thinbridge.errors import DecodeError
from thinbridge.protocols.mqtt import properties, reasons, topics
from thinbridge.protocols.mqtt.aliases import Incoming, Outgoing
from thinbridge.protocols.mqtt.codec import Publish


def publish(topic: str, alias: int | None = None) -> Publish:
    return Publish(topic, b"", properties={} if alias is None else {properties.TOPIC_ALIAS: alias})


def test_incoming() -> None:
    one = Incoming(2)
    assert one.topic(publish("a", 2)) == "a"
    assert one.topic(publish("", 2)) == "a"
    assert one.topic(publish("b", 2)) == "b"
    assert one.topic(publish("", 2)) == "b"
    assert one.topic(publish("c")) == "c"
    for alias, topic, code in (
        (0, "a", reasons.ALIAS_INVALID),  # MQTT-3.3.2-8
        (3, "a", reasons.ALIAS_INVALID),  # MQTT-3.3.2-9
        (1, "", reasons.PROTOCOL_ERROR),
    ):
        with pytest.raises(DecodeError) as caught:
            one.topic(publish(topic, alias))
        assert caught.value.code == code


def test_all_that_were_announced_may_be_used() -> None:  # MQTT-3.3.2-12
    one = Incoming(3)
    assert [one.topic(publish("t", alias)) for alias in (1, 2, 3)] == ["t"] * 3


def test_no_more_is_kept_of_a_topic_than_says_that_it_is_too_long() -> None:
    one = Incoming(1)
    assert not topics.is_taken(one.topic(publish("t" * 65_535, 1)))
    assert not topics.is_taken(kept := one.topic(publish("", 1)))
    assert len(kept) < 1100


def test_outgoing() -> None:
    one = Outgoing(1)
    assert (one.find("a"), one.next()) == (0, 1)
    one.set("a", 1)
    assert (one.find("a"), one.find("b"), one.next()) == (1, 0, 0)
    assert Outgoing(0).next() == 0


def test_none_may_be_used_if_none_was_announced() -> None:  # MQTT-3.2.2-18
    with pytest.raises(DecodeError, match="alias_invalid"):
        Incoming(0).topic(publish("a", 1))
