"""The return table: what a request is, and what each answer becomes."""

from typing import Any

import pytest
from cloudevents.http import CloudEvent

from thinbridge_functions import Event, Reply, later, reject, retry
from thinbridge_functions.codec import Response, decode, encode
from thinbridge_functions.mapping import receive, reply_event, respond
from thinbridge_functions.testing import coap, mqtt

REQUEST = coap("POST", "a/b", b"21", id="request-1", coapobserve="register")


def reply_of(response: Response) -> Event:
    return Event(*decode(response.headers, response.body))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_is_for_probes(method: str) -> None:
    assert receive(method, "/health/ready", [], b"") == Response(
        200, (("content-type", "text/plain;charset=utf-8"),), b"ok\n"
    )


def test_options_consents_to_deliveries() -> None:
    response = receive("OPTIONS", "/", [("webhook-request-origin", "bridge.example")], b"")
    assert isinstance(response, Response)
    assert response.status == 200
    assert dict(response.headers) == {
        "allow": "POST, OPTIONS",
        "webhook-allowed-origin": "*",
        "webhook-allowed-rate": "*",
    }


def test_a_request_that_is_an_event() -> None:
    assert receive("POST", "/any/path", *encode(REQUEST.attributes, REQUEST.data)) == REQUEST


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/health/ready")])
def test_a_request_that_is_none_gets_one_helpful_line(method: str, path: str) -> None:
    response = receive(method, path, [], b"x")
    assert isinstance(response, Response)
    assert response.status == 400
    assert response.body.startswith(b"not a CloudEvent")
    assert response.body.count(b"\n") == 1


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (None, Response(204)),
        (later(), Response(202)),
        (retry(), Response(503)),
        (retry(after=0.2), Response(503, (("retry-after", "1"),))),
        (retry(after=5), Response(503, (("retry-after", "5"),))),
    ],
)
def test_bare_answers(returned: Any, expected: Response) -> None:
    assert respond(REQUEST, returned, "f") == expected


@pytest.mark.parametrize(
    ("returned", "data", "content_type"),
    [
        (b"\x00", b"\x00", "application/octet-stream"),
        (b"", b"", "application/octet-stream"),
        ("hi", b"hi", "text/plain;charset=utf-8"),
        ({"a": 1}, b'{"a":1}', "application/json"),
        ([], b"[]", "application/json"),
        (Reply("1;2", content_type="text/csv"), b"1;2", "text/csv"),
    ],
)
def test_data_comes_as_a_reply_event(returned: Any, data: bytes, content_type: str) -> None:
    response = respond(REQUEST, returned, "f")
    reply = reply_of(response)
    assert response.status == 200
    assert reply.data == data
    assert reply.get_attributes() == {
        "specversion": "1.0",
        "id": reply.id,
        "source": "f",
        "type": "dev.thinbridge.coap.request.reply",
        "causationid": "request-1",
        "subject": "a/b",
        "datacontenttype": content_type,
    }
    assert len(reply.id) == 32
    assert reply.id != reply_of(respond(REQUEST, returned, "f")).id


def test_no_subject_stays_no_subject() -> None:
    assert "subject" not in reply_of(respond(coap("GET"), "x", "f"))


def test_a_rejection_carries_an_event_so_that_it_is_final() -> None:
    response = respond(REQUEST, reject("no such sensor: ü", status=404), "f")
    reply = reply_of(response)
    assert (response.status, reply.text()) == (404, "no such sensor: ü")
    assert reply.datacontenttype == "text/plain;charset=utf-8"


def test_a_reply_steers() -> None:
    response = respond(REQUEST, Reply({}, status=201, type="com.example.made", subject="new", mqtt_qos=1), "f")
    reply = reply_of(response)
    assert (response.status, reply.type, reply.subject, reply["mqttqos"]) == (201, "com.example.made", "new", "1")
    assert reply["causationid"] == "request-1"


@pytest.mark.parametrize(
    ("location", "header"),
    [
        ("/sensors/7?unit=c", "/sensors/7?unit=c"),
        ("/größe 1%20", "/gr%C3%B6%C3%9Fe%201%20"),
        ("/a\r\nb: c", "/a%0D%0Ab:%20c"),
    ],
)
def test_location_is_a_header(location: str, header: str) -> None:
    assert dict(respond(REQUEST, Reply(status=201, location=location), "f").headers)["location"] == header


@pytest.mark.parametrize("subject", ["größe", "a b", "100%", 'a"b'])
def test_what_is_not_plain_comes_structured(subject: str) -> None:
    response = respond(mqtt(subject), b"\xff", "f")
    assert response.headers == (("content-type", "application/cloudevents+json"),)
    assert (reply_of(response).subject, reply_of(response).data) == (subject, b"\xff")


def test_the_request_itself_is_echoed_without_its_attributes() -> None:
    reply = reply_of(respond(REQUEST, REQUEST, "f"))
    assert (reply.data, reply.datacontenttype) == (REQUEST.data, REQUEST.datacontenttype)
    assert reply.type == "dev.thinbridge.coap.request.reply"
    assert reply.id != REQUEST.id
    assert reply.source == "f"
    assert "coapobserve" not in reply  # else the echo would grant an observation
    assert "replyto" not in reply


@pytest.mark.parametrize("make", [Event, CloudEvent])
def test_an_event_of_ones_own(make: Any) -> None:
    own = {
        "specversion": "1.0",
        "id": "7",
        "source": "/mine",
        "type": "com.example.reading",
        "time": "2026-01-01T00:00:00Z",
    }
    reply = reply_of(respond(REQUEST, make(own | {"datacontenttype": "text/csv", "floor": "3"}, b"1;2"), "f"))
    expected = own | {"causationid": "request-1", "subject": "a/b", "floor": "3", "datacontenttype": "text/csv"}
    assert (reply.get_attributes(), reply.data) == (expected, b"1;2")


def test_a_cloudevent_without_a_media_type_gets_one() -> None:
    reply = reply_of(respond(REQUEST, CloudEvent({"type": "t", "source": "s"}, {"a": 1}), "f"))
    assert (reply.json(), reply.datacontenttype) == ({"a": 1}, "application/json")
    reply = reply_of(respond(REQUEST, CloudEvent({"type": "t", "source": "s"}), "f"))
    assert (reply.data, reply.datacontenttype) == (b"", "application/octet-stream")


@pytest.mark.parametrize("returned", [7, (1, 2), object(), {"a": object()}])
def test_what_is_no_answer(returned: Any) -> None:
    with pytest.raises(TypeError):
        respond(REQUEST, returned, "f")


def test_what_a_handler_raised_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        respond(REQUEST, ZeroDivisionError(), "f")


def test_an_event_that_answers_nothing() -> None:
    attributes, data = reply_event(None, "on", "f")
    assert attributes == {
        "specversion": "1.0",
        "id": attributes["id"],
        "source": "f",
        "type": "dev.thinbridge.push",
        "datacontenttype": "text/plain;charset=utf-8",
    }
    assert data == b"on"
