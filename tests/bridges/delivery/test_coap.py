"""What an event is to a CoAP server, and what its response is to the bridge."""

from typing import Any

import pytest

from thinbridge import contract
from thinbridge.delivery.coap import HOPS, UNSAFE, Call, Response, answer, call, understood
from thinbridge.delivery.sink import Sink
from thinbridge.events import Event, decode
from thinbridge.protocols.coap.codec import uint
from thinbridge.protocols.coap.codes import FETCH, GET, POST, Option, code
from thinbridge.routes import Destination

SINK = Sink(Destination("coap://server:5683/base/%2Fx?k=v"))
SOURCE = contract.source("local", "plant-7")
LAST_HOP = Response(code("5.08"), (), b"plant-7")
BASE = [(Option.URI_PATH, b"base"), (Option.URI_PATH, b"/x")]
HOP = (Option.HOP_LIMIT, bytes((HOPS,)))
EXACT = Call(GET, (), b"", exact=True)
OTHER = Call(POST, (), b"", exact=False)


def event(type: str = "dev.thinbridge.coap.request", data: bytes = b"", **attributes: str) -> Event:
    return Event({"specversion": "1.0", "id": "1", "source": SOURCE, "type": type, **attributes}, data)


def made(sink: Sink = SINK, **attributes: Any) -> Call:
    found = call(sink, event(**attributes))
    assert isinstance(found, Call)
    return found


def test_a_coap_request_is_forwarded_as_it_was() -> None:
    found = made(
        data=b"x",
        coapmethod="PUT",
        subject="a%2Fb/c",
        coapquery="x=1&y=%26",
        coapformat="60",
        coapacceptformat="50",
        coapifmatch="01,,ff",
        coapifnonematch="true",
        datacontenttype="application/cbor",
    )
    assert found == Call(
        3,
        [
            (Option.IF_MATCH, b"\1"),
            (Option.IF_MATCH, b""),
            (Option.IF_MATCH, b"\xff"),
            (Option.IF_NONE_MATCH, b""),
            *BASE,
            (Option.URI_PATH, b"a/b"),
            (Option.URI_PATH, b"c"),
            (Option.CONTENT_FORMAT, b"\x3c"),
            (Option.URI_QUERY, b"k=v"),
            (Option.URI_QUERY, b"x=1"),
            (Option.URI_QUERY, b"y=&"),
            HOP,
            (Option.ACCEPT, b"\x32"),
        ],
        b"x",
        exact=True,
        name=b"plant-7",
    )
    assert not found.safe


def test_the_root_of_a_server_without_a_path() -> None:
    found = made(Sink(Destination("coap://server")), coapmethod="GET")
    assert found == Call(GET, [HOP], b"", exact=True, name=b"plant-7")
    assert found.safe


def test_a_hop_less_is_left_and_of_the_last_there_is_none() -> None:
    assert (Option.HOP_LIMIT, b"\4") in made(coapmethod="GET", coaphoplimit="5").options
    assert call(SINK, event(coapmethod="GET", coaphoplimit="1")) == LAST_HOP


def test_options_that_nobody_here_knows_are_handed_on_unless_that_is_unsafe() -> None:
    """RFC 7252 §5.7.1: 2048 is safe to forward, 2050 is not."""
    found = made(coapmethod="GET", coapoptions="2048=ff01,2048=,65000=00")
    unknown = [(2048, b"\xff\1"), (2048, b""), (65_000, b"\0")]
    assert found.options == [*BASE, (Option.URI_QUERY, b"k=v"), HOP, *unknown]
    assert call(SINK, event(coapmethod="GET", coapoptions="2048=,2050=01")) is UNSAFE


def test_a_response_with_an_option_that_can_not_be_handed_on_is_none() -> None:
    fine = Response(code("2.05"), [(Option.ETAG, b"e"), (Option.LOCATION_PATH, b"a"), (2048, b"x")], b"21")
    assert understood(fine) is fine
    assert steering(*answer(EXACT, fine))[1]["coapoptions"] == "2048=78"
    for number in (9, 2049, 2050):  # critical, critical, unsafe
        assert understood(Response(code("2.05"), [(number, b"")], b"21")) == Response(code("5.02"))


def test_who_ends_a_loop_and_who_hands_that_on_are_named() -> None:
    """RFC 8768 §3: the nearest first, with blanks between them."""
    by = made(coapmethod="GET")
    assert answer(by, Response(code("5.08"), [], b"far"))[2] == b"plant-7 far"
    assert answer(by, Response(code("5.08")))[2] == b"plant-7"
    assert answer(by, Response(code("5.08"), [], b"x" * 125))[2] == b"x" * 125  # small, it must be
    assert answer(OTHER, Response(code("5.08"), [], b"far"))[2] == b"far"


