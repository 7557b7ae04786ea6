"""What the inbox answers, over real HTTP."""

import asyncio
import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.bridges.inbox.rig import TOKEN, run, serving
from tests.waiting import until

from thinbridge.inbox import InboxLimits
from thinbridge.protocols.base import Outbound, PushResult

EVENT = {
    "ce_id": "1",
    "ce_source": "/functions/thermostat",
    "ce_type": "dev.example.command",
    "ce_specversion": "1.0",
    "ce_mqtttopic": "home/heating",
    "content_type": "application/json",
}
ATTRIBUTES = {
    "id": "1",
    "source": "/functions/thermostat",
    "type": "dev.example.command",
    "specversion": "1.0",
    "mqtttopic": "home/heating",
    "datacontenttype": "application/json",
}


@pytest.mark.parametrize(
    ("result", "status", "text"),
    [
        (PushResult.DELIVERED, 200, "delivered"),
        (PushResult.QUEUED, 202, "queued"),
        (PushResult.REFUSED, 422, "refused: no subscription, no observation and no topic takes it"),
        (PushResult.TOO_LARGE, 413, "too large"),
        (PushResult.BUSY, 503, "busy: the device is away or its queue is full; try again"),
        (PushResult.GONE, 410, "gone"),
        (None, 404, "no such session"),
    ],
)
def test_result_is_said(result: PushResult | None, status: int, text: str) -> None:
    async def main() -> None:
        async with serving() as rig:
            rig.gate.result = result
            answer = await (await rig.client()).post(b"on", content_type="text/plain")
            assert answer.status == status
            assert result is None or answer.status == result.value
            assert answer.body.decode().startswith(text)
            assert answer.body.count(b"\n") == 1
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
            assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
            assert answer.headers["date"].endswith("GMT")

    run(main())


def test_plain_bodies() -> None:
    async def main() -> None:
        async with serving() as rig:
            client = await rig.client()
            await client.post(b"on\x00\xff", path=f"/r/{TOKEN}/7", content_type="text/plain")
            await client.post(b"on")
            await client.post()
            assert rig.gate.posts == [
                (TOKEN, 7, Outbound("text/plain", b"on\x00\xff")),
                (TOKEN, 1, Outbound(None, b"on")),
                (TOKEN, 1, Outbound(None, b"")),
            ]

    run(main())


def test_events_in_both_modes() -> None:
    async def main() -> None:
        async with serving() as rig:
            client = await rig.client()
            await client.post(b'{"on": true}', **EVENT)
            structured = {**ATTRIBUTES, "data_base64": "AAE="}
            await client.post(json.dumps(structured).encode(), content_type="application/cloudevents+json")
            assert rig.gate.posts == [
                (TOKEN, 1, Outbound("application/json", b'{"on": true}', ATTRIBUTES, True)),
                (TOKEN, 1, Outbound("application/json", b"\x00\x01", ATTRIBUTES, True)),
            ]

    run(main())


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"on", {"ce_specversion": "1.0", "ce_id": "1"}),
        (b"{", {"content_type": "application/cloudevents+json"}),
        (b"[]", {"content_type": "application/cloudevents-batch+json"}),
        (b"on", {"content_type": "text/plän"}),
    ],
)
def test_malformed_event(body: bytes, headers: dict[str, str]) -> None:
    async def main() -> None:
        async with serving() as rig:
            answer = await (await rig.client()).post(body, **headers)
            assert answer.status == 400
            assert answer.body.startswith(b"malformed: ")
            assert answer.body.count(b"\n") == 1
            assert rig.gate.posts == []
            assert rig.refused("malformed_event") == 1

    run(main())


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/r",
        f"/r/{TOKEN}",
        f"/r/{TOKEN}/",
        f"/r/{TOKEN}/x",
        f"/r/{TOKEN}/-1",
        f"/r/{TOKEN}/1/",
        f"/r/{TOKEN}/1\\",
        f"/r/{TOKEN}/{'9' * 16}",
        f"/r/{TOKEN}/%D9%A1",  # ARABIC-INDIC DIGIT ONE
        f"/r/{TOKEN}/1%0A",
        "/r/short/1",
        f"/r/{'a' * 65}/1",
        f"/r/{TOKEN[:-1]}%2e/1",
        f"/r/../r/{TOKEN}/1",
        f"//r/{TOKEN}/1",
        "/health",
        "/health/live/",
        "/metrics/x",
    ],
)
def test_not_found(path: str) -> None:
    async def main() -> None:
        async with serving() as rig:
            client = await rig.client()
            for method in ("POST", "GET", "OPTIONS"):
                answer = await client.ask(method, path)
                assert (answer.status, answer.body) == (404, b"not found\n")
            assert rig.gate.posts == []

    run(main())


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", f"/r/{TOKEN}/1", "POST, OPTIONS"),
        ("PUT", f"/r/{TOKEN}/1", "POST, OPTIONS"),
        ("DELETE", f"/r/{TOKEN}/1", "POST, OPTIONS"),
        ("POST", "/health/live", "GET, HEAD"),
        ("POST", "/health/ready", "GET, HEAD"),
        ("OPTIONS", "/metrics", "GET, HEAD"),
    ],
)
def test_method_not_allowed(method: str, path: str, allow: str) -> None:
    """RFC 9110 §15.5.6."""

    async def main() -> None:
        async with serving() as rig:
            answer = await rig.ask(method, path)
            assert (answer.status, answer.headers["allow"]) == (405, allow)
            assert rig.gate.posts == []

    run(main())


