"""Devices that mean harm, or are broken: bounded, told why, cut; and the others don't notice."""

import tracemalloc
from collections.abc import Iterator

import pytest
from tests.bridges.protocols.mqtt.bench import LOST, V5, V311, Bench, Line, bye, event

from thinbridge.protocols.base import Outcome, PushResult, Reply
from thinbridge.protocols.mqtt import codec, connect, properties, subscribe, wire
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.connect import Connect, Will

VERSIONS = pytest.mark.parametrize("version", [V311, V5])


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A listener with a good device, which is well in the end."""
    bench = Bench()
    good = bench.connect("good")
    yield bench
    good.publish("good", b"21")
    [number] = [number for number, one in enumerate(bench.messages) if one.subject == "good"]
    bench.answer(number)
    assert good.raw() == bytes.fromhex("40020001")
    bench.check()


def held(bench: Bench) -> int:
    """Bytes that a Session holds of its device's messages, about."""
    return bench.session()._uplink.exchanges.held


@VERSIONS
def test_a_device_that_acknowledges_nothing(bench: Bench, version: int) -> None:
    line = bench.persistent(version=version)
    line.subscribe(("t", 2))
    for _ in range(200):
        bench.push(event("t", bytes(1000), mqttqos="2"))
    assert len(line.published()) == 32  # outbound_window
    assert bench.pushed == [PushResult.BUSY] * 100  # outbound_queue
    line.cut()
    assert bench.pushed.count(PushResult.QUEUED) == 100


@VERSIONS
def test_a_device_that_floods(bench: Bench, version: int) -> None:
    line = bench.connect(version=version)
    for packet_id in range(1, 2000):
        line.publish(packet_id=packet_id, data=bytes(1000))
        if line.closed:
            break
    if version == V5:  # MQTT-3.3.4-7
        assert line.raw().hex() == bye(0x93, "receive_maximum")
        assert len(bench.messages) == 64
    else:
        assert not line.closed
        assert bench.session().paused  # it has no Receive Maximum: nothing more is read
        assert held(bench) < 1_048_576 + 2000
        assert len(bench.messages) == 64


def test_a_device_that_floods_by_one_segment(bench: Bench) -> None:
    """The shortest messages hold a hundred times their bytes: they are not read before there is room."""
    line = bench.connect(version=V311)
    messages = [codec.encode_publish(Publish("t", b"", 1, packet_id=one), False) for one in range(1, 10_002)]
    line.send(b"".join(messages[:-1]))
    bench.session().receive(messages[-1], line.path, bench.now)  # it had been read from the socket before the pause
    assert bench.session().paused
    assert held(bench) < 1_500_000
    heard = b""
    for number in range(10_001):
        bench.answer(number)
        heard += line.raw()
    assert heard == b"".join(codec.encode_ack(codec.PUBACK, one, 0, False) for one in range(1, 10_002))
    assert not bench.session().paused


def test_what_was_not_read_is_forgotten_with_its_connection(bench: Bench) -> None:
    line = bench.persistent(version=V311)
    line.send(b"".join(codec.encode_publish(Publish("t", b"", 1, packet_id=one), False) for one in range(1, 5000)))
    line.cut()
    again = bench.persistent(version=V311)
    again.publish(packet_id=6000)
    assert len(bench.messages) == 65


@VERSIONS
def test_a_device_that_floods_at_qos0(bench: Bench, version: int) -> None:
    line = bench.connect(version=version)
    for _ in range(1000):
        line.publish(qos=0, packet_id=0)
    assert len(bench.messages) == 256
    assert bench.protocol.counters["qos0_dropped"] == 744


@VERSIONS
def test_a_device_that_never_releases(bench: Bench, version: int) -> None:  # CVE-2023-28366
    line = bench.connect(version=version)
    window = bench.session()._uplink._window
    for packet_id in range(1, 1001):
        line.publish(qos=2, packet_id=packet_id)
        if line.closed:
            break
        bench.answer()
    if version == V5:  # it counts until PUBCOMP: MQTT-3.3.4-7
        assert (line.closed, len(window.received)) == (True, 64)
    else:  # which has no Receive Maximum: a bit for each identifier, and nothing of the messages
        assert (line.closed, len(window.received), len(window._uses)) == (False, 1000, 0)
        assert window.received._bits.__sizeof__() < 200
        assert held(bench) == 0


