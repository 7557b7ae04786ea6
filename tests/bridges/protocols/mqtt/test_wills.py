"""Wills, as they are read from a CONNECT and become events."""

import json

import pytest

from thinbridge import contract
from thinbridge.errors import DecodeError
from thinbridge.protocols.mqtt import properties, wills
from thinbridge.protocols.mqtt.connect import V311, Connect, Will


def read(will: Will, version: int = 5) -> wills.Will:
    found = wills.read(Connect("c", version, will=will))
    assert found is not None
    return found


def test_none() -> None:
    assert wills.read(Connect("c")) is None


@pytest.mark.parametrize("version", [5, V311])
def test_retain_is_the_functions_business(version: int) -> None:
    for retain, attributes in ((False, {"mqttqos": "2"}), (True, {"mqttqos": "2", "mqttretain": "true"})):
        inbound = read(Will("w", b"bye", 2, retain), version).inbound(7)
        assert (inbound.exchange, inbound.type, inbound.subject) == (7, contract.MQTT_WILL, "w")
        # MQTT-3.1.2-14, MQTT-3.1.2-15; 3.1.1: MQTT-3.1.2-16, MQTT-3.1.2-17
        assert inbound.attributes == attributes
        assert inbound.at_least_once


def test_user_properties_keep_their_order() -> None:  # MQTT-3.1.3-10
    users = [("b", "1"), ("a", "2"), ("b", "3")]
    inbound = read(Will("w", b"", properties={properties.USER: users, properties.MESSAGE_EXPIRY: 9})).inbound(1)
    assert json.loads(inbound.attributes["mqttuserprops"]) == [list(pair) for pair in users]
    assert inbound.expires == 9


def test_the_delay() -> None:
    assert read(Will("w", b"", properties={properties.WILL_DELAY: 5})).delay == 5.0
    assert read(Will("w", b"")).delay == 0.0


def test_a_will_that_is_no_event() -> None:
    with pytest.raises(DecodeError, match="event_invalid"):
        read(Will("w", b"", properties={properties.CONTENT_TYPE: "application/cloudevents+json"}))
