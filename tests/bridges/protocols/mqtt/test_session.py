"""An MQTT Session, over one connection after another.

Over 400 lines because it mirrors one module, whose parts can't be tested without each other.
"""

import json

import pytest
from tests.bridges.protocols.mqtt.bench import LATER, LOST, OK, V5, V311, Bench, Line, event

from thinbridge import contract
from thinbridge.protocols.base import Inbound, Opened, Outbound, Outcome, Pushed, PushResult, Reply
from thinbridge.protocols.mqtt import codec, connect, properties
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.connect import Will

VERSIONS = pytest.mark.parametrize("version", [V311, V5])


def said(line: Line) -> str:
    return line.raw().hex()


def refused(status: int) -> Reply:
    return Reply(Outcome.REFUSED, status)


# --- PUBLISH and PUBACK ------------------------------------------------------------------------------------------


@VERSIONS
def test_the_puback_waits_for_the_sink(version: int) -> None:
    bench = Bench()
    line = bench.connect(version=version)
    line.publish("a/b", b"21", packet_id=0x102, retain=True)
    [inbound] = bench.messages
    session = bench.session()
    assert inbound == Inbound(
        exchange=1,
        type=contract.MQTT_MESSAGE,
        subject="a/b",
        attributes={"mqttqos": "1", "mqttretain": "true"},
        content_type=None,
        data=b"21",
        repeat_key=bytes.fromhex(session.id) + bytes.fromhex("0102 000000000001"),
        at_least_once=True,
        wants_reply=False,
    )
    assert said(line) == ""
    assert session.busy
    assert bench.answer()
    assert said(line) == "40020102"
    assert not bench.answer()
    bench.check()


@VERSIONS
def test_qos0_has_no_answer(version: int) -> None:
    bench = Bench()
    line = bench.connect(version=version)
    line.publish(qos=0, packet_id=0)
    assert not bench.messages[0].at_least_once
    assert bench.messages[0].repeat_key is None
    assert bench.answer(reply=LOST)
    assert said(line) == ""
    assert bench.protocol.counters == {"not_unknown": 1}


def test_qos0_past_the_limit_is_dropped() -> None:
    bench = Bench(qos0_open=1)
    line = bench.connect()
    line.publish(qos=0, packet_id=0)
    line.publish(qos=0, packet_id=0)
    bench.answer()
    line.publish(qos=0, packet_id=0)
    assert len(bench.messages) == 2
    assert bench.protocol.counters == {"qos0_dropped": 1}


def test_pubacks_keep_the_order_of_arrival() -> None:  # MQTT-4.6.0-2
    bench = Bench()
    line = bench.connect()
    for packet_id in (5, 4):
        line.publish(packet_id=packet_id)
    bench.answer(1)
    assert said(line) == ""
    bench.answer(0)
    assert said(line) == "4002000540020004"


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.OVERLOADED, Outcome.BAD_GATEWAY])
@pytest.mark.parametrize(("version", "word"), [(V311, ""), (V5, "e00197")])
def test_what_was_not_accepted_is_never_acknowledged(outcome: Outcome, version: int, word: str) -> None:
    bench = Bench()
    line = bench.persistent(version=version)
    line.publish(packet_id=1)
    line.publish(packet_id=2)
    bench.answer(1)
    assert bench.answer(0, Reply(outcome))
    assert said(line) == word
    assert line.closed
    assert bench.protocol.counters == {f"not_{outcome.name.lower()}": 1, "withheld": 1}
    again = bench.persistent(version=version)
    again.publish(packet_id=1, dup=True)
    again.publish(packet_id=2, dup=True)
    assert len(bench.messages) == 3  # the second had its answer while nobody listened
    first, _, retried = bench.messages
    assert retried.repeat_key == first.repeat_key
    assert retried.exchange != first.exchange
    bench.answer()
    assert said(again) == "4002000140020002"
    bench.check()


