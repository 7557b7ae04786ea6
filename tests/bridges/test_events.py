"""The CloudEvents codec, against the CloudEvents SDK and two independent header parsers."""

import json
from email.parser import BytesParser
from email.policy import HTTP as EMAIL_HTTP
from typing import Any

import httptools
import pytest
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent, from_http
from hypothesis import example, given
from hypothesis import strategies as st

from thinbridge import events
from thinbridge.errors import DecodeError
from thinbridge.events import Event, Shared, decode, encode, is_attribute_name
from thinbridge.routes import Content

REQUIRED = {"specversion": "1.0", "id": "1", "source": "/bridges/b", "type": "dev.thinbridge.udp.datagram"}
HOSTILE = "a\r\nX-Injected: 1\r\n\r\nbody"

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20).filter(
    lambda name: name not in ("data", "datacontenttype", "time", "dataschema", *REQUIRED)
)
plain = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"%'), min_size=1)
clean = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1)
anything = st.text(st.characters(), min_size=1)


def event_of(extensions: dict[str, str], data: bytes = b"", content_type: str | None = None, **core: str) -> Event:
    attributes = REQUIRED | core | extensions
    if content_type is not None:
        attributes["datacontenttype"] = content_type
    return Event(attributes, data)


def lines(text: str) -> list[tuple[bytes, bytes]]:
    """Header lines, split naively: fine for what was checked to be no injection."""
    pairs = [line.split(": ", 1) for line in text.split("\r\n")[:-1]]
    return [(name.encode(), value.encode()) for name, value in pairs]


def is_binary(head: str) -> bool:
    return "ce-specversion" in head


# --- Names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["id", "a", "0", "coapmethod", "x" * 64])
def test_attribute_names(name: str) -> None:
    assert is_attribute_name(name)


@pytest.mark.parametrize("name", ["", "data", "Id", "a-b", "a b", "a:", "a\r\n", "a\n", "ä", "x" * 65, "data_base64"])
def test_names_that_are_none(name: str) -> None:
    assert not is_attribute_name(name)
    for content in Content:
        with pytest.raises(ValueError, match="no attribute name"):
            encode(event_of({name: "x"}), content)


def test_names_of_strangers_do_not_fill_the_memory() -> None:
    for number in range(2 * events._Prefixes.SIZE):
        head, _ = encode(event_of({f"stranger{number}": "x"}))
        assert f"ce-stranger{number}: x\r\n" in head
        assert decode(lines(head), b"") == event_of({f"stranger{number}": "x"})
    assert len(events._PREFIX) <= events._Prefixes.SIZE
    assert len(events._NAMES) <= events._Prefixes.SIZE


# --- Which mode ------------------------------------------------------------------------------------------------


def test_binary_is_what_it_looks_like() -> None:
    event = event_of({"coapmethod": "POST"}, b"\x00\xff", "application/json", subject="a/b")
    head, body = encode(event)
    assert head == (
        "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /bridges/b\r\nce-type: dev.thinbridge.udp.datagram\r\n"
        "ce-subject: a/b\r\nce-coapmethod: POST\r\ncontent-type: application/json\r\n"
    )
    assert body == b"\x00\xff"
    assert event == event_of({"coapmethod": "POST"}, b"\x00\xff", "application/json", subject="a/b")


@pytest.mark.parametrize("value", ["a b", 'a"b', "a%b", "ä", "\x7f", "a\tb", HOSTILE, "\ud800", "\U0001f600"])
def test_a_value_that_needs_encoding_makes_auto_structured(value: str) -> None:
    """Receivers don't agree on the percent-encoding of §3.1.3.2, they all read JSON."""
    head, body = encode(event_of({}, b"\xff", subject=value))
    assert head == "content-type: application/cloudevents+json\r\n"
    assert json.loads(body) == REQUIRED | {"subject": value, "data_base64": "/w=="}


def test_no_data_is_no_member() -> None:
    _, body = encode(event_of({}), Content.STRUCTURED)
    assert json.loads(body) == REQUIRED


def test_binary_by_order_is_percent_encoded() -> None:
    """HTTP binding §3.1.3.2: its own example, and what may not be encoded."""
    head, _ = encode(event_of({}, subject='Euro € 😀 "%'), Content.BINARY)
    assert "ce-subject: Euro%20%E2%82%AC%20%F0%9F%98%80%20%22%25\r\n" in head
    identity = "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("%", "")
    head, _ = encode(event_of({"x": "ä"}, subject=identity), Content.BINARY)
    assert f"ce-subject: {identity}\r\n" in head