def test_webhook_consent() -> None:
    """CloudEvents webhook §4.2: the same for every well-formed address, so that it tells nothing about sessions."""

    async def main() -> None:
        async with serving() as rig:
            answer = await rig.ask(
                "OPTIONS", f"/r/{TOKEN}/1", WebHook_Request_Origin="eventing.example.com", WebHook_Request_Rate="120"
            )
            assert answer.status == 200
            assert answer.headers["webhook-allowed-origin"] == "*"
            assert answer.headers["webhook-allowed-rate"] == "*"
            assert answer.headers["allow"] == "POST, OPTIONS"
            assert rig.gate.posts == []

    run(main())


def test_body_of_the_limit_and_one_more() -> None:
    async def main() -> None:
        async with serving(InboxLimits(body=1000)) as rig:
            client = await rig.client()
            assert (await client.post(b"x" * 1000)).status == 200
            answer = await client.post(b"x" * 1001)
            assert (answer.status, answer.body) == (413, b"too large: at most 1000 bytes\n")
            assert (await client.post(b"on")).status == 200, "the rest is read, the connection goes on"
            assert [len(post[2].data) for post in rig.gate.posts] == [1000, 2]
            assert rig.refused("too_large") == 1

    run(main())


def test_chunked_body_over_the_limit() -> None:
    async def main() -> None:
        async with serving(InboxLimits(body=1000)) as rig:
            client = await rig.client()
            client.send(request_chunked(), b"2ee\r\n" + b"x" * 750 + b"\r\n")
            await client.writer.drain()
            client.send(b"2ee\r\n" + b"x" * 750 + b"\r\n")
            assert (await client.answer()).status == 413
            client.send(b"0\r\n\r\n")
            assert (await client.post(b"on")).status == 200
            assert len(rig.gate.posts) == 1

    run(main())


def request_chunked() -> bytes:
    return f"POST /r/{TOKEN}/1 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()


def test_expect_continue() -> None:
    """RFC 9110 §10.1.1: 100 before the body, or the refusal instead, and then the connection ends."""

    async def main() -> None:
        async with serving(InboxLimits(body=1000)) as rig:
            client = await rig.client()
            client.send(f"POST /r/{TOKEN}/1 HTTP/1.1\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n".encode())
            assert (await client.answer()).status == 100
            client.send(b"on")
            assert (await client.answer()).status == 200
            client.send(f"POST /r/{TOKEN}/1 HTTP/1.1\r\ncontent-length: 2000\r\nexpect: 100-continue\r\n\r\n".encode())
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (413, "close")
            assert await client.rest() == b""

    run(main())


