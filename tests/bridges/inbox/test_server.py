"""The inbox's life: bind, serve, stop."""

import asyncio
import gc
import logging
import signal
import socket

import pytest
from prometheus_client import CollectorRegistry
from tests.bridges.inbox.rig import LOOPS, PATIENCE, Client, Gate, run, serving
from tests.waiting import until

from thinbridge.errors import ListenError
from thinbridge.inbox import Inbox, InboxLimits


def inbox(host: str = "127.0.0.1", port: int = 0) -> Inbox:
    return Inbox(host, port, Gate(), CollectorRegistry())


@pytest.mark.parametrize("loop", LOOPS)
def test_fifty_lives_leave_nothing(loop: str) -> None:
    """One inbox, started and stopped, with a connection that is open, one that asks, one that has asked."""

    async def main() -> None:
        one = inbox()
        for _ in range(50):
            await one.start()
            port = int(one.url.rpartition(":")[2])
            clients = [Client(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(3)]
            assert (await clients[0].ask("GET", "/health/live")).status == 200
            clients[1].send(b"GET /health/live")
            await until(lambda: one.connections == 3)
            await one.stop()
            assert one.connections == 0
            for client in clients:
                assert await client.rest() == b""
                await client.close()
            with socket.socket() as free:
                free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                free.bind(("127.0.0.1", port))

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    handlers = list(logging.getLogger().handlers)
    run(main(), loop)
    gc.collect()  # a socket left open is a ResourceWarning, and that an error
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert logging.getLogger().handlers == handlers


@pytest.mark.parametrize("loop", LOOPS)
def test_taken_port(loop: str) -> None:
    async def main() -> None:
        async with serving() as rig:
            with pytest.raises(ListenError) as caught:
                await inbox(port=rig.port).start()
            expected = (
                f"http.listen: 127.0.0.1:{rig.port}: Address already in use; use another address or port (0: any)"
            )
            assert str(caught.value) == expected

    run(main(), loop)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "a" * 64])
def test_address_that_is_not_ours(host: str) -> None:
    async def main() -> None:
        with pytest.raises(ListenError) as caught:
            await inbox(host).start()
        assert str(caught.value).startswith(f"http.listen: {host}:0: ")
        assert "\n" not in str(caught.value)

    run(main())


def test_stop_before_start() -> None:
    run(inbox().stop())


def test_address_that_was_given() -> None:
    async def main() -> None:
        one = inbox()
        assert one.url == ""
        await one.start()
        assert one.url.startswith("http://127.0.0.1:")
        await one.stop()

    run(main())


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
@pytest.mark.parametrize(
    ("host", "url", "peers"), [("::1", "http://[::1]:", ["::1"]), ("::", "http://[::]:", ["::1", "127.0.0.1"])]
)
def test_ipv6(host: str, url: str, peers: list[str]) -> None:
    async def main() -> None:
        one = inbox(host)
        await one.start()
        assert one.url.startswith(url)
        for peer in peers:
            client = Client(*await asyncio.open_connection(peer, int(one.url.rpartition(":")[2])))
            assert (await client.ask("GET", "/health/live")).status == 200
            await client.close()
        await one.stop()

    run(main())


@pytest.mark.parametrize("loop", LOOPS)
def test_no_answer_waits_for_an_acknowledgement(loop: str) -> None:
    """Nagle's algorithm is off: with it an answer takes 40 ms, since it goes out in two writes."""

    async def main() -> None:
        async with serving() as rig:
            assert (await rig.ask("GET", "/health/live")).status == 200
            [connection] = rig.inbox._floor.connections
            sock: socket.socket = connection.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_answers_under_way_are_finished(loop: str) -> None:
    async def main() -> None:
        async with serving() as rig:
            rig.gate.held = asyncio.Event()
            client = await rig.client()
            post = asyncio.ensure_future(client.post(b"on"))
            await until(lambda: len(rig.gate.posts) == 1)
            stop = asyncio.ensure_future(rig.inbox.stop())
            await asyncio.sleep(0)
            rig.gate.held.set()
            assert (await post).status == 200
            assert await client.rest() == b""
            await asyncio.wait_for(stop, PATIENCE)

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_grace_is_over(loop: str) -> None:
    async def main() -> None:
        async with serving(InboxLimits(grace=0.02)) as rig:
            rig.gate.held = asyncio.Event()
            client = await rig.client()
            client.send(b"POST /r/0123456789abcdef0123456789abcdef/1 HTTP/1.1\r\ncontent-length: 2\r\n\r\non")
            await until(lambda: len(rig.gate.posts) == 1)
            await asyncio.wait_for(rig.inbox.stop(), PATIENCE)
            assert rig.inbox.connections == 0
            assert await client.rest() == b""
            assert rig.gate.cancelled == 1

    run(main(), loop)


def test_metrics_only_while_it_runs() -> None:
    async def main() -> None:
        async with serving() as rig:
            await rig.client()
            await until(lambda: rig.inbox.connections == 1)
            assert rig.registry.get_sample_value("thinbridge_inbox_connections") == 1
            await rig.inbox.stop()
            assert rig.registry.get_sample_value("thinbridge_inbox_connections") is None

    run(main())
