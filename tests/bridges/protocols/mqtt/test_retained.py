"""The last values of topics."""

from thinbridge.protocols.mqtt.message import Publication
from thinbridge.protocols.mqtt.retained import Retained


def value(topic: str = "a", data: bytes = b"x", expires: float | None = None, qos: int = 1) -> Publication:
    return Publication(topic, data, qos, retain=True, expires=expires)


def test_the_last_value_is_kept() -> None:  # MQTT-3.3.1-5; 3.1.1: MQTT-3.3.1-7
    store = Retained(10, 10_000)
    assert store.keep(value(data=b"1"), 0.0)
    assert store.keep(value(data=b"2", qos=0), 0.0)
    found = store.get("a", 0.0)
    assert found is not None
    assert (found.data, found.qos) == (b"2", 0)
    assert len(store) == 1
    assert store._octets == found.size
    assert store.get("b", 0.0) is None


def test_an_empty_one_takes_it_away() -> None:  # MQTT-3.3.1-6, MQTT-3.3.1-7; 3.1.1: MQTT-3.3.1-10, MQTT-3.3.1-11
    store = Retained(1, 10_000)
    store.keep(value(), 0.0)
    assert store.keep(value(data=b""), 0.0)
    assert store.keep(value("b", b""), 0.0)
    assert (len(store), store._octets) == (0, 0)


def test_matching() -> None:
    store = Retained(10, 10_000)
    for topic in ("a/1", "a/2", "b"):
        store.keep(value(topic), 0.0)
    assert store.matching(("a", "+")) == ["a/1", "a/2"]
    assert store.matching(("b",)) == ["b"]
    assert store.matching(("a",)) == []


def test_they_are_bounded_by_number_and_bytes() -> None:
    size = value().size
    for store in (Retained(2, 10_000), Retained(10, 2 * size)):
        assert store.keep(value("a", expires=10.0), 0.0)
        assert store.keep(value("b"), 0.0)
        assert not store.keep(value("c"), 0.0)
        assert store.keep(value("b"), 0.0)  # in place of its own
        assert store.keep(value("c"), 10.0)  # what has expired makes room
        assert len(store) == 2
    assert not store.keep(value("b", bytes(size)), 10.0)
    assert store.get("b", 10.0) == value("b")  # the older one stays
    assert store._octets == 2 * size


def test_what_has_expired_is_gone() -> None:  # MQTT-3.3.2-5
    store = Retained(1, 10_000)
    store.keep(value(expires=10.0), 0.0)
    assert store.get("a", 9.9)
    assert store.get("a", 10.0) is None
    assert len(store) == 0


def test_a_value_that_expires_in_the_way_of_its_own_successor() -> None:
    store = Retained(10, value().size)
    store.keep(value(expires=10.0), 0.0)
    assert not store.keep(value(data=bytes(10)), 10.0)
    assert (len(store), store._octets) == (0, 0)
