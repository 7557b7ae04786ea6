"""One connection, against sinks that die, lie and overdo it: real sockets, on asyncio and on uvloop.

Over 400 lines because it mirrors one module.
"""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.bridges.delivery.real import LOOPS, End, Script, ScriptedSink, deliver, run, settled
from tests.bridges.delivery.virtual import EVENT, answer

from thinbridge.delivery import Answer, Delivery, DeliveryLimits, Terms, Verdict
from thinbridge.delivery.http import Connection
from thinbridge.delivery.pool import Pool
from thinbridge.events import Event
from thinbridge.routes import Destination

KIB = 1024
LIMITS = DeliveryLimits(body=1024 * KIB)

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def post(loop: str, *scripts: Script, seconds: float = 20.0, limits: DeliveryLimits = LIMITS, **terms: Any) -> Any:
    """One event to a sink with these scripts: the answer, the sink, the delivery."""
    out: list[Any] = []

    async def scene() -> None:
        async with ScriptedSink(*scripts).running() as sink:
            delivery = Delivery(limits, rng=lambda: 0.0)
            destination = Destination(f"http://127.0.0.1:{sink.port}/fn")
            out.extend((await deliver(delivery, EVENT, Terms(destination, **terms), seconds), sink, delivery))
            await delivery.close()

    run(loop, scene)
    return out


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", b"hello"),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", b"x"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
def test_answers_whole_and_byte_by_byte(loop: str, raw: bytes, body: bytes) -> None:
    for size in (len(raw), 1):
        result, sink, _ = post(loop, [raw[i : i + size] for i in range(0, len(raw), size)])
        assert (result.verdict, result.body) == (Verdict.ACCEPTED, body)
        assert all(name != b"link" for name, _ in result.headers)
        assert sink.connections == 1


def test_trailers_are_read_and_forgotten(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once: a body may be followed by megabytes of them, each of which takes a hundred bytes."""
    chunked = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nce-specversion: 1.0\r\nlast: 1\r\n\r\n"
    )
    kept: list[int] = []
    complete = Connection.on_message_complete

    def counted(self: Connection) -> None:
        kept.append(len(self._fields))
        complete(self)

    monkeypatch.setattr(Connection, "on_message_complete", counted)

    async def scene() -> None:
        async with ScriptedSink([chunked], [answer(200)]).running() as sink:
            delivery = Delivery()
            terms = Terms(Destination(f"http://127.0.0.1:{sink.port}/"))
            first, second = [await deliver(delivery, EVENT, terms) for _ in range(2)]
            assert first.headers == [(b"transfer-encoding", b"chunked")]
            assert second.headers == [(b"content-length", b"0")]
            assert sink.connections == 1
            assert kept == [0, 0]
            await delivery.close()

    run(loop, scene)


def test_an_answer_without_length_ends_with_the_connection(loop: str) -> None:
    """RFC 9112 §6.3, rule 8."""
    result, sink, _ = post(loop, [b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo", End.CLOSE])
    assert (result.verdict, result.body, len(sink.requests)) == (Verdict.ACCEPTED, b"hello", 1)


# --- Reuse -----------------------------------------------------------------------------------------------------


def twice(loop: str, first: Script, connections: int) -> None:
    async def scene() -> None:
        async with ScriptedSink(first, [answer(200, b"second")]).running() as sink:
            delivery = Delivery(rng=lambda: 0.0)
            terms = Terms(Destination(f"http://127.0.0.1:{sink.port}/"))
            assert (await deliver(delivery, EVENT, terms)).verdict is Verdict.ACCEPTED
            assert (await deliver(delivery, EVENT, terms)).body == b"second"
            assert (sink.connections, len(sink.requests)) == (connections, 2)
            assert delivery.counters["retried"] == 0
            await delivery.close()

    run(loop, scene)


def test_a_connection_is_kept(loop: str) -> None:
    twice(loop, [answer(200, b"first")], 1)


@pytest.mark.parametrize(
    "first",
    [
        [answer(200, b"first", "connection: close"), End.CLOSE],
        [answer(200, b"first") + b"garbage"],
        [answer(200, b"first") + b"HTTP/1.1 200 OK\r\n"],
        [answer(200, b"first") + answer(200, b"that nobody asked for")],
        [b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", End.CLOSE],
    ],
)
def test_a_connection_that_said_too_much_is_not(loop: str, first: Script) -> None:
    """A wrong Content-Length among them: what follows must never be the answer to someone else's request."""
    twice(loop, first, 2)


def test_bytes_on_a_free_connection_close_it(loop: str) -> None:
    async def scene() -> None:
        async with ScriptedSink([answer(200, b"first")], [answer(200, b"second")]).running() as sink:
            delivery = Delivery()
            terms = Terms(Destination(f"http://127.0.0.1:{sink.port}/"))
            await deliver(delivery, EVENT, terms)
            sink.writers[0].write(answer(200, b"that nobody asked for"))
            (pool,) = delivery._pools.values()
            assert isinstance(pool, Pool)
            await settled(lambda: pool.size == 0)
            assert (await deliver(delivery, EVENT, terms)).body == b"second"
            await delivery.close()

    run(loop, scene)


def test_a_free_connection_that_the_sink_closes_is_forgotten(loop: str) -> None:
    async def scene() -> None:
        async with ScriptedSink().running() as sink:
            delivery = Delivery()
            terms = Terms(Destination(f"http://127.0.0.1:{sink.port}/"))
            await deliver(delivery, EVENT, terms)
            sink.writers[0].close()
            (pool,) = delivery._pools.values()
            assert isinstance(pool, Pool)
            await settled(lambda: pool.size == 0)
            await deliver(delivery, EVENT, terms)
            assert (sink.connections, delivery.counters["stale"]) == (2, 0)
            await delivery.close()

    run(loop, scene)


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET])
def test_a_stale_connection_is_replaced_and_no_try_is_counted(loop: str, end: End) -> None:
    async def scene() -> None:
        async with ScriptedSink([answer(200)], [end], [answer(200, b"second")]).running() as sink:
            delivery = Delivery(rng=lambda: 0.0)
            terms = Terms(Destination(f"http://127.0.0.1:{sink.port}/"), retries=0)
            await deliver(delivery, EVENT, terms)
            assert (await deliver(delivery, EVENT, terms)).body == b"second"
            assert (sink.connections, delivery.counters["stale"]) == (2, 1)
            await delivery.close()

    run(loop, scene)


