"""The SDK's codec against the specification, the bridge's own codec and the cloudevents SDK."""

import base64
import json
import random
from typing import Any

import pytest
from cloudevents.http import from_http

from thinbridge import events
from thinbridge.errors import DecodeError
from thinbridge.routes import Content
from thinbridge_functions.codec import STRUCTURED, Headers, NotAnEvent, decode, encode

CONTEXT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
BINARY = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")]

SAMPLES = [
    (CONTEXT, b""),
    (CONTEXT | {"datacontenttype": "application/json"}, b'{"a":1}'),
    (CONTEXT | {"datacontenttype": 'multipart/mixed; boundary="a b"'}, b"x"),
    (CONTEXT | {"datacontenttype": "application/cloudevents+json"}, b"{}"),
    (CONTEXT | {"datacontenttype": "text/größe"}, b"x"),
    (CONTEXT | {"subject": "a/b", "coapmethod": "GET"}, b"\x00\xff"),
    (CONTEXT | {"subject": "größe"}, b"\x00\xff"),
    (CONTEXT | {"subject": "a b"}, b"x"),
    (CONTEXT | {"subject": "100%"}, b""),
    (CONTEXT | {"subject": '"'}, b'"'),
    (CONTEXT | {"subject": "\U0001f600"}, b"x"),
]


def as_bytes(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def lines(text: str) -> Headers:
    """Header lines as a WSGI server hands them on."""
    pairs = (line.partition(": ") for line in text.split("\r\n") if line)
    return tuple((name, value) for name, _, value in pairs)


@pytest.mark.parametrize(("attributes", "data"), SAMPLES)
def test_round_trip(attributes: dict[str, str], data: bytes) -> None:
    expected = {"datacontenttype": "application/octet-stream"} | attributes
    assert decode(*encode(attributes, data)) == (expected, data)


@pytest.mark.parametrize(("attributes", "data"), SAMPLES)
def test_the_bridge_reads_what_we_write(attributes: dict[str, str], data: bytes) -> None:
    headers, body = encode(attributes, data)
    expected = {"datacontenttype": "application/octet-stream"} | attributes
    assert events.decode(as_bytes(headers), body) == events.Event(expected, data)


@pytest.mark.parametrize("content", list(Content))
@pytest.mark.parametrize(("attributes", "data"), SAMPLES)
def test_we_read_what_the_bridge_writes(attributes: dict[str, str], data: bytes, content: Content) -> None:
    head, body = events.encode(events.Event(attributes, data), content)
    assert decode(lines(head), body) == (attributes, data)


@pytest.mark.parametrize(
    ("attributes", "data"), [sample for sample in SAMPLES if sample[0].get("datacontenttype", "") < "b"]
)
def test_the_cloudevents_sdk_reads_what_we_write(attributes: dict[str, str], data: bytes) -> None:
    headers, body = encode(attributes, data)
    event = from_http(dict(headers), body, data_unmarshaller=lambda raw: raw)
    read = {name: value for name, value in event.get_attributes().items() if value is not None}
    read.pop("time")  # the SDK invents one
    expected = {"datacontenttype": "application/octet-stream"} | attributes
    content_type = read.pop("content-type", None)  # and has its own name for it in binary mode
    assert {"datacontenttype": content_type} | read == expected
    assert (event.data or b"") == data


@pytest.mark.parametrize(("attributes", "_data"), SAMPLES)
def test_only_what_reads_alike_everywhere_goes_into_headers(attributes: dict[str, str], _data: bytes) -> None:
    headers, _ = encode(attributes, b"")
    for name, value in headers:
        assert value.isascii()
        assert value.isprintable()
        assert not name.startswith("ce-") or not set(value) & set(' "%')


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a%20b%C3%BC", "a bü"),
        ("a%2520b", "a%20b"),  # exactly once
        ("%c3%bc", "ü"),
        ("100%", "100%"),
        ('"a \\"b\\\\"', 'a "b\\'),
        ('"', '"'),
        ("\u00c3\u00bc", "ü"),  # raw UTF-8, as the Go SDK sends it and a server hands it on
    ],
)
def test_header_values(value: str, expected: str) -> None:
    attributes, _ = decode([*BINARY, ("Ce-Subject", value)], b"")
    assert attributes["subject"] == expected


def test_binary_mode() -> None:
    headers = [*BINARY, ("Content-Type", "text/plain"), ("ce-datacontenttype", "text/html"), ("X-Other", "1")]
    assert decode(headers, b"x") == (CONTEXT | {"datacontenttype": "text/plain"}, b"x")


