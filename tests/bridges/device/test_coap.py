"""The CoAP device."""

from itertools import pairwise

import pytest
from tests.bridges.protocols.coap.bench import DEVICE, STRANGER, Bench, ack, reset

from thinbridge.device.base import Result
from thinbridge.device.coap import Request
from thinbridge.protocols.base import Outcome, Reply
from thinbridge.protocols.coap.codec import Message, decode, encode
from thinbridge.protocols.coap.codes import CONTENT, UNAUTHORIZED, Option, Type
from thinbridge.testing import seeded

OK = Result(True, "2.04", "text/plain;charset=utf-8", b"done")


def make(method: str = "POST", target: str = "/a", data: bytes = b"x", confirmable: bool = True) -> Request:
    request = Request(method, target, data, entropy=seeded(1), confirmable=confirmable)
    request.start(1000.0)
    return request


def said(request: Request) -> list[Message]:
    return [decode(data) for data in request.data_to_send()]


def told(request: Request, message: Message, now: float = 1000.0) -> list[Message]:
    request.receive(encode(message), now)
    return said(request)


def flow(request: Request, bench: Bench) -> None:
    """Datagrams both ways until both are silent."""
    while messages := said(request):
        for message in messages:
            for answer in bench.send(message):
                request.receive(encode(answer), bench.now)


@pytest.mark.parametrize("confirmable", [True, False])
@pytest.mark.parametrize("path", [DEVICE, STRANGER])
def test_a_request_and_its_response(confirmable: bool, path: object) -> None:
    bench = Bench(DEVICE if path is DEVICE else STRANGER)
    request = make(confirmable=confirmable)
    flow(request, bench)
    assert request.result is None
    for answer in bench.answer():
        request.receive(encode(answer), bench.now)
    assert request.result == OK
    assert request.next_timer() is None
    assert len(bench.messages) == 1


def test_a_separate_response_is_acknowledged_and_so_are_its_repeats() -> None:
    bench = Bench()
    request = make()
    flow(request, bench)
    for answer in bench.wait(1.5):
        request.receive(encode(answer), bench.now)
    assert request.next_timer() is None
    (response,) = bench.answer()
    assert told(request, response) == told(request, response) == [ack(response.mid)]
    assert request.result == OK


def test_a_response_says_that_the_request_arrived() -> None:
    request = make()
    (message,) = said(request)
    assert told(request, Message(Type.CON, CONTENT, 9, message.token)) == [ack(9)]
    assert request.next_timer() is None
    assert request.result == Result(True, "2.05")


def test_five_times_is_the_end() -> None:
    request = make()
    request.handle_timer(1000.0)
    times = [1000.0]
    messages = said(request)
    while (now := request.next_timer()) is not None:
        request.handle_timer(now)
        if new := said(request):
            messages += new
            times.append(now)
    assert messages == messages[:1] * 5
    gaps = [after - before for before, after in pairwise(times)]
    assert all(abs(after - 2 * before) < 1e-9 for before, after in pairwise(gaps))
    assert request.result == Result(False, "no ACK")


def test_a_non_is_sent_once() -> None:
    request = make(confirmable=False)
    assert [message.type for message in said(request)] == [Type.NON]
    assert request.next_timer() is None
    request.handle_timer(2000.0)
    assert said(request) == []
    assert request.result is None


def test_a_rst_ends_it() -> None:
    for confirmable in (True, False):
        request = make(confirmable=confirmable)
        (message,) = said(request)
        assert told(request, reset(message.mid)) == []
        assert request.result == Result(False, "RST")
    told(request, Message(Type.NON, CONTENT, 1, message.token))
    assert request.result == Result(False, "RST")


def test_what_is_not_for_this_request() -> None:
    request = make()
    (message,) = said(request)
    request.receive(b"garbage", 1000.0)
    for other in (
        ack(message.mid + 1),
        Message(Type.ACK, CONTENT, message.mid + 1, message.token),
        Message(Type.NON, CONTENT, 1, b"other"),
        Message(Type.NON, 1, 1, message.token),
    ):
        assert told(request, other) == []
    assert request.next_timer() is not None
    assert told(request, Message(Type.CON, CONTENT, 5, b"other")) == [reset(5)]
    assert told(request, Message(Type.CON, 0, 6)) == [reset(6)]
    assert told(request, Message(Type.ACK, CONTENT, message.mid, b"other")) == []
    assert request.result is None


def test_an_echo_is_answered_once() -> None:
    request = make()
    (first,) = said(request)
    challenge = [(Option.ECHO, b"proof!")]
    (second,) = told(request, Message(Type.ACK, UNAUTHORIZED, first.mid, first.token, challenge))
    assert second.mid != first.mid
    assert second.token != first.token
    assert second.get(Option.ECHO) == b"proof!"
    assert told(request, Message(Type.NON, UNAUTHORIZED, 77, first.token, challenge)) == []  # a copy of the first
    assert told(request, Message(Type.ACK, UNAUTHORIZED, second.mid, second.token, challenge)) == []
    assert request.result == Result(False, "4.01")


def test_a_401_without_echo_is_an_answer() -> None:
    request = make()
    (first,) = said(request)
    assert told(request, Message(Type.ACK, UNAUTHORIZED, first.mid, first.token)) == []
    assert request.result == Result(False, "4.01")


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("", []),
        ("/", []),
        ("/a/b", [(11, b"a"), (11, b"b")]),
        ("/a/", [(11, b"a"), (11, b"")]),
        ("/a%2Fb/%FF?x=1&y=%26", [(11, b"a/b"), (11, b"\xff"), (15, b"x=1"), (15, b"y=&")]),
        ("/gr\xfcn", [(11, "grün".encode())]),
        ("/\udcff", [(11, b"\xff")]),
        ("?q", [(15, b"q")]),
    ],
)
def test_the_target_as_options(target: str, options: list[tuple[int, bytes]]) -> None:
    (message,) = said(make("get", target, b""))
    assert (message.code, message.options, message.payload) == (1, options, b"")


def test_what_it_is_sent_with() -> None:
    request = Request(
        "iPATCH", "/a", b"{}", entropy=seeded(1), content_type="application/json", options=[(Option.IF_NONE_MATCH, b"")]
    )
    request.start(0.0)
    (message,) = said(request)
    assert message.code == 7
    assert message.options == [(Option.IF_NONE_MATCH, b""), (Option.URI_PATH, b"a"), (Option.CONTENT_FORMAT, b"\x32")]


def test_what_coap_can_not_say() -> None:
    with pytest.raises(ValueError, match="no method HEAD"):
        Request("HEAD", "/", entropy=seeded(1))
    with pytest.raises(ValueError, match="no Content-Format for image/x-unheard-of"):
        Request("POST", "/", entropy=seeded(1), content_type="image/x-unheard-of")


def test_a_refusal() -> None:
    bench = Bench()
    request = make("DELETE", "/nothing")
    flow(request, bench)
    for answer in bench.answer(Reply(Outcome.REFUSED, 404, data=b"no such thing")):
        request.receive(encode(answer), bench.now)
    assert request.result == Result(False, "4.04", None, b"no such thing")
    assert bench.inbound.attributes["coapmethod"] == "DELETE"
