"""The life of a Session: connections, wills, draining.

Over 400 lines because it mirrors one module.
"""

import pytest
from tests.bridges.protocols.mqtt.bench import LOST, V5, V311, Bench, Line, bye, event

from thinbridge import contract
from thinbridge.protocols.base import Inbound, Opened, Outcome, Pushed, PushResult, Reply
from thinbridge.protocols.mqtt import codec, connect, properties
from thinbridge.protocols.mqtt.connect import Will
from thinbridge.testing.owner import seeded

VERSIONS = pytest.mark.parametrize("version", [V311, V5])


def said(line: Line) -> str:
    return line.raw().hex()


def refused(status: int) -> Reply:
    return Reply(Outcome.REFUSED, status)


# --- Connections -----------------------------------------------------------------------------------------------------


@VERSIONS
def test_ping(version: int) -> None:  # MQTT-3.12.4-1
    line = Bench().connect(version=version)
    line.send(codec.PING)
    assert line.raw() == codec.PONG


@pytest.mark.parametrize(("version", "word"), [(V311, ""), (V5, bye(0x8D, "keep_alive_timeout"))])
def test_keep_alive(version: int, word: str) -> None:  # MQTT-3.1.2-22; 3.1.1: MQTT-3.1.2-24
    bench = Bench()
    line = bench.connect(version=version, keep_alive=10)
    bench.wait(14.0)
    line.send(codec.PING)
    assert line.raw() == codec.PONG
    bench.wait(14.9)
    assert not line.closed
    bench.wait(0.2)
    assert said(line) == word
    assert line.closed
    assert bench.protocol.counters == {"keep_alive_timeout": 1}


def test_311_without_keep_alive_has_no_timer() -> None:
    bench = Bench()
    bench.connect(version=V311)
    assert bench.session().next_timer() is None
    bench.wait(1e6)
    assert bench.session().busy


@pytest.mark.parametrize(("wanted", "granted"), [(0, 3600), (60, None), (9000, 3600)])
def test_server_keep_alive(wanted: int, granted: int | None) -> None:  # MQTT-3.2.2-21
    line = Bench().connect(keep_alive=wanted, quiet=False)
    values = connect.decode_connack(line.packets()[0][1], True)[2]
    assert values.get(properties.SERVER_KEEP_ALIVE) == granted


def test_session_expiry_is_clamped() -> None:
    bench = Bench(session_expiry=100)
    line = bench.connect(properties={properties.SESSION_EXPIRY: 0xFFFFFFFF}, quiet=False)
    values = connect.decode_connack(line.packets()[0][1], True)[2]
    assert values[properties.SESSION_EXPIRY] == 100


@VERSIONS
def test_a_session_outlives_its_connection(version: int) -> None:
    bench = Bench(session_expiry=600)
    line = bench.persistent(version=version)
    session = bench.session()
    line.subscribe(("a", 0))
    line.send(codec.encode_disconnect(0, line.v5))
    assert line.closed
    assert not session.busy
    bench.wait(599.0)
    again = bench.persistent(version=version, quiet=False)
    assert again.packets()[0][1][:2] == b"\1\0"  # Session Present: MQTT-3.2.2-3
    assert bench.session() is session
    bench.wait(5000.0)
    assert bench.session() is session
    bench.push(event("a"))
    assert len(again.published()) == 1
    again.cut()
    bench.wait(600.0)
    assert not bench.protocol.sessions
    assert not bench.protocol.offline
    assert not bench.owner.live
    assert bench.protocol.counters == {"sessions_expired": 1}
    assert len([one for one in bench.events if isinstance(one, Opened)]) == 1


def test_a_session_ends_with_its_connection() -> None:
    bench = Bench()
    line = bench.connect()
    line.publish()
    line.cut()
    assert not bench.answer()
    assert not bench.owner.live
    line = bench.connect(version=V311, clean=False, quiet=False)
    assert line.raw() == bytes.fromhex("20020000")


