"""What CoAP servers have been seen to get wrong, each as a test that shows ours right.

Most were found in aiocoap 0.4, the best of Python's: where one would have begun. Devices are sockets that judge what
they hear (`plugtest.wire`); what needs more messages than a socket should send is played in virtual time (`Bench`).
"""

import json
import logging
from collections.abc import Iterator

import pytest
from tests.bridges.protocols.coap.bench import Bench, ask
from tests.interop.bridges import World, standing
from tests.interop.plugtest.wire import Device, number, said
from tests.waiting import until_now

from thinbridge.protocols.base import Outcome, Path, Reply
from thinbridge.protocols.coap.codec import Message, encode
from thinbridge.protocols.coap.codes import EMPTY, Option, Type, dotted
from thinbridge.protocols.coap.memory import EXCHANGE_LIFETIME
from thinbridge.testing.function import Answer, Posted

SLOW = 0.5
"""Seconds that /slow takes: past `ack_delay`, so that its answers are separate responses."""
ACK_DELAY = 0.2


def function(posted: Posted) -> Answer:
    """Says how long the body was, and its beginning; `/slow` takes its time."""
    after = SLOW if posted.headers.get("ce-subject") == "slow" else 0.0
    return Answer(200, {"content-type": "text/plain"}, b"%d %b" % (len(posted.body), posted.body[:16]), after=after)


@pytest.fixture(scope="module")
def bridge() -> Iterator[World]:
    listen = [f"coap://127.0.0.1:0?ack_delay={ACK_DELAY}", "mqtt://127.0.0.1:0", "udp://127.0.0.1:0"]
    with standing(function, listen=listen) as w:
        yield w


@pytest.fixture
def device(bridge: World) -> Iterator[Device]:
    with Device(bridge.coap) as one:
        yield one


def bodies(bridge: World) -> list[bytes]:
    """What the sink has accepted."""
    return [posted.body for posted in bridge.sink.accepted]


def answers(device: Device, count: int) -> list[bytes]:
    """Payloads of so many responses; what is a CON is acknowledged."""
    found: list[bytes] = []
    while len(found) < count:
        heard = device.hear()
        if heard.type == Type.CON:
            device.acknowledge(heard)
        if heard.code != EMPTY:
            found.append(heard.payload)
    return found


# --- Datagrams over 4,096 bytes lose their end, and are answered with success -------------------------------------


@pytest.mark.parametrize("size", [4097, 5000, 65_000])
def test_a_long_datagram_is_whole(size: int, device: Device, bridge: World) -> None:
    body = b"%d " % size + bytes(size)
    assert said(device.ask("POST", "/upload", payload=body))[0] == "2.04"
    assert bodies(bridge)[-1] == body


# --- A request with the token of one that is open cancels that ----------------------------------------------------


@pytest.mark.parametrize("token", [b"", b"same"])
def test_the_same_token_again_cancels_nothing(token: bytes, device: Device, bridge: World) -> None:
    """Devices with one request at a time have an empty token (RFC 7252 §5.3.1), and may be impatient."""
    asked = [device.request("POST", "/slow", token=token, payload=b"%d of %b" % (each, token)) for each in range(4)]
    for request in asked:
        device.send(request)
    assert sorted(answers(device, 4)) == sorted(b"%d %b" % (len(one.payload), one.payload) for one in asked)
    assert {one.payload for one in asked} <= set(bodies(bridge))


# --- An ICMP error of a client cancels its other requests ---------------------------------------------------------


def test_a_port_that_is_closed_cancels_nothing(device: Device, bridge: World) -> None:
    with Device(bridge.coap) as gone:
        port = gone.port
        asked = [gone.request("POST", "/slow", payload=b"%d of the gone" % each) for each in range(3)]
        for request in asked:
            gone.send(request)
    assert said(device.ask("POST", "/other", payload=b"others"))[0] == "2.04"  # the listener is not deaf
    until_now(lambda: {one.payload for one in asked} <= set(bodies(bridge)))
    with Device(bridge.coap, port) as back:  # the responses are repeated until somebody says that they are there
        found: set[bytes] = set()
        while len(found) < 3:
            heard = back.hear()
            assert heard.type == Type.CON
            back.acknowledge(heard)
            found.add(heard.token)
        assert found == {one.token for one in asked}


# --- A Message ID that is used again within its lifetime ----------------------------------------------------------


