"""The fake function: `Function` answers in virtual time, `Sink` is a small real HTTP server for tests of whole bridges.

Both are scripted and remember what they were given. Neither checks events: that is what tests are for.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random

from thinbridge.protocols.base import Inbound, Outcome, Reply
from thinbridge.testing.closing import close

# --- In virtual time -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """What becomes of one delivery."""

    after: float
    """Seconds until it is known."""
    reply: Reply
    """What the session is told then."""
    accepted: bool
    """The sink said 2xx, whether or not anyone heard it."""


class Function:
    """A bridge's delivery and the function behind it, in virtual time: called once per message.

    Args:
        seed: where chance comes from.
        latency: seconds, from and to.
        patience: seconds after which a delivery is given up: the session is told UNKNOWN.
        fail: chance that it can't be reached.
        refuse: chance that it refuses the message.
        lose: chance that it accepts, and its answer is lost: the session is told UNKNOWN.
        reply: makes the answer's body; the message itself if not given.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        latency: tuple[float, float] = (0.0, 0.2),
        patience: float = 60.0,
        fail: float = 0.0,
        refuse: float = 0.0,
        lose: float = 0.0,
        reply: Callable[[Inbound], bytes] = lambda inbound: inbound.data,
    ) -> None:
        self._random = Random(seed)
        self._latency = latency
        self._patience = patience
        self._fail, self._refuse, self._lose = fail, refuse, lose
        self._reply = reply
        self.calls: list[Inbound] = []
        """Every message, in order."""

    def __call__(self, inbound: Inbound) -> Call:
        """What becomes of this message."""
        self.calls.append(inbound)
        after = self._random.uniform(*self._latency)
        if self._chance(self._fail):
            return Call(after, Reply(Outcome.OVERLOADED), False)
        if self._chance(self._refuse):
            return Call(after, Reply(Outcome.REFUSED, 400), False)
        if after > self._patience or self._chance(self._lose):
            return Call(self._patience, Reply(Outcome.UNKNOWN), True)
        return Call(after, Reply(Outcome.ACCEPTED, 200, inbound.content_type, self._reply(inbound)), True)

    def _chance(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability


# --- Over HTTP ---------------------------------------------------------------------------------------------------

MAX_BODY = 16 << 20
"""Bytes; a test that posts more has a bug."""


@dataclass(frozen=True, slots=True)
class Posted:
    """One HTTP request that the sink got."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sink says to one."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    after: float = 0.0
    """Seconds to wait first."""
    drop: bool = False
    """Close the connection instead of answering."""
    raw: bytes | None = None
    """These bytes instead of an HTTP answer; then the connection is closed."""


Script = Callable[[Posted], Answer]
"""Decides the answer to a request."""


def echo(posted: Posted) -> Answer:
    """The script that sends back what it was sent."""
    return Answer(200, {"content-type": posted.headers.get("content-type", "application/octet-stream")}, posted.body)


def every(n: int, answer: Answer, otherwise: Script = echo) -> Script:
    """A script that gives `answer` to every n-th request."""
    count = 0

    def script(posted: Posted) -> Answer:
        nonlocal count
        count += 1
        return answer if count % n == 0 else otherwise(posted)

    return script


def failing(seed: int, chance: float, answer: Answer, otherwise: Script = echo) -> Script:
    """A script that gives `answer` with a chance, from a seed."""
    random = Random(seed)
    return lambda posted: answer if random.random() < chance else otherwise(posted)


def in_turn(answers: Sequence[Answer], otherwise: Script = echo) -> Script:
    """A script that gives these answers, one after another, and then goes on with another script."""
    left = list(answers)
    return lambda posted: left.pop(0) if left else otherwise(posted)


class Sink:
    """A real HTTP/1.1 server on loopback; `async with Sink(script) as sink`.

    Args:
        script: decides each answer; may be changed at any time.
        port: 0: any.
    """

    def __init__(self, script: Script = echo, port: int = 0) -> None:
        self.script = script
        self.posted: list[Posted] = []
        """Every request, in order of arrival."""
        self.accepted: list[Posted] = []
        """Those that were answered with 2xx, noted before the answer is sent."""
        self.connections = 0
        """How many were made."""
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def __aenter__(self) -> "Sink":
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where to post to."""
        return f"http://127.0.0.1:{self._port}/"

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and all connections; `start` opens the same port again."""
        await close(self._server, self._tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False: the connection ends."""
        posted = await _read(reader)
        self.posted.append(posted)
        answer = self.script(posted)
        if answer.after:
            await asyncio.sleep(answer.after)
        if answer.drop:
            return False
        if 200 <= answer.status < 300 and answer.raw is None:
            self.accepted.append(posted)
        writer.write(_encode(answer) if answer.raw is None else answer.raw)
        await writer.drain()
        return answer.raw is None


async def _read(reader: asyncio.StreamReader) -> Posted:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    length = int(headers.get("content-length", "0"))
    return Posted(method, path, headers, await reader.readexactly(min(length, MAX_BODY)))


def _encode(answer: Answer) -> bytes:
    phrase = HTTPStatus(answer.status).phrase if answer.status in HTTPStatus._value2member_map_ else ""
    lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in answer.headers.items())]
    if answer.status not in (204, 304):
        lines.append(f"content-length: {len(answer.body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if answer.status in (204, 304) else answer.body)
