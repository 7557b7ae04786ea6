"""The keys of an `mqtt+broker://` listener."""

import pytest

from thinbridge.adapters.mqtt_broker import MQTTBroker, MQTTSBroker
from thinbridge.adapters.mqtt_broker.settings import BrokerSettings
from thinbridge.errors import SettingsError

BAD = [
    ("subscribe", {}),
    ("subscribe", {"subscribe": ("a/#/b",)}),
    ("subscribe", {"subscribe": ("$share/g",)}),
    ("subscribe", {"subscribe": ("$share/g/a", "b")}),
    ("subscribe", {"subscribe": ("$share/g/a", "$share/h/b")}),
    ("subscribe", {"subscribe": ("$share/g/a",), "share": "g"}),
    ("share", {"subscribe": ("a",), "share": "g/h"}),
    ("qos", {"subscribe": ("a",), "qos": 2}),
    ("version", {"subscribe": ("a",), "version": "3.1"}),
    ("session_expiry", {"subscribe": ("a",), "session_expiry": 0}),
    ("session_expiry", {"subscribe": ("a",), "session_expiry": 1 << 32}),
    ("client_id", {"subscribe": ("a",), "client_id": "a/b"}),
    ("presence", {"subscribe": ("a",), "presence": "a/+"}),
    ("username", {"subscribe": ("a",), "password": "x"}),
    ("password_file", {"subscribe": ("a",), "username": "u", "password": "x", "password_file": "f"}),
    ("tls_certificate", {"subscribe": ("a",), "tls_key": "f"}),
    ("publish", {"subscribe": ("a",), "publish": ("a#",)}),
    ("device_topics", {"subscribe": ("a",), "device_topics": ("a/b",)}),
    ("device_topics", {"subscribe": ("a",), "device_topics": ("{deviceid}/{deviceid}",)}),
    ("window", {"subscribe": ("a",), "window": 0}),
    ("websocket", {"subscribe": ("a",), "websocket": "mqtt"}),
    ("replicas", {"subscribe": ("a",), "replicas": 0}),
    ("replica", {"subscribe": ("a",), "replica": "16"}),
    ("replica", {"subscribe": ("a",), "replica": "some"}),
]


@pytest.mark.parametrize(("key", "keys"), BAD)
def test_what_cannot_be_is_refused_with_its_key(key: str, keys: dict[str, object]) -> None:
    with pytest.raises(SettingsError) as refused:
        BrokerSettings(**keys)  # type: ignore[arg-type]
    assert refused.value.key == key


def test_without_a_session_qos_0_is_the_way_out() -> None:
    assert BrokerSettings(subscribe=("a",), qos=0, session_expiry=0).qos == 0


def test_a_shared_subscription_has_two_ways_to_be_said() -> None:
    one = BrokerSettings(subscribe=("a/+", "b"), share="g")
    two = BrokerSettings(subscribe=("$share/g/a/+", "$share/g/b"))
    assert one.filters == two.filters == ("$share/g/a/+", "$share/g/b")
    assert one.group == two.group == "g"
    assert one.pooled
    assert two.pooled
    assert not BrokerSettings(subscribe=("a",)).pooled
    assert not BrokerSettings(subscribe=("a",), share="g", qos=0).pooled


def test_the_client_id_stays_the_same_for_the_same_subscriptions() -> None:
    one = BrokerSettings(subscribe=("a", "b"), share="g")
    assert one.name == BrokerSettings(subscribe=("$share/g/b", "$share/g/a")).name
    assert one.name != BrokerSettings(subscribe=("a", "b")).name != BrokerSettings(subscribe=("a",)).name
    assert BrokerSettings(subscribe=("a",), client_id="mine").name == "mine"
    assert BrokerSettings(subscribe=("a",), client_id="mine").presence_topic == "thinbridge/mine"
    assert BrokerSettings(subscribe=("a",), presence="here").presence_topic == "here"


def test_a_password_does_not_show() -> None:
    assert "secret" not in repr(BrokerSettings(subscribe=("a",), username="u", password="secret"))


def test_neither_scheme_binds_a_port() -> None:
    assert not MQTTBroker.listens
    assert (MQTTBroker.port, MQTTSBroker.port) == (1883, 8883)
