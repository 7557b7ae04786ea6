"""What goes to a device."""

from collections import Counter, deque
from collections.abc import Mapping

import pytest

from thinbridge.errors import DecodeError
from thinbridge.protocols.base import Event, Path, Pushed, PushResult
from thinbridge.protocols.mqtt import codec, properties, reasons, wire
from thinbridge.protocols.mqtt.codec import PUBACK, PUBCOMP, PUBREC, Publish
from thinbridge.protocols.mqtt.connection import Connection
from thinbridge.protocols.mqtt.message import Message, Publication
from thinbridge.protocols.mqtt.outbound import Outbox


class Rig:
    """An outbox, a connection, and what goes out by it."""

    def __init__(self, limit: int = 10, octets: int = 10_000, window: int = 2) -> None:
        self.counters: Counter[str] = Counter()
        self.events: deque[Event] = deque()
        self.box = Outbox(limit, octets, window, self.counters, self.events)
        self.now = 0.0

    def connect(self, receive_maximum: int = 10, max_packet: int = 1000, v5: bool = True) -> "Rig":
        self.line = Connection(Path(()), v5, 0, 1000, 0.0)
        self.line.receive_maximum, self.line.max_outgoing = receive_maximum, max_packet
        self.box.attach(self.line, self.now)
        return self

    def add(
        self,
        data: bytes = b"x",
        qos: int = 1,
        push: int = 0,
        expires: float | None = None,
        values: Mapping[int, object] = properties.NONE,
    ) -> bool:
        publication = Publication("t", data, qos, properties=values, expires=expires)
        message = Message("t", data, qos, properties=values, push=push, expires=expires)
        if qos and not self.box.fits(publication, self.now):
            self.box.refuse(message, publication.size)
            return False
        self.box.add(message, publication.size, self.now)
        return True

    def ack(self, packet_id: int, kind: int = PUBACK, reason: int = 0) -> None:
        self.box.acknowledged(kind, packet_id, reason, self.now)

    def sent(self) -> list[tuple[int, bytes]]:
        return wire.Framer(10_000).feed(self.line.take())

    def published(self) -> list[Publish]:
        packets = [codec.decode_publish(first, body, self.line.v5) for first, body in self.sent() if first >> 4 == 3]
        return packets

    def results(self) -> list[tuple[int, PushResult]]:
        found = [(one.push, one.result) for one in self.events if isinstance(one, Pushed)]
        self.events.clear()
        return found


def test_delivered_at_the_devices_puback() -> None:  # MQTT-4.3.2-1, MQTT-4.3.2-2, MQTT-4.3.2-3
    rig = Rig().connect()
    rig.add(push=1)
    [sent] = rig.published()
    assert (sent.qos, sent.packet_id, sent.dup) == (1, 1, False)
    assert rig.results() == []
    rig.ack(1, reason=0x10)
    assert rig.results() == [(1, PushResult.DELIVERED)]
    rig.ack(1)
    assert rig.counters == {"ack_unknown": 1}


def test_qos2_in_four_steps() -> None:  # MQTT-4.3.3-2, MQTT-4.3.3-4, MQTT-4.3.3-5
    rig = Rig().connect()
    rig.add(qos=2, push=1)
    [sent] = rig.published()
    assert (sent.qos, sent.packet_id, sent.dup) == (2, 1, False)
    for _ in range(2):  # said again, it is answered again
        rig.ack(1, PUBREC)
        assert rig.sent() == [(0x62, b"\0\1")]
    assert rig.results() == []
    rig.ack(1, PUBCOMP)
    assert rig.results() == [(1, PushResult.DELIVERED)]
    assert not rig.box
    rig.ack(1, PUBCOMP)
    assert rig.counters == {"ack_unknown": 1}


def test_pubrels_keep_the_order_of_the_pubrecs() -> None:  # MQTT-4.6.0-4
    rig = Rig(window=3).connect()
    for _ in range(3):
        rig.add(qos=2)
    rig.sent()
    for packet_id in (2, 3, 1):
        rig.ack(packet_id, PUBREC)
    pubrels = [(0x62, b"\0\2"), (0x62, b"\0\3"), (0x62, b"\0\1")]
    assert rig.sent() == pubrels
    rig.box.detach()
    assert rig.connect().sent() == pubrels