def test_a_lone_surrogate_becomes_a_question_mark_in_binary() -> None:
    head, _ = encode(event_of({}, subject="a\ud800"), Content.BINARY)
    assert "ce-subject: a%3F\r\n" in head or "ce-subject: a?\r\n" in head


@pytest.mark.parametrize("content_type", ["text/plain; charset=utf-8", 'multipart/mixed; boundary="a b"', "x/%"])
def test_a_content_type_is_a_header_value_already(content_type: str) -> None:
    head, _ = encode(event_of({}, b"x", content_type))
    assert is_binary(head)
    assert f"content-type: {content_type}\r\n" in head


@pytest.mark.parametrize("content", [Content.AUTO, Content.BINARY])
@pytest.mark.parametrize("content_type", ["Application/CloudEvents+json", "text/ä", "a\r\nx: y", "a\tb"])
def test_a_content_type_that_would_lie_makes_any_event_structured(content: Content, content_type: str) -> None:
    head, body = encode(event_of({}, b"x", content_type), content)
    assert head == "content-type: application/cloudevents+json\r\n"
    assert json.loads(body)["datacontenttype"] == content_type


# --- Header injection ------------------------------------------------------------------------------------------


class Seen:
    """What llhttp reads."""

    def __init__(self, raw: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.complete = 0
        httptools.HttpRequestParser(self).feed_data(raw)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete += 1


@given(
    st.dictionaries(names, anything, max_size=4),
    anything,
    st.one_of(st.none(), anything),
    st.binary(),
    st.sampled_from(Content),
)
@example({"a": HOSTILE}, HOSTILE, HOSTILE, b"", Content.BINARY)
@example({"a": "\x85x: y"}, "\u2028", "text/plain\nx: y", b"", Content.AUTO)
def test_no_header_that_we_did_not_name(
    extensions: dict[str, str], subject: str, content_type: str | None, data: bytes, content: Content
) -> None:
    """Whatever the values are, llhttp and the standard library read the same headers, all of them ours."""
    event = event_of(extensions, data, content_type, subject=subject)
    head, body = encode(event, content)
    raw = f"POST / HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode("ascii") + body
    seen = Seen(raw)
    other = BytesParser(policy=EMAIL_HTTP).parsebytes(raw.partition(b"\r\n")[2].partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    assert [(name.decode(), value.decode()) for name, value in seen.headers] == [
        (name, str(value)) for name, value in other.raw_items()
    ]
    allowed = {f"ce-{name}" for name in event.attributes} | {"content-type", "content-length"}
    assert {name.decode() for name, _ in seen.headers} <= allowed
    assert (seen.body, seen.complete) == (body, 1)


# --- The SDK as an oracle ----------------------------------------------------------------------------------------


@given(
    st.dictionaries(names, clean, max_size=4), clean, st.binary(), st.sampled_from([Content.AUTO, Content.STRUCTURED])
)
def test_the_sdk_reads_what_we_write(extensions: dict[str, str], subject: str, data: bytes, content: Content) -> None:
    event = event_of(extensions, data, "application/octet-stream", subject=subject)
    head, body = encode(event, content)
    headers = {name.decode(): value.decode() for name, value in lines(head)}
    read = from_http(headers, body, data_unmarshaller=lambda raw: raw)
    assert {name: value for name, value in read.get_attributes().items() if name != "time"} == event.attributes
    assert (read.get_data() or b"") == data


@given(st.dictionaries(names, plain, max_size=4), st.binary(min_size=1), st.booleans())
def test_we_read_what_the_sdk_writes(extensions: dict[str, str], data: bytes, structured: bool) -> None:
    written = CloudEvent(REQUIRED | {"datacontenttype": "image/png"} | extensions, data)
    headers, body = (to_structured if structured else to_binary)(written)
    read = decode([(name.lower().encode(), str(value).encode()) for name, value in headers.items()], body)
    assert read == Event(dict(written.get_attributes()), data)


@given(st.dictionaries(names, clean, max_size=4), clean, st.binary(), st.sampled_from(Content))
def test_we_read_what_we_write(extensions: dict[str, str], subject: str, data: bytes, content: Content) -> None:
    event = event_of(extensions, data, "text/plain; charset=utf-8", subject=subject)
    head, body = encode(event, content)
    assert decode(lines(head), body) == event


# --- Reading ---------------------------------------------------------------------------------------------------


def binary(**extra: bytes) -> list[tuple[bytes, bytes]]:
    return [(f"ce-{name}".encode(), value.encode()) for name, value in REQUIRED.items()] + [
        (name.replace("_", "-").encode(), value) for name, value in extra.items()
    ]


def structured(document: Any, content_type: bytes = b"application/cloudevents+json") -> Event | None:
    return decode([(b"content-type", content_type)], json.dumps(document).encode())


@pytest.mark.parametrize(
    "headers", [[], [(b"content-type", b"application/json")], [(b"ce-id", b"1"), (b"ce-type", b"t")]]
)
def test_a_plain_message_carries_no_event(headers: list[tuple[bytes, bytes]]) -> None:
    assert decode(headers, b'{"id": "1", "source": "s", "specversion": "1.0", "type": "t"}') is None


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"a%20b", "a b"),
        (b"a%2520", "a%20"),
        (b"%e2%82%ac", "€"),
        (b"%61", "a"),
        (b"100%", "100%"),
        (b'"a b"', "a b"),
        (b'"a \\"b\\" %41"', 'a "b" A'),
        (b'a"b', 'a"b'),
        (b'"', '"'),
        ("€".encode(), "€"),
        (b"", ""),
    ],
)
def test_header_values(raw: bytes, value: str) -> None:
    """HTTP binding §3.1.3.2: quoted-string first, then the percent-encoding, once."""
    event = decode(binary(ce_subject=raw), b"")
    assert event is not None
    assert event.attributes["subject"] == value


