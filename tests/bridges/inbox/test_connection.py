"""The bounds of a connection: bytes, time, number. Peers here are slow, endless, wrong or many."""

import asyncio
import logging
import random
import socket
import struct
import time
from collections.abc import Iterator

import pytest
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from tests.bridges.inbox.rig import LOOPS, PATH, PATIENCE, Client, request, run, serving
from tests.waiting import until

from thinbridge.inbox import InboxLimits

POST = request("POST", PATH, b"on")
both_loops = pytest.mark.parametrize("loop", LOOPS)


# --- Time (RFC 9110 §15.5.9) -----------------------------------------------------------------------------------


@both_loops
@pytest.mark.parametrize("sent", [b"P", POST[:30], POST[:-1], b"\r\n"])
def test_slow_request(loop: str, sent: bytes) -> None:
    async def main() -> None:
        async with serving(InboxLimits(request=0.05)) as rig:
            client = await rig.client()
            client.send(sent)
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (408, "close")
            assert await client.rest() == b""
            assert rig.refused("too_slow") == 1
            assert rig.gate.posts == []

    run(main(), loop)


@both_loops
def test_a_byte_now_and_then_buys_no_time(loop: str) -> None:
    async def main() -> None:
        async with serving(InboxLimits(request=0.1)) as rig:
            client = await rig.client()
            started = time.monotonic()
            rest = asyncio.ensure_future(client.rest())
            for byte in request("POST", PATH, b"x" * 10_000):
                client.send(bytes([byte]))
                if (await asyncio.wait([rest], timeout=0.005))[0]:
                    break
            await rest  # a byte that was under way at the close may have reset the connection, answer and all
            assert rig.refused("too_slow") == 1
            assert time.monotonic() - started < PATIENCE / 5

    run(main(), loop)


def test_silent_from_the_start() -> None:
    """As a TCP probe is: closed without a word, and without a count."""

    async def main() -> None:
        async with serving(InboxLimits(request=0.03)) as rig:
            assert await (await rig.client()).rest() == b""
            assert rig.refused("too_slow") is None

    run(main())


def test_silent_between_requests() -> None:
    async def main() -> None:
        async with serving(InboxLimits(idle=0)) as rig:
            client = await rig.client()
            assert (await client.post(b"on")).status == 200
            assert await client.rest() == b""

    run(main())


def test_line_ends_between_requests_buy_no_time() -> None:
    """A parser ignores them (RFC 9112 §2.2), and uvicorn's idle timer ends at any byte."""

    async def main() -> None:
        async with serving(InboxLimits(request=0.05)) as rig:
            client = await rig.client()
            assert (await client.post(b"on")).status == 200
            client.send(b"\r\n")
            assert b" 408 " in await client.rest()

    run(main())


def test_rest_of_a_refused_body_has_its_time_too() -> None:
    async def main() -> None:
        async with serving(InboxLimits(body=10, request=0.05)) as rig:
            client = await rig.client()
            client.send(POST.replace(b"length: 2", b"length: 20"))
            assert (await client.answer()).status == 413
            assert await client.rest() == b"", "no second answer to one request"

    run(main())


def test_idle_after_a_refused_body() -> None:
    async def main() -> None:
        async with serving(InboxLimits(body=10, idle=0)) as rig:
            client = await rig.client()
            client.send(POST.replace(b"length: 2", b"length: 20"))
            assert (await client.answer()).status == 413
            client.send(b"x" * 18)
            assert await client.rest() == b""

    run(main())


class Megabytes(Collector):
    """More than socket buffers hold."""

    def collect(self) -> Iterator[Metric]:
        for number in range(16):
            yield InfoMetricFamily(f"big{number}", "x" * 1_000_000)