def test_an_answer_that_fails_while_the_device_is_away() -> None:
    bench = Bench()
    line = bench.persistent()
    line.publish()
    line.cut()
    assert bench.session().busy
    bench.answer(reply=LOST)
    assert not bench.session().busy
    again = bench.persistent()
    again.publish(dup=True)
    assert len(bench.messages) == 2
    again.cut()
    third = bench.persistent()
    bench.answer(reply=LOST)  # of the second connection: the third has not asked yet
    assert not third.closed


@pytest.mark.parametrize(("status", "code"), [(400, "83"), (403, "87"), (413, "97"), (415, "99")])
def test_a_refusal_has_a_reason_code(status: int, code: str) -> None:
    bench = Bench()
    line = bench.connect()
    line.publish()
    bench.answer(reply=refused(status))
    assert said(line) == "40030001" + code
    assert bench.protocol.counters == {"not_refused": 1}


def test_311_has_no_word_for_a_refusal() -> None:
    for setting, word in (("ack", "40020001"), ("close", "")):
        bench = Bench(on_refused=setting)
        line = bench.connect(version=V311)
        line.publish()
        bench.answer(reply=refused(400))
        assert said(line) == word
        assert line.closed is (setting == "close")
        line = bench.connect("five")
        line.publish()
        bench.answer(reply=refused(400))
        assert said(line) == "4003000183"


def test_a_refusal_that_came_while_a_311_device_was_away() -> None:
    for setting in ("ack", "close"):
        bench = Bench(on_refused=setting)
        line = bench.persistent(version=V311)
        line.publish()
        line.cut()
        bench.answer(reply=refused(400))
        again = bench.persistent(version=V311)
        again.publish(dup=True)
        if setting == "ack":
            assert (said(again), len(bench.messages)) == ("40020001", 1)
            continue
        first, retried = bench.messages  # closing without trying again would go round and round
        assert retried.repeat_key == first.repeat_key
        bench.answer(reply=refused(400))
        assert (said(again), again.closed) == ("", True)
        third = bench.persistent(version=V311)
        third.publish(dup=True)
        bench.answer()
        assert said(third) == "40020001"
        bench.check()


@pytest.mark.parametrize(("version", "word", "deliveries"), [(V311, "", 3), (V5, "4003000283", 2)])
def test_a_refusal_is_told_as_the_next_connection_can(version: int, word: str, deliveries: int) -> None:
    bench = Bench(on_refused="close")
    line = bench.persistent()
    line.publish(packet_id=1)
    line.publish(packet_id=2)
    bench.answer(1, refused(400))  # its PUBACK waits for the first one's (MQTT-4.6.0-2)
    line.cut()
    again = bench.persistent(version=version)
    again.publish(packet_id=2, dup=True)
    assert said(again) == word
    assert len(bench.messages) == deliveries


def test_a_message_that_was_no_valid_one_is_read_anew_by_311() -> None:
    bench = Bench()
    line = bench.persistent()
    line.publish(packet_id=1)
    line.publish(packet_id=2, values={properties.CONTENT_TYPE: "application/cloudevents+json"})
    assert said(line) == ""  # its PUBACK 0x99 waits for the first one
    line.cut()
    old = bench.persistent(version=V311)
    old.publish(packet_id=2, dup=True)
    assert len(bench.messages) == 2
    bench.answer()
    assert said(old) == "40020002"


def test_a_resend_is_absorbed() -> None:
    bench = Bench()
    line = bench.persistent()
    line.publish()
    line.publish(dup=True)
    line.cut()
    again = bench.persistent()
    again.publish(dup=True)
    assert len(bench.messages) == 1
    bench.answer()
    assert said(again) == "40020001"
    assert bench.protocol.counters == {"duplicates": 2}
    again.publish(dup=True)  # MQTT-4.3.2-2: after the PUBACK it is a new message
    assert len(bench.messages) == 2
    assert bench.messages[0].repeat_key != bench.messages[1].repeat_key


def test_an_answer_that_nobody_heard_is_said_again() -> None:
    bench = Bench()
    line = bench.persistent()
    line.publish()
    line.cut()
    bench.answer()
    again = bench.persistent()
    assert said(again) == ""
    again.publish(dup=True)
    assert said(again) == "40020001"


