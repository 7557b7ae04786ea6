"""What functions send, while the broker is there and while it is not."""

from collections import Counter

import pytest

from thinbridge.adapters.mqtt_broker.messages import Outgoing
from thinbridge.adapters.mqtt_broker.outbox import WINDOW, Outbox
from thinbridge.protocols.base import PushResult


class Broker:
    """A connection that takes everything, and says nothing by itself."""

    def __init__(self) -> None:
        self.connected, self.max_packet, self.receive_maximum = True, 0, 0xFFFF
        self.taken: list[Outgoing] = []

    def publish(self, message: Outgoing) -> int:
        self.taken.append(message)
        return len(self.taken)


def message(qos: int = 1, data: bytes = b"x") -> Outgoing:
    return Outgoing("t", data, qos, False, {})


def rig(limit: int = 100, octets: int = 1 << 20) -> tuple[Broker, Outbox, list[PushResult], Counter[str]]:
    broker, counters = Broker(), Counter[str]()
    return broker, Outbox(broker, limit, octets, counters), [], counters


def test_delivered_at_the_acknowledgement() -> None:
    broker, outbox, told, _ = rig()
    outbox.add(message(), told.append)
    assert (len(broker.taken), told, len(outbox)) == (1, [], 1)
    outbox.published(1, 0x10)  # nobody subscribed: still a success
    assert (told, len(outbox)) == ([PushResult.DELIVERED], 0)


def test_refused_by_the_broker() -> None:
    _, outbox, told, counters = rig()
    outbox.add(message(), told.append)
    outbox.published(1, 0x87)
    assert told == [PushResult.REFUSED]
    assert counters == {"outbound_refused": 1}


def test_waits_while_the_broker_is_away() -> None:
    broker, outbox, told, _ = rig()
    broker.connected = False
    outbox.add(message(), told.append)
    outbox.add(message(0), told.append)
    assert (told, broker.taken) == ([PushResult.QUEUED, PushResult.BUSY], [])
    broker.connected = True
    outbox.pump()
    outbox.published(1, 0)
    assert (len(told), len(outbox)) == (2, 0)  # told once


def test_a_connection_that_is_lost_makes_it_wait() -> None:
    broker, outbox, told, _ = rig()
    outbox.add(message(), told.append)
    outbox.add(message(0), told.append)
    broker.connected = False
    outbox.down()
    assert told == [PushResult.QUEUED]
    assert len(outbox) == 1  # paho sends it again; the QoS 0 one is gone


def test_no_more_than_the_broker_takes() -> None:
    broker, outbox, _, _ = rig()
    broker.receive_maximum = 2
    for _ in range(3):
        outbox.add(message(), None)
    assert len(broker.taken) == 2
    outbox.published(1, 0)
    assert len(broker.taken) == 3
    broker.receive_maximum = 0xFFFF
    for _ in range(WINDOW):
        outbox.add(message(), None)
    assert len(broker.taken) == WINDOW + 1


@pytest.mark.parametrize(("limit", "octets"), [(1, 1 << 20), (100, 400)])
def test_bounded_by_number_and_bytes(limit: int, octets: int) -> None:
    _, outbox, told, counters = rig(limit, octets)
    outbox.add(message(), told.append)
    outbox.add(message(), told.append)
    assert (told, counters) == ([PushResult.BUSY], {"outbound_busy": 1})
    outbox.published(1, 0)
    outbox.add(message(), told.append)
    assert told == [PushResult.BUSY, PushResult.DELIVERED]


def test_larger_than_the_broker_takes() -> None:
    broker, outbox, told, _ = rig()
    broker.max_packet = 1000
    outbox.add(message(data=bytes(1000)), told.append)
    assert told == [PushResult.TOO_LARGE]


def test_gone_with_the_bridge() -> None:
    broker, outbox, told, _ = rig()
    broker.receive_maximum = 1
    outbox.add(message(), told.append)
    outbox.add(message(), told.append)
    outbox.close()
    assert told == [PushResult.GONE, PushResult.GONE]
    outbox.published(1, 0)
    assert len(told) == 2