@pytest.mark.parametrize("kind", [Type.CON, Type.NON], ids=["CON", "NON"])
def test_message_ids_that_come_round_are_new_messages(kind: int) -> None:
    """A busy gateway has used all 65,536 within 247 s; here there are 300 of them, which makes no difference."""
    bench, messages = Bench(), 1000
    for each in range(messages):
        bench.now += EXCHANGE_LIFETIME / messages
        request = ask(each % 300, type=kind, token=b"t%d" % each, payload=b"%d" % each)
        assert bench.send(request) == []
        [response] = bench.answer(Reply(Outcome.ACCEPTED, 200, None, b"to %d" % each))
        assert (response.token, response.payload) == (request.token, b"to %d" % each)
    assert [inbound.data for _, inbound in bench.messages] == [b"%d" % each for each in range(messages)]


# --- Nothing bounds what is open, and what is remembered ----------------------------------------------------------


def test_more_than_it_can_take_is_told_so_and_remembered_by_nobody() -> None:
    bench = Bench(open_exchanges=8, remembered=100, remembered_in_all=500)
    taken = []
    for each in range(2000):
        bench.path = Path(("192.0.2.7", 40_000 + each % 50), ("198.51.100.1", 5683), verified=True)
        heard = bench.send(ask(each, token=b"%d" % each))
        taken += [] if heard else [each]
        for response in heard:
            assert (dotted(response.code), number(response, Option.MAX_AGE)) == ("5.03", 1)
    assert len(taken) == len(bench.messages) == 50 * 8
    assert bench.core.shared.entries <= 500


# --- An endpoint that acknowledges nothing holds up its other answers ---------------------------------------------


def test_who_acknowledges_nothing_stalls_nobody(device: Device, bridge: World) -> None:
    with Device(bridge.coap) as deaf:
        for each in range(4):
            deaf.send(deaf.request("POST", "/slow", payload=b"%d of the deaf" % each))
        first = [deaf.hear() for _ in range(8)]  # four empty ACKs, and four responses, none of which it acknowledges
        assert sorted(one.type for one in first) == [Type.CON] * 4 + [Type.ACK] * 4
        assert said(deaf.ask("POST", "/quick", payload=b"1"))[0] == "2.04"  # piggybacked: nothing waits for anything
        assert said(device.ask("POST", "/quick", payload=b"2"))[0] == "2.04"
        request = device.request("POST", "/slow", payload=b"3")
        device.send(request)
        assert answers(device, 1) == [b"1 3"]
        for one in first:
            if one.type == Type.CON:
                deaf.acknowledge(one)


# --- What must be refused is processed ----------------------------------------------------------------------------


def test_an_unknown_critical_option_is_refused(device: Device, bridge: World) -> None:
    assert said(device.ask("POST", "/a", (65001, b"odd"), payload=b"critical"))[0] == "4.02"
    assert said(device.ask("POST", "/a", (65000, b"even"), payload=b"elective"))[0] == "2.04"
    request = device.request("POST", "/a", (65001, b"odd"), type=Type.NON, payload=b"critical")
    device.send(request)
    assert device.hear() == Message(Type.RST, EMPTY, request.mid)  # RFC 7252 §5.4.1
    assert b"critical" not in bodies(bridge)


@pytest.mark.parametrize(
    "datagram",
    ["49011234" + "00" * 9 + "ff6e6f", "40021234ff", "40021234f0ff6e6f", "400012345000"],
    ids=["token of 9 bytes", "marker without payload", "reserved option delta", "empty message with content"],
)
def test_a_malformed_request_is_reset(datagram: str, device: Device, bridge: World) -> None:
    device.send(bytes.fromhex(datagram))
    assert device.hear() == Message(Type.RST, EMPTY, 0x1234)
    assert b"no" not in bodies(bridge)


def test_a_method_that_there_is_not_is_refused(device: Device) -> None:
    request = device.request("POST", "/a")
    request.code = 31
    device.send(request)
    assert said(device.answer(request)) == ("4.05", "unknown method")


# --- Bytes that are no UTF-8 raise, and fill the log --------------------------------------------------------------


def test_a_path_that_is_no_utf8_is_answered_and_logs_nothing(
    device: Device, bridge: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="thinbridge"):
        assert said(device.ask("POST", "", (Option.URI_PATH, b"\xff\xfe"), payload=b"odd path"))[0] == "2.04"
        assert json.loads(bridge.sink.accepted[-1].body)["subject"] == "%FF%FE"
        device.send(bytes.fromhex("40010001b180"))  # six bytes that cost aiocoap 1.8 kB of traceback
        assert device.hear().mid == 1
        for each in range(100):
            device.send(encode(device.request("POST", "", (Option.URI_PATH, b"\xff%d" % each)))[:-1])
        device.send(Message(Type.CON, EMPTY, 7))
        while device.hear().type != Type.RST:
            pass
    assert "Traceback" not in caplog.text
    assert len(caplog.records) <= 2, "one line a cause and minute, if any"