def test_an_ipv6_peer_is_written_as_urls_have_it() -> None:
    bench = Bench()
    line = bench.line(peer=("2001:db8::7", 40_000, 0, 0))
    [greeting] = bench.owner.live
    line.send(connect.encode_connect(connect.Connect("dev")))
    assert greeting.peer == bench.session().peer == "[2001:db8::7]:40000"


@pytest.mark.parametrize(("version", "word"), [(V311, ""), (V5, bye(0x8E, "taken_over"))])
def test_takeover_keeps_the_session(version: int, word: str) -> None:  # MQTT-3.1.4-3; 3.1.1: MQTT-3.1.4-2
    bench = Bench()
    old = bench.persistent(version=version)
    session = bench.session()
    old.publish()
    new = bench.persistent(version=version)
    assert said(old) == word
    assert old.closed
    old.send(codec.PING)
    session.receive(codec.PING, old.path, bench.now)
    session.eof(old.path, bench.now)
    new.publish(dup=True)
    bench.answer()
    assert said(new) == "40020001"
    assert bench.session() is session
    assert bench.protocol.counters == {"taken_over": 1, "duplicates": 1}
    bench.check()


@VERSIONS
def test_a_session_that_ends_with_its_connection_is_not_taken_over(version: int) -> None:  # 3.1.1: MQTT-3.1.2-6
    bench = Bench()
    old = bench.connect(version=version, will=Will("w", b"bye", properties={properties.WILL_DELAY: 10}))
    old.subscribe(("a", 1))
    session = bench.session()
    new = bench.persistent(version=version, quiet=False)
    assert new.packets()[0][1][:2] == b"\0\0"  # Session Present 0
    assert old.closed
    assert session.closed
    assert not bench.protocol.listeners.of("a")
    assert wills(bench) == [b"bye"]
    assert bench.protocol.counters == {"taken_over": 1}
    bench.check()


def test_disconnect_may_change_the_expiry() -> None:
    bench = Bench()
    line = bench.persistent()
    line.send(bytes.fromhex("e007 00 05 11 00000000"))
    assert not bench.protocol.sessions
    line = bench.connect()
    line.send(bytes.fromhex("e007 00 05 11 0000000a"))  # MQTT 5 §3.14.2.2.2: it was 0
    assert said(line) == bye(0x82, "protocol_error")


def test_what_follows_a_disconnect_is_not_read() -> None:
    bench = Bench()
    line = bench.persistent()
    line.send(codec.encode_disconnect(0, True), codec.PING)
    assert said(line) == ""


def test_sessions_without_a_connection_are_bounded() -> None:
    bench = Bench(offline_sessions=1)
    busy = bench.persistent("busy")
    busy.publish()
    busy.cut()
    for name in ("a", "b"):
        bench.persistent(name).cut()
    assert list(bench.protocol.sessions) == list(bench.protocol.offline) == ["busy"]
    assert bench.protocol.counters == {"offline_evicted": 2}
    assert len(bench.owner.live) == 1
    bench.check()


def test_the_oldest_goes_when_all_are_busy() -> None:
    bench = Bench(offline_sessions=1)
    for name in ("a", "b"):
        line = bench.persistent(name)
        line.publish()
        line.cut()
    assert list(bench.protocol.offline) == ["b"]


# --- Wills -----------------------------------------------------------------------------------------------------------


def wills(bench: Bench) -> list[bytes]:
    return [inbound.data for inbound in bench.messages if inbound.type == contract.MQTT_WILL]


def test_a_will() -> None:
    bench = Bench()
    line = bench.connect(will=Will("w", b"bye", 1, True, {properties.CONTENT_TYPE: "text/plain"}))
    line.cut()
    assert bench.messages == [
        Inbound(
            3,
            contract.MQTT_WILL,
            "w",
            {"mqttqos": "1", "mqttretain": "true"},
            "text/plain",
            b"bye",
            at_least_once=True,
            wants_reply=False,
        )
    ]