def test_the_replacement_is_no_stale_connection(loop: str) -> None:
    """Once: the new connection is as good as any first try."""

    async def scene() -> None:
        async with ScriptedSink([answer(200)], [End.CLOSE], [End.CLOSE]).running() as sink:
            delivery = Delivery(rng=lambda: 0.0)
            terms = Terms(Destination(f"http://127.0.0.1:{sink.port}/"), retries=0)
            await deliver(delivery, EVENT, terms)
            assert await deliver(delivery, EVENT, terms) == Answer(Verdict.UNKNOWN)
            assert (delivery.counters["stale"], delivery.counters["lost"]) == (1, 1)
            await delivery.close()

    run(loop, scene)


# --- A sink that dies --------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"


@pytest.mark.parametrize(
    "death",
    [
        [End.CLOSE],
        [End.RESET],
        [b"HTTP/1.1 2", End.CLOSE],
        [HEAD, End.RESET],
        [HEAD + b"half", End.CLOSE],
        [HEAD + b"half", End.RESET],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel", End.CLOSE],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", End.CLOSE],
    ],
)
def test_a_sink_that_dies_is_asked_again_with_the_same_id(loop: str, death: Script) -> None:
    result, sink, delivery = post(loop, death, [answer(200, b"alive")])
    assert (result.verdict, result.body) == (Verdict.ACCEPTED, b"alive")
    assert (len(sink.requests), len(set(sink.requests)), sink.connections) == (2, 1, 2)
    assert delivery.counters["lost"] == 1
    assert post(loop, death, retries=0)[0] == Answer(Verdict.UNKNOWN)


@pytest.mark.parametrize("stall", [[], [b"H"], [HEAD + b"half"], [b"HTTP/1.1 200 OK\r\n"]])
def test_a_sink_that_stalls_is_asked_again(loop: str, stall: Script) -> None:
    alive = [[answer(200, b"alive")]] * 50  # a busy machine may need more than 50 ms for an attempt
    result, sink, delivery = post(loop, stall, *alive, attempt_timeout=0.05, retries=None)
    assert (result.verdict, result.body) == (Verdict.ACCEPTED, b"alive")
    assert sink.connections == 1 + delivery.counters["timeout"] >= 2
    assert post(loop, stall, seconds=0.25)[0] == Answer(Verdict.UNKNOWN)