def test_without_a_content_type_there_is_none() -> None:
    assert decode(BINARY, b"x") == (CONTEXT, b"x")


def structured(**members: Any) -> tuple[list[tuple[str, str]], bytes]:
    return [("Content-Type", f"{STRUCTURED}; charset=utf-8")], json.dumps(CONTEXT | members).encode()


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, (CONTEXT, b"")),
        ({"subject": None}, (CONTEXT, b"")),
        ({"flag": True, "count": 3}, (CONTEXT | {"flag": "true", "count": "3"}, b"")),
        ({"data_base64": "AP8="}, (CONTEXT, b"\x00\xff")),
        ({"data_base64": None}, (CONTEXT, b"")),
        ({"data": {"a": "ü"}}, (CONTEXT | {"datacontenttype": "application/json"}, '{"a":"ü"}'.encode())),
        ({"data": None}, (CONTEXT | {"datacontenttype": "application/json"}, b"null")),
        ({"data": "ü", "datacontenttype": "text/plain"}, (CONTEXT | {"datacontenttype": "text/plain"}, "ü".encode())),
        ({"data": "a", "datacontenttype": "a/b+json;v=1"}, (CONTEXT | {"datacontenttype": "a/b+json;v=1"}, b'"a"')),
        ({"data": [1], "datacontenttype": "text/plain"}, (CONTEXT | {"datacontenttype": "text/plain"}, b"[1]")),
    ],
)
def test_structured_mode(members: dict[str, Any], expected: tuple[dict[str, str], bytes]) -> None:
    assert decode(*structured(**members)) == expected


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ([], b"x", "no specversion, id, source, type: send ce-specversion"),
        (BINARY[:3], b"", "no type: send ce-type"),
        ([*BINARY[1:], ("ce-specversion", "0.3")], b"", "specversion 1.0"),
        ([*BINARY, ("ce-my_site", "x")], b"", "name"),
        ([*BINARY, ("ce-subject", "%ff")], b"", "UTF-8"),
        ([*BINARY, ("content-type", "text/\xff")], b"", "UTF-8"),
        ([*BINARY, ("ce-subject", "a%0Ab")], b"", "control"),
        ([("content-type", "application/cloudevents-batch+json")], b"[]", "no batches"),
        ([("content-type", "application/cloudevents+cbor")], b"", "no other formats"),
        ([("content-type", STRUCTURED)], b"", "no JSON"),
        ([("content-type", STRUCTURED)], b"[" * 100_000, "no JSON"),
        ([("content-type", STRUCTURED)], b"[]", "no JSON object"),
        (*structured(data=1, data_base64=""), "exclude"),
        (*structured(data_base64="A"), "base64"),
        (*structured(data_base64=7), "base64"),
        (*structured(data="\ud800", datacontenttype="text/plain"), "UTF-8"),
        (*structured(data=float("inf")), "UTF-8 text or JSON"),
        (*structured(score=1.5), "'score' is no string"),
        (*structured(Score=1), "name"),
        (*structured(id=""), "no id"),
    ],
)
def test_what_is_no_event_says_why_in_one_line(headers: list[tuple[str, str]], body: bytes, reason: str) -> None:
    with pytest.raises(NotAnEvent) as caught:
        decode(headers, body)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mutated_messages_are_read_as_the_bridge_reads_them() -> None:
    chance = random.Random(20260101)
    for _ in range(4000):
        attributes, data = chance.choice(SAMPLES)
        head, body = events.encode(events.Event(attributes, data), chance.choice(list(Content)))
        headers = tuple((name, mutated(chance, value)) for name, value in lines(head))
        body = mutated(chance, body.decode("latin-1")).encode("latin-1")
        assert ours(headers, body) == theirs(headers, body), (headers, body)


def mutated(chance: random.Random, text: str) -> str:
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(('"', "%", "%41", "\\", "\xff", "1", "{", "]", "", "\x01")) + text[at + 1 :]
    return text.strip()


def ours(headers: Headers, body: bytes) -> tuple[dict[str, str], bytes] | None:
    try:
        return decode(headers, body)
    except NotAnEvent:
        return None


def theirs(headers: Headers, body: bytes) -> tuple[dict[str, str], bytes] | None:
    try:
        event = events.decode(as_bytes(headers), body)
    except DecodeError:
        return None
    return (event.attributes, event.data) if event else None


def test_data_in_json_is_always_base64() -> None:
    _, body = encode(CONTEXT | {"subject": "ü", "datacontenttype": "application/json"}, b'{"a": 1.0}')
    assert base64.b64decode(json.loads(body)["data_base64"]) == b'{"a": 1.0}'
