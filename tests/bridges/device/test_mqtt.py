"""The MQTT device."""

import pytest
from tests.bridges.protocols.mqtt.bench import OK, Bench, Line

from thinbridge.device.base import Result
from thinbridge.device.mqtt import CORRELATION, Client, Request
from thinbridge.protocols.base import Outcome, Reply
from thinbridge.protocols.mqtt import codec, connect, properties, reasons, subscribe
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.connect import V5, V311, Connect


def flow(request: Request, line: Line) -> None:
    """Bytes both ways until both are silent."""
    while True:
        data = b"".join(request.data_to_send())
        line.send(data)
        answer = line.raw()
        if not data and not answer:
            return
        request.receive(answer, line.bench.now)


@pytest.mark.parametrize("version", [V311, V5])
def test_over_at_its_puback(version: int) -> None:
    bench = Bench()
    line = bench.line()
    request = Request("a/b", b"21", version=version, client_id="dev", username="u", password=b"p", content_type="a/b")
    request.start(bench.now)
    flow(request, line)
    assert request.result is None
    assert bench.messages[0].subject == "a/b"
    assert bench.messages[0].content_type == ("a/b" if version == V5 else None)
    bench.answer()
    flow(request, line)
    assert request.result is not None
    assert (request.result.ok, request.result.code) == (True, "PUBACK 0x00" if version == V5 else "PUBACK")
    assert line.closed  # it said goodbye


def test_qos0_is_over_when_it_is_sent() -> None:
    bench = Bench()
    request = Request("t", qos=0)
    request.start(bench.now)
    flow(request, bench.line())
    assert request.result is not None
    assert request.result.code == "sent"
    assert len(bench.messages) == 1


@pytest.mark.parametrize("qos", [0, 1])
def test_request_and_response(qos: int) -> None:
    bench = Bench()
    line = bench.line()
    request = Request("t", b"?", qos=qos, response_topic="r", user=[("a", "b")])
    request.start(bench.now)
    flow(request, line)
    line.send(b"")
    bench.answer(reply=Reply(Outcome.ACCEPTED, 200, "text/plain", b"!"))
    flow(request, line)
    assert request.result is not None
    assert (request.result.code, request.result.content_type, request.result.data) == ("PUBLISH", "text/plain", b"!")
    assert bench.messages[0].attributes["mqttuserprops"] == '[["a","b"]]'
    request.receive(b"more", bench.now)


def test_answers_to_others_are_not_its_own() -> None:
    request = Request("t", response_topic="r")
    request.start(0.0)
    for packet in (
        connect.encode_connack(0, False, True),
        subscribe.encode_suback(codec.SUBACK, 1, [1], True),
        codec.encode_publish(Publish("r", b"1", properties={properties.CORRELATION_DATA: b"x"}), True),
        codec.encode_ack(codec.PUBACK, 2, 0, True),
    ):
        request.receive(packet, 0.0)
        assert request.result is None
    request.receive(
        codec.encode_publish(Publish("r", properties={properties.CORRELATION_DATA: CORRELATION}, data=b""), True), 0.0
    )
    assert request.result is not None


@pytest.mark.parametrize(
    ("packets", "code"),
    [
        ([connect.encode_connack(reasons.NOT_AUTHORIZED, False, True)], "CONNACK 0x87 Not authorized"),
        (
            [connect.encode_connack(0, False, True), subscribe.encode_suback(codec.SUBACK, 1, [0x8F], True)],
            "SUBACK 0x8f Topic Filter invalid",
        ),
        (
            [
                connect.encode_connack(0, False, True),
                subscribe.encode_suback(codec.SUBACK, 1, [1], True),
                codec.encode_ack(codec.PUBACK, 2, 0x99, True),
            ],
            "PUBACK 0x99 Payload format invalid",
        ),
        ([codec.encode_disconnect(0x8B, True)], "closed 0x8b Server shutting down"),
        ([codec.encode_disconnect(0, True)], "closed 0x00"),
        ([b"\x20\xff\xff\xff\xff"], "closed 0x81 Malformed Packet"),
        ([b"\x40\x01\0"], "closed 0x81 Malformed Packet"),
    ],
)
def test_refusals(packets: list[bytes], code: str) -> None:
    request = Request("t", response_topic="r")
    request.start(0.0)
    for packet in packets:
        assert request.result is None
        request.receive(packet[:1], 0.0)
        request.receive(packet[1:], 0.0)
    assert request.result is not None
    assert (request.result.ok, request.result.code) == (False, code)
    assert request.next_timer() is None
    request.handle_timer(1e9)


@pytest.mark.parametrize(("code", "name"), [(5, " Not authorized"), (3, " Server unavailable"), (9, "")])
def test_return_codes_of_311_have_the_same_names(code: int, name: str) -> None:
    request = Request("t", version=V311)
    request.start(0.0)
    request.receive(bytes((codec.CONNACK << 4, 2, 0, code)), 0.0)
    assert request.result is not None
    assert request.result.code == f"CONNACK 0x{code:02x}{name}"