@pytest.mark.parametrize(
    ("version", "goodbye", "published"),
    [
        *((V311, b"\xe0\0", False), (V311, b"\xf0\0", True), (V311, b"", True)),
        *(
            (V5, b"\xe0\0", False),
            (V5, b"\xe0\1\0", False),
            (V5, b"\xe0\1\4", True),
            (V5, b"\xf0\0", True),
            (V5, b"", True),
        ),
    ],
)
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("will", [Will("w", b"bye"), None])
def test_when_a_will_is_published(
    version: int, goodbye: bytes, published: bool, persistent: bool, will: Will | None
) -> None:  # MQTT-3.1.2-8, MQTT-3.1.2-10, MQTT-3.14.4-3; 3.1.1: MQTT-3.1.2-12
    bench = Bench()
    open_ = bench.persistent if persistent else bench.connect
    line = open_(version=version, will=will)
    if goodbye:
        line.send(goodbye)
    else:
        line.cut()
    expected = [b"bye"] if published and will else []
    assert wills(bench) == expected
    bench.wait(10_000.0)
    bench.persistent(version=version).cut()  # whose CONNECT has none
    assert wills(bench) == expected


def test_a_will_may_be_delayed() -> None:  # MQTT 5 §3.1.3.2.2
    bench = Bench()
    will = Will("w", b"bye", properties={properties.WILL_DELAY: 10})
    bench.persistent(will=will).cut()
    bench.wait(9.0)
    back = bench.persistent(will=will)
    bench.wait(100.0)
    assert not wills(bench)
    back.cut()
    assert bench.session().busy
    bench.wait(9.9)
    assert not wills(bench)
    bench.wait(0.2)
    assert wills(bench) == [b"bye"]
    assert not bench.session().busy


def test_a_will_comes_at_the_latest_with_the_end() -> None:
    bench = Bench(session_expiry=5)
    will = Will("w", b"bye", properties={properties.WILL_DELAY: 10})
    bench.persistent(will=will).cut()
    bench.wait(5.1)
    assert wills(bench) == [b"bye"]
    bench.connect("other", will=will).cut()
    assert wills(bench) == [b"bye", b"bye"]


def test_a_will_comes_with_an_end_for_want_of_room_too() -> None:  # MQTT-3.1.2-8
    bench = Bench(offline_sessions=1)
    for name in ("a", "b"):
        bench.persistent(name, will=Will("w", name.encode(), properties={properties.WILL_DELAY: 10})).cut()
    assert list(bench.protocol.offline) == ["b"]
    assert wills(bench) == [b"a"]
    bench.check()


def test_a_takeover_is_a_lost_connection_too() -> None:
    for delay, published in ((0, [b"bye"]), (10, [])):
        bench = Bench()
        will = Will("w", b"bye", properties={properties.WILL_DELAY: delay})
        bench.persistent(will=will)
        bench.persistent()
        bench.wait(100.0)
        assert wills(bench) == published
        bench.connect()
    bench = Bench()
    bench.persistent(will=Will("w", b"bye", properties={properties.WILL_DELAY: 10}))
    bench.connect()
    assert wills(bench) == [b"bye"]


def test_the_bridges_own_end_publishes_no_will() -> None:
    for end in ("close", "drain"):
        bench = Bench()
        bench.persistent("a", will=Will("w", b"bye"))
        bench.persistent("b", will=Will("w", b"bye", properties={properties.WILL_DELAY: 10})).cut()
        getattr(bench.owner, end)(bench.now)
        assert not wills(bench)
        assert not bench.owner.live