# --- A sink that lies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lie",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nna me: x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nmore",
    ],
)
def test_what_is_no_http_is_a_bad_gateway_in_the_end(loop: str, lie: bytes) -> None:
    result, sink, delivery = post(loop, *[[lie]] * 4)
    assert result == Answer(Verdict.BAD_GATEWAY)
    assert (len(sink.requests), sink.connections, delivery.counters["malformed"]) == (4, 4, 4)
    assert post(loop, [lie], [answer(200)])[0].verdict is Verdict.ACCEPTED


def chunks(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * size


@pytest.mark.parametrize(
    "flood",
    [
        [b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 101 + b"\r\n"],
        [b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1_000_000],
        [b"HTTP/1.1 200 OK\r\nx: " + b"y" * 64 * KIB + b"\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nx: ", *[b"y" * KIB] * 64],
        [b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000],
        [answer(200, b"x" * (1024 * KIB + 1))],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n", *[b"x" * 64 * KIB] * 20],
        [b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 64 * KIB] * 20],
        [chunks(2 * 1024 * KIB)],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", *[b"x" * 64 * KIB] * 40],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ", *[b"x" * 64 * KIB] * 40],
    ],
    ids=["headers", "endless headers", "header", "slow header", "interim", "body", "length", "no length", "chunks",
         "extension", "trailer"],
)  # fmt: skip
def test_too_much_is_a_bad_gateway_at_once(loop: str, flood: Script) -> None:
    result, sink, delivery = post(loop, flood)
    assert result == Answer(Verdict.BAD_GATEWAY)
    assert (len(sink.requests), delivery.counters["too_large"]) == (1, 1)


def test_a_body_in_crumbs_takes_no_more_than_its_bytes(loop: str) -> None:
    crumbs = b"2\r\nxx\r\n" * 280_000
    script: Script = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", crumbs, b"0\r\n\r\n"]
    tracemalloc.start()
    result, _, _ = post(loop, script)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(result.body) == 560_000
    assert peak < 8 << 20  # as many objects of two bytes take 12 MB


def test_as_much_as_the_limit_is_fine(loop: str) -> None:
    headers = [f"x{n}: {'y' * 300}" for n in range(99)]
    result, _, _ = post(loop, [answer(200, b"x" * 1024 * KIB, *headers)])
    assert (result.verdict, len(result.body), len(result.headers)) == (Verdict.ACCEPTED, 1024 * KIB, 100)


# --- Long answers take turns ---------------------------------------------------------------------------------------


