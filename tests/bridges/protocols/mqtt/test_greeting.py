"""A connection until its CONNECT is answered."""

import pytest
from tests.bridges.protocols.mqtt.bench import OK, V5, V311, Bench, bye

from thinbridge.protocols.base import Authorize, Decision, Identity, Opened, Path
from thinbridge.protocols.mqtt import MQTT, Greeting, MQTTSettings, connect, properties, reasons
from thinbridge.protocols.mqtt.connect import Connect, Will
from thinbridge.testing.owner import seeded


def hello(client_id: str = "dev", version: int = V5, **more: object) -> bytes:
    return connect.encode_connect(Connect(client_id, version, **more))  # type: ignore[arg-type]


def no(code: int, counter: str) -> bytes:
    """MQTT 5's CONNACK that refuses."""
    return connect.encode_connack(code, False, True, {properties.REASON_STRING: counter.replace("_", " ")})


def test_a_connect_is_authorized_and_handed_over() -> None:
    bench = Bench()
    line = bench.line()
    line.send(hello(username="u", password=b"p"))
    assert bench.events[0] == Authorize("connect", "dev", "u", b"p")
    assert isinstance(bench.events[1], Opened)
    [(first, body)] = line.packets()
    reason, present, values = connect.decode_connack(body, True)
    assert (first, reason, present) == (0x20, 0, False)
    assert values == {
        properties.RECEIVE_MAXIMUM: 64,
        properties.MAXIMUM_PACKET_SIZE: 262_144,
        properties.TOPIC_ALIAS_MAXIMUM: 16,
        properties.SHARED_AVAILABLE: 0,
        properties.SERVER_KEEP_ALIVE: 3600,
    }
    bench.check()


def test_311_hears_a_connack_of_four_bytes() -> None:
    assert Bench().connect(version=V311, quiet=False).raw() == bytes.fromhex("20020000")


def test_every_byte_may_come_alone() -> None:
    bench = Bench()
    line = bench.line()
    for byte in hello() + b"\xc0\0":
        line.send(bytes((byte,)))
    assert [first for first, _ in line.packets()] == [0x20, 0xD0]


def test_a_client_need_not_wait() -> None:  # MQTT 5 §3.1.4, MQTT-3.2.0-2
    bench = Bench()
    bench.decision = None
    line = bench.line()
    line.send(hello(), b"\xc0\0")
    greeting = next(iter(bench.owner.live))
    assert greeting.paused
    greeting.receive(b"\xc0", line.path, bench.now)  # a shell may hand on what it had read
    assert line.raw() == b""
    bench.owner.authorized(greeting, Decision(True), bench.now)
    line.send(b"\0")
    assert [first for first, _ in line.packets()] == [0x20, 0xD0, 0xD0]
    assert not greeting.paused


def test_what_does_not_wait_is_bounded() -> None:
    bench = Bench(max_packet=100)
    bench.decision = None
    line = bench.line()
    line.send(hello())
    greeting = next(iter(bench.owner.live))
    greeting.receive(bytes(101), line.path, bench.now)
    greeting.receive(bytes(101), line.path, bench.now)
    greeting.authorized(Decision(True), bench.now)
    assert greeting.closed
    assert list(greeting.data_to_send()) == [(None, line.path)]
    assert bench.protocol.counters["greeting_overflow"] == 1


