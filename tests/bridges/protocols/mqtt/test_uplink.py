"""What a device publishes, and what it is told about it.

Over 400 lines because it mirrors one module.
"""

import json

import pytest
from tests.bridges.protocols.mqtt.bench import LATER, LOST, OK, V5, V311, Bench, Line, bye, event

from thinbridge import contract
from thinbridge.protocols.base import Inbound, Outbound, Outcome, PushResult, Reply
from thinbridge.protocols.mqtt import codec, connect, properties, subscribe
from thinbridge.protocols.mqtt.codec import Publish

VERSIONS = pytest.mark.parametrize("version", [V311, V5])


def said(line: Line) -> str:
    return line.raw().hex()


def refused(status: int) -> Reply:
    return Reply(Outcome.REFUSED, status)


# --- PUBLISH and PUBACK ----------------------------------------------------------------------------------------------


@VERSIONS
def test_the_puback_waits_for_the_sink(version: int) -> None:
    bench = Bench()
    line = bench.connect(version=version)
    line.publish("a/b", b"21", packet_id=0x102, retain=True)
    [inbound] = bench.messages
    session = bench.session()
    assert inbound == Inbound(
        exchange=2,  # 1 was the connection's
        type=contract.MQTT_MESSAGE,
        subject="a/b",
        attributes={"mqttqos": "1", "mqttretain": "true"},
        content_type=None,
        data=b"21",
        repeat_key=bytes.fromhex(session.id) + bytes.fromhex("0102 000000000002"),
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
@pytest.mark.parametrize(("version", "word"), [(V311, ""), (V5, bye(0x97, "withheld"))])
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
    assert said(line) == bye(0x82, "packet_id_in_use")
    assert bench.protocol.counters == {"packet_id_in_use": 1}


def test_receive_maximum() -> None:  # MQTT-3.3.4-7
    bench = Bench(window=2)
    line = bench.connect()
    for packet_id in (1, 2, 3):
        line.publish(packet_id=packet_id)
    assert said(line) == bye(0x93, "receive_maximum")
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
    assert [inbound.exchange for inbound in bench.messages] == [2, 6]
    bench.answer()
    assert said(again) == "4002000140020002"


# --- What a message may be -------------------------------------------------------------------------------------------


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
    assert said(line) == (codec.encode_ack(codec.PUBACK, 1, 0x99, True, "event invalid").hex() if qos else "")
    assert not bench.messages
    assert bench.protocol.counters == {"event_invalid": 1}
    assert not line.closed


@pytest.mark.parametrize(
    ("data", "code", "counter"),
    [
        (codec.encode_publish(Publish("a/+", b""), True), "81", "topic_invalid"),
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
        (bytes.fromhex("20 02 0000"), "82", "protocol_error"),  # what servers send
        (bytes.fromhex("f0 00"), "82", "protocol_error"),  # AUTH
        (bytes.fromhex("00 00"), "82", "protocol_error"),
        (connect.encode_connect(connect.Connect("dev")), "82", "protocol_error"),  # MQTT-3.1.0-2
    ],
)
def test_errors_end_the_connection(data: bytes, code: str, counter: str) -> None:
    for pieces in ([data], [bytes((byte,)) for byte in data], [data + codec.PING]):
        bench = Bench()
        line = bench.connect()
        for piece in pieces:
            line.send(piece)
        assert said(line) == bye(int(code, 16), counter)
        assert line.closed
        assert bench.protocol.counters == {counter: 1}
        bench.check()


def test_311_is_closed_without_a_word() -> None:
    bench = Bench()
    line = bench.connect(version=V311)
    line.publish("a/+")
    assert said(line) == ""
    assert line.closed
    assert bench.protocol.counters == {"topic_invalid": 1}


# --- Replies ---------------------------------------------------------------------------------------------------------


def ask(bench: Bench, line: Line, qos: int = 1, packet_id: int = 1) -> None:
    line.publish(
        "ask",
        qos=qos,
        dup=qos > 0,  # which says nothing of the answer: MQTT-3.3.1-3
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
    line.send(subscribe.encode_unsubscribe(3, ["#"], False))
    line.raw()
    line.publish()
    bench.answer(reply=answer)
    assert said(line) == "40020001"
    assert bench.protocol.counters == ({counter: 1} if counter else {})


@pytest.mark.parametrize(("version", "options", "retain"), [(V311, 1, False), (V5, 1, False), (V5, 0x09, True)])
def test_the_retain_flag_only_where_it_was_asked_for(version: int, options: int, retain: bool) -> None:
    bench = Bench()
    line = bench.connect(version=version)
    line.subscribe(("r", options))
    bench.push(event("r", mqttretain="true"))
    assert line.published()[0].retain is retain  # MQTT-3.3.1-12, MQTT-3.3.1-13; 3.1.1: MQTT-3.3.1-9


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
        for target in (2, 3, 4):
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
    found = bench.session()._uplink.exchanges.find(2)
    assert found is not None
    assert found.correlation is None


# --- QoS 2 -------------------------------------------------------------------------------------------------------


def ack(kind: int, packet_id: int, reason: int = 0, text: str = "") -> str:
    return codec.encode_ack(kind, packet_id, reason, True, text).hex()


def release(line: Line, packet_id: int = 1) -> str:
    line.send(codec.encode_ack(codec.PUBREL, packet_id, 0, line.v5))
    return said(line)


@VERSIONS
def test_the_pubrec_waits_for_the_sink(version: int) -> None:  # MQTT-4.3.3-8, MQTT-4.3.3-11, MQTT-4.3.3-12
    bench = Bench()
    line = bench.connect(version=version)
    line.publish(qos=2)
    assert said(line) == ""
    assert bench.messages[0].attributes == {"mqttqos": "2"}
    assert bench.messages[0].at_least_once
    bench.answer()
    assert said(line) == "50020001"
    assert release(line) == "70020001"
    line.publish(qos=2)
    assert len(bench.messages) == 2
    assert bench.messages[0].repeat_key != bench.messages[1].repeat_key


def test_a_message_that_matters_no_more_is_acknowledged_all_the_same() -> None:  # MQTT-4.3.3-13
    bench = Bench()
    line = bench.connect()
    line.publish(qos=2, values={properties.MESSAGE_EXPIRY: 1})
    bench.wait(10.0)
    bench.answer()
    assert said(line) == "50020001"
    bench.wait(10.0)
    assert release(line) == "70020001"


@VERSIONS
def test_what_was_received_is_heard_no_second_time(version: int) -> None:  # MQTT-4.3.3-10
    bench = Bench()
    line = bench.persistent(version=version)
    line.publish(qos=2)
    line.publish(qos=2, dup=True)
    bench.answer()
    assert said(line) == "50020001"
    line.publish(qos=2)
    assert said(line) == "50020001"
    line.cut()
    assert bench.session().busy  # forgotten, it would be heard again
    again = bench.persistent(version=version)
    again.publish(qos=2, dup=True)
    assert said(again) == "50020001"
    assert release(again) == "70020001"
    again.cut()
    assert not bench.session().busy
    assert len(bench.messages) == 1
    assert bench.protocol.counters == {"duplicates": 3}


@pytest.mark.parametrize(("version", "word"), [(V311, "70020007"), (V5, "7003000792")])
def test_a_pubrel_that_releases_nothing(version: int, word: str) -> None:
    line = Bench().connect(version=version)
    assert release(line, 7) == word


def test_a_device_that_has_lost_its_memory_of_qos2() -> None:
    bench = Bench()
    line = bench.persistent()
    line.publish(qos=2)
    bench.answer()
    line.cut()
    again = bench.persistent()
    again.publish(data=b"new", qos=1)  # it uses the identifier anew
    bench.answer()
    assert said(again) == "40020001"
    assert release(again) == "7003000192"


def test_a_refusal_says_why_if_it_is_text() -> None:
    for reply, text in (
        (Reply(Outcome.REFUSED, 400, "text/plain; charset=utf-8", b"not today"), "not today"),
        (Reply(Outcome.REFUSED, 400, "application/json", b"{}"), ""),
        (Reply(Outcome.REFUSED, 400, "text/plain", b"a\nb"), ""),
        (Reply(Outcome.REFUSED, 400, "text/plain", b"x" * 1000), "x" * 200),
        (Reply(Outcome.REFUSED, 400, None, b"x"), ""),
    ):
        bench = Bench()
        line = bench.connect()
        line.publish()
        bench.answer(reply=reply)
        assert said(line) == ack(codec.PUBACK, 1, 0x83, text)


# --- Topics that are not taken -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "code", "counter"),
    [("b", 0x87, "publish_not_allowed"), ("a/" + "x" * 1023, 0x90, "topic_refused"), ("a/\x7f", 0x90, "topic_refused")],
)
def test_topics_that_are_refused(topic: str, code: int, counter: str) -> None:
    bench = Bench(may_publish=("a/#",))
    line = bench.connect()
    line.publish(topic)
    line.publish(topic, qos=0, packet_id=0)
    assert said(line) == ack(codec.PUBACK, 1, code, counter.replace("_", " "))
    line.publish(topic, qos=2, packet_id=2)
    assert said(line) == ack(codec.PUBREC, 2, code, counter.replace("_", " "))
    line.publish(topic, qos=2, packet_id=2)  # MQTT-4.3.3-9: the identifier was freed
    line.publish("a/b")
    assert [inbound.subject for inbound in bench.messages] == ["a/b"]
    assert bench.protocol.counters == {counter: 4}
    old = bench.connect("old", V311)
    old.publish(topic, qos=0, packet_id=0)
    assert not old.closed
    old.publish(topic)  # a PUBACK would lose it: MQTT-3.3.5-2
    assert (said(old), old.closed) == ("", True)


def test_all_aliases_that_the_connack_announces_may_be_used() -> None:  # MQTT-3.3.2-12
    for limit in (16, 3):
        line = Bench(topic_aliases=limit).connect(quiet=False)
        announced = connect.decode_connack(line.packets()[0][1], True)[2][properties.TOPIC_ALIAS_MAXIMUM]
        assert announced == limit
        for alias in range(1, limit + 1):
            line.publish(f"t{alias}", qos=0, packet_id=0, values={properties.TOPIC_ALIAS: alias})
        for alias in range(1, limit + 1):
            line.publish("", qos=0, packet_id=0, values={properties.TOPIC_ALIAS: alias})
        assert [one.subject for one in line.bench.messages] == [f"t{alias}" for alias in range(1, limit + 1)] * 2


def test_aliases_end_with_their_connection() -> None:  # MQTT-3.3.2-7
    bench = Bench()
    line = bench.persistent()
    line.publish("long", values={properties.TOPIC_ALIAS: 1})
    line.cut()
    line = bench.persistent()
    line.publish("", packet_id=2, values={properties.TOPIC_ALIAS: 1})
    assert said(line) == bye(0x82, "protocol_error")


def test_a_full_window_delays_nothing_else() -> None:  # MQTT-3.3.4-8
    bench = Bench(window=1)
    line = bench.connect()
    line.publish()
    line.send(codec.PING)
    assert line.raw() == codec.PONG
    assert line.subscribe(("a", 1)) == b"\1"
    line.publish(qos=0, packet_id=0)
    assert len(bench.messages) == 2
