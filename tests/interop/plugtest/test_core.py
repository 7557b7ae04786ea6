"""TD_COAP_CORE of ETSI's CoAP#4 plugtest, scenario by scenario: requests, responses, options, and the message layer.

A test's name has the scenario's number, its docstring the objective; `docs/protocols/coap.md` lists the same.
"""

import pytest
from tests.interop.plugtest.wire import Device, number, said, values

from thinbridge.protocols.coap.codec import Message, uint
from thinbridge.protocols.coap.codes import EMPTY, Option, Type, dotted

TEXT, XML, JSON, EXI = 0, 41, 50, 47


def test_core_01(device: Device) -> None:
    """GET, CON."""
    response = device.ask("GET", "/test")
    assert said(response) == ("2.05", "GET /test")
    assert number(response, Option.CONTENT_FORMAT) == TEXT


def test_core_02(device: Device) -> None:
    """DELETE, CON."""
    assert said(device.ask("DELETE", "/test")) == ("2.02", "")


def test_core_03(device: Device) -> None:
    """PUT, CON."""
    response = device.ask("PUT", "/test", payload=b"12345", format=TEXT)
    assert said(response) == ("2.04", "5 bytes")  # the function saw them
    assert number(response, Option.CONTENT_FORMAT) == TEXT


def test_core_04(device: Device) -> None:
    """POST, CON."""
    assert said(device.ask("POST", "/test", payload=b"x", format=TEXT)) == ("2.01", "")


def test_core_05(device: Device) -> None:
    """GET, NON."""
    response = device.ask("GET", "/test", type=Type.NON)
    assert said(response) == ("2.05", "GET /test")
    assert number(response, Option.CONTENT_FORMAT) == TEXT


def test_core_06(device: Device) -> None:
    """DELETE, NON."""
    assert said(device.ask("DELETE", "/test", type=Type.NON)) == ("2.02", "")


def test_core_07(device: Device) -> None:
    """PUT, NON."""
    assert said(device.ask("PUT", "/test", type=Type.NON, payload=b"123", format=TEXT)) == ("2.04", "3 bytes")


def test_core_08(device: Device) -> None:
    """POST, NON."""
    assert said(device.ask("POST", "/test", type=Type.NON, payload=b"x", format=TEXT)) == ("2.01", "")


def acknowledged(device: Device, request: Message) -> None:
    """The empty ACK of a CON whose answer takes longer."""
    device.send(request)
    assert device.hear() == Message(Type.ACK, EMPTY, request.mid)


def separate(device: Device, request: Message) -> Message:
    """The response that follows, with a Message ID of the server's own."""
    response = device.hear()
    assert (response.type, response.token) == (Type.CON, request.token)
    assert said(response) == ("2.05", "GET /separate")
    assert number(response, Option.CONTENT_FORMAT) == TEXT
    return response


def test_core_09(early: Device) -> None:
    """GET with a separate response, CON."""
    request = early.request("GET", "/separate")
    acknowledged(early, request)
    early.acknowledge(separate(early, request))
    early.hears_nothing()


@pytest.mark.parametrize("token", [b"\0", b"token", b"12345678"])
def test_core_10(device: Device, token: bytes) -> None:
    """GET with a token of 1 to 8 bytes."""
    assert said(device.ask("GET", "/test", token=token)) == ("2.05", "GET /test")


def test_core_11(early: Device) -> None:
    """GET with a token and a separate response."""
    request = early.request("GET", "/separate", token=b"12345678")
    acknowledged(early, request)
    early.acknowledge(separate(early, request))


def test_core_12(device: Device) -> None:
    """GET with an empty token."""
    assert said(device.ask("GET", "/test", token=b"")) == ("2.05", "GET /test")


def test_core_13(device: Device) -> None:
    """GET with several Uri-Path options."""
    response = device.ask("GET", "/seg1/seg2/seg3")
    assert said(response) == ("2.05", "GET /seg1/seg2/seg3")
    assert number(response, Option.CONTENT_FORMAT) == TEXT


def test_core_14(device: Device) -> None:
    """GET with several Uri-Query options."""
    assert said(device.ask("GET", "/query?first=1&second=2&third=3")) == ("2.05", "GET /query?first=1&second=2&third=3")


def test_core_15(device: Device) -> None:
    """GET, CON, piggybacked, in a lossy context: the request is lost, or its response."""
    request = device.request("GET", "/test")
    device.send(request)
    first = device.answer(request)  # …which the network lost, so the client repeats
    for _ in range(3):
        device.send(request)
        assert device.answer(request) == first
    device.hears_nothing()