def test_a_device_that_has_lost_its_memory() -> None:
    bench = Bench()
    line = bench.persistent()
    line.publish(data=b"old")
    line.cut()
    again = bench.persistent()
    again.publish(data=b"new")
    assert [inbound.data for inbound in bench.messages] == [b"old", b"new"]
    bench.answer(0)
    assert said(again) == ""
    bench.answer(1)
    assert said(again) == "40020001"


def test_a_packet_id_that_is_in_use() -> None:
    bench = Bench()
    line = bench.connect()
    line.publish()
    line.publish()
    assert said(line) == "e00182"
    assert bench.protocol.counters == {"packet_id_in_use": 1}


def test_receive_maximum() -> None:  # MQTT-3.3.4-7 and -9
    bench = Bench(window=2)
    line = bench.connect()
    for packet_id in (1, 2, 3):
        line.publish(packet_id=packet_id)
    assert said(line) == "e00193"
    assert len(bench.messages) == 2


def test_311_may_send_more_than_the_window() -> None:
    bench = Bench(window=2, held=2000)
    line = bench.persistent(version=V311)
    session = bench.session()
    for packet_id in range(1, 9):
        line.publish(packet_id=packet_id, data=bytes(packet_id))
    assert len(bench.messages) == 2
    assert session.paused
    for number in range(8):
        bench.answer(number)
    assert not session.paused
    assert said(line) == "".join(f"4002{packet_id:04x}" for packet_id in range(1, 9))
    bench.check()


@VERSIONS
def test_reading_pauses_past_a_bound_of_bytes(version: int) -> None:
    bench = Bench(held=6000)
    line = bench.persistent(version=version)
    session = bench.session()
    line.publish(data=bytes(2000))
    line.publish(data=bytes(2000), qos=0, packet_id=0)
    assert not session.paused
    line.publish(data=bytes(2000), packet_id=3)
    assert session.paused
    line.cut()
    assert not session.paused
    bench.persistent(version=version)
    assert session.paused
    bench.answer(0, LATER)
    assert not session.paused
    bench.check()


@pytest.mark.parametrize("qos", [0, 1])
def test_properties_are_bytes_of_a_message_too(qos: int) -> None:
    bench = Bench(held=6000)
    line = bench.connect()
    for packet_id in (1, 2):
        assert not bench.session().paused
        line.publish(data=b"", qos=qos, packet_id=packet_id * qos, values={properties.USER: [("a", "x" * 3000)]})
    assert bench.session().paused
    bench.answer()
    assert not bench.session().paused


def test_a_paused_connection_is_not_silent_by_its_own_fault() -> None:
    bench = Bench(window=1, held=600)
    line = bench.connect(version=V311, keep_alive=10)
    for packet_id in (1, 2):
        line.publish(packet_id=packet_id)
    assert bench.session().paused
    bench.wait(100.0)
    assert not line.closed
    bench.answer(0)
    assert not bench.session().paused
    bench.wait(20.0)
    assert line.closed


def test_what_waited_for_room_is_forgotten_with_its_connection() -> None:
    bench = Bench(window=1)
    line = bench.persistent(version=V311)
    for packet_id in (1, 2):
        line.publish(packet_id=packet_id)
    line.cut()
    again = bench.persistent(version=V311)
    for packet_id in (1, 2):
        again.publish(packet_id=packet_id, dup=True)
    bench.answer()
    assert [inbound.exchange for inbound in bench.messages] == [1, 3]
    bench.answer()
    assert said(again) == "4002000140020002"


# --- What a message may be ---------------------------------------------------------------------------------------


def test_properties_become_attributes() -> None:
    bench = Bench()
    line = bench.connect()
    values = {
        properties.CONTENT_TYPE: "text/plain",
        properties.MESSAGE_EXPIRY: 60,
        properties.RESPONSE_TOPIC: "r",
        properties.USER: [("a", "b")],
        properties.TOPIC_ALIAS: 1,
    }
    line.publish("long", values=values)
    line.publish("", values={properties.TOPIC_ALIAS: 1}, packet_id=2)
    first, second = bench.messages
    assert (first.content_type, first.expires, first.wants_reply) == ("text/plain", 60, True)
    assert json.loads(first.attributes["mqttuserprops"]) == [["a", "b"]]
    assert second.subject == "long"