# --- Draining --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "word"), [(V311, ""), (V5, bye(0x8B, "drain"))])
def test_drain(version: int, word: str) -> None:
    bench = Bench()
    idle = bench.connect("idle", version)
    line = bench.persistent(version=version)
    line.publish(packet_id=1)
    bench.owner.drain(bench.now)
    assert said(idle) == word
    assert idle.closed
    line.publish(packet_id=2)
    line.publish(qos=0, packet_id=0)
    line.send(codec.PING)
    assert line.raw() == codec.PONG
    assert len(bench.messages) == 1
    bench.answer()
    assert said(line) == "40020001" + word
    assert line.closed
    assert not bench.owner.live
    assert bench.protocol.counters == {"draining": 2}
    bench.check()


def test_drain_while_the_device_is_away() -> None:
    bench = Bench()
    line = bench.persistent()
    line.publish()
    line.cut()
    bench.owner.drain(bench.now)
    assert bench.session()
    bench.answer(reply=LOST)
    assert not bench.protocol.sessions


def test_drain_ends_with_a_message_that_was_not_accepted() -> None:
    bench = Bench()
    bench.persistent().publish()
    line = bench.connect("other")
    line.publish()
    bench.owner.drain(bench.now)
    bench.answer(0, LOST)
    bench.answer(1, LOST)
    assert not bench.protocol.sessions
    assert said(line) == bye(0x8B, "withheld")
    bench.check()


def test_a_session_that_is_over_does_nothing() -> None:
    bench = Bench()
    line = bench.persistent()
    session = bench.session()
    session.handle_timer(bench.now)
    assert not session.closed
    line.cut()
    bench.owner.close(bench.now)
    assert session.closed
    assert session.next_timer() is None
    session.handle_timer(1e9)
    session.drain(1e9)
    session.receive(codec.PING, line.path, 1e9)
    assert session.push(None, event("a"), 1e9) == 1
    assert session.next_event() == Pushed(1, PushResult.GONE)
    assert not session.data_to_send()
    assert not session.busy


def test_an_assigned_client_id_is_said() -> None:  # MQTT-3.2.2-16
    bench = Bench()
    values = connect.decode_connack(bench.connect("", quiet=False).packets()[0][1], True)[2]
    assert values[properties.ASSIGNED_CLIENT_ID] in bench.protocol.sessions


def test_a_session_that_is_away_may_be_replaced() -> None:
    bench = Bench()
    bench.persistent().cut()
    session = bench.session()
    bench.connect()
    assert session.closed
    assert bench.protocol.counters == {}


def test_a_session_that_was_replaced_is_not_found_again() -> None:
    bench = Bench()
    bench.persistent()
    session = bench.session()
    bench.connect()
    session.close("again", bench.now)
    assert bench.session() is not session


@pytest.mark.parametrize("late", [False, True])
def test_drain_waits_for_a_pubrel(late: bool) -> None:
    bench = Bench()
    line = bench.persistent()
    line.publish(qos=2)
    bench.owner.drain(bench.now)
    bench.answer()
    assert said(line) == "50020001"
    assert not line.closed
    line.publish(qos=2, dup=True)
    assert said(line) == "50020001"
    if late:
        bench.wait(5.0)
        assert said(line) == bye(0x8B, "drain")
    else:
        line.send(codec.encode_ack(codec.PUBREL, 1, 0, True))
        assert said(line) == "70020001" + bye(0x8B, "drain")
    assert line.closed
    assert not bench.owner.live


# --- What is told of its life --------------------------------------------------------------------------------------


def told(bench: Bench) -> list[tuple[str, str]]:
    return [
        (one.type.rpartition(".")[2], one.attributes.get("mqttreason") or one.attributes["mqttpresent"])
        for one in bench.presence
    ]


def test_each_connection_is_told() -> None:
    bench = Bench()
    bench.persistent().cut()
    line = bench.persistent()
    line.send(codec.encode_disconnect(0, True))
    line = bench.persistent(version=V311)
    line.send(b"\xff\0")
    bench.persistent()
    line = bench.connect()
    line.send(codec.encode_disconnect(4, True))
    assert told(bench) == [
        *(("opened", "false"), ("closed", "lost")),
        *(("opened", "true"), ("closed", "disconnect")),
        *(("opened", "true"), ("closed", "malformed")),
        *(("opened", "true"), ("closed", "taken_over")),
        *(("opened", "false"), ("closed", "disconnect_0x04")),
    ]
    assert [one.attributes["mqttversion"] for one in bench.presence][4:6] == ["3.1.1", "3.1.1"]