def test_content_type_is_datacontenttype_and_nothing_else() -> None:
    event = decode(binary(content_type=b"text/plain", ce_datacontenttype=b"image/png", x_other=b"1"), b"x")
    assert event == Event(REQUIRED | {"datacontenttype": "text/plain"}, b"x")


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (binary(ce_subject=b"%ff"), "attribute is no UTF-8"),
        (binary(ce_subject=b"%0d%0aX: 1"), "control character in attribute"),
        (binary(ce_subject=b"\xc2\x85"), "control character in attribute"),
        (binary(ce_subject="\uffff".encode()), "control character in attribute"),
        (binary(content_type=b"\xff"), "attribute is no UTF-8"),
        (binary(**{"ce_a-b": b"x"}), "no attribute name"),
        (binary(ce_data=b"x"), "no attribute name"),
        ([(b"ce-specversion", b"1.0"), (b"ce-id", b"1")], "required attribute missing"),
        (binary(ce_specversion=b"0.3"), "unknown specversion"),
        (binary(ce_id=b""), "required attribute missing"),
    ],
)
def test_binary_events_that_are_none(headers: list[tuple[bytes, bytes]], reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(headers, b"")
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("members", "event"),
    [
        ({}, Event(REQUIRED)),
        ({"subject": None, "n": 7, "b": True, "f": False}, Event(REQUIRED | {"n": "7", "b": "true", "f": "false"})),
        ({"data_base64": "AP8="}, Event(REQUIRED, b"\x00\xff")),
        ({"data_base64": None, "data": 1}, Event(REQUIRED | {"datacontenttype": "application/json"}, b"1")),
        ({"data": None}, Event(REQUIRED | {"datacontenttype": "application/json"}, b"null")),
        ({"data": "a"}, Event(REQUIRED | {"datacontenttype": "application/json"}, b'"a"')),
        ({"data": "ä", "datacontenttype": "text/x"}, Event(REQUIRED | {"datacontenttype": "text/x"}, "ä".encode())),
        (
            {"data": {"a": ["ä"]}, "datacontenttype": "a/B+Json;c=d"},
            Event(REQUIRED | {"datacontenttype": "a/B+Json;c=d"}, '{"a":["ä"]}'.encode()),
        ),
        ({"data": [1], "datacontenttype": "text/x"}, Event(REQUIRED | {"datacontenttype": "text/x"}, b"[1]")),
    ],
)
def test_structured_events(members: dict[str, Any], event: Event) -> None:
    """JSON event format §2.4 and §3.1."""
    assert structured(REQUIRED | members) == event
    assert structured(REQUIRED | members, b"Application/CloudEvents+JSON; charset=UTF-8") == event


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"data": 1, "data_base64": ""}, "both data and data_base64"),
        ({"data_base64": "=="}, "data_base64 is no base64"),
        ({"data_base64": "ä"}, "data_base64 is no base64"),
        ({"data_base64": 7}, "data_base64 is no base64"),
        ({"x": 1.5}, "attribute is no string, boolean or integer"),
        ({"x": []}, "attribute is no string, boolean or integer"),
        ({"Upper": "x"}, "no attribute name"),
        ({"id": None}, "required attribute missing"),
        ({"specversion": "1.1"}, "unknown specversion"),
        ({"subject": "\x00"}, "control character in attribute"),
        ({"subject": "\ud800"}, "control character in attribute"),
        ({"data": "\ud800"}, "data can't be written"),
        ({"data": "\ud800", "datacontenttype": "text/x"}, "data can't be written"),
        ({"data": float("nan")}, "data can't be written"),
    ],
)
def test_structured_events_that_are_none(members: dict[str, Any], reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        structured(REQUIRED | members)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("content_type", "body", "reason"),
    [
        (b"application/cloudevents-batch+json", b"[]", "event batch"),
        (b"application/cloudevents+cbor", b"", "unknown event format"),
        (b"application/cloudevents", b"{}", "unknown event format"),
        (b"application/cloudevents+json", b"", "event is no JSON"),
        (b"application/cloudevents+json", b"\xff", "event is no JSON"),
        (b"application/cloudevents+json", b"[" * 100_000, "event is no JSON"),
        (b"application/cloudevents+json", b"1" * 5000, "event is no JSON"),
        (b"application/cloudevents+json", b"[]", "event is no JSON object"),
    ],
)
def test_bodies_that_are_no_event(content_type: bytes, body: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode([(b"content-type", content_type)], body)
    assert caught.value.reason == reason


header_bytes = st.binary(max_size=30)


@given(
    st.lists(st.tuples(st.sampled_from([b"content-type", b"ce-specversion", b"ce-id", b"ce-x"]), header_bytes)),
    st.binary(),
)
def test_reading_never_raises_anything_else(headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    for extra in ([], binary(), [(b"content-type", b"application/cloudevents+json")]):
        try:
            decode([*headers, *extra], body)
        except DecodeError:
            pass


@pytest.mark.parametrize(("length", "binary"), [(3000, True), (4100, False)])
def test_what_headers_have_no_room_for_goes_structured(length: int, binary: bool) -> None:
    event = Event({"specversion": "1.0", "id": "1", "source": "s", "type": "t", "subject": "x" * length}, b"\x00")
    lines, body = encode(event)
    assert ("ce-id: 1" in lines) is binary
    assert (body == b"\x00") is binary
    assert "ce-id: 1" in encode(event, Content.BINARY)[0]


# --- What many events have in common -------------------------------------------------------------------------------

COMMON = {"specversion": "1.0", "source": "s", "type": "t", "sessionid": "5e55"}


@pytest.mark.parametrize("content", list(Content))
@pytest.mark.parametrize("device", ["pump-7", "Pumpe für Öl", "x" * 5000])
def test_shared_attributes_are_on_the_wire_as_an_events_own_are(device: str, content: Content) -> None:
    common = COMMON | {"deviceid": device}
    own = {"id": "1", "subject": "a/b", "datacontenttype": "text/plain"}
    lines, body = encode(Event(own, b"\x00", Shared(common)), content)
    expected = encode(Event(common | own, b"\x00"), content)
    assert (sorted(lines.split("\r\n")), json.loads(body) if body != b"\x00" else body) == (
        sorted(expected[0].split("\r\n")),
        json.loads(expected[1]) if expected[1] != b"\x00" else expected[1],
    )


def test_an_event_is_what_its_attributes_and_data_are() -> None:
    event = Event({"id": "1"}, b"x", Shared(COMMON))
    assert event == Event(COMMON | {"id": "1"}, b"x")
    assert event != Event(COMMON | {"id": "2"}, b"x")
    assert event != "an event"
    assert repr(event) == f"Event({COMMON | {'id': '1'}!r}, b'x')"


def test_the_size_of_an_event_grows_with_all_that_its_device_chose() -> None:
    shared = Shared({"type": "t" * 1000})
    assert Event({"subject": "s" * 7}, b"data", shared).size == events.OVERHEAD + 11
    assert Event({}).size == events.OVERHEAD