def test_a_device_may_send_an_event() -> None:
    attributes = {"specversion": "1.0", "id": "7", "source": "/dev", "type": "a.b"}
    bench = Bench(structured_311=True)
    bench.connect().publish(values={properties.USER: list(attributes.items())})
    bench.connect("old", V311).publish(data=json.dumps({**attributes, "data": 1}).encode())
    assert [inbound.event for inbound in bench.messages] == [attributes, attributes]
    assert bench.messages[1].data == b"1"


def test_311_payloads_are_opaque() -> None:
    bench = Bench()
    bench.connect(version=V311).publish(data=b'{"specversion":"1.0"}')
    assert bench.messages[0].event is None


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize(
    "data",
    [
        b"21.5",
        b'{"t":21.5}',
        b'{"specversion":"1.0","id":"7","source":"/dev","type":"dev.thinbridge.x","datacontenttype":"a/b","data":"1"}',
        b'{"specversion":"1.0","id":"7","source":"/apis/v1/namespaces/a/bridges/b","type":"a.b","data":1}',
    ],
)
def test_what_is_no_event_of_a_311_device_is_a_plain_message(data: bytes, qos: int) -> None:
    bench = Bench(structured_311=True)
    line = bench.connect(version=V311)
    line.publish(data=data, qos=qos, packet_id=qos)
    [inbound] = bench.messages  # 3.1.1 can't say no, so a PUBACK without a delivery would lose it
    assert (inbound.type, inbound.event, inbound.content_type, inbound.data) == (
        contract.MQTT_MESSAGE,
        None,
        None,
        data,
    )
    bench.answer()
    assert said(line) == ("40020001" if qos else "")
    assert not bench.protocol.counters


@pytest.mark.parametrize("qos", [0, 1])
def test_an_event_that_is_none_is_refused(qos: int) -> None:
    bench = Bench()
    line = bench.connect()
    line.publish(qos=qos, packet_id=qos, values={properties.CONTENT_TYPE: "application/cloudevents+json"})
    assert said(line) == ("4003000199" if qos else "")
    assert not bench.messages
    assert bench.protocol.counters == {"event_invalid": 1}
    assert not line.closed


@pytest.mark.parametrize(
    ("data", "code", "counter"),
    [
        (codec.encode_publish(Publish("a/+", b""), True), "90", "topic_invalid"),
        (codec.encode_publish(Publish("t", b"", 2, packet_id=1), True), "9b", "qos2"),
        (
            codec.encode_publish(Publish("t", b"", properties={properties.RESPONSE_TOPIC: "a/#"}), True),
            "82",
            "protocol_error",
        ),
        (
            codec.encode_publish(Publish("t", b"", properties={properties.RESPONSE_TOPIC: "+"}), True),
            "82",
            "protocol_error",
        ),
        (bytes.fromhex("30 03 0001 ff"), "81", "malformed"),
        (bytes.fromhex("30 ff ff ff ff"), "81", "malformed"),
        (bytes.fromhex("30 80 80 80 01"), "95", "packet_too_large"),
        (bytes.fromhex("50 02 0001"), "82", "protocol_error"),  # PUBREC: there is no QoS 2
        (bytes.fromhex("62 02 0001"), "82", "protocol_error"),  # PUBREL
        (bytes.fromhex("20 02 0000"), "82", "protocol_error"),  # what servers send
        (bytes.fromhex("f0 00"), "82", "protocol_error"),  # AUTH
        (bytes.fromhex("00 00"), "82", "protocol_error"),
        (connect.encode_connect(connect.Connect("dev")), "82", "protocol_error"),  # MQTT-3.1.0-2
        (bytes.fromhex("82 09 0001 02 0b01 0001 61 00"), "a1", "subscription_id"),
    ],
)
def test_errors_end_the_connection(data: bytes, code: str, counter: str) -> None:
    for pieces in ([data], [bytes((byte,)) for byte in data], [data + codec.PING]):
        bench = Bench()
        line = bench.connect()
        for piece in pieces:
            line.send(piece)
        assert said(line) == "e001" + code
        assert line.closed
        assert bench.protocol.counters == {counter: 1}
        bench.check()