def test_a_pubrec_that_nobody_waits_for() -> None:
    rig = Rig().connect()
    rig.ack(7, PUBREC)
    assert rig.sent() == [(0x62, b"\0\7\x92")]
    rig.ack(7, PUBREC, reasons.IMPLEMENTATION)
    assert rig.sent() == []  # MQTT-4.3.3-4
    rig = Rig().connect(v5=False)
    rig.ack(7, PUBREC)
    assert rig.sent() == [(0x62, b"\0\7")]


@pytest.mark.parametrize("kind", [PUBACK, PUBREC])
@pytest.mark.parametrize("released", [False, True])
def test_refused_by_the_device(kind: int, released: bool) -> None:  # MQTT-4.4.0-2
    rig = Rig().connect()
    rig.add(push=1, qos=1 if kind == PUBACK else 2)
    if released and kind == PUBREC:
        rig.ack(1, PUBREC)
    rig.ack(1, kind, reasons.IMPLEMENTATION)
    assert rig.results() == [(1, PushResult.REFUSED)]
    assert rig.counters == {"outbound_refused": 1}
    rig.sent()
    assert rig.connect().published() == []


@pytest.mark.parametrize(("qos", "kind"), [(1, PUBREC), (2, PUBACK), (2, PUBCOMP), (1, PUBCOMP)])
def test_the_wrong_acknowledgement(qos: int, kind: int) -> None:
    rig = Rig().connect()
    rig.add(qos=qos)
    with pytest.raises(DecodeError, match="protocol_error"):
        rig.ack(1, kind)
    rig.box.detach()
    assert [one.dup for one in rig.connect().published()] == [True]  # it is still to be acknowledged


def test_qos0_is_delivered_when_it_is_sent() -> None:  # MQTT-4.3.1-1
    rig = Rig().connect()
    rig.add(qos=0, push=1)
    assert len(rig.published()) == 1
    rig.box.detach()
    rig.add(qos=0, push=2)
    assert rig.results() == [(1, PushResult.DELIVERED), (2, PushResult.BUSY)]


def test_the_devices_window() -> None:  # MQTT-3.3.4-9, MQTT-4.9.0-2
    for rig in (Rig().connect(1), Rig(window=1).connect()):
        rig.add()
        assert len(rig.published()) == 1
        rig.add(b"y", qos=2)
        rig.add(b"z")
        assert rig.published() == []
        rig.ack(1)
        assert [sent.data for sent in rig.published()] == [b"y"]
        rig.ack(2, PUBREC)
        assert rig.published() == []  # until PUBCOMP
        rig.ack(2, PUBCOMP)
        assert [sent.data for sent in rig.published()] == [b"z"]


def test_the_queue_is_bounded() -> None:
    for rig in (Rig(limit=2).connect(), Rig(octets=600).connect()):
        assert [rig.add(push=push) for push in (1, 2, 3)] == [True, True, False]
        assert rig.results() == [(3, PushResult.BUSY)]
        rig.ack(1)
        assert rig.add()


def test_what_never_fits_is_too_large() -> None:
    rig = Rig(octets=600).connect()
    rig.add(bytes(600), push=1)
    assert rig.results() == [(1, PushResult.TOO_LARGE)]


@pytest.mark.parametrize(
    "values",
    [
        {properties.CORRELATION_DATA: bytes(700)},
        {properties.CONTENT_TYPE: "x" * 700},
        {properties.USER: [("a", "x" * 250), ("b", "x" * 250)]},
        {properties.USER: [("a", "")] * 5},
    ],
)
def test_properties_take_room_in_the_queue(values: dict[int, object]) -> None:
    rig = Rig(octets=1500).connect(max_packet=10_000)
    for push in (1, 2):
        rig.add(b"", values=values, push=push)
    assert rig.results() == [(2, PushResult.BUSY)]
    rig.ack(1)
    assert rig.box._octets == 0


