"""What devices subscribed to."""

from tests.bridges.protocols.mqtt.bench import Bench

from thinbridge.protocols.mqtt.session import MQTTSession
from thinbridge.protocols.mqtt.subscriptions import Listeners, Match, Subscription, Subscriptions


def session() -> MQTTSession:
    bench = Bench()
    bench.connect()
    return bench.session()


def test_options() -> None:
    assert Subscription.of(0x1D, 7) == Subscription(1, True, 1, 7)
    assert Subscription.of(0x22, 0) == Subscription(2, False, 2, 0)


def test_subscriptions() -> None:
    one = Subscriptions(session(), Listeners(), 2)
    one.add("a/b", Subscription(0, number=7))
    one.add("a/+", Subscription(2, number=8))
    assert one.full
    assert "a/+" in one
    assert one.match("a/b") == Match(2, False, (7, 8))  # MQTT-3.3.4-2, MQTT-3.3.4-4; 3.1.1: MQTT-3.3.5-1
    one.add("a/+", Subscription(0, True))  # MQTT-3.8.4-3: in place of the older one
    assert one.match("a/b") == Match(0, True, (7,))
    assert one.match("a/c") == Match(0, True)
    assert one.match("c") is None
    assert not one.remove("a/#")  # MQTT-3.10.4-1: it takes both, and is neither
    assert not one.remove("A/b")
    assert one.remove("a/+")
    assert one.match("a/b") == Match(0, False, (7,))
    assert one.remove("a/b")
    assert not one.remove("a/+")
    assert len(one) == 0


def test_who_listens() -> None:
    listeners = Listeners()
    first, second = session(), session()
    one, two = Subscriptions(first, listeners, 9), Subscriptions(second, listeners, 9)
    for text in ("a/b", "a/#", "a/+", "+/x"):
        one.add(text, Subscription())
    two.add("a/b/+", Subscription())
    assert listeners.of("a/b") == [first, second]  # the second asks its own filters, and does not hear it
    assert listeners.of("a/b/c") == [first, second]
    assert listeners.of("z/x") == [first]
    one.remove("a/b")
    one.remove("a/+")
    assert listeners.of("a") == [first]
    one.clear()
    two.clear()
    assert listeners._by_beginning == {}