def test_311_is_closed_without_a_word() -> None:
    bench = Bench()
    line = bench.connect(version=V311)
    line.publish(qos=2)
    assert said(line) == ""
    assert line.closed
    assert bench.protocol.counters == {"qos2": 1}


# --- Replies -----------------------------------------------------------------------------------------------------


def ask(bench: Bench, line: Line, qos: int = 1, packet_id: int = 1) -> None:
    line.publish(
        "ask",
        qos=qos,
        packet_id=packet_id,
        values={properties.RESPONSE_TOPIC: "r", properties.CORRELATION_DATA: b"c"},
    )


def reply(data: bytes = b"", is_event: bool = False, **attributes: str) -> Reply:
    return Reply(Outcome.ACCEPTED, 200, "text/plain", data, attributes, is_event)


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("granted", [0, 1])
def test_request_and_response(qos: int, granted: int) -> None:  # MQTT 5 §4.10
    bench = Bench()
    line = bench.connect()
    assert line.subscribe(("r", granted)) == bytes((granted,))
    ask(bench, line, qos, qos)
    assert bench.messages[0].wants_reply
    bench.answer(reply=reply(b"answer"))
    packets = line.packets()
    assert [first >> 4 for first, _ in packets] == [codec.PUBACK, codec.PUBLISH][1 - qos :]
    first, body = packets[-1]
    published = codec.decode_publish(first, body, True)
    assert published == Publish(
        "r",
        b"answer",
        min(qos, granted),
        packet_id=1 if qos and granted else 0,
        properties={properties.CONTENT_TYPE: "text/plain", properties.CORRELATION_DATA: b"c"},
    )


def test_a_reply_event_brings_its_attributes() -> None:
    bench = Bench()
    line = bench.connect()
    line.subscribe(("r", 1), ("cmd/+", 1))
    ask(bench, line, 0, 0)
    bench.answer(reply=reply(is_event=True, causationid="7", coapcode="2.05"))
    [published] = line.published()
    assert published.properties[properties.USER] == [("causationid", "7")]
    ask(bench, line, 0, 0)
    bench.answer(reply=reply(b"on", is_event=True, mqtttopic="cmd/7", mqttqos="1"))
    [published] = line.published()
    assert (published.topic, published.data, published.qos) == ("cmd/7", b"on", 1)
    assert properties.CORRELATION_DATA not in published.properties


@pytest.mark.parametrize(
    ("answer", "counter"),
    [
        (OK, None),  # nothing to say
        (reply(b"x"), None),  # a bare body answers only who asked
        (reply(b"x", mqtttopic="r"), None),  # only an event steers
        (reply(b"x", is_event=True), None),
        (reply(b"x", is_event=True, mqtttopic="other"), "not_subscribed"),
        (reply(b"x", is_event=True, mqtttopic="$SYS/x"), "not_subscribed"),
        (reply(b"x", is_event=True, mqtttopic="r/+"), "not_subscribed"),
        (refused(400), "not_refused"),
    ],
)
def test_nothing_is_published(answer: Reply, counter: str | None) -> None:
    bench = Bench()
    line = bench.connect(version=V311)
    line.subscribe(("#", 1))
    assert line.subscribe(("r", 1)) == b"\1"
    line.send(codec.encode_unsubscribe(3, ["#"], False))
    line.raw()
    line.publish()
    bench.answer(reply=answer)
    assert said(line) == "40020001"
    assert bench.protocol.counters == ({counter: 1} if counter else {})


def test_the_retain_flag_only_where_it_was_asked_for() -> None:  # MQTT 5 §3.3.1.3
    for options, retain in ((1, False), (0x09, True)):
        bench = Bench()
        line = bench.connect()
        line.subscribe(("r", options))
        bench.push(event("r", mqttretain="true"))
        assert line.published()[0].retain is retain