def test_core_16(early: Device) -> None:
    """GET, CON, separate, in a lossy context: the request's ACK is lost, the response, and the response's ACK."""
    request = early.request("GET", "/separate")
    acknowledged(early, request)
    acknowledged(early, request)  # the ACK was lost: the client repeats, and the function is not asked again
    response = separate(early, request)
    assert separate(early, request) == response  # it was lost: the server repeats it, after 2 to 3 s
    early.acknowledge(response)
    acknowledged(early, request)  # a late repeat of the request does not start it all over
    early.hears_nothing()


def test_core_17(early: Device) -> None:
    """GET with a separate response, NON: no ACK, and a NON."""
    request = early.request("GET", "/separate", type=Type.NON)
    early.send(request)
    assert said(early.answer(request)) == ("2.05", "GET /separate")


def test_core_18(device: Device) -> None:
    """POST whose response has several Location-Path options."""
    response = device.ask("POST", "/test", payload=b"x", format=TEXT)
    assert dotted(response.code) == "2.01"
    assert values(response, Option.LOCATION_PATH) == ["location1", "location2", "location3"]


def test_core_19(device: Device) -> None:
    """POST whose response has several Location-Query options."""
    response = device.ask("POST", "/location-query", payload=b"x", format=TEXT)
    assert dotted(response.code) == "2.01"
    assert values(response, Option.LOCATION_QUERY) == ["first=1", "second=2"]


def test_core_20(device: Device) -> None:
    """GET with Accept: each format by its number, and 4.06 for one that there is not."""
    for wanted, text in ((TEXT, "plain text"), (XML, "<text>xml</text>"), (JSON, '{"text": "json"}')):
        response = device.ask("GET", "/multi-format", (Option.ACCEPT, uint(wanted)))
        assert said(response) == ("2.05", text)
        assert number(response, Option.CONTENT_FORMAT) == wanted
    assert dotted(device.ask("GET", "/multi-format", (Option.ACCEPT, uint(EXI))).code) == "4.06"


def etag(response: Message) -> tuple[int, bytes]:
    """The ETag option of a response."""
    value = response.get(Option.ETAG)
    assert value is not None
    return Option.ETAG, value


def test_core_21(device: Device) -> None:
    """GET with ETag: 2.03 while it is valid, 2.05 with another ETag when it is not."""
    first = device.ask("GET", "/validate")
    assert dotted(first.code) == "2.05"
    assert first.payload
    valid = device.ask("GET", "/validate", etag(first))
    assert (dotted(valid.code), etag(valid)) == ("2.03", etag(first))
    assert dotted(device.ask("PUT", "/validate", payload=first.payload + b"!", format=TEXT).code) == "2.04"
    changed = device.ask("GET", "/validate", etag(first))
    assert (dotted(changed.code), changed.payload) == ("2.05", first.payload + b"!")
    assert etag(changed) != etag(first)


def test_core_22(device: Device) -> None:
    """PUT with If-Match: 2.04 while it holds, 4.12 after a concurrent update."""
    first = device.ask("GET", "/validate")
    match = Option.IF_MATCH, etag(first)[1]
    assert dotted(device.ask("PUT", "/validate", match, payload=b"of one client", format=TEXT).code) == "2.04"
    second = device.ask("GET", "/validate")
    assert second.payload == b"of one client"
    assert etag(second) != etag(first)
    assert dotted(device.ask("PUT", "/validate", payload=b"of another", format=TEXT).code) == "2.04"
    match = Option.IF_MATCH, etag(second)[1]
    assert dotted(device.ask("PUT", "/validate", match, payload=b"too late", format=TEXT).code) == "4.12"
    assert device.ask("GET", "/validate").payload == b"of another"


def test_core_23(device: Device) -> None:
    """PUT with If-None-Match: 2.01 once, then 4.12."""
    device.ask("DELETE", "/create1")
    once = Option.IF_NONE_MATCH, b""
    assert dotted(device.ask("PUT", "/create1", once, payload=b"new", format=TEXT).code) == "2.01"
    assert dotted(device.ask("PUT", "/create1", once, payload=b"newer", format=TEXT).code) == "4.12"
    assert device.ask("GET", "/create1").payload == b"new"


def test_core_31(device: Device) -> None:
    """Ping: an empty CON gets a RST of four bytes."""
    device.send(Message(Type.CON, EMPTY, 0x4711))
    assert device.hear() == Message(Type.RST, EMPTY, 0x4711)