@VERSIONS
def test_a_header_of_256_mib(bench: Bench, version: int) -> None:
    line = bench.connect(version=version)
    tracemalloc.start()
    try:
        line.send(b"\x30\xff\xff\xff\x7f" + bytes(1000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert line.raw().hex() == (bye(0x95, "packet_too_large") if version == V5 else "")
    assert line.closed
    assert peak < 100_000


def test_nothing_is_kept_for_a_length_before_its_bytes_come() -> None:
    framer = wire.Framer(262_144)
    tracemalloc.start()
    try:
        framer.feed(b"\x30\xff\xff\x0f")
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()


@VERSIONS
def test_half_a_packet_and_then_nothing(bench: Bench, version: int) -> None:
    line = bench.connect(version=version)
    line.send(b"\x32\x7f\0\1a")
    bench.wait(59.0)
    assert not line.closed
    line.send(b"x")  # a byte now and then does not help
    bench.wait(1.1)
    assert line.raw().hex() == (bye(0x8D, "packet_timeout") if version == V5 else "")
    assert line.closed


def test_a_byte_a_second_before_connect(bench: Bench) -> None:
    line = bench.line()
    for byte in connect.encode_connect(Connect("slow")):
        line.send(bytes((byte,)))
        bench.wait(1.0)
        if line.closed:
            break
    assert line.closed
    assert bench.protocol.counters == {"connect_timeout": 1}


def test_a_huge_packet_before_connect(bench: Bench) -> None:  # CVE-2023-0809
    line = bench.line()
    line.send(b"\x30\xff\xff\xff\x7f" + bytes(5000))
    assert (line.raw(), line.closed) == (b"", True)


@VERSIONS
@pytest.mark.parametrize("at_once", [True, False])
def test_ten_thousand_subscriptions(bench: Bench, version: int, at_once: bool) -> None:
    line = bench.connect(version=version)
    filters = [(f"a/{number}/#", 1) for number in range(10_000)]
    codes = b"".join(
        line.subscribe(*filters[start : start + (10_000 if at_once else 100)])
        for start in range(0, 10_000, 10_000 if at_once else 100)
    )
    assert codes[:100] == b"\1" * 100
    assert set(codes[100:]) == {0x97 if version == V5 else 0x80}
    assert len(bench.session()._downlink._subscriptions) == 100
    assert bench.protocol.counters["subscriptions_full"] == 9900
    line.cut()
    assert not bench.protocol.listeners._by_beginning


def test_filters_that_take_long_to_match(bench: Bench) -> None:  # CVE-2021-33176
    line = bench.connect()
    line.subscribe(*[("+/" * 62 + f"{number}", 0) for number in range(100)])
    for _ in range(100):
        bench.push(event("a/" * 63 + "a"))
    assert bench.pushed == [PushResult.REFUSED] * 100


def test_many_properties(bench: Bench) -> None:  # CVE-2021-41039, CVE-2023-3592
    users = {properties.USER: [("a", "b")] * 101}
    line = bench.connect()
    line.publish(values=users)
    assert line.raw().hex() == bye(0x97, "too_many_properties")
    will = bench.line()
    will.send(connect.encode_connect(Connect("will", will=Will("w", b"", properties=users))))
    assert will.closed
    assert "will" not in bench.protocol.sessions


def test_two_devices_that_fight_for_a_minute(bench: Bench) -> None:
    opened = 0
    for _ in range(600):
        line = bench.line()
        line.send(
            connect.encode_connect(Connect("fought-for", clean=False, properties={properties.SESSION_EXPIRY: 60}))
        )
        opened += not line.closed
        bench.wait(0.1)
    assert opened <= 2 * (15 + 1)  # then they wait for the minute to pass
    assert bench.protocol.counters["takeover_flapping"] == 600 - opened


def test_answers_reach_no_other_device(bench: Bench) -> None:
    lines: list[Line] = []
    for number in range(50):
        line = bench.connect(f"d{number}")
        line.subscribe((f"answers/{number}", 1), ("answers/#", 0))
        lines.append(line)
    for number, line in enumerate(lines):
        aim = (number + 1) % 50  # the topic of its neighbour
        values = {properties.RESPONSE_TOPIC: f"answers/{aim}", properties.CORRELATION_DATA: b"%d" % number}
        line.publish(data=b"%d" % number, values=values)
    for number in reversed(range(50)):
        bench.answer(number, Reply(Outcome.ACCEPTED, 200, None, b"for %d" % number))
    for number, line in enumerate(lines):
        assert [one.data for one in line.published()] == [b"for %d" % number]


@pytest.mark.parametrize("topic", ["a/+", "#", "$SYS/x", "", "x" * 1025, "a\nb"])
def test_a_function_that_names_what_can_be_no_topic(bench: Bench, topic: str) -> None:
    line = bench.connect()
    line.subscribe(("#", 0))
    bench.push(event(topic, b"x", mqttretain="true"))
    assert line.raw() == b""
    assert bench.pushed == [PushResult.REFUSED]
    assert len(bench.protocol.retained) == 0


def test_a_device_whose_messages_are_never_accepted(bench: Bench) -> None:
    for _ in range(100):
        line = bench.persistent()
        line.publish(dup=True)
        bench.answer(reply=LOST)
        assert line.closed
    session = bench.session()
    assert not session.busy
    assert len(session._uplink._window._uses) == 1


def test_unsubscribe_of_everything_that_was_never_there(bench: Bench) -> None:
    line = bench.connect()
    filters = [f"a/{number}" for number in range(10_000)]
    line.send(subscribe.encode_unsubscribe(7, filters, True))
    [(first, body)] = line.packets()
    assert first == codec.UNSUBACK << 4
    assert set(subscribe.decode_suback(body, True)[1]) == {0x11}
