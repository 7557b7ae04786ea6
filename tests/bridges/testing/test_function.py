"""The fake function, in virtual time and over HTTP, asked by the standard library's own client."""

import asyncio
import http.client
from collections.abc import Callable

import pytest

from thinbridge.protocols.base import Inbound, Outcome
from thinbridge.testing.function import Answer, Function, Sink, every, failing, in_turn

MESSAGE = Inbound(1, "t", None, {}, "text/plain", b"hello")


def test_it_answers_with_what_it_was_sent() -> None:
    function = Function(1, latency=(2, 3))
    call = function(MESSAGE)
    assert 2 <= call.after <= 3
    assert call.accepted
    assert (call.reply.outcome, call.reply.data, call.reply.content_type) == (Outcome.ACCEPTED, b"hello", "text/plain")
    assert function.calls == [MESSAGE]


@pytest.mark.parametrize(
    ("function", "outcome", "accepted"),
    [
        (Function(fail=1), Outcome.OVERLOADED, False),
        (Function(refuse=1), Outcome.REFUSED, False),
        (Function(lose=1), Outcome.UNKNOWN, True),
        (Function(latency=(99, 99)), Outcome.UNKNOWN, True),
    ],
)
def test_it_fails_as_told(function: Function, outcome: Outcome, accepted: bool) -> None:
    call = function(MESSAGE)
    assert (call.reply.outcome, call.accepted) == (outcome, accepted)
    assert call.after <= 60


def asked(sink: Sink, ask: Callable[[http.client.HTTPConnection], list[int]]) -> list[int]:
    """What the standard library's client hears while the sink runs."""

    def client() -> list[int]:
        connection = http.client.HTTPConnection("127.0.0.1", int(sink.url.split(":")[2].strip("/")), timeout=5)
        try:
            return ask(connection)
        finally:
            connection.close()

    async def main() -> list[int]:
        async with sink:
            return await asyncio.to_thread(client)

    return asyncio.run(main())


def post(connection: http.client.HTTPConnection, body: bytes = b"hello") -> int:
    try:
        connection.request("POST", "/x?y", body, {"Ce-Id": "1", "Content-Type": "text/plain"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (http.client.RemoteDisconnected, http.client.BadStatusLine, ConnectionError):
        connection.close()
        return 0


def test_the_sink_echoes_and_remembers() -> None:
    sink = Sink()

    def ask(connection: http.client.HTTPConnection) -> list[int]:
        connection.request("POST", "/x?y", b"hello", {"Ce-Id": "1", "Content-Type": "text/plain"})
        answer = connection.getresponse()
        assert answer.read() == b"hello"
        assert answer.headers["content-type"] == "text/plain"
        return [answer.status, post(connection)]

    assert asked(sink, ask) == [200, 200]
    [posted, _] = sink.posted
    assert (posted.method, posted.path, posted.headers["ce-id"], posted.body) == ("POST", "/x?y", "1", b"hello")
    assert sink.accepted == sink.posted
    assert sink.connections == 1


def test_every_third_fails() -> None:
    sink = Sink(every(3, Answer(503, {"retry-after": "1"})))
    assert asked(sink, lambda one: [post(one) for _ in range(6)]) == [200, 200, 503, 200, 200, 503]
    assert len(sink.accepted) == 4


def test_failures_come_from_a_seed() -> None:
    def ask(connection: http.client.HTTPConnection) -> list[int]:
        return [post(connection) for _ in range(20)]

    assert asked(Sink(failing(7, 0.3, Answer(500))), ask) == asked(Sink(failing(7, 0.3, Answer(500))), ask)


def test_answers_in_turn_drops_and_raw_bytes() -> None:
    script = in_turn([Answer(drop=True), Answer(raw=b"HTTP/1.1 oops\r\n\r\n"), Answer(204), Answer(200, after=0.01)])
    sink = Sink(script)
    assert asked(sink, lambda one: [post(one) for _ in range(5)]) == [0, 0, 204, 200, 200]
    assert len(sink.posted) == 5
    assert len(sink.accepted) == 3


def test_the_sink_comes_back_on_its_port() -> None:
    async def main() -> None:
        sink = Sink()
        await sink.start()
        url = sink.url
        await sink.stop()
        await sink.start()
        assert sink.url == url
        await sink.stop()

    asyncio.run(main())
