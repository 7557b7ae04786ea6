"""Bodies of hundreds of kilobytes by clients that we did not write, and our device side against libcoap's server.

Small ones, ETSI's scenarios and losses are in `plugtest`.
"""

import asyncio
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket

import aiocoap
import pytest
from tests.interop.bridges import World, standing, world
from tests.interop.plugtest.clients import libcoap
from tests.waiting import until_now

from thinbridge.cli.message import Message
from thinbridge.device.base import Result
from thinbridge.testing.function import Answer, Posted

BODY = bytes(range(256)) * 1200  # 300 kB
ETAG = {"etag": '"v1"'}

peer = pytest.mark.peer("coap-client-notls")


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scene())  # type: ignore[arg-type]


def large(posted: Posted) -> Answer:
    """A function that answers with what it got, or with much."""
    return Answer(200, ETAG, posted.body or BODY)


def listening(options: str) -> list[str]:
    """Where a bridge listens, CoAP with options."""
    return [f"coap://127.0.0.1:0?{options}", "mqtt://127.0.0.1:0", "udp://127.0.0.1:0"]


def fetch(w: World, to: Path, *arguments: object) -> bytes:
    """What libcoap's client writes to a file."""
    said = libcoap(w.coap, "/firmware", "-L", "3", "-o", to, *arguments)
    assert to.exists(), said
    return to.read_bytes()


@peer
@pytest.mark.parametrize("arguments", [[], ["-b", "256"], ["-N"]], ids=" ".join)
def test_libcoap_down(arguments: list[str], tmp_path: Path) -> None:
    with standing(large) as w:
        assert fetch(w, tmp_path / "got", *arguments) == BODY
        assert len(w.sink.posted) == 1


@peer
@pytest.mark.parametrize("arguments", [["-b", "1024"], ["-b", "256"], ["-N"]], ids=" ".join)
@pytest.mark.parametrize("method", ["put", "fetch"])
def test_libcoap_up_and_down(method: str, arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(BODY)
    with standing(large) as w:
        assert fetch(w, tmp_path / "got", "-m", method, "-f", tmp_path / "body", *arguments) == BODY
        assert [posted.body for posted in w.sink.posted] == [BODY]


@peer
def test_libcoap_hears_that_it_is_too_much(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(BODY)
    with standing(large, listen=listening("max_upload=100000")) as w:
        said = libcoap(w.coap, "/firmware", "-m", "put", "-f", tmp_path / "body", "-b", "1024")
        assert said.strip() == "4.13 too large"
        assert not w.sink.posted


def ranged(posted: Posted) -> Answer:
    """A function that keeps to what it is asked for; the first request gets a first part."""
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", posted.headers.get("ce-coaprange", "bytes=0-1023"))
    assert found
    first, last = int(found[1]), min(int(found[2]), len(BODY) - 1)
    return Answer(206, ETAG | {"content-range": f"bytes {first}-{last}/{len(BODY)}"}, BODY[first : last + 1])


@peer
@pytest.mark.parametrize(
    ("script", "posts"), [(ranged, 300), (large, 300)], ids=["in parts", "the whole each time: it is not kept"]
)
def test_libcoap_and_a_function_that_is_asked_for_each_block(
    script: Callable[[Posted], Answer], posts: int, tmp_path: Path
) -> None:
    with standing(script, listen=listening("downloads_in_all=1000")) as w:
        assert fetch(w, tmp_path / "got") == BODY
        assert len({posted.headers["ce-id"] for posted in w.sink.posted}) == posts


def test_aiocoap_up_and_down() -> None:
    async def scene() -> None:
        async with world(large) as w:
            context = await aiocoap.Context.create_client_context()
            uri = f"coap://127.0.0.1:{w.coap}/firmware"
            for code, payload in ((aiocoap.GET, b""), (aiocoap.PUT, BODY), (aiocoap.FETCH, BODY[:5000])):
                message = aiocoap.Message(code=code, uri=uri, payload=payload)
                response = await asyncio.wait_for(context.request(message).response, 40)
                assert response.payload == (payload or BODY)
            await context.shutdown()
            assert [posted.body for posted in w.sink.posted] == [b"", BODY, BODY[:5000]]

    play(scene)


def test_two_of_aiocoaps_at_once() -> None:
    """By one endpoint, to one resource, told apart by their queries: no block gets into the other's body."""

    async def scene() -> None:
        async with world(large) as w:
            context = await aiocoap.Context.create_client_context()
            bodies = [bytes((number,)) * 20_000 for number in range(4)]
            requests = [
                context.request(
                    aiocoap.Message(code=aiocoap.POST, uri=f"coap://127.0.0.1:{w.coap}/log?{number}", payload=body)
                ).response
                for number, body in enumerate(bodies)
            ]
            responses = await asyncio.wait_for(asyncio.gather(*requests), 40)
            await context.shutdown()
            assert [response.payload for response in responses] == bodies
            assert sorted(posted.body for posted in w.sink.posted) == bodies

    play(scene)


def test_send_up_and_down() -> None:
    with standing(large) as w:
        for data in (None, BODY):
            result = Message(f"coap://127.0.0.1:{w.coap}/firmware", data).send(40)
            assert result is not None
            assert (result.ok, result.data) == (True, BODY)


# --- Our device side, and a server that we did not write -----------------------------------------------------------


@contextmanager
def server() -> Iterator[int]:
    """The server, whose resources can be put; where it listens."""
    with socket(AF_INET, SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    process = subprocess.Popen(["coap-server-notls", "-A", "127.0.0.1", "-p", str(port), "-d", "10"], stdout=sys.stderr)
    try:
        until_now(lambda: (result := ask(port, "/")) is not None and result.ok, 20)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def ask(port: int, path: str, data: bytes | None = None, method: str | None = None) -> Result | None:
    """What our device hears of a server; None: it does not listen yet."""
    try:
        return Message(f"coap://127.0.0.1:{port}{path}", data, method).send(20)
    except OSError:
        return None


@pytest.mark.peer("coap-server-notls")
def test_libcoaps_server() -> None:
    with server() as port:
        put, got = ask(port, "/x", BODY[:50_000], "PUT"), ask(port, "/x")
        assert put is not None
        assert got is not None
        assert (put.ok, got.data) == (True, BODY[:50_000])
