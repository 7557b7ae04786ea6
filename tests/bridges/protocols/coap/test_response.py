"""From a reply to a response."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bridges.protocols.coap.bench import ask

from thinbridge.protocols.base import Outcome, Reply
from thinbridge.protocols.coap.codec import Message, OptionValue, decode, encode
from thinbridge.protocols.coap.codes import DELETE, GET, METHODS, POST, Option, Type, dotted
from thinbridge.protocols.coap.request import read
from thinbridge.protocols.coap.response import respond

JSON: OptionValue = (Option.CONTENT_FORMAT, b"\x32")


def said(reply: Reply, *options: OptionValue, code: int = POST) -> tuple[str, object, bytes]:
    number, answers, payload = respond(read(ask(1, *options, code=code), "peer"), reply, Counter())
    return dotted(number), list(answers), payload


def accepted(status: int = 200, data: bytes = b"{}", is_event: bool = False, **attributes: str) -> Reply:
    return Reply(Outcome.ACCEPTED, status, "application/json", data, attributes, is_event)


@pytest.mark.parametrize(
    ("method", "status", "code"),
    [
        ("GET", 200, "2.05"),
        ("FETCH", 200, "2.05"),
        ("POST", 200, "2.04"),
        ("PUT", 204, "2.04"),
        ("PATCH", 200, "2.04"),
        ("iPATCH", 200, "2.04"),
        ("DELETE", 200, "2.02"),
        ("POST", 201, "2.01"),
        ("PUT", 201, "2.01"),
    ],
)
def test_the_code_follows_method_and_status(method: str, status: int, code: str) -> None:
    number = next(number for number, name in METHODS.items() if name == method)
    assert said(accepted(status), code=number) == (code, [JSON], b"{}")


def test_a_2_05_without_payload_is_not_kept() -> None:
    assert said(accepted(data=b""), code=GET) == ("2.05", [(Option.MAX_AGE, b"")], b"")
    assert said(accepted(data=b""), code=DELETE) == ("2.02", [], b"")
    assert said(accepted(data=b"", maxage="9"), code=GET) == ("2.05", [(Option.MAX_AGE, b"\x09")], b"")


def test_a_media_type_without_number_has_no_content_format() -> None:
    assert said(Reply(Outcome.ACCEPTED, 200, "image/x-unheard-of", b"x")) == ("2.04", [], b"x")


@pytest.mark.parametrize(
    ("reply", "code", "options", "payload"),
    [
        (Reply(Outcome.REFUSED, 404, data=b"no such thing"), "4.04", [], b"no such thing"),
        (Reply(Outcome.REFUSED, 418), "4.00", [], b""),
        (Reply(Outcome.REFUSED, 412, data=b"\xff" + b"x" * 200), "4.12", [], b"x" * 127),
        (Reply(Outcome.OVERLOADED), "5.03", [(Option.MAX_AGE, b"\x05")], b""),
        (Reply(Outcome.OVERLOADED, 503, retry_after=1.2), "5.03", [(Option.MAX_AGE, b"\x02")], b""),
        (Reply(Outcome.OVERLOADED, 503, retry_after=-1.0), "5.03", [(Option.MAX_AGE, b"")], b""),
        (Reply(Outcome.OVERLOADED, 503, retry_after=1e30), "5.03", [(Option.MAX_AGE, b"\xff" * 4)], b""),
        (Reply(Outcome.UNKNOWN), "5.04", [], b""),
        (Reply(Outcome.UNKNOWN, 500), "5.04", [], b""),
        (Reply(Outcome.UNKNOWN, 404), "4.04", [], b""),
        (Reply(Outcome.UNKNOWN, 429), "4.29", [], b""),
        (Reply(Outcome.UNKNOWN, 429, retry_after=3), "4.29", [(Option.MAX_AGE, b"\x03")], b""),
        (Reply(Outcome.BAD_GATEWAY, 302), "5.02", [], b""),
    ],
)
def test_what_is_no_content(reply: Reply, code: str, options: list[OptionValue], payload: bytes) -> None:
    assert said(reply) == (code, options, payload)


@pytest.mark.parametrize(
    ("status", "coapcode", "code"),
    [
        (409, "", "4.09"),
        (418, "", "4.00"),
        (500, "", "5.00"),
        (599, "", "5.00"),
        (400, "4.22", "4.22"),
    ],
)
def test_an_event_refuses_with_its_own_words(status: int, coapcode: str, code: str) -> None:
    attributes = {"coapcode": coapcode} if coapcode else {}
    reply = Reply(Outcome.REFUSED, status, "application/json", b"{}", attributes, is_event=True)
    assert said(reply) == (code, [JSON], b"{}")


def test_an_event_steers() -> None:
    reply = accepted(is_event=True, coapcode="2.01", coapmaxage="300", coapetag="0102", location="/a/b%20c?d=1")
    assert said(reply) == (
        "2.01",
        [
            (Option.ETAG, b"\1\2"),
            (Option.LOCATION_PATH, b"a"),
            (Option.LOCATION_PATH, b"b c"),
            JSON,
            (Option.MAX_AGE, b"\x01\x2c"),
            (Option.LOCATION_QUERY, b"d=1"),
        ],
        b"{}",
    )


def test_options_that_nobody_here_knows_are_said_in_order() -> None:
    assert said(accepted(coapoptions="2050=,10=ff"))[1] == [(10, b"\xff"), JSON, (2050, b"")]


def test_a_route_steers_a_bare_body_too() -> None:
    assert said(accepted(coapcode="2.01"))[0] == "2.01"


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ({"coapcode": "9.99"}, 200),
        ({"coapcode": "²²²²"}, 200),
        ({"coapcode": "2.31"}, 200),
        ({"coapcode": "0.02"}, 200),
        ({"coapetag": "xx"}, 200),
        ({"coapetag": ""}, 200),
        ({"coapetag": "00" * 9}, 200),
        ({"coapmaxage": "-1"}, 200),
        ({"coapmaxage": "٣"}, 200),
        ({"coapoptions": "2049=00"}, 200),
        ({"coapoptions": "4=00"}, 200),
        ({"location": "/a/../b"}, 201),
        ({"location": "/a%ff"}, 201),
        ({"location": "/\ud800"}, 201),
        ({"location": "/" + "x" * 200}, 201),
        ({"location": "/a" * 64}, 201),
    ],
)
def test_steering_that_coap_can_not_say_is_counted(attributes: dict[str, str], status: int) -> None:
    counters: Counter[str] = Counter()
    reply = Reply(Outcome.ACCEPTED, status, "application/json", b"{}", attributes, is_event=True)
    _, options, payload = respond(read(ask(), "peer"), reply, counters)
    assert (list(options), payload, counters) == ([JSON], b"{}", {"reply_invalid": 1})


def test_ages_are_clamped() -> None:
    assert (Option.MAX_AGE, b"\xff" * 4) in said(accepted(coapmaxage="9" * 30))[1]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("etag", "wire"),
    [("abc", b"abc"), ("12345678", b"12345678"), ("", None), ("a-long-one", bytes.fromhex("2ced3c842508d372"))],
)
def test_the_etag_of_http(etag: str, wire: bytes | None) -> None:
    options = dict(said(accepted(etag=etag))[1])  # type: ignore[call-overload]
    assert options.get(Option.ETAG) == wire


def test_an_etag_that_the_device_has_is_valid() -> None:
    etag = (Option.ETAG, b"abc")
    assert said(accepted(etag="abc"), etag, code=GET) == ("2.03", [etag], b"")
    assert said(accepted(etag="abd"), etag, code=GET)[0] == "2.05"
    assert said(accepted(etag="abc"), etag)[0] == "2.04"


def test_a_2_03_has_an_etag_and_no_payload() -> None:
    assert said(accepted(is_event=True, coapcode="2.03", coapetag="01")) == ("2.03", [(Option.ETAG, b"\1")], b"")
    assert said(accepted(is_event=True, coapcode="2.03")) == ("2.05", [JSON], b"{}")


def test_a_reply_of_any_length_is_whole() -> None:
    assert said(accepted(data=bytes(5000)), (Option.BLOCK2, b"\2")) == ("2.04", [JSON], bytes(5000))


@given(
    st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.PENDING]),
    st.integers(0, 999),
    st.none() | st.text(max_size=20),
    st.binary(max_size=2000),
    st.dictionaries(
        st.sampled_from(["coapcode", "coapetag", "coapmaxage", "coapformat", "etag", "maxage", "location"]),
        st.text(max_size=30),
    ),
    st.booleans(),
    st.none() | st.floats(-10, 1e12),
)
def test_whatever_a_function_says_is_a_message(
    outcome: Outcome,
    status: int,
    content_type: str | None,
    data: bytes,
    attributes: dict[str, str],
    is_event: bool,
    retry_after: float | None,
) -> None:
    reply = Reply(outcome, status, content_type, data, attributes, is_event, retry_after)
    for method in METHODS:
        code, options, payload = respond(read(ask(code=method), "peer"), reply, Counter())
        message = Message(Type.ACK, code, 1, b"t", options, payload)
        assert decode(encode(message)) == message
        assert list(options) == sorted(options, key=lambda option: option[0])
        assert code >> 5 in (2, 4, 5)
        assert len(encode(message)) - len(payload) <= 256


ACCEPT_JSON = (Option.ACCEPT, b"\x32")
ACCEPT_CBOR = (Option.ACCEPT, b"\x3c")
ACCEPT_65000 = (Option.ACCEPT, b"\xfd\xe8")


def test_an_answer_that_the_device_can_not_read_is_no_success() -> None:
    for code in METHODS:
        assert said(accepted(), ACCEPT_JSON, code=code)[0].startswith("2.")
        assert said(accepted(), ACCEPT_CBOR, code=code) == ("4.06", [], b"it is application/json")
    assert said(accepted(201, location="/a"), ACCEPT_CBOR) == ("4.06", [], b"it is application/json")
    assert said(Reply(Outcome.ACCEPTED, 200, None, b"x"), ACCEPT_CBOR) == ("4.06", [], b"it is of no type")
    assert said(Reply(Outcome.ACCEPTED, 200, "text/" + "x" * 500, b"x"), ACCEPT_CBOR)[2] == b"it is text/" + b"x" * 117


def test_what_is_empty_or_no_success_can_always_be_read() -> None:
    assert said(accepted(204, b""), ACCEPT_CBOR) == ("2.04", [], b"")
    assert said(accepted(etag="abc"), ACCEPT_CBOR, (Option.ETAG, b"abc"), code=GET)[0] == "2.03"
    assert said(Reply(Outcome.REFUSED, 404, "text/plain", b"no"), ACCEPT_CBOR) == ("4.04", [], b"no")
    assert said(accepted(409, is_event=True, coapcode="4.09"), ACCEPT_CBOR)[0] == "4.09"


def test_a_format_without_a_media_type_is_said_by_its_number() -> None:
    number = (Option.CONTENT_FORMAT, b"\xfd\xe8")
    assert said(accepted(is_event=True, coapformat="65000"), ACCEPT_65000) == ("2.04", [number], b"{}")
    for text in ("65536", "-1", "x", "", "²", "0" * 6):
        counters: Counter[str] = Counter()
        reply = accepted(is_event=True, coapformat=text)
        assert list(respond(read(ask(), "peer"), reply, counters)[1]) == [JSON]
        assert counters == {"reply_invalid": 1}
