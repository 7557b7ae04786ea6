"""paho's messages, and ours."""

from typing import Any

import pytest
from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from thinbridge.adapters.mqtt_broker import messages
from thinbridge.protocols.mqtt import message, properties


def received(topic: bytes = b"a/b", payload: bytes = b"x", **values: Any) -> MQTTMessage:
    message = MQTTMessage(7, topic)
    message.payload, message.qos, message.dup = payload, 1, True
    if values:
        message.properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        for name, value in values.items():
            setattr(message.properties, name, value)
    return message


def test_a_message_in_the_words_of_our_codec() -> None:
    publish = messages.publish_of(
        received(ContentType="text/plain", ResponseTopic="r", CorrelationData=b"c", UserProperty=("n", "v"))
    )
    assert publish is not None
    assert (publish.topic, publish.data, publish.qos, publish.dup, publish.packet_id) == ("a/b", b"x", 1, True, 7)
    message = messages.read(publish, False)
    assert (message.content_type, message.response, message.correlation) == ("text/plain", "r", b"c")
    assert message.attributes["mqttuserprops"] == '[["n","v"]]'
    assert messages.size_of(publish) == len("a/b") + len("x") + len("r") + len("c") + len("nv") + 4


@pytest.mark.parametrize("topic", [b"\xff", b"a/+", b"", b"x" * 1025, b"a\x00b"])
def test_a_topic_that_can_be_no_subject(topic: bytes) -> None:
    assert messages.publish_of(received(topic)) is None


def test_user_properties_are_bounded() -> None:
    message = received(UserProperty=("n", "v"))
    for _ in range(properties.MAX_REPEATED):
        message.properties.UserProperty = ("n", "v")  # type: ignore[union-attr]  # paho appends
    publish = messages.publish_of(message)
    assert publish is not None
    assert len(publish.properties[properties.USER]) == properties.MAX_REPEATED


@pytest.mark.parametrize(
    "values",
    [
        {"ContentType": "a\nb"},
        {"ResponseTopic": "$SYS/x"},
        {"ResponseTopic": "a/#"},
        {"ContentType": "application/cloudevents+json"},
    ],
)
def test_what_cannot_be_refused_is_a_plain_message(values: dict[str, Any]) -> None:
    publish = messages.publish_of(received(**values))
    assert publish is not None
    message = messages.read(publish, False)
    assert (message.data, message.content_type, message.response, message.event) == (b"x", None, None, None)


def test_a_forged_event_is_only_data() -> None:
    event = b'{"specversion":"1.0","id":"1","source":"s","type":"dev.thinbridge.mqtt.message"}'
    publish = messages.publish_of(received(payload=event, ContentType="application/cloudevents+json"))
    assert publish is not None
    message = messages.read(publish, False)
    assert (message.event, message.data) == (None, event)


def test_payloads_of_3_1_1_are_events_only_if_the_listener_says_so() -> None:
    publish = messages.publish_of(received(payload=b'{"specversion":"1.0","id":"1","source":"s","type":"t"}'))
    assert publish is not None
    assert messages.read(publish, False).event is None
    event = messages.read(publish, True).event
    assert event is not None
    assert event["type"] == "t"


def test_what_goes_out() -> None:
    made = message.publication("t", "text/plain", b"x", {"n": "v", "mqttexpiry": "60"}, 100.0, correlation=b"c")
    given: Any = messages.paho_properties(made, 110.0)
    assert (given.ContentType, given.CorrelationData, given.UserProperty) == ("text/plain", b"c", [("n", "v")])
    assert given.MessageExpiryInterval == 50
    assert messages.paho_properties(message.publication("t", None, b"", {}, 0.0), 0.0) is None
    assert messages.octets_of(made) == 2 + 2 + len("t") + 2 + 1 + 5 + 13 + 4 + 7 + len("x")
