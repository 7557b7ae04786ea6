"""`Event`: what a handler reads of a message."""

import copy
import dataclasses
import pickle
from datetime import UTC, datetime

import pytest

from thinbridge_functions import BadData, Event
from thinbridge_functions.answers import Rejected
from thinbridge_functions.testing import coap


def test_attributes_are_properties() -> None:
    event = coap("POST", "a/b", {"t": 1}, deviceid="bob", authtype="unknown", authid="psk:bob")
    assert (event.type, event.subject, event.datacontenttype) == (
        "dev.thinbridge.coap.request",
        "a/b",
        "application/json",
    )
    assert (event.deviceid, event.authtype, event.authid, event.partitionkey) == ("bob", "unknown", "psk:bob", "bob")
    assert event.source == "/apis/v1/namespaces/local/bridges/bridge"
    assert event.id == event["id"]
    assert event.sessionid == event["sessionid"]
    assert event.replyto == event["replyto"]
    assert event.traceparent == event["traceparent"]
    assert event.time == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert event.replyby == datetime(2026, 1, 1, 12, 1, tzinfo=UTC)


def test_extensions_are_read_by_name() -> None:
    event = coap("PUT", "a")
    assert event["coapmethod"] == event.get("coapmethod") == "PUT"
    assert "coapmethod" in event
    assert "coapquery" not in event
    assert event.get("coapquery") is None
    assert event.get("coapquery", "unit=c") == "unit=c"
    with pytest.raises(KeyError):
        event["coapquery"]


def test_what_is_absent_is_none() -> None:
    event = Event({"id": "1", "source": "/s", "type": "t"})
    absent = (
        event.subject,
        event.time,
        event.datacontenttype,
        event.deviceid,
        event.authid,
        event.replyto,
        event.replyby,
    )
    assert absent == (None,) * 7


@pytest.mark.parametrize("time", ["yesterday", "2026-01-01T12:00:00", "", "2026-01-01T12:00:60Z"])
def test_a_time_that_cannot_be_read_is_none(time: str) -> None:
    assert Event({"time": time}).time is None


def test_a_time_keeps_its_offset_and_may_be_in_lower_case() -> None:
    time = Event({"time": "2026-01-01t12:00:00.123456789z"}).time
    assert time == datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)


def test_it_is_frozen() -> None:
    attributes = {"id": "1"}
    event = Event(attributes)
    attributes["id"] = "2"
    assert event.id == "1"
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.data = b"x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        event.attributes["id"] = "3"  # type: ignore[index]


def test_equality_copies_and_pickles() -> None:
    event = coap("GET", "a")
    assert event == coap("GET", "a") == copy.deepcopy(event) == pickle.loads(pickle.dumps(event))
    assert event != coap("GET", "b")
    assert {event: 1}[coap("GET", "a")] == 1


def test_its_repr_tells_neither_data_nor_the_capability() -> None:
    event = coap("POST", "a", b"secret")
    assert repr(event) == "<Event 'dev.thinbridge.coap.request' subject='a' id='6d6164652d7570' 6 bytes>"


def test_text_and_json() -> None:
    assert Event({}, "größe".encode()).text() == "größe"
    assert Event({}, b'{"a": [1, null]}').json() == {"a": [1, None]}


@pytest.mark.parametrize("data", [b"", b"{", b"NaN", b"[Infinity]", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_what_is_no_json_is_rejected_with_400(data: bytes) -> None:
    with pytest.raises(BadData) as caught:
        Event({}, data).json()
    assert isinstance(caught.value, Rejected)
    assert isinstance(caught.value, ValueError)
    assert caught.value.status == 400


def test_what_is_no_text_is_rejected_with_400() -> None:
    with pytest.raises(BadData, match=r"no UTF-8"):
        Event({}, b"\xff").text()


def test_to_cloudevent() -> None:
    event = coap("POST", "a", b"\x00\xff")
    cloudevent = event.to_cloudevent()
    assert cloudevent.get_attributes() == event.attributes
    assert cloudevent.data == event.data == event.get_data()