def test_offline_it_waits_and_says_so_once() -> None:
    rig = Rig().connect(1)
    for push in (1, 2):
        rig.add(push=push)
    rig.box.detach()
    rig.add(push=3)
    assert rig.results() == [(1, PushResult.QUEUED), (2, PushResult.QUEUED), (3, PushResult.QUEUED)]
    resent = rig.connect().published()
    assert [(sent.packet_id, sent.dup) for sent in resent] == [(1, True), (2, False)]  # MQTT-4.4.0-1, MQTT-3.3.1-1
    rig.ack(1)
    assert [sent.packet_id for sent in rig.published()] == [3]
    assert rig.results() == []


def test_resends_keep_their_order_and_identifiers() -> None:  # MQTT-4.6.0-1
    rig = Rig(window=4).connect()
    for qos in (1, 1, 2, 2):
        rig.add(qos=qos)
    rig.ack(2)
    rig.ack(4, PUBREC)
    rig.sent()
    rig.box.detach()
    rig.connect(2, v5=False)
    first, second = rig.sent()
    assert first == (0x62, b"\0\4")  # not the PUBLISH: MQTT-4.3.3-6
    assert second[0] == 0x3A
    assert second[1][3:5] == b"\0\1"
    rig.ack(1)
    [third] = rig.published()
    assert (third.packet_id, third.qos, third.dup) == (3, 2, True)
    rig.ack(4, PUBCOMP)
    rig.ack(3, PUBREC)
    rig.ack(3, PUBCOMP)
    assert not rig.box


def test_the_end() -> None:
    rig = Rig().connect(2)
    for push in (1, 2, 3):
        rig.add(push=push, qos=2)
    rig.ack(1, PUBREC)
    rig.box.end()
    assert rig.results() == [(1, PushResult.GONE), (2, PushResult.GONE), (3, PushResult.GONE)]
    rig.box.pump(0.0)
    assert not rig.box


def test_too_large_for_the_device() -> None:  # MQTT-3.1.2-24, MQTT-3.1.2-25
    rig = Rig().connect(max_packet=20)
    rig.add(bytes(20), qos=0, push=1)
    rig.add(bytes(20), push=2)
    assert rig.results() == [(1, PushResult.TOO_LARGE), (2, PushResult.TOO_LARGE)]
    assert rig.counters == {"outbound_too_large": 2}
    rig.add()
    assert len(rig.published()) == 1


def test_identifiers_in_flight_are_not_given_twice() -> None:  # MQTT-2.2.1-4; 3.1.1: MQTT-2.3.1-4
    rig = Rig(window=3).connect()
    rig.add()
    rig.add(qos=2)
    rig.ack(2, PUBREC)
    for packet_id in range(3, 0x10000):
        rig.add()
        rig.ack(packet_id)
    rig.sent()
    rig.add()
    assert [sent.packet_id for sent in rig.published()] == [3]


@pytest.mark.parametrize("qos", [1, 2])
def test_what_has_expired_is_not_sent(qos: int) -> None:  # MQTT-3.3.2-5, MQTT-4.3.3-7
    rig = Rig().connect(1)
    rig.add(qos=qos, expires=10.0)
    rig.add(expires=10.0, push=2)
    rig.add(expires=30.0)
    assert rig.published()[0].properties == {properties.MESSAGE_EXPIRY: 10}
    rig.box.detach()
    rig.now = 20.0
    [again] = rig.connect(1).published()
    assert again.properties == {properties.MESSAGE_EXPIRY: 0}  # it was sent before, so it is sent again
    if qos == 2:
        rig.ack(again.packet_id, PUBREC)
        assert rig.sent() == [(0x62, b"\0\1")]
    rig.ack(again.packet_id, PUBACK if qos == 1 else PUBCOMP)
    [last] = rig.published()
    assert last.properties == {properties.MESSAGE_EXPIRY: 10}  # what is left: MQTT-3.3.2-6
    assert rig.results() == [(2, PushResult.QUEUED)]
    assert rig.counters == {"outbound_expired": 1}


def test_what_has_expired_makes_room() -> None:
    rig = Rig(limit=1)
    rig.add(expires=10.0)
    assert not rig.add()
    rig.now = 10.0
    assert rig.add()
    assert rig.counters == {"outbound_busy": 1, "outbound_expired": 1}
