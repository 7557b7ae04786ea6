"""An inbox on loopback, a gate that remembers, and a raw HTTP client, in one loop of either kind."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry

from thinbridge.inbox import Inbox, InboxLimits
from thinbridge.protocols.base import Outbound, PushResult

TOKEN = "0123456789abcdef0123456789abcdef"
PATH = f"/r/{TOKEN}/1"
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
PATIENCE = 5.0
"""Seconds after which a test fails instead of hanging."""


def run(main: Coroutine[Any, Any, None], loop: str = "asyncio") -> None:
    """Run it to its end on a loop of that kind, in debug mode; nothing may be left over."""
    with asyncio.Runner(debug=True, loop_factory=LOOPS[loop]) as runner:
        runner.run(_alone(main))


async def _alone(main: Coroutine[Any, Any, None]) -> None:
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    await main
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert errors == []


class Gate:
    """A bridge that says what it is told to."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, int, Outbound]] = []
        self.published: list[tuple[str, Outbound]] = []
        self.result: PushResult | None = PushResult.DELIVERED
        self.held: asyncio.Event | None = None
        self.cancelled = 0
        self.error: Exception | None = None
        self.is_live = self.is_ready = True

    async def post(self, token: str, exchange: int, outbound: Outbound) -> PushResult | None:
        self.posts.append((token, exchange, outbound))
        if self.error:
            raise self.error
        if self.held:
            try:
                await self.held.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return self.result

    async def publish(self, subject: str, outbound: Outbound) -> int:
        self.published.append((subject, outbound))
        return len(self.published)

    def live(self) -> bool:
        return self.is_live

    def ready(self) -> bool:
        return self.is_ready

    def state(self) -> dict[str, Any]:
        return {"sinks": {"http://127.0.0.1:8080/": "up"}}


@dataclass
class Response:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Client:
    """One connection to the inbox."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def answer(self, *, head: bool = False) -> Response:
        """The next answer."""
        async with asyncio.timeout(PATIENCE):
            start, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            headers = dict(line.split(": ", 1) for line in lines)
            body = b"" if head else await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Response(int(start.split()[1]), headers, body)

    async def rest(self) -> bytes:
        """All that comes until the inbox closes; b"" also for a reset."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Response:
        """One request, one answer."""
        self.send(request(method, path, body, **headers))
        return await self.answer(head=method == "HEAD")

    async def post(self, body: bytes = b"", path: str = PATH, **headers: str) -> Response:
        """A POST to a reply address."""
        return await self.ask("POST", path, body, **headers)

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a request; `_` in a header's name is `-`."""
    lines = [f"{method} {path} HTTP/1.1", "host: inbox"]
    if body:
        lines.append(f"content-length: {len(body)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@dataclass
class Rig:
    """A running inbox."""

    inbox: Inbox
    gate: Gate
    registry: CollectorRegistry
    clients: list[Client] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.inbox.url.rpartition(":")[2])

    async def client(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Response:
        """One request on a connection of its own."""
        return await (await self.client()).ask(method, path, body, **headers)

    def refused(self, reason: str) -> float | None:
        """What `/metrics` says was turned away."""
        return self.registry.get_sample_value("thinbridge_inbox_refused_total", {"reason": reason})


@asynccontextmanager
async def serving(
    limits: InboxLimits | None = None, host: str = "127.0.0.1", token_file: str | None = None
) -> AsyncIterator[Rig]:
    """An inbox, stopped at the end."""
    gate, registry = Gate(), CollectorRegistry()
    rig = Rig(Inbox(host, 0, gate, registry, limits, token_file), gate, registry)
    await rig.inbox.start()
    try:
        yield rig
    finally:
        await rig.inbox.stop()
        for client in rig.clients:
            await client.close()
