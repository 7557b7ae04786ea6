"""`thinbridge_functions.testing`: a handler called without a server."""

import asyncio
import logging

import pytest

from thinbridge_functions import Event, Reply, handler, retry
from thinbridge_functions.testing import Result, call, coap, mqtt, udp

seen: list[Event] = []


@handler
def keep(event: Event) -> Reply:
    seen.append(event)
    return Reply({"ü": 1}, status=201, location="/a", coap_max_age=5)


@handler
async def keep_async(event: Event) -> str:
    await asyncio.sleep(0)
    return f"{event.type} {event.text()}"


def test_a_result_has_what_the_bridge_gets() -> None:
    result = call(keep, "x", type="com.example.reading", subject="a b", deviceid="bob", floor=3)
    assert (result.status, result.content_type, result.json()) == (201, "application/json", {"ü": 1})
    assert result.text() == '{"ü":1}'
    assert result.data == '{"ü":1}'.encode()
    assert result.headers["location"] == "/a"
    assert result.attributes["coapmaxage"] == "5"
    assert result.event == Event(result.attributes, result.data)
    event = seen.pop()
    assert (event.type, event.subject, event.deviceid, event["floor"]) == ("com.example.reading", "a b", "bob", "3")
    assert (event.data, event.datacontenttype) == (b"x", "text/plain;charset=utf-8")


def test_a_bare_result_has_no_event() -> None:
    @handler
    def busy(event: Event) -> Exception:
        return retry(after=5)

    result = call(busy)
    assert result == Result(503, {"retry-after": "5"}, None)
    assert (result.data, result.content_type, result.attributes) == (b"", None, {})


def test_async_handlers() -> None:
    assert call(keep_async, b"x").text() == "dev.thinbridge.coap.request x"


async def on_a_loop() -> Result:
    return await asyncio.to_thread(call, keep_async, b"x")


def test_on_a_loop_it_takes_a_thread() -> None:
    assert asyncio.run(on_a_loop()).status == 200


def test_attributes_win_over_the_events() -> None:
    call(keep, coap("GET", "a"), subject="ignored", id="7", authid="psk:bob")
    event = seen.pop()
    assert (event.id, event.subject, event.authid) == ("7", "a", "psk:bob")


def test_only_handlers_can_be_called() -> None:
    with pytest.raises(TypeError, match="not decorated"):
        call(lambda event: None)


def test_a_message_that_is_no_event_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    assert call(keep, type="").status == 400


def test_coap() -> None:
    assert coap().subject is None
    event = coap("POST", "a", {"t": 1}, coapquery="unit=c", replyby="never")
    assert (event["coapmethod"], event["coapformat"], event["coapquery"]) == ("POST", "50", "unit=c")
    assert event.replyby is None
    assert coap("PUT", "a", "x")["coapformat"] == "0"
    assert "coapformat" not in coap("PUT", "a", b"x")


def test_mqtt() -> None:
    event = mqtt("a/b", {"t": 1}, retain=True, deviceid="bob")
    assert (event.type, event.subject) == ("dev.thinbridge.mqtt.message", "a/b")
    assert (event["mqttqos"], event["mqttretain"], event["mqttdup"]) == ("1", "true", "false")
    assert (event.datacontenttype, event.partitionkey) == ("application/octet-stream", "bob")


def test_messages_that_no_device_can_send_are_refused() -> None:
    for topic in ("lab/#", "lab/+", ""):
        with pytest.raises(ValueError, match=r"^mqtt\(topic="):
            mqtt(topic)
    for method in ("FOO", "post", ""):
        with pytest.raises(ValueError, match=r"^coap\('.*'\): must be one of GET, POST"):
            coap(method)


def test_udp() -> None:
    event = udp("hi")
    assert (event.type, event.subject, event.data) == ("dev.thinbridge.udp.datagram", "udp", b"hi")
    assert (event.datacontenttype, event.partitionkey) == ("application/octet-stream", event.sessionid)
    assert udp("hi", "sensors").subject == "sensors"