CONNACK = connect.encode_connack(0, False, True)
SUBACK = subscribe.encode_suback(codec.SUBACK, 1, [1], True)
PUBACK = codec.encode_ack(codec.PUBACK, 2, 0, True)


def asked(*packets: bytes, qos: int = 1, correlated: bool = True, grace: float | None = None) -> Request:
    """A request that heard so much, at 1.0."""
    request = Request("t", qos=qos, response_topic="r", correlated=correlated, grace=grace)
    request.start(0.0)
    for packet in packets:
        request.receive(packet, 1.0)
    assert request.result is None
    return request


def test_after_a_puback_the_answer_has_a_grace() -> None:
    request = asked(CONNACK, SUBACK, grace=2.0)
    request.handle_timer(30.0)
    assert request.result is None  # the PUBACK may take its time
    request.receive(PUBACK, 31.0)
    request.receive(codec.encode_publish(Publish("r", b"for another"), True), 32.0)
    assert request.next_timer() == 33.0
    request.handle_timer(32.9)
    assert request.result is None
    request.data_to_send()
    request.handle_timer(33.0)
    assert request.result == Result(True, "PUBACK, no answer on the response topic")
    assert request.data_to_send() == [codec.encode_disconnect(0, True)]
    assert request.next_timer() is None


def test_without_a_grace_the_caller_ends_the_wait() -> None:
    request = asked(CONNACK, SUBACK, PUBACK)
    request.handle_timer(59.0)
    assert request.result is None
    request.end(closed=False)
    done = request.result
    assert done == Result(True, "PUBACK, no answer on the response topic")
    request.end(closed=True)
    assert request.result is done
    waiting = asked(CONNACK, SUBACK)
    waiting.end(closed=False)
    assert waiting.result is None


@pytest.mark.parametrize(
    ("packets", "qos", "awaited"),
    [
        ([], 1, "CONNACK"),
        ([CONNACK], 1, "SUBACK"),
        ([CONNACK, SUBACK], 1, "PUBACK"),
        ([CONNACK, SUBACK], 0, "the answer"),
    ],
)
def test_a_closed_connection_says_what_was_still_to_come(packets: list[bytes], qos: int, awaited: str) -> None:
    request = asked(*packets, qos=qos)
    request.end(closed=True)
    assert request.result == Result(False, f"connection closed before {awaited}")


def test_a_connection_that_is_closed_after_the_puback_was_enough() -> None:
    request = asked(CONNACK, SUBACK, PUBACK)
    request.end(closed=True)
    assert request.result == Result(True, "PUBACK, connection closed before the answer")


def test_on_a_topic_that_somebody_named_any_message_after_the_question_is_the_answer() -> None:
    before, after = (codec.encode_publish(Publish("r", data), True) for data in (b"before", b"after"))
    request = asked(CONNACK, before, SUBACK, PUBACK, correlated=False)
    request.receive(after, 1.0)
    assert request.result == Result(True, "PUBLISH", None, b"after")


def test_it_keeps_the_connection_alive_while_it_waits() -> None:
    request = Request("t", keep_alive=10)
    request.start(0.0)
    request.data_to_send()
    request.receive(connect.encode_connack(0, False, True), 0.0)
    request.data_to_send()
    assert request.next_timer() == 10.0
    request.handle_timer(9.0)
    assert request.data_to_send() == []
    request.handle_timer(10.0)
    assert request.data_to_send() == [codec.PING]
    request.receive(codec.PONG, 11.0)
    request.handle_timer(20.0)
    assert request.data_to_send() == [codec.PING]
    request.handle_timer(30.0)
    assert request.result is not None
    assert request.result.code == "closed 0x8d Keep Alive timeout"


def test_a_client_sends_again_what_was_not_acknowledged() -> None:  # MQTT-4.4.0-1
    client = Client(Connect("dev", clean=False))
    client.connect(0.0)
    client.receive(connect.encode_connack(0, False, True), 0.0)
    client.data_to_send()
    assert client.publish(Publish("t", b"0")) == 0
    first, second = client.publish(Publish("t", b"1", 1)), client.publish(Publish("t", b"2", 1))
    client.receive(codec.encode_ack(codec.PUBACK, first, 0, True), 0.0)
    client.connect(1.0)
    assert len(client.data_to_send()) == 1
    for present in (True, False):
        client.receive(connect.encode_connack(0, present, True), 1.0)
        [packet] = client.data_to_send()
        assert packet == codec.encode_publish(Publish("t", b"2", 1, dup=present, packet_id=second), True)
    assert client.acknowledged == [(first, 0)]
    assert client.next_timer() is None


def test_a_client_acknowledges_what_it_hears() -> None:
    client = Client(Connect("dev", V311))
    client.connect(0.0)
    client.data_to_send()
    client.receive(codec.encode_publish(Publish("t", b"1", 1, packet_id=7), False), 0.0)
    assert client.data_to_send() == [codec.encode_ack(codec.PUBACK, 7, 0, False)]
    assert client.received[0].data == b"1"
    client.receive(codec.encode_disconnect(0, False), 0.0)
    assert client.closed == 0
    client.receive(codec.PONG, 0.0)