@pytest.mark.parametrize(
    ("data", "counter", "said"),
    [
        (b"\xc0\0", "not_connect", b""),
        (b"\x10\x80\x80\x80\x80", "malformed", b""),
        (b"\x10\x81\x20", "packet_too_large", b""),
        (b"\x10\x0f" + b"GET / HTTP/1.1\r", "not_mqtt", b""),
        (bytes.fromhex("100e 0006 4d5149736470 03 02 0000 0000"), "unsupported_version", bytes.fromhex("20020001")),
        (bytes.fromhex("100c 0004 4d515454 06 02 0000 0000"), "unsupported_version", 0x84),
        (bytes.fromhex("100d 0004 4d515454 05 03 0000 00 0000"), "malformed", 0x81),
        (bytes.fromhex("100c 0004 4d515454 04 03 0000 0000"), "malformed", b""),
        (hello("", V311, clean=False), "client_id_invalid", bytes.fromhex("20020002")),
        (hello("a\x01"), "client_id_invalid", 0x85),
        (hello("a" * 257), "client_id_invalid", 0x85),
        (hello(username="a\x01"), "username_invalid", 0x86),
        (hello(username="a" * 257), "username_invalid", 0x86),
        (hello(properties={properties.AUTH_METHOD: "x"}), "auth_method", 0x8C),
        (hello(properties={properties.AUTH_DATA: b"x"}), "protocol_error", 0x82),
        (hello(will=Will("w" * 1025, b"")), "will_topic_refused", 0x90),
        (hello(version=V311, will=Will("w\0", b"")), "malformed", b""),  # no UTF-8 string: MQTT-3.1.3-10 of 3.1.1
        (b"\x11" + hello()[1:], "malformed", b""),
        (b"\x10\x90\0" + hello()[2:], "malformed", 0x81),  # MQTT-1.5.5-1
        (
            hello(will=Will("w", b"", properties={properties.CONTENT_TYPE: "application/cloudevents"})),
            "event_invalid",
            0x99,
        ),
    ],
)
@pytest.mark.parametrize("tail", [b"", b"\xc0\0"])
def test_refusals(data: bytes, counter: str, said: bytes | int, tail: bytes) -> None:
    if isinstance(said, int):
        said = no(said, counter)
    for pieces in ([data + tail], [bytes((byte,)) for byte in data + tail]):
        bench = Bench()
        line = bench.line()
        for piece in pieces:
            line.send(piece)
        assert line.raw() == said
        assert line.closed
        assert bench.protocol.counters == {counter: 1}
        assert not bench.owner.live
        bench.check()


@pytest.mark.parametrize(
    ("version", "size", "said"),
    [(V5, 5000, no(0x95, "packet_too_large")), (V5, 65_000, no(0x95, "packet_too_large")), (V311, 5000, b"")],
)
def test_a_connect_that_is_too_large_hears_so_if_it_is_one_of_mqtt_5(version: int, size: int, said: bytes) -> None:
    bench = Bench()
    line = bench.line()
    line.send(hello(version=version, will=Will("w", bytes(size)))[:1460])
    assert (line.raw(), line.closed) == (said, True)
    assert bench.protocol.counters == {"packet_too_large": 1}


@pytest.mark.parametrize(("username", "code"), [(None, 0x87), ("u", 0x86)])
def test_not_authorized(username: str | None, code: int) -> None:
    bench = Bench()
    bench.decision = Decision(False)
    line = bench.line()
    line.send(hello(username=username))
    assert line.raw() == no(code, "not_authorized")
    assert line.closed
    assert bench.protocol.counters == {"not_authorized": 1}


def test_draining_refuses_before_and_after_the_question() -> None:  # 3.1.1 code 3, MQTT 5 0x88
    bench = Bench()
    bench.decision = None
    late = bench.line()
    late.send(hello("late", V311))
    greeting = next(iter(bench.owner.live))
    bench.owner.drain(bench.now)
    bench.owner.authorized(greeting, Decision(True), bench.now)
    assert late.raw() == bytes.fromhex("20020003")
    line = bench.line()
    line.send(hello())
    assert line.raw() == no(0x88, "draining")
    assert bench.protocol.counters == {"draining": 2}


def test_too_slow() -> None:
    bench = Bench()
    line = bench.line()
    line.send(b"\x10")
    bench.wait(4.9)
    assert not line.closed
    bench.wait(0.2)
    assert line.closed
    assert line.raw() == b""
    assert bench.protocol.counters == {"connect_timeout": 1}


def test_a_connection_that_goes_before_its_answer() -> None:
    bench = Bench()
    bench.decision = None
    line = bench.line()
    line.send(hello())
    greeting = next(iter(bench.owner.live))
    line.cut()
    assert not bench.owner.live
    greeting.authorized(Decision(True), bench.now)
    greeting.receive(b"x", line.path, bench.now)
    assert not bench.protocol.sessions


def test_close() -> None:
    bench = Bench()
    bench.decision = None
    silent, asked = bench.line(), bench.line()
    asked.send(hello())
    bench.owner.close(bench.now)
    assert silent.raw() == b""
    assert asked.raw() == no(0x88, "shutdown")
    assert silent.closed
    assert asked.closed
    bench.check()


def test_what_a_greeting_does_not_do() -> None:
    greeting = Greeting(MQTT(MQTTSettings(), seeded(1)), Path(("192.0.2.7", 5)), 0.0)
    assert greeting.peer == "192.0.2.7:5"
    assert not greeting.answer(1, OK, 0.0)
    greeting.handle_timer(1.0)
    assert not greeting.closed
    greeting.close("x", 1.0)
    greeting.close("x", 1.0)
    assert len(greeting.data_to_send()) == 1


