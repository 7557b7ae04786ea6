"""From an event's attributes to what a device gets."""

import pytest

from thinbridge.protocols.mqtt import message, properties
from thinbridge.protocols.mqtt.message import Publication, publication
from thinbridge.protocols.mqtt.subscriptions import Match


def test_properties_of_a_reply() -> None:
    attributes = {"type": "a.b", "mqtttopic": "x", "etag": "e", "contentrange": "r", "bad": "\n"}
    found = publication("t", "text/plain", b"x", attributes, 0.0, 2, b"c")
    assert found == Publication(
        "t",
        b"x",
        2,
        properties={
            properties.CONTENT_TYPE: "text/plain",
            properties.CORRELATION_DATA: b"c",
            properties.USER: [("type", "a.b")],
        },
    )
    assert publication("t", "a\nb", b"", {"a": "x" * 10_000}, 0.0).properties == {}
    assert publication("t", "x" * 10_000, b"", {}, 0.0).properties == {}
    many = publication("t", None, b"", {f"a{i}": "" for i in range(200)}, 0.0)
    assert len(many.properties[properties.USER]) == properties.MAX_REPEATED


@pytest.mark.parametrize(("said", "qos"), [("0", 0), ("1", 1), ("2", 2), ("3", 1), ("", 1), ("x", 1)])
def test_a_function_chooses_the_qos(said: str, qos: int) -> None:
    assert publication("t", None, b"", {"mqttqos": said}, 0.0).qos == qos


@pytest.mark.parametrize(
    ("said", "expires"),
    [("60", 70.0), ("0", 10.0), ("-1", None), ("x", None), ("", None), ("9" * 10, 10.0 + 0xFFFFFFFF), ("9" * 99, None)],
)
def test_a_function_says_how_long_it_matters(said: str, expires: float | None) -> None:
    assert publication("t", None, b"", {"mqttexpiry": said}, 10.0).expires == expires


def test_a_copy() -> None:
    one = Publication("t", b"x", 2, retain=True, expires=9.0, properties={properties.CONTENT_TYPE: "a/b"})
    copy = message.copy(one, Match(1, False, (7, 8)), push=3)
    assert (copy.topic, copy.data, copy.qos, copy.retain, copy.push, copy.expires) == ("t", b"x", 1, False, 3, 9.0)
    assert copy.properties == {properties.CONTENT_TYPE: "a/b", properties.SUBSCRIPTION_ID: [7, 8]}
    assert message.copy(one, Match(0, True)).retain  # MQTT-3.3.1-13
    low = message.copy(Publication("t", b"x", 0), Match(2, True))
    assert (low.qos, low.retain) == (0, False)  # MQTT-3.8.4-8; 3.1.1: MQTT-3.8.4-6
    assert message.copy(one, Match(0, False), retained=True).retain


def test_the_size_counts_properties() -> None:
    bare = Publication("t", b"x", 1).size
    values = {properties.CONTENT_TYPE: "a/b", properties.CORRELATION_DATA: b"cc", properties.USER: [("a", "bb")]}
    assert Publication("t", b"x", 1, properties=values).size == bare + 3 + 2 + message.PAIR + 3