def test_identifiers_in_flight_are_not_given_twice() -> None:
    client = Client(Connect("dev"))
    client.publish(Publish("t", b"", 1))
    for _ in range(2, 0x10000):
        packet_id = client.publish(Publish("t", b"", 1))
        client.receive(codec.encode_ack(codec.PUBACK, packet_id, 0, True), 0.0)
    assert client.publish(Publish("t", b"", 1)) == 2


# --- QoS 2 -------------------------------------------------------------------------------------------------------


def connected(hello: Connect, present: bool = False) -> Client:
    client = Client(hello)
    client.connect(0.0)
    client.receive(connect.encode_connack(0, present, hello.v5), 0.0)
    client.data_to_send()
    return client


def kinds(client: Client) -> list[int]:
    return [data[0] for data in client.data_to_send()]


def test_qos2_out() -> None:
    client = connected(Connect("dev"))
    packet_id = client.publish(Publish("t", b"x", 2))
    assert kinds(client) == [0x34]
    for _ in range(2):
        client.receive(codec.encode_ack(codec.PUBREC, packet_id, 0, True), 0.0)
        assert kinds(client) == [0x62]
    assert client.acknowledged == [(packet_id, 0)]
    assert client.publish(Publish("t", b"y", 1)) == packet_id + 1
    client._last_id = 0
    assert client.publish(Publish("t", b"y", 1)) == packet_id + 2  # neither of the two in use
    client.receive(codec.encode_ack(codec.PUBCOMP, packet_id, 0, True), 0.0)
    assert client.completed == [packet_id]


def test_qos2_that_is_refused() -> None:
    client = connected(Connect("dev"))
    packet_id = client.publish(Publish("t", b"x", 2))
    client.data_to_send()
    client.receive(codec.encode_ack(codec.PUBREC, packet_id, 0x83, True), 0.0)
    assert kinds(client) == []
    assert client.acknowledged == [(packet_id, 0x83)]


def test_qos2_over_a_new_connection() -> None:
    for present in (True, False):
        client = connected(Connect("dev", clean=False))
        first, second = (client.publish(Publish("t", b"x", 2)) for _ in range(2))
        client.receive(codec.encode_ack(codec.PUBREC, first, 0, True), 0.0)
        client.receive(codec.encode_publish(Publish("r", b"1", 2, packet_id=7), True), 0.0)
        client.connect(1.0)
        client.receive(connect.encode_connack(0, present, True), 1.0)
        assert kinds(client) == ([0x10, 0x62, 0x3C] if present else [0x10, 0x34])
        client.receive(codec.encode_publish(Publish("r", b"1", 2, packet_id=7, dup=True), True), 1.0)
        assert len(client.received) == (1 if present else 2)
        assert second == first + 1


def test_qos2_in() -> None:
    client = connected(Connect("dev"))
    publish = codec.encode_publish(Publish("r", b"1", 2, packet_id=7), True)
    for _ in range(2):
        client.receive(publish, 0.0)
    assert kinds(client) == [0x50, 0x50]
    assert len(client.received) == 1
    client.receive(codec.encode_ack(codec.PUBREL, 7, 0, True), 0.0)
    client.receive(publish, 0.0)
    assert kinds(client) == [0x70, 0x50]
    assert len(client.received) == 2


def test_aliases_of_the_server() -> None:
    client = connected(Connect("dev", properties={properties.TOPIC_ALIAS_MAXIMUM: 1}))
    for topic in ("long", ""):
        client.receive(codec.encode_publish(Publish(topic, b"", properties={properties.TOPIC_ALIAS: 1}), True), 0.0)
    assert [one.topic for one in client.received] == ["long", "long"]


@pytest.mark.parametrize("reason", [0, 0x83])
def test_a_request_at_qos2(reason: int) -> None:
    bench = Bench()
    line = bench.line()
    request = Request("t", b"x", qos=2)
    request.start(0.0)
    reply = OK if not reason else Reply(Outcome.REFUSED, 400)
    for step in range(4):
        line.send(*request.data_to_send())
        if step == 1:
            bench.answer(reply=reply)
        request.receive(line.raw(), 0.0)
    assert request.result == (
        Result(True, "PUBCOMP") if not reason else Result(False, "PUBREC 0x83 Implementation specific error")
    )


def test_a_request_at_qos2_without_its_answer() -> None:
    request = Request("t", b"x", qos=2, response_topic="r", grace=2.0)
    request.start(0.0)
    request.receive(connect.encode_connack(0, False, True), 0.0)
    request.receive(subscribe.encode_suback(codec.SUBACK, 1, [1], True), 0.0)
    request.receive(codec.encode_ack(codec.PUBREC, 2, 0, True), 0.0)
    request.receive(codec.encode_ack(codec.PUBCOMP, 2, 0, True), 0.0)
    assert request.result is None
    assert request.next_timer() == 2.0
    request.handle_timer(2.0)
    assert request.result == Result(True, "PUBREC, no answer on the response topic")