def test_an_empty_client_id_is_assigned() -> None:  # MQTT-3.1.3-6, MQTT-3.2.2-16
    bench = Bench()
    line = bench.connect("", quiet=False)
    values = connect.decode_connack(line.packets()[0][1], True)[2]
    assert values[properties.ASSIGNED_CLIENT_ID] == next(iter(bench.protocol.sessions))
    assert bench.connect("", V311, quiet=False).raw() == bytes.fromhex("20020000")
    assert len(bench.protocol.sessions) == 2


@pytest.mark.parametrize(
    ("decision", "identity", "username", "device"),
    [
        (Decision(True), None, None, "dev"),
        (Decision(True), None, "u", "u"),
        (Decision(True), Identity("x509", "cn"), "u", "cn"),
        (Decision(True, Identity("user", "proven")), Identity("x509", "cn"), "u", "proven"),
        (Decision(True, None, "named"), Identity("x509", "cn"), "u", "named"),
    ],
)
def test_the_name_of_a_device(decision: Decision, identity: Identity | None, username: str | None, device: str) -> None:
    bench = Bench()
    bench.decision = decision
    bench.connect(identity=identity, username=username)
    assert bench.session().device == device
    assert bench.session().identity == (decision.identity or identity)


def test_only_the_same_principal_takes_over() -> None:
    bench = Bench()
    first = bench.persistent(identity=Identity("x509", "a"))
    thief = bench.line(Identity("x509", "b"))
    thief.send(hello())
    assert thief.raw() == no(reasons.CLIENT_ID_INVALID, "takeover_refused")
    assert not first.closed
    assert bench.protocol.counters == {"takeover_refused": 1}


def test_a_connect_of_the_largest_size_passes() -> None:
    bench = Bench(connect_max=200)
    for size, passes in ((100, True), (200, False)):
        line = bench.line()
        line.send(hello(f"{size}", will=Will("w", bytes(size))))
        assert line.closed is not passes


@pytest.mark.parametrize(("version", "word"), [(V311, ""), (V5, bye(0x8E, "taken_over"))])
def test_a_clean_start_ends_the_session_that_was_there(version: int, word: str) -> None:  # MQTT-3.1.2-4, MQTT-3.1.4-3
    bench = Bench()
    old = bench.persistent(version=version)
    session = bench.session()
    new = bench.connect(version=version, quiet=False)
    assert new.packets()[0][1][:2] == b"\0\0"  # Session Present 0: MQTT-3.2.2-2; 3.1.1: MQTT-3.2.2-1
    assert old.raw().hex() == word
    assert old.closed
    assert session.closed
    assert session not in bench.owner.live
    assert bench.session() is not session
    new.send(b"\xc0\0")
    assert new.raw() == b"\xd0\0"
    bench.check()


def test_a_reason_string_only_where_it_fits() -> None:  # MQTT-3.2.2-19
    line = Bench().line()
    line.send(hello("a\x01", properties={properties.MAXIMUM_PACKET_SIZE: 10}))
    assert line.raw() == bytes.fromhex("2003008500")


def test_a_will_goes_where_the_device_may_publish() -> None:
    bench = Bench(may_publish=("d/{clientid}/#",))
    line = bench.line()
    line.send(hello("7", will=Will("d/8/x", b"")))
    assert line.raw() == no(reasons.NOT_AUTHORIZED, "will_not_allowed")
    assert not bench.protocol.sessions
    bench.connect("7", will=Will("d/7/x", b""))


def test_two_with_one_name_do_not_fight_for_ever() -> None:
    bench = Bench(takeovers=2)
    first = bench.persistent()
    second = bench.persistent()
    third = bench.connect()
    assert first.closed
    assert second.closed
    line = bench.line()
    line.send(hello())
    assert line.raw() == no(reasons.CONNECTION_RATE, "takeover_flapping")
    old = bench.line()
    old.send(hello(version=V311))
    assert (old.raw(), old.closed) == (b"", True)  # 3.1.1 has no return code for it: MQTT-3.2.2-6
    assert not third.closed
    third.cut()
    bench.connect()  # that takes nobody's
    assert bench.protocol.counters == {"taken_over": 2, "takeover_flapping": 2}
    bench.wait(60.0)
    bench.connect()


def test_client_identifiers_that_every_server_takes() -> None:  # MQTT-3.1.3-5
    letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    bench = Bench()
    for start in range(0, len(letters), 23):
        bench.connect(letters[start : start + 23])
        bench.connect(letters[start : start + 23], V311)
    assert len(bench.protocol.sessions) == 3
