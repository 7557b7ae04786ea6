"""The window of acknowledgements."""

import pytest

from thinbridge.errors import DecodeError
from thinbridge.protocols.base import Inbound, Path
from thinbridge.protocols.mqtt import codec, wire
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.connection import Connection
from thinbridge.protocols.mqtt.exchanges import WITHHELD, Exchange
from thinbridge.protocols.mqtt.inbound import Identifiers, Window


def one(packet_id: int, digest: int = 0, qos: int = 1) -> Exchange:
    exchange = Exchange(qos)
    exchange.packet_id, exchange.digest = packet_id, digest
    return exchange


def inbound(number: int) -> Inbound:
    return Inbound(number, "t", "s", {}, None, b"x")


def again(packet_id: int, dup: bool = True, qos: int = 1) -> Publish:
    return Publish("t", b"x", qos, dup=dup, packet_id=packet_id)


def acks(window: Window, v5: bool = True) -> list[tuple[int, int]]:
    """Type and packet identifier of what goes out."""
    connection = Connection(Path(()), v5, 0, 1000, 0.0)
    window.acknowledge(connection)
    packets = wire.Framer(1000).feed(connection.take())
    return [(first >> 4, int.from_bytes(body[:2])) for first, body in packets]


def pubacks(*packet_ids: int) -> list[tuple[int, int]]:
    return [(codec.PUBACK, packet_id) for packet_id in packet_ids]


def test_acknowledgements_keep_the_order_of_arrival() -> None:  # MQTT-4.6.0-2, MQTT-4.6.0-3
    window = Window(10)
    first, second, third = one(7), one(3, qos=2), one(5)
    for exchange in (first, second, third):
        assert window.add(exchange, inbound(1)) is not None
    second.reason = third.reason = 0
    assert acks(window) == []
    first.reason = 0
    assert acks(window) == [(codec.PUBACK, 7), (codec.PUBREC, 3), (codec.PUBACK, 5)]
    assert window.find(again(7), 0) is None  # MQTT-4.3.2-5: free again


def test_past_the_limit_messages_wait() -> None:
    window = Window(1)
    first, second, third = one(1), one(2), one(3)
    assert window.add(first, inbound(1)) is not None
    assert window.full()
    assert window.add(second, inbound(2)) is None
    assert window.add(third, None) is None
    assert window.admit() is None
    first.reason = 0
    assert acks(window) == pubacks(1)
    admitted = window.admit()
    assert admitted is not None
    assert admitted.exchange == 2
    second.reason = third.reason = 0
    assert acks(window) == pubacks(2)
    assert window.admit() is None
    assert acks(window) == pubacks(3)


def test_a_resend_is_found_by_its_content() -> None:
    window = Window(10)
    use = one(1, digest=5)
    window.add(use, inbound(1))
    assert window.find(again(1), 5) is use
    assert window.find(again(2), 5) is None
    for publish, digest in ((again(1, dup=False), 5), (again(1), 6), (again(1, qos=2), 5)):
        with pytest.raises(DecodeError, match="packet_id_in_use"):
            window.find(publish, digest)
    window.disconnect()
    assert window.find(again(1), 5) is use
    assert window.find(again(1), 6) is None  # the device has lost its memory
    assert window.find(again(1, dup=False), 5) is None


def test_at_qos2_the_identifier_has_to_be_enough() -> None:  # MQTT-4.3.3-10
    window = Window(10)
    use = one(1, digest=5, qos=2)
    window.add(use, inbound(1))
    assert window.find(again(1, dup=False, qos=2), 5) is use
    with pytest.raises(DecodeError, match="packet_id_in_use"):
        window.find(again(1, qos=2), 6)  # absorbed, it would be acknowledged and lost


def test_what_was_no_valid_message_is_read_anew_on_another_connection() -> None:
    window = Window(10)
    use = one(2, digest=0)
    window.add(use, None)
    assert window.find(again(2), 5) is use
    window.disconnect()
    assert window.find(again(2), 5) is None


def test_a_qos2_message_is_received_until_it_is_released() -> None:
    window = Window(1)
    use = one(7, qos=2)
    window.add(use, inbound(1))
    use.reason = 0
    assert acks(window) == [(codec.PUBREC, 7)]
    assert 7 in window.received
    assert window.full()  # it counts until PUBCOMP: MQTT-3.3.4-7
    window.disconnect()
    assert 7 in window.received
    assert not window.full()  # a new connection has its whole quota: MQTT-4.9.0-1
    assert window.release(7)
    assert not window.release(7)
    assert len(window.received) == 0


def test_a_refusal_frees_the_identifier() -> None:  # MQTT-4.3.3-9
    for v5 in (True, False):
        window = Window(1)
        use = one(7, qos=2)
        window.add(use, inbound(1))
        use.reason = 0x83
        assert acks(window, v5) == [(codec.PUBREC, 7)]
        assert (7 in window.received) is not v5  # 3.1.1 has no PUBREC that says no


def test_nothing_is_released_before_its_pubrec() -> None:
    window = Window(1)
    window.add(one(7, qos=2), inbound(1))
    with pytest.raises(DecodeError, match="protocol_error"):
        window.release(7)
    window.disconnect()
    assert not window.release(7)


def test_a_lost_connection_forgets_what_was_never_delivered() -> None:
    window = Window(1)
    tried = one(3)
    tried.tried = True
    third = one(4)
    for exchange, message in ((one(1), inbound(1)), (one(2), inbound(2)), (tried, inbound(3)), (third, None)):
        window.add(exchange, message)
    forgotten = window.disconnect()
    assert [exchange.packet_id for exchange in forgotten] == [2, 3, 1, 3]
    assert window.find(again(2), 0) is None
    assert tried.reason == WITHHELD


def test_the_past_is_bounded() -> None:
    window = Window(2)
    for packet_id in (1, 2):
        window.add(one(packet_id), inbound(1))
    assert window.disconnect() == []
    for packet_id in (3, 4):
        window.add(one(packet_id), inbound(1))
    assert [exchange.packet_id for exchange in window.disconnect()] == [1, 2]


def test_what_is_forgotten_of_the_past_is_qos1_before_qos2() -> None:  # MQTT-4.3.3-10; 3.1.1: MQTT-4.3.3-2
    window = Window(1)
    accepted = one(2, digest=5, qos=2)
    window.add(accepted, inbound(1))
    window.disconnect()
    accepted.reason = 0  # while nobody listened
    for exchange, message in ((one(1), inbound(2)), (accepted, None)):  # its PUBREC waits for a PUBACK
        window.add(exchange, message)
    assert [exchange.packet_id for exchange in window.disconnect()] == [1]
    assert window.find(again(2, qos=2), 5) is accepted


def test_all_identifiers_take_little() -> None:
    received = Identifiers()
    for packet_id in range(1, 0x10000):
        received.add(packet_id)
    assert len(received) == 65_535
    assert received._bits.__sizeof__() < 10_000
    received.discard(7)
    received.discard(7)
    assert 7 not in received
    assert 8 in received
    received.clear()
    assert len(received) == 0