@both_loops
@pytest.mark.parametrize(
    ("connection", "limits"), [("close", InboxLimits(request=0.1)), ("keep-alive", InboxLimits(idle=0))]
)
def test_peer_that_takes_no_answer(loop: str, connection: str, limits: InboxLimits) -> None:
    async def main() -> None:
        async with serving(limits) as rig:
            rig.registry.register(Megabytes())
            with socket.create_connection(("127.0.0.1", rig.port)) as deaf:
                deaf.sendall(request("GET", "/metrics", connection=connection))
                await until(lambda: rig.inbox.connections == 1)
                await until(lambda: rig.inbox.connections == 0)

    run(main(), loop)


# --- Bytes (RFC 6585 §5) ---------------------------------------------------------------------------------------


@both_loops
@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * 5000,
        b"GET / HTTP/1.1\r\nx: " + b"a" * 5000,
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 1000,
        b"GET / HTTP/1.1\r\nx: " + b"a" * 3000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 1000,
    ],
)
@pytest.mark.parametrize("step", [50, 100_000])
def test_head_too_large(loop: str, sent: bytes, step: int) -> None:
    async def main() -> None:
        async with serving(InboxLimits(head=2000)) as rig:
            client = await rig.client()
            for start in range(0, 2100, step):  # no more than it reads: what is left unread would reset the connection
                client.send(sent[start : start + step])
                await asyncio.sleep(0)
            answer = await client.answer()
            # Trailers come when the path is known: whichever of the two answers is first.
            assert answer.status == 431 or (b"chunked" in sent and answer.status == 404)
            await client.rest()
            assert rig.refused("head_too_large") == 1

    run(main(), loop)


def test_head_of_the_limit() -> None:
    async def main() -> None:
        async with serving(InboxLimits(head=2000)) as rig:
            assert (await rig.ask("GET", "/health/live", x="a" * 1900)).status == 200

    run(main())


@both_loops
def test_endless_chunk_extension(loop: str) -> None:
    """RFC 9112 §7.1.1: bytes that are no body."""

    async def main() -> None:
        async with serving(InboxLimits(head=2000, body=1000)) as rig:
            client = await rig.client()
            client.send(f"POST {PATH} HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n".encode())
            client.send(b"1;" + b"a" * 7000)
            assert (await client.answer()).status == 400
            assert rig.gate.posts == []

    run(main(), loop)


def test_body_without_end_after_its_refusal() -> None:
    async def main() -> None:
        async with serving(InboxLimits(head=2000, body=1000)) as rig:
            client = await rig.client()
            client.send(POST.replace(b"length: 2", b"length: 2000000"))
            assert (await client.answer()).status == 413
            client.send(b"x" * 1_000_000)
            assert await client.rest() == b""

    run(main())


# --- What is no request ----------------------------------------------------------------------------------------