@pytest.mark.parametrize("type", ["dev.thinbridge.mqtt.message", "com.example.reading"])
def test_any_other_message_is_a_post_to_the_sinks_path(type: str) -> None:
    """Also what a CoAP device says in an event of its own: its subject must not choose where it goes."""
    found = made(type=type, data=b"21", subject="a/b", datacontenttype="text/plain;charset=utf-8", coapmethod="PUT")
    query = (Option.URI_QUERY, b"k=v")
    assert found == Call(POST, [*BASE, (Option.CONTENT_FORMAT, b""), query, HOP], b"21", exact=False)
    assert made(type=type).options == [*BASE, query, HOP]


def steering(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> tuple[int, dict[str, str]]:
    """What the bridge reads of an answer that is an event."""
    found = decode(headers, body)
    assert found is not None
    return status, {name: value for name, value in found.attributes.items() if name.startswith(("coap", "data"))}


@pytest.mark.parametrize(
    ("said", "status"),
    [
        *(("2.01", 201), ("2.02", 200), ("2.04", 200), ("2.05", 200), ("4.04", 404), ("4.02", 400), ("4.29", 429)),
        *(("5.03", 503), ("5.05", 502), ("5.08", 508)),
    ],
)
def test_a_coap_device_hears_the_code_as_it_is(said: str, status: int) -> None:
    assert steering(*answer(EXACT, Response(code(said)))) == (status, {"coapcode": said})


def test_a_coap_device_hears_options_as_they_are() -> None:
    options = [
        (Option.ETAG, b"\xe1"),
        (Option.LOCATION_PATH, b"a b"),
        (Option.LOCATION_PATH, b"/"),
        (Option.CONTENT_FORMAT, b"\x3c"),
        (Option.MAX_AGE, uint(300)),
        (Option.LOCATION_QUERY, b"x=1"),
        (Option.LOCATION_QUERY, b"y&"),
    ]
    status, headers, body = answer(EXACT, Response(code("2.01"), options, b"\1"))
    assert dict(headers)[b"location"] == b"/a%20b/%2F?x=1&y%26"
    assert steering(status, headers, body) == (
        201,
        {
            **{"coapcode": "2.01", "coapetag": "e1", "coapmaxage": "300"},
            **{"coapformat": "60", "datacontenttype": "application/cbor"},
        },
    )
    assert body == b"\1"
    _, headers, _ = answer(EXACT, Response(code("2.01"), [(Option.LOCATION_PATH, b"a")]))
    assert dict(headers)[b"location"] == b"/a"


def test_a_format_that_has_no_name_is_its_number() -> None:
    _, headers, _ = answer(EXACT, Response(code("2.05"), [(Option.CONTENT_FORMAT, uint(65_000))], b"x"))
    assert b"content-type" not in dict(headers)
    assert dict(headers)[b"ce-coapformat"] == b"65000"
    assert b"content-type" not in dict(answer(OTHER, Response(code("2.05"), [], b"x"))[1])


def test_the_last_hop_is_said_to_a_coap_device() -> None:
    assert steering(*answer(LAST_HOP, LAST_HOP)) == (508, {"coapcode": "5.08"})


def test_any_other_message_hears_what_http_would_say() -> None:
    text = [(Option.CONTENT_FORMAT, b"")]
    assert answer(OTHER, Response(code("2.05"), text, b"x")) == (
        200,
        [(b"content-type", b"text/plain;charset=utf-8")],
        b"x",
    )
    assert answer(OTHER, Response(code("5.03"), [(Option.MAX_AGE, b"\x09")])) == (503, [(b"retry-after", b"9")], b"")
    assert answer(OTHER, Response(code("5.00"), [], b"oh")) == (500, [], b"oh")
    assert answer(OTHER, Response(code("4.29"))) == (429, [], b"")
    assert steering(*answer(OTHER, Response(code("4.04")))) == (404, {"coapcode": "4.04"})  # final, not tried again


@pytest.mark.parametrize("name", ["coaphoplimit", "coapformat", "coapacceptformat", "coapifmatch", "coapoptions"])
def test_what_an_override_has_spoilt_is_a_post(name: str) -> None:
    """The operator may set any attribute of all events (`ce_overrides`)."""
    assert not made(SINK, coapmethod="GET", **{name: "none"}).exact


def test_all_methods_are_known() -> None:
    assert made(coapmethod="FETCH").code == FETCH
    assert made(coapmethod="FETCH").safe
    assert made(coapmethod="QUX").code == POST
