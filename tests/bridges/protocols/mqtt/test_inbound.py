"""The window of PUBACKs."""

import pytest

from thinbridge.errors import DecodeError
from thinbridge.protocols.base import Inbound
from thinbridge.protocols.mqtt.exchanges import WITHHELD, Exchange
from thinbridge.protocols.mqtt.inbound import Window


def one(packet_id: int, digest: int = 0) -> Exchange:
    exchange = Exchange(1)
    exchange.packet_id, exchange.digest = packet_id, digest
    return exchange


def inbound(number: int) -> Inbound:
    return Inbound(number, "t", "s", {}, None, b"x")


def acks(window: Window) -> list[int]:
    data = window.acknowledge(True)
    return [int.from_bytes(data[i + 2 : i + 4]) for i in range(0, len(data), 4)]


def test_acknowledgements_keep_the_order_of_arrival() -> None:  # MQTT-4.6.0-2
    window = Window(10)
    first, second, third = one(7), one(3), one(5)
    for exchange in (first, second, third):
        assert window.add(exchange, inbound(1)) is not None
    second.reason = third.reason = 0
    assert acks(window) == []
    first.reason = 0
    assert acks(window) == [7, 3, 5]
    assert window.find(7, True, 0) is None  # MQTT-4.3.2-2: free again


def test_past_the_limit_messages_wait() -> None:
    window = Window(1)
    first, second, third = one(1), one(2), one(3)
    assert window.add(first, inbound(1)) is not None
    assert window.full()
    assert window.add(second, inbound(2)) is None
    assert window.add(third, None) is None
    assert window.admit() is None
    first.reason = 0
    assert acks(window) == [1]
    admitted = window.admit()
    assert admitted is not None
    assert admitted.exchange == 2
    second.reason = third.reason = 0
    assert acks(window) == [2]
    assert window.admit() is None
    assert acks(window) == [3]


def test_a_resend_is_found_by_its_content() -> None:
    window = Window(10)
    use = one(1, digest=5)
    window.add(use, inbound(1))
    assert window.find(1, True, 5) is use
    assert window.find(2, True, 5) is None
    with pytest.raises(DecodeError, match="packet_id_in_use"):
        window.find(1, False, 5)
    window.disconnect()
    assert window.find(1, True, 5) is use
    assert window.find(1, True, 6) is None  # the device has lost its memory
    assert window.find(1, False, 5) is None


def test_a_lost_connection_forgets_what_was_never_delivered() -> None:
    window = Window(1)
    tried = one(3)
    tried.tried = True
    again = one(4)
    for exchange, message in ((one(1), inbound(1)), (one(2), inbound(2)), (tried, inbound(3)), (again, None)):
        window.add(exchange, message)
    forgotten = window.disconnect()
    assert [exchange.packet_id for exchange in forgotten] == [2, 3, 1, 3]
    assert window.find(2, True, 0) is None
    assert tried.reason == WITHHELD


def test_the_past_is_bounded() -> None:
    window = Window(2)
    for packet_id in (1, 2):
        window.add(one(packet_id), inbound(1))
    assert window.disconnect() == []
    for packet_id in (3, 4):
        window.add(one(packet_id), inbound(1))
    assert [exchange.packet_id for exchange in window.disconnect()] == [1, 2]
