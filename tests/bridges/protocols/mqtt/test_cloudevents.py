"""What a PUBLISH says as an event."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinbridge.errors import DecodeError
from thinbridge.protocols.mqtt import cloudevents, properties, reasons
from thinbridge.protocols.mqtt.codec import Publish

ATTRIBUTES = {"specversion": "1.0", "id": "7", "source": "/dev/7", "type": "com.example.hot"}
JSON = "application/cloudevents+json"


def read(
    data: bytes = b"", *users: tuple[str, str], content_type: str | None = None, **values: Any
) -> cloudevents.Message:
    found: dict[int, Any] = {getattr(properties, name.upper()): value for name, value in values.items()}
    if users:
        found[properties.USER] = list(users)
    if content_type is not None:
        found[properties.CONTENT_TYPE] = content_type
    return cloudevents.read(Publish("t", data, 1, properties=found))


def structured(document: Any, content_type: str = JSON) -> cloudevents.Message:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read(data, content_type=content_type)


def test_plain() -> None:
    assert cloudevents.plain(Publish("t", b"x", 1, True, True)).attributes == {
        "mqttqos": "1",
        "mqttretain": "true",
        "mqttdup": "true",
    }
    message = cloudevents.plain(Publish("t", b"x"))
    assert (message.attributes, message.data, message.content_type) == ({"mqttqos": "0"}, b"x", None)


def test_properties_of_a_message() -> None:
    message = read(
        b"x",
        ("b", "2"),
        ("a", "ü"),
        ("b", "1"),
        content_type="text/plain",
        response_topic="r",
        correlation_data=b"c",
        message_expiry=60,
    )
    assert (message.content_type, message.response, message.correlation) == ("text/plain", "r", b"c")
    assert message.expires == 60
    assert message.event is None
    assert json.loads(message.attributes["mqttuserprops"]) == [["b", "2"], ["a", "ü"], ["b", "1"]]  # MQTT-3.3.2-18
    assert message.attributes["mqttuserprops"].isascii()


@pytest.mark.parametrize("topic", ["", "$SYS/x", "a\x01", "a" * 1025])
def test_response_topics_that_are_refused(topic: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read(response_topic=topic)
    assert caught.value.code == reasons.TOPIC_INVALID


@pytest.mark.parametrize("content_type", ["a\r\nb", "ü", "x" * 257])
def test_content_types_that_can_be_no_header(content_type: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read(content_type=content_type)
    assert caught.value.code == reasons.PAYLOAD_FORMAT


def test_binary_event() -> None:  # CloudEvents MQTT binding §3.1
    users = [*ATTRIBUTES.items(), ("datacontenttype", "a/b"), ("Odd-Name", "x"), ("id", "again"), ("data", "d")]
    message = read(b"x", *users, content_type="text/plain")
    assert message.event == ATTRIBUTES
    assert (message.content_type, message.data) == ("text/plain", b"x")
    assert json.loads(message.attributes["mqttuserprops"]) == [["Odd-Name", "x"], ["id", "again"], ["data", "d"]]


def test_a_message_with_three_of_the_four_is_plain() -> None:
    message = read(b"x", *list(ATTRIBUTES.items())[:3])
    assert message.event is None
    assert "mqttuserprops" in message.attributes


def test_a_binary_event_leaves_no_user_properties() -> None:
    assert "mqttuserprops" not in read(b"x", *ATTRIBUTES.items()).attributes


@pytest.mark.parametrize(
    ("more", "content_type", "data"),
    [
        ({}, None, b""),
        ({"data": None}, None, b""),
        ({"data": {"t": [1, "ü"]}}, "application/json", '{"t":[1,"ü"]}'.encode()),
        ({"data": "x"}, "application/json", b'"x"'),
        ({"data": "x", "datacontenttype": "text/plain; charset=utf-8"}, "text/plain; charset=utf-8", b"x"),
        ({"data": "x", "datacontenttype": "a/b+json"}, "a/b+json", b'"x"'),
        ({"data": 1, "datacontenttype": "text/plain"}, "text/plain", b"1"),
        ({"data_base64": "AP8=", "datacontenttype": "a/b"}, "a/b", b"\0\xff"),
    ],
)
def test_structured_event(more: dict[str, Any], content_type: str | None, data: bytes) -> None:  # §3.2
    message = structured({**ATTRIBUTES, **more})
    assert message.event == ATTRIBUTES
    assert (message.content_type, message.data) == (content_type, data)


def test_structured_attributes_have_their_canonical_text() -> None:
    message = structured({**ATTRIBUTES, "a": True, "b": False, "c": 7, "d": None})
    assert message.event == {**ATTRIBUTES, "a": "true", "b": "false", "c": "7"}


BAD: list[Any] = [
    b"",
    b"\xff",
    b"[" * 100_000,
    [],
    {},
    {**ATTRIBUTES, "specversion": "0.3"},
    {**ATTRIBUTES, "id": ""},
    {**ATTRIBUTES, "Bad": "x"},
    {**ATTRIBUTES, "a": 1.5},
    {**ATTRIBUTES, "a": "\n"},
    {**ATTRIBUTES, "a": "\ud800"},
    {**ATTRIBUTES, "data": "\ud800"},
    {**ATTRIBUTES, "data": "\ud800", "datacontenttype": "text/plain"},
    {**ATTRIBUTES, "data": 1, "data_base64": "AA=="},
    {**ATTRIBUTES, "data_base64": 1},
    {**ATTRIBUTES, "data_base64": "!"},
    {**ATTRIBUTES, "data_base64": "ü"},
    {**ATTRIBUTES, "datacontenttype": "a\nb"},
    {**ATTRIBUTES, "datacontenttype": 1},
]


@pytest.mark.parametrize("document", BAD, ids=range(len(BAD)))
def test_what_claims_to_be_an_event_and_is_none(document: Any) -> None:
    with pytest.raises(DecodeError) as caught:
        structured(document)
    assert caught.value.code == reasons.PAYLOAD_FORMAT


@pytest.mark.parametrize("content_type", ["application/cloudevents-batch+json", "application/cloudevents+avro"])
def test_formats_that_are_not_read(content_type: str) -> None:
    with pytest.raises(DecodeError):
        structured(ATTRIBUTES, content_type)


@pytest.mark.parametrize("content_type", ["application/cloudevents", "Application/CloudEvents+JSON; charset=utf-8"])
def test_formats_that_are_read(content_type: str) -> None:
    assert structured(ATTRIBUTES, content_type).event == ATTRIBUTES


@pytest.mark.parametrize(
    "forged",
    [
        {"type": "dev.thinbridge.mqtt.message"},
        {"source": "/apis/v1/namespaces/a/bridges/b"},
        {"source": "http://x/apis/v1/namespaces/a/bridges/b"},
    ],
)
def test_nobody_pretends_to_be_a_bridge(forged: dict[str, str]) -> None:
    attributes = {**ATTRIBUTES, **forged}
    for data, users, content_type in ((json.dumps(attributes).encode(), (), JSON), (b"", attributes.items(), None)):
        with pytest.raises(DecodeError) as caught:
            read(data, *users, content_type=content_type)
        assert caught.value.code == reasons.IMPLEMENTATION


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_any_document_is_an_event_or_refused(document: Any) -> None:
    for value in (document, {**ATTRIBUTES, "data": document}, {**ATTRIBUTES, "a": document}):
        try:
            message = structured(value)
        except DecodeError:
            continue
        assert message.event is not None