def test_too_many_pushes_leave_room_for_probes() -> None:
    async def main() -> None:
        async with serving(InboxLimits(pushes=2)) as rig:
            rig.gate.held = asyncio.Event()
            waiting = [await rig.client() for _ in range(2)]
            posts = [asyncio.ensure_future(client.post(b"on")) for client in waiting]
            await until(lambda: len(rig.gate.posts) == 2)
            answer = await (await rig.client()).post(b"on")
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert (await rig.ask("GET", "/health/live")).status == 200
            assert rig.refused("pushes_full") == 1
            rig.gate.held.set()
            assert [answer.status for answer in await asyncio.gather(*posts)] == [200, 200]
            assert (await waiting[0].post(b"on")).status == 200

    run(main())


def test_silent_device() -> None:
    """The push goes on; only the waiting for its outcome ends."""

    async def main() -> None:
        async with serving(InboxLimits(wait=0.02)) as rig:
            rig.gate.held = asyncio.Event()
            answer = await (await rig.client()).post(b"on")
            assert (answer.status, answer.body) == (202, b"sent: the device has not acknowledged it yet\n")
            assert rig.gate.cancelled == 1

    run(main())


def test_client_leaves_before_its_body_is_complete() -> None:
    async def main() -> None:
        async with serving() as rig:
            client = await rig.client()
            client.send(f"POST /r/{TOKEN}/1 HTTP/1.1\r\ncontent-length: 3\r\n\r\non".encode())
            await client.writer.drain()
            await client.close()
            await until(lambda: rig.inbox.connections == 0)
            assert rig.gate.posts == []

    run(main())


def test_client_leaves_while_the_device_is_asked() -> None:
    async def main() -> None:
        async with serving() as rig:
            rig.gate.held = asyncio.Event()
            client = await rig.client()
            client.send(f"POST /r/{TOKEN}/1 HTTP/1.1\r\ncontent-length: 2\r\n\r\non".encode())
            await until(lambda: len(rig.gate.posts) == 1)
            await client.close()
            await until(lambda: rig.inbox.connections == 0)
            rig.gate.held.set()
            assert (await rig.ask("GET", "/health/live")).status == 200
            assert rig.gate.cancelled == 0

    run(main())


def test_bug_behind_the_gate() -> None:
    async def main() -> None:
        loop, seen = asyncio.get_running_loop(), list[dict[str, Any]]()
        handler = loop.get_exception_handler()
        loop.set_exception_handler(lambda _, context: seen.append(context))
        async with serving() as rig:
            rig.gate.error = ZeroDivisionError("secret")
            answer = await (await rig.client()).post(b"on")
            assert (answer.status, answer.body) == (500, b"internal error\n")
            assert [context["exception"] for context in seen] == [rig.gate.error]
            assert rig.refused("failed") == 1
        loop.set_exception_handler(handler)

    run(main())


def test_live() -> None:
    async def main() -> None:
        async with serving() as rig:
            client = await rig.client()
            assert (await client.ask("GET", "/health/live")).status == 200
            rig.gate.is_live = False
            assert (await client.ask("GET", "/health/live")).status == 503

    run(main())


def test_ready() -> None:
    async def main() -> None:
        async with serving() as rig:
            client = await rig.client()
            answer = await client.ask("GET", "/health/ready")
            assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
            assert json.loads(answer.body) == rig.gate.state()
            rig.gate.is_ready = False
            answer = await client.ask("GET", "/health/ready")
            assert answer.status == 503
            assert json.loads(answer.body) == rig.gate.state()

    run(main())


def test_head() -> None:
    async def main() -> None:
        async with serving() as rig:
            client = await rig.client()
            for path in ("/health/live", "/health/ready", "/metrics"):
                assert (await client.ask("HEAD", path)).status == 200
            assert (await client.ask("GET", "/health/live")).body == b"live\n"

    run(main())


def test_metrics() -> None:
    async def main() -> None:
        async with serving() as rig:
            answer = await rig.ask("GET", "/metrics")
            assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            families = {family.name for family in text_string_to_metric_families(answer.body.decode())}
            assert families == {"thinbridge_inbox_connections", "thinbridge_inbox_refused"}

    run(main())