def test_an_answer_that_comes_later() -> None:
    bench = Bench()
    line = bench.connect()
    line.subscribe(("r", 1))
    ask(bench, line)
    assert bench.answer(reply=LATER)
    assert bench.answer(reply=LATER)
    assert said(line) == "40020001"
    assert bench.answer(reply=reply(b"late"))
    assert [published.data for published in line.published()] == [b"late"]
    assert not bench.answer()


def test_later_is_as_long_as_the_bridge_waits() -> None:
    bench = Bench(replies=2)
    line = bench.persistent()
    for packet_id in (1, 2, 3):
        ask(bench, line, packet_id=packet_id)
        bench.answer(reply=LATER)
    assert not bench.answer(0)
    assert bench.protocol.counters == {"pending_full": 1}
    line.cut()
    assert bench.session().busy
    for exchange in (1, 2):
        assert bench.session().busy
        assert bench.answer(exchange, Reply(Outcome.UNKNOWN))
    assert not bench.session().busy
    assert not bench.answer(2)


def test_where_answers_go_takes_no_more_than_the_session_may() -> None:
    for mode in (LATER, OK):
        bench = Bench(replies_bytes=100)
        line = bench.persistent()
        line.subscribe(("r", 1))
        for packet_id in (1, 2, 3):
            values = {properties.RESPONSE_TOPIC: "r", properties.CORRELATION_DATA: b"%d" % packet_id * 40}
            line.publish(packet_id=packet_id, values=values)
            bench.answer(reply=mode)
        line.raw()
        for target in (1, 2, 3):
            bench.push(Outbound(None, b"late"), target)
        said = [one.properties[properties.CORRELATION_DATA][:1] for one in line.published()]
        if mode == OK:
            assert (said, bench.pushed) == ([b"2", b"3"], [PushResult.REFUSED])
            assert bench.protocol.counters == {"replies_forgotten": 1}
        else:
            assert said == [b"1", b"2", b"3"]  # the first no longer waits, but is remembered
            assert not bench.answer(0)
            assert bench.protocol.counters == {"pending_full": 1}


def test_correlation_data_without_a_response_topic_is_not_kept() -> None:
    bench = Bench()
    line = bench.connect()
    line.publish(values={properties.CORRELATION_DATA: bytes(60_000)})
    found = bench.session()._exchanges.find(1)
    assert found is not None
    assert found.correlation is None


# --- Pushes ------------------------------------------------------------------------------------------------------


@VERSIONS
def test_a_push_is_delivered_at_the_devices_puback(version: int) -> None:
    bench = Bench()
    line = bench.connect(version=version)
    line.subscribe(("cmd/#", 1))
    bench.push(event("cmd/7", b"on"))
    [published] = line.published()
    assert (published.topic, published.qos, published.data) == ("cmd/7", 1, b"on")
    assert bench.pushed == []
    line.send(codec.encode_puback(published.packet_id, 0, line.v5))
    line.send(codec.encode_puback(published.packet_id, 0, line.v5))
    assert bench.pushed == [PushResult.DELIVERED]
    assert bench.protocol.counters == {"puback_unknown": 1}


def test_a_push_to_an_exchange() -> None:
    bench = Bench()
    line = bench.connect()
    line.subscribe(("r", 0))
    ask(bench, line)
    bench.push(Outbound(None, b"1"), target=1)
    bench.answer()
    bench.push(Outbound(None, b"2"), target=1)
    bench.push(Outbound(None, b"3"), target=2)
    bench.push(Outbound(None, b"4"))
    assert [published.data for published in line.published()] == [b"1", b"2"]
    assert bench.pushed == [PushResult.DELIVERED] * 2 + [PushResult.REFUSED] * 2


def test_pushes_that_do_not_arrive() -> None:
    bench = Bench(outbound_queue=1)
    line = bench.persistent(properties={properties.MAXIMUM_PACKET_SIZE: 50})
    line.subscribe(("a", 1))
    for outbound in (event("b"), event("a", bytes(100)), event("a"), event("a")):
        bench.push(outbound)
    assert bench.pushed == [PushResult.REFUSED, PushResult.TOO_LARGE, PushResult.BUSY]
    line.cut()
    assert bench.pushed[3:] == [PushResult.QUEUED]
    bench.push(event("a"))
    assert bench.pushed[4:] == [PushResult.BUSY]
    again = bench.persistent(quiet=False)
    assert [published.dup for published in again.published()] == [True]
    assert bench.protocol.counters == {"not_subscribed": 1, "outbound_too_large": 1, "outbound_busy": 2}