@both_loops
@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS ClientHello
        b"GET / HTTP/9.9\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"CONNECT 169.254.169.254:80 HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        POST.replace(b"host: inbox", b"connection: upgrade, http2-settings\r\nupgrade: h2c"),
        POST.replace(b"host: inbox", b"connection: upgrade\r\nupgrade: websocket"),
    ],
)
def test_malformed(loop: str, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving() as rig:
            client = await rig.client()
            client.send(sent)
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"], answer.body) == (400, "close", b"bad request\n")
            assert await client.rest() == b""
            assert rig.refused("malformed") == 1
            assert rig.gate.posts == []

    caplog.set_level(logging.DEBUG)
    run(main(), loop)
    assert [record for record in caplog.records if record.name != "asyncio"] == []


@both_loops
def test_answer_first_then_refuse(loop: str) -> None:
    """Garbage, or a request, behind one that is not answered yet: RFC 9112 §9.3.2 lets us close after the answer."""

    async def main() -> None:
        async with serving() as rig:
            for second in (POST, b"\x00garbage", b"\r\n"):
                for apart in (False, True):
                    rig.gate.posts.clear()
                    rig.gate.held = asyncio.Event()
                    client = await rig.client()
                    client.send(POST if apart else POST + second)
                    await until(lambda: len(rig.gate.posts) == 1)
                    if apart:
                        client.send(second * 10_000)
                        await asyncio.sleep(0.005)
                    rig.gate.held.set()
                    assert (await client.answer()).status == 200
                    if apart or second != b"\r\n":
                        assert await client.rest() == b""
                    assert len(rig.gate.posts) == 1

    run(main(), loop)


@both_loops
def test_mutated_requests(loop: str) -> None:
    """Whatever comes, the connection ends or answers, and the next good client is served."""

    async def one(client: Client, sent: bytes) -> None:
        client.send(sent)
        client.writer.write_eof()
        await client.rest()
        await client.close()

    async def main() -> None:
        chance = random.Random(7)
        good = request("POST", PATH, b"3\r\nabc\r\n0\r\n\r\n", ce_id="1", ce_specversion="1.0", expect="100-continue")
        chunked = good.replace(b"content-length: 13", b"transfer-encoding: chunked")
        async with serving(InboxLimits(head=300, body=5, request=0.5)) as rig:
            for _ in range(150):
                sent = bytearray(chance.choice((good, chunked, POST)) * chance.randint(1, 3))
                for _ in range(chance.randint(1, 4)):
                    at = chance.randrange(len(sent))
                    sent[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
                await one(await rig.client(), bytes(sent))
            assert (await rig.ask("GET", "/health/live")).status == 200
            await until(lambda: rig.inbox.connections == 1)

    run(main(), loop)


# --- Number ----------------------------------------------------------------------------------------------------


@both_loops
def test_the_one_silent_for_longest_makes_room(loop: str) -> None:
    async def main() -> None:
        async with serving(InboxLimits(connections=3)) as rig:
            first, second, third = [await rig.client() for _ in range(3)]
            for client in (second, first, third):
                assert (await client.post(b"on")).status == 200
            assert (await rig.ask("GET", "/health/live")).status == 200
            assert await second.rest() == b""
            assert (await first.post(b"on")).status == 200
            assert rig.refused("evicted") == 1

    run(main(), loop)


@both_loops
def test_no_room_while_all_work(loop: str) -> None:
    async def main() -> None:
        async with serving(InboxLimits(connections=2)) as rig:
            rig.gate.held = asyncio.Event()
            posts = [asyncio.ensure_future((await rig.client()).post(b"on")) for _ in range(2)]
            await until(lambda: len(rig.gate.posts) == 2)
            answer = await (await rig.client()).answer()
            assert (answer.status, answer.headers["connection"]) == (503, "close")
            assert rig.refused("connections_full") == 1
            rig.gate.held.set()
            assert [answer.status for answer in await asyncio.gather(*posts)] == [200, 200]

    run(main(), loop)


@both_loops
def test_slowloris(loop: str) -> None:
    """Many slow ones hold less than the limit, go by the deadline, and no good client waits for them."""

    async def main() -> None:
        async with serving(InboxLimits(connections=100, request=0.5)) as rig:
            slow = [await rig.client() for _ in range(300)]
            for client in slow:
                client.send(POST[:20])
            started = time.monotonic()
            assert (await rig.ask("GET", "/health/live")).status == 200
            assert time.monotonic() - started < 1
            assert rig.inbox.connections <= 101
            await asyncio.gather(*(client.rest() for client in slow))  # or it fails, after `PATIENCE`

    run(main(), loop)


@both_loops
def test_reset_leaves_no_timer(loop: str) -> None:
    async def main() -> None:
        async with serving() as rig:
            for sent in (b"", b"GET", POST):
                peer = socket.create_connection(("127.0.0.1", rig.port))
                peer.sendall(sent)
                await until(lambda: rig.inbox.connections == 1)
                if sent == POST:
                    await until(lambda: len(rig.gate.posts) == 1)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.close()
                await until(lambda: rig.inbox.connections == 0)
        scheduled = getattr(asyncio.get_running_loop(), "_scheduled", [])
        assert [handle for handle in scheduled if not handle.cancelled()] == []

    run(main(), loop)