def test_the_bridges_own_end_is_told() -> None:
    for end, why in (("drain", "drain"), ("close", "shutdown")):
        bench = Bench()
        bench.persistent()
        getattr(bench.owner, end)(bench.now)
        assert told(bench) == [("opened", "false"), ("closed", why)]


# --- What the client asked for -------------------------------------------------------------------------------------


def test_response_information_is_for_those_who_ask() -> None:  # MQTT-3.1.2-28
    for asked, template, given in (
        (1, "answers/{clientid}", "answers/dev"),
        (0, "answers/{clientid}", None),
        (1, "", None),
    ):
        line = Bench(response_info=template).connect(properties={properties.REQUEST_RESPONSE_INFO: asked}, quiet=False)
        values = connect.decode_connack(line.packets()[0][1], True)[2]
        assert values.get(properties.RESPONSE_INFO) == given
    line = Bench(response_info="a/{clientid}").connect(
        "x/y", properties={properties.REQUEST_RESPONSE_INFO: 1}, quiet=False
    )
    assert properties.RESPONSE_INFO not in connect.decode_connack(line.packets()[0][1], True)[2]


def test_a_connack_that_the_client_can_not_take() -> None:  # MQTT-3.1.2-24
    bench = Bench()
    line = bench.line()
    line.send(connect.encode_connect(connect.Connect("dev", properties={properties.MAXIMUM_PACKET_SIZE: 10})))
    assert (line.raw(), line.closed) == (b"", True)
    assert bench.protocol.counters == {"connack_too_large": 1}
    assert told(bench) == [("opened", "false"), ("closed", "connack_too_large")]
    bench.check()


@pytest.mark.parametrize(
    "data",
    ["c001ff", "c100", "e1 00", "e0018e", "f000", "f100", "2002 0000", "9003 0001 00", "b002 0001", "d000", "0000"],
)
def test_packets_that_clients_do_not_send(data: str) -> None:
    for version in (V5, V311):
        bench = Bench()
        line = bench.connect(version=version)
        line.send(bytes.fromhex(data))
        assert line.closed
        assert not bench.owner.live


# --- Two pods ------------------------------------------------------------------------------------------------------


def test_two_pods_may_hold_one_client_identifier_for_a_while() -> None:
    old, new = Bench(), Bench()
    new.protocol.entropy = seeded(2)
    line = old.persistent(keep_alive=60)
    line.subscribe(("t", 1))
    line.publish(qos=2)
    old.push(event("t", b"kept by the old pod"))
    line.raw()
    # The device's connection moves to the other pod; the first does not know yet.
    moved = new.persistent(keep_alive=60, quiet=False)
    assert moved.packets()[0][1][:2] == b"\0\0"  # Session Present 0: that Session is elsewhere
    moved.publish(qos=2)  # so the device sends again what was not acknowledged, as new
    assert [bench.messages[0].data for bench in (old, new)] == [b"x", b"x"]
    assert old.messages[0].repeat_key != new.messages[0].repeat_key
    new.answer()
    assert said(moved) == "50020001"
    old.answer()  # each speaks to its own connection only
    assert said(line) == "50020001"
    assert said(moved) == ""
    new.push(event("t", b"x"))
    assert new.pushed == [PushResult.REFUSED]  # its subscriptions are not here, either
    old.wait(90.1)
    assert said(line) == bye(0x8D, "keep_alive_timeout")
    assert old.pushed == [PushResult.QUEUED]  # in that pod's memory, until the Session expires or the pod is gone