class Turns:
    """A sink that sends the first half of each answer at once, and the rest when it is told to."""

    def __init__(self, length: int, *, chunked: bool = False) -> None:
        self.length = length
        self.chunked = chunked
        self.begun = 0
        self.go_on = asyncio.Event()
        self._open = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Its URL; no connection outlives it."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        finally:
            server.close()
            self.go_on.set()
            await settled(lambda: not self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                half = b"x" * (self.length // 2)
                if self.chunked:
                    half = b"%x\r\n%s\r\n" % (len(half), half)
                    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                    for _ in range(20):  # it is read by itself: nobody knows yet that it will be long
                        await asyncio.sleep(0)
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % self.length)
                writer.write(half)
                self.begun += 1
                await self.go_on.wait()
                writer.write(half + (b"0\r\n\r\n" if self.chunked else b""))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()
            self._open -= 1


def in_turns(loop: str, turns: Turns, limits: DeliveryLimits, count: int, expected: list[int]) -> Delivery:
    """So many deliveries at once; how much is claimed while the sink hesitates, and how long what they get is."""
    out: list[Delivery] = []

    async def scene() -> None:
        async with turns.running() as url:
            delivery = Delivery(limits, rng=lambda: 0.0)
            out.append(delivery)
            event = Event({**EVENT.attributes}, b"")
            terms = Terms(Destination(url), retries=0)
            tasks = [asyncio.create_task(deliver(delivery, event, terms)) for _ in range(count)]
            await settled(lambda: turns.begun == count and len(delivery.room.waiting) == count - 1)
            assert delivery.room.octets <= limits.held_answers
            (pool,) = delivery._pools.values()
            assert isinstance(pool, Pool)
            assert sum(one._transport.is_reading() for one in pool._connections) == 1
            turns.go_on.set()
            results = await asyncio.gather(*tasks)
            assert sorted(len(result.body) for result in results) == expected
            assert (delivery.room.octets, len(delivery.room.waiting)) == (0, 0)
            assert delivery.counters["answers_waited"] == count - 1
            assert not any(connection._body for connection in pool._connections)
            await delivery.close()

    run(loop, scene)
    return out[0]


@pytest.mark.parametrize("chunked", [False, True])
def test_long_answers_that_come_at_once_are_read_in_turns(loop: str, chunked: bool) -> None:
    limits = DeliveryLimits(body=1024 * KIB, held_answers=1500 * KIB)
    in_turns(loop, Turns(1024 * KIB, chunked=chunked), limits, 5, [1024 * KIB] * 5)


@pytest.mark.parametrize("chunked", [False, True])
def test_waiting_for_a_turn_takes_nothing_from_the_time_to_read(loop: str, chunked: bool) -> None:
    """The first stalls until its time is up; the others, which had to wait as long, are read then."""
    limits = DeliveryLimits(body=1024 * KIB, held_answers=1024 * KIB, read=1.0)
    turns = Turns(1024 * KIB, chunked=chunked)

    async def scene() -> None:
        async with turns.running() as url:
            delivery = Delivery(limits, rng=lambda: 0.0)
            terms = Terms(Destination(url), retries=0)
            first, second = [asyncio.create_task(deliver(delivery, EVENT, terms)) for _ in range(2)]
            await settled(lambda: len(delivery.room.waiting) == 1)
            delivery.limits = replace(limits, read=30.0)  # a busy machine may need more than 1 s for what is to succeed
            done, _ = await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
            turns.go_on.set()
            verdicts = {task.result().verdict for task in done}, (await first).verdict, (await second).verdict
            assert verdicts[0] == {Verdict.UNKNOWN}
            assert sorted(one.value for one in verdicts[1:]) == ["accepted", "unknown"]
            assert delivery.counters["timeout"] == 1
            await delivery.close()

    run(loop, scene)


def test_a_sink_that_is_gone_while_its_answer_waits(loop: str) -> None:
    limits = DeliveryLimits(body=1024 * KIB, held_answers=1024 * KIB)
    turns = Turns(1024 * KIB)

    async def scene() -> None:
        async with turns.running() as url:
            delivery = Delivery(limits, rng=lambda: 0.0)
            terms = Terms(Destination(url), retries=0)
            tasks = [asyncio.create_task(deliver(delivery, EVENT, terms, 20)) for _ in range(3)]
            await settled(lambda: len(delivery.room.waiting) == 2)
            await delivery.close()
            assert {(await task).verdict for task in tasks} == {Verdict.CANCELLED}
            assert (delivery.room.octets, len(delivery.room.waiting)) == (0, 0)

    run(loop, scene)


def test_limits_that_are_set_count_from_the_next_request_on(loop: str) -> None:
    async def scene() -> None:
        async with ScriptedSink(*[[answer(200, b"x" * 100)]] * 2).running() as sink:
            delivery = Delivery(rng=lambda: 0.0)
            terms = Terms(Destination(f"http://127.0.0.1:{sink.port}/"))
            assert (await deliver(delivery, EVENT, terms)).verdict is Verdict.ACCEPTED
            delivery.limits = DeliveryLimits(body=99, held_answers=77)
            assert (await deliver(delivery, EVENT, terms)).verdict is Verdict.BAD_GATEWAY
            assert (delivery.limits.body, delivery.room.max_octets) == (99, 77)
            await delivery.close()

    run(loop, scene)


def test_an_early_answer_leaves_no_half_request_behind(loop: str) -> None:
    """The sink answers before it has read the body: the connection can't be used again."""
    connections = []

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(413))

    async def scene() -> None:
        server = await asyncio.start_server(early, "127.0.0.1", 0, limit=KIB)
        delivery = Delivery()
        terms = Terms(Destination(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
        event = Event(EVENT.attributes, b"x" * (32 * 1024 * KIB))
        for number in (1, 2):
            result = await deliver(delivery, event, terms)
            assert (result.verdict, result.status) == (Verdict.REFUSED, 413)
            assert len(connections) == number
        await delivery.close()
        server.close()
        for writer in connections:
            writer.transport.abort()

    run(loop, scene)
