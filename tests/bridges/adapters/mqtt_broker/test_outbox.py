"""What functions send, while the broker is there and while it is not."""

from collections import Counter

import pytest

from thinbridge.adapters.mqtt_broker.outbox import WINDOW, Outbox
from thinbridge.protocols.base import PushResult
from thinbridge.protocols.mqtt.message import Publication


class Broker:
    """A connection that takes everything, and says nothing by itself."""

    def __init__(self) -> None:
        self.connected, self.max_packet, self.receive_maximum = True, 0, 0xFFFF
        self.taken: list[Publication] = []

    def publish(self, message: Publication) -> int:
        self.taken.append(message)
        return len(self.taken)


def message(qos: int = 1, data: bytes = b"x") -> Publication:
    return Publication("t", data, qos)


def rig(limit: int = 100, octets: int = 1 << 20) -> tuple[Broker, Outbox, list[PushResult], Counter[str]]:
    broker, counters = Broker(), Counter[str]()
    return broker, Outbox(broker, limit, octets, counters), [], counters


def test_delivered_at_the_acknowledgement() -> None:
    broker, outbox, told, _ = rig()
    outbox.add(message(), told.append, 0.0)
    assert (len(broker.taken), told, len(outbox)) == (1, [], 1)
    outbox.published(1, 0x10, 0.0)  # nobody subscribed: still a success
    assert (told, len(outbox)) == ([PushResult.DELIVERED], 0)


def test_refused_by_the_broker() -> None:
    _, outbox, told, counters = rig()
    outbox.add(message(), told.append, 0.0)
    outbox.published(1, 0x87, 0.0)
    assert told == [PushResult.REFUSED]
    assert counters == {"outbound_refused": 1}


def test_waits_while_the_broker_is_away() -> None:
    broker, outbox, told, _ = rig()
    broker.connected = False
    outbox.add(message(), told.append, 0.0)
    outbox.add(message(0), told.append, 0.0)
    assert (told, broker.taken) == ([PushResult.QUEUED, PushResult.BUSY], [])
    broker.connected = True
    outbox.pump(0.0)
    outbox.published(1, 0, 0.0)
    assert (len(told), len(outbox)) == (2, 0)  # told once


def test_a_connection_that_is_lost_makes_it_wait() -> None:
    broker, outbox, told, _ = rig()
    outbox.add(message(), told.append, 0.0)
    outbox.add(message(0), told.append, 0.0)
    broker.connected = False
    outbox.down()
    assert told == [PushResult.BUSY, PushResult.QUEUED]
    assert len(outbox) == 1  # paho sends it again; the QoS 0 one is gone


def test_no_more_than_the_broker_takes() -> None:
    broker, outbox, _, _ = rig()
    broker.receive_maximum = 2
    for _ in range(3):
        outbox.add(message(), None, 0.0)
    assert len(broker.taken) == 2
    outbox.published(1, 0, 0.0)
    assert len(broker.taken) == 3
    broker.receive_maximum = 0xFFFF
    for _ in range(WINDOW):
        outbox.add(message(), None, 0.0)
    assert len(broker.taken) == WINDOW + 1


@pytest.mark.parametrize(("limit", "octets"), [(1, 1 << 20), (100, 400)])
def test_bounded_by_number_and_bytes(limit: int, octets: int) -> None:
    _, outbox, told, counters = rig(limit, octets)
    outbox.add(message(), told.append, 0.0)
    outbox.add(message(), told.append, 0.0)
    assert (told, counters) == ([PushResult.BUSY], {"outbound_busy": 1})
    outbox.published(1, 0, 0.0)
    outbox.add(message(), told.append, 0.0)
    assert told == [PushResult.BUSY, PushResult.DELIVERED]


def test_larger_than_the_broker_takes() -> None:
    broker, outbox, told, _ = rig()
    broker.max_packet = 1000
    outbox.add(message(data=bytes(1000)), told.append, 0.0)
    assert told == [PushResult.TOO_LARGE]


def test_gone_with_the_bridge() -> None:
    broker, outbox, told, _ = rig()
    broker.receive_maximum = 1
    outbox.add(message(), told.append, 0.0)
    outbox.add(message(), told.append, 0.0)
    outbox.close()
    assert told == [PushResult.GONE, PushResult.GONE]
    outbox.published(1, 0, 0.0)
    assert len(told) == 2


def test_what_expires_while_it_waits_is_not_sent() -> None:
    broker, outbox, told, counters = rig()
    broker.connected = False
    outbox.add(Publication("t", b"x", 1, expires=60.0), told.append, 0.0)
    broker.connected = True
    outbox.pump(60.0)
    assert (broker.taken, len(outbox), counters) == ([], 0, {"outbound_expired": 1})