def test_a_push_to_a_device_that_is_away() -> None:
    bench = Bench()
    line = bench.persistent()
    line.subscribe(("a", 1))
    line.cut()
    bench.push(event("a", b"1"))
    assert bench.pushed == [PushResult.QUEUED]
    again = bench.persistent(quiet=False)
    packets = again.packets()
    assert connect.decode_connack(packets[0][1], True)[:2] == (0, True)
    assert [first >> 4 for first, _ in packets] == [codec.CONNACK, codec.PUBLISH]
    assert bench.pushed == [PushResult.QUEUED]


def test_a_push_when_the_session_ends() -> None:
    bench = Bench()
    line = bench.connect()
    line.subscribe(("a", 1))
    bench.push(event("a", b"1"))
    line.cut()
    assert bench.pushed == [PushResult.GONE]
    assert not bench.protocol.sessions
    bench.check()


# --- SUBSCRIBE ---------------------------------------------------------------------------------------------------


def test_granted_and_refused() -> None:
    bench = Bench(subscriptions=3)
    line = bench.connect()
    codes = line.subscribe(("a", 0), ("b", 1), ("c/#", 2), ("$share/g/a", 1), ("$SYS/#", 0), ("a#", 0), ("d", 0))
    assert codes.hex() == "0001019e8f8f97"
    line.send(codec.encode_unsubscribe(7, ["a", "a"], True))
    assert said(line) == "b005 0007 00 0011".replace(" ", "")
    assert bench.protocol.counters == {"subscriptions_full": 1}
    assert bench.connect("old", V311).subscribe(("a", 2), ("$share/g/a", 1)).hex() == "0180"


# --- Connections -------------------------------------------------------------------------------------------------


def test_ping() -> None:
    line = Bench().connect()
    line.send(codec.PING)
    assert line.raw() == codec.PONG


@pytest.mark.parametrize(("version", "word"), [(V311, ""), (V5, "e0018d")])
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


def test_takeover_keeps_the_session() -> None:  # MQTT-3.1.4-3
    bench = Bench()
    old = bench.persistent()
    session = bench.session()
    old.publish()
    new = bench.persistent()
    assert said(old) == "e0018e"
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


def test_disconnect_may_change_the_expiry() -> None:
    bench = Bench()
    line = bench.persistent()
    line.send(bytes.fromhex("e007 00 05 11 00000000"))
    assert not bench.protocol.sessions
    line = bench.connect()
    line.send(bytes.fromhex("e007 00 05 11 0000000a"))  # MQTT-3.14.2-2
    assert said(line) == "e00182"


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


# --- Wills -------------------------------------------------------------------------------------------------------


def wills(bench: Bench) -> list[bytes]:
    return [inbound.data for inbound in bench.messages if inbound.type == contract.MQTT_WILL]


def test_a_will() -> None:
    bench = Bench()
    line = bench.connect(will=Will("w", b"bye", 1, True, {properties.CONTENT_TYPE: "text/plain"}))
    line.cut()
    assert bench.messages == [
        Inbound(
            1,
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
    ("goodbye", "published"),
    [(codec.encode_disconnect(0, True), False), (codec.encode_disconnect(4, True), True), (b"\xf0\0", True)],
)
@pytest.mark.parametrize("persistent", [False, True])
def test_when_a_will_is_published(goodbye: bytes, published: bool, persistent: bool) -> None:  # MQTT-3.1.2-8, -10
    bench = Bench()
    line = (bench.persistent if persistent else bench.connect)(will=Will("w", b"bye"))
    line.send(goodbye)
    assert bool(wills(bench)) is published
    bench.wait(10_000.0)
    assert len(wills(bench)) == published


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


# --- Draining ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "word"), [(V311, ""), (V5, "e0018b")])
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
    assert said(line) == "e0018b"
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
