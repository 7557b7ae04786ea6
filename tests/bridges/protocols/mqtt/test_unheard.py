"""PUBACKs that were lost with their connection: what a device then sends again is the message that it was."""

import pytest
from tests.bridges.protocols.mqtt.bench import Bench, Line

from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.exchanges import Exchange
from thinbridge.protocols.mqtt.unheard import KEPT, NUMBER, Unheard


def said(line: Line) -> str:
    return line.raw().hex()


def acknowledged(packet_id: int, digest: int = 0) -> Exchange:
    exchange = Exchange(1)
    exchange.packet_id, exchange.digest, exchange.key = packet_id, digest, b"session" + packet_id.to_bytes(NUMBER)
    return exchange


def again(packet_id: int, dup: bool = True) -> Publish:
    return Publish("t", b"x", 1, dup=dup, packet_id=packet_id)


def test_what_is_sent_again_after_a_lost_puback_keeps_its_id() -> None:
    bench = Bench()
    line = bench.persistent()
    line.publish()
    bench.answer()
    for _ in range(3):  # each time the PUBACK is lost
        line.cut()
        line = bench.persistent()
        line.publish(dup=True)
        bench.answer()
        assert said(line) == "40020001"
    assert len(bench.messages) == 4  # MQTT-4.3.2-5: it is delivered
    assert len({inbound.repeat_key for inbound in bench.messages}) == 1


def test_another_message_has_another_id() -> None:
    bench = Bench()
    line = bench.persistent()
    line.publish(data=b"one")
    bench.answer()
    line.cut()
    line = bench.persistent()
    line.publish(data=b"two", dup=True)
    bench.answer()
    line.publish(data=b"one", dup=True)  # once: it is acknowledged on this connection, where nothing is lost
    bench.answer()
    line.publish(data=b"one", dup=True)
    assert len({inbound.repeat_key for inbound in bench.messages}) == 3


def test_only_what_was_lost_and_only_once() -> None:
    unheard = Unheard()
    unheard.add(acknowledged(1))
    assert unheard.take(again(1), 0) is None
    unheard.disconnect()
    assert unheard.take(again(1, dup=False), 0) is None
    assert unheard.take(again(2), 0) is None
    assert unheard.take(again(1), 7) is None
    assert unheard.take(again(1), 0) == (1).to_bytes(NUMBER)
    assert unheard.take(again(1), 0) is None


def test_two_connections_may_be_lost_in_a_row() -> None:
    unheard = Unheard()
    unheard.add(acknowledged(1))
    unheard.disconnect()
    unheard.add(acknowledged(2))
    unheard.disconnect()
    assert unheard.take(again(1), 0) is not None
    assert unheard.take(again(2), 0) is not None


def test_a_device_that_uses_identifiers_again_at_once_could_mean_another_message() -> None:
    unheard = Unheard()
    for _ in range(2):
        unheard.add(acknowledged(1))
    unheard.add(acknowledged(2))
    unheard.disconnect()
    assert unheard.take(again(1), 0) is None
    assert unheard.take(again(2), 0) is None


@pytest.mark.parametrize("count", [KEPT + 1, 3 * KEPT])
def test_no_more_are_kept_than_clients_have_on_their_way(count: int) -> None:
    unheard = Unheard()
    for packet_id in range(1, count + 1):
        unheard.add(acknowledged(packet_id))
    unheard.disconnect()
    assert unheard.take(again(count - KEPT), 0) is None
    assert unheard.take(again(count - KEPT + 1), 0) is not None
    assert unheard.take(again(count), 0) is not None
    assert len(unheard._here) == 0
