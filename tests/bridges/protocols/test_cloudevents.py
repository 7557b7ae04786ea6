"""CloudEvents of devices, whatever protocol carries them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinbridge import contract, events
from thinbridge.errors import DecodeError
from thinbridge.protocols.cloudevents import checked, from_json, is_clean, is_name, to_json

ATTRIBUTES = {"specversion": "1.0", "id": "7", "source": "/dev/7", "type": "com.example.hot"}


def read(**members: Any) -> tuple[str | None, bytes]:
    content_type, data, attributes = from_json(json.dumps({**ATTRIBUTES, **members}).encode())
    assert attributes.items() >= ATTRIBUTES.items()
    return content_type, data


@pytest.mark.parametrize(
    ("members", "content_type", "data"),
    [
        ({}, None, b""),
        ({"data": None}, None, b""),
        ({"data": {"t": [1, "ü"]}}, "application/json", '{"t":[1,"ü"]}'.encode()),
        ({"data": "x", "datacontenttype": "text/plain; charset=utf-8"}, "text/plain; charset=utf-8", b"x"),
        ({"data": "x", "datacontenttype": "a/B+JSON"}, "a/B+JSON", b'"x"'),
        ({"data_base64": "AP8=", "datacontenttype": "a/b"}, "a/b", b"\0\xff"),
    ],
)
def test_the_data_of_an_event(members: dict[str, Any], content_type: str | None, data: bytes) -> None:
    assert read(**members) == (content_type, data)


def test_attributes_have_their_canonical_text() -> None:
    _, _, attributes = from_json(json.dumps({**ATTRIBUTES, "a": True, "b": False, "c": -7, "d": None}).encode())
    assert attributes == {**ATTRIBUTES, "a": "true", "b": "false", "c": "-7"}


BAD: tuple[dict[str, Any], ...] = (
    {"specversion": "0.3"},
    {"id": ""},
    {"source": None},
    {"Bad": "x"},
    {"": "x"},
    {"a" * 65: "x"},
    {"a": 1.5},
    {"a": []},
    {"a": "\n"},
    {"a": "\ud800"},
    {"a": "\U0001fffe"},
    {"data": float("nan")},
    {"data": "\ud800"},
    {"data": "\ud800", "datacontenttype": "text/plain"},
    {"data": 1, "data_base64": "AA=="},
    {"data_base64": 1},
    {"data_base64": "!"},
    {"data_base64": "ü"},
    {"datacontenttype": "a\nb"},
    {"datacontenttype": 1},
)


@pytest.mark.parametrize(
    "document",
    [b"", b"\xff", b"[" * 100_000, b"[]", b"{}", *(json.dumps({**ATTRIBUTES, **one}).encode() for one in BAD)],
)
def test_what_claims_to_be_an_event_and_is_none(document: bytes) -> None:
    with pytest.raises(DecodeError, match="event_invalid"):
        from_json(document)


@pytest.mark.parametrize(
    "forged",
    [
        {"type": "dev.thinbridge.coap.request"},
        {"source": "/apis/v1/namespaces/a/bridges/b"},
        {"source": "http://x/apis/v1/namespaces/a/bridges/b"},
        {"source": "//x/apis/v1/namespaces/a/bridges/b"},
    ],
)
def test_nobody_pretends_to_be_a_bridge(forged: dict[str, str]) -> None:
    with pytest.raises(DecodeError, match="event_forged"):
        checked(ATTRIBUTES | forged)
    assert checked(ATTRIBUTES | {"source": "/devices/bridges"})


def test_names_and_values() -> None:
    assert [is_name(name) for name in ("a1", "data", "A", "a-b", "")] == [True, False, False, False, False]
    assert [is_clean(text) for text in ("ü", "a\u200bb", "", "\x7f", "\ufdd0")] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("content_type", "data", "member"),
    [
        ("application/json", b'{"t": 21.50}', b',"data":{"t": 21.50}'),
        (None, b"1", b',"data":1'),
        ("application/senml+json; x=y", b"[]", b',"data":[]'),
        ("application/json", b"{", b',"data_base64":"ew=="'),
        ("application/json", b"NaN", b',"data_base64":"TmFO"'),
        ("application/json", "1".encode("utf-16"), b',"data_base64":"//4xAA=="'),
        ("text/plain", 'ü"'.encode(), ',"data":"ü\\""'.encode()),
        ("text/plain", b"\xff", b',"data_base64":"/w=="'),
        ("application/cbor", b"\1", b',"data_base64":"AQ=="'),
        ("application/cbor", b"", b""),
    ],
)
def test_an_event_for_a_device(content_type: str | None, data: bytes, member: bytes) -> None:
    document = to_json(ATTRIBUTES, content_type, data)
    assert document.endswith(member + b"}")
    assert json.loads(document).get("datacontenttype") == content_type


def test_what_is_between_functions_and_bridges_is_no_business_of_devices() -> None:
    inner = dict.fromkeys((*contract.OWNED, *contract.REPLY_ATTRIBUTES, "datacontenttype"), "x")
    assert json.loads(to_json(ATTRIBUTES | inner, None, b"")) == ATTRIBUTES


texts = st.text(st.characters(exclude_categories=["Cs"])).filter(is_clean)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda one: st.lists(one) | st.dictionaries(st.text(), one),
)


@given(st.dictionaries(st.from_regex("[a-z0-9]{1,20}", fullmatch=True).map("x".__add__), texts), st.binary(), texts)
def test_what_is_written_is_read_again_by_another_reader(more: dict[str, str], data: bytes, subject: str) -> None:
    for content_type in ("application/cbor", "application/json", "text/plain"):
        attributes = ATTRIBUTES | {"subject": subject} | more
        document = to_json(attributes, content_type, data)
        event = events.decode([(b"content-type", b"application/cloudevents+json")], document)
        assert event is not None
        assert event.attributes == attributes | {"datacontenttype": content_type}
        if content_type == "application/cbor":
            assert event.data == data


@given(values)
def test_any_document_is_an_event_or_refused(document: Any) -> None:
    for value in (document, {**ATTRIBUTES, "data": document}, {**ATTRIBUTES, "a": document}):
        try:
            _, _, attributes = from_json(json.dumps(value).encode("utf-8", "surrogatepass"))
        except DecodeError:
            continue
        assert attributes["id"]
