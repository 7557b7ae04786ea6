"""The gate before the function: starts it for whoever connects, stops it when nobody needs it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from tests.waiting import until

from thinbridge.cli.dev import activator as module
from thinbridge.cli.dev.activator import Activator
from thinbridge.cli.dev.function import Function, NotStarted
from thinbridge.cli.dev.printer import Printer
from thinbridge.testing import Sink
from thinbridge.testing.function import Answer, Posted

POST = b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi"


class FakeProcess:
    """A function in this process: a `Sink`, with the life of a process."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.port = urlsplit(sink.url).port
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def stop(self, at_once: bool = False) -> None:
        await self.end(-9 if at_once else 0)

    async def end(self, status: int) -> None:
        """End by itself, or because it was asked to."""
        if not self.ended.done():
            await self.sink.stop()
            self.ended.set_result(status)


class FakeFunction:
    """Starts `Sink`s; can be slow, or broken."""

    def __init__(self) -> None:
        self.processes: list[FakeProcess] = []
        self.script: Callable[[Posted], Answer] = lambda posted: Answer(200, body=posted.body)
        self.broken = False
        self.starts = 0
        self.hold: asyncio.Event | None = None

    async def start(self) -> FakeProcess:
        self.starts += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.broken:
            raise NotStarted("SyntaxError")
        sink = Sink(self.script)
        await sink.start()
        self.processes.append(FakeProcess(sink))
        return self.processes[-1]

    @property
    def running(self) -> int:
        return sum(not process.ended.done() for process in self.processes)


class Quiet(Printer):
    """Remembers instead of printing."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.failures: list[tuple[bytes, str]] = []

    def failed(self, asked: bytes, why: str) -> None:
        self.failures.append((asked, why))

    def show(self, text: str) -> None:
        self.lines.append(text)


class Rig:
    def __init__(self, idle: float) -> None:
        self.function = FakeFunction()
        self.printer = Quiet()
        self.activator = Activator(cast("Function", self.function), idle, self.printer)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", urlsplit(self.activator.url).port)

    async def post(self) -> bytes:
        """One request on a connection of its own; all that came back until it was closed, or answered."""
        reader, writer = await self.connect()
        writer.write(POST)
        answer = await read_answer(reader)
        writer.close()
        return answer


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head.split(b" ")[1] + b" " + await reader.readexactly(length)


@asynccontextmanager
async def rig(idle: float = 60) -> AsyncIterator[Rig]:
    made = Rig(idle)
    await made.activator.open()
    try:
        yield made
    finally:
        await made.activator.close()
        assert made.function.running == 0


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Bounded."""

    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(bounded())


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", 0.005)


def test_nothing_runs_until_somebody_asks() -> None:
    async def test() -> None:
        async with rig() as here:
            _, writer = await here.connect()  # connecting alone is no question
            await asyncio.sleep(0.05)
            assert here.function.starts == 0
            assert await here.post() == b"200 hi"
            assert here.function.starts == 1
            writer.close()

    run(test)


def test_who_asks_while_it_starts_shares_the_start() -> None:
    async def test() -> None:
        async with rig() as here:
            here.function.hold = asyncio.Event()
            asking = [asyncio.create_task(here.post()) for _ in range(20)]
            await until(lambda: here.function.starts)
            here.function.hold.set()
            assert await asyncio.gather(*asking) == [b"200 hi"] * 20
            assert here.function.starts == 1

    run(test)


def test_a_connection_is_kept_and_does_not_keep_the_function() -> None:
    async def test() -> None:
        async with rig(idle=0.1) as here:
            reader, writer = await here.connect()
            for _ in range(3):
                writer.write(POST)
                assert await read_answer(reader) == b"200 hi"
            await until(lambda: here.function.starts and not here.function.running)
            assert await reader.read() == b""  # closed with it: the bridge must not ask a function that is gone
            writer.close()
            assert "stopped, idle for 0.1 s" in here.printer.lines[-1]
            assert await here.post() == b"200 hi"
            assert here.function.starts == 2

    run(test)


def test_a_function_that_takes_longer_than_idle_is_not_stopped() -> None:
    async def test() -> None:
        async with rig(idle=0.05) as here:
            here.function.script = lambda posted: Answer(200, body=b"at last", after=0.5)
            assert await here.post() == b"200 at last"
            assert not any("stopped" in line for line in here.printer.lines)

    run(test)


def test_a_function_that_cannot_start_is_a_bare_503_and_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BROKEN", 0.2)

    async def test() -> None:
        async with rig() as here:
            here.function.broken = True
            assert [await here.post() for _ in range(3)] == [b"503 "] * 3
            assert here.function.starts == 1  # the retries of one message start it once
            await asyncio.sleep(0.25)
            here.function.broken = False
            assert await here.post() == b"200 hi"

    run(test)


def test_a_change_is_tried_at_once_after_a_failure() -> None:
    async def test() -> None:
        async with rig() as here:
            here.function.broken = True
            assert await here.post() == b"503 "
            here.function.broken = False
            here.activator.changed("main.py")
            assert here.printer.lines[-1].endswith("main.py changed; the next try starts it")
            assert await here.post() == b"200 hi"
            assert here.printer.failures == [(POST, "not started")]

    run(test)


@pytest.mark.parametrize(
    ("answer", "failures"),
    [
        (Answer(500), [(POST, "500")]),
        (Answer(404), [(POST, "404")]),
        (Answer(500, {"ce-specversion": "1.0"}), []),
        (Answer(503, {"content-type": "application/cloudevents+json"}), []),
        (Answer(400), []),
        (Answer(200), []),
    ],
)
def test_an_answer_that_makes_the_bridge_try_again_is_told(answer: Answer, failures: list[tuple[bytes, str]]) -> None:
    async def test() -> None:
        async with rig() as here:
            here.function.script = lambda posted: answer
            assert (await here.post()).startswith(str(answer.status).encode())
            assert here.printer.failures == failures

    run(test)


def test_a_function_at_work_for_nobody_is_not_called_idle() -> None:
    async def test() -> None:
        async with rig(idle=0.1) as here:
            here.function.script = lambda posted: Answer(200, after=60)
            _, writer = await here.connect()
            writer.write(POST)
            await until(lambda: here.function.processes and here.function.processes[0].sink.posted)
            writer.close()
            await until(lambda: not here.function.running)
            assert here.printer.lines[-1].endswith("stopped, nobody waits for it any more; the next message starts it")

    run(test)


def test_after_a_change_what_runs_finishes_and_the_next_starts_afresh() -> None:
    async def test() -> None:
        async with rig() as here:
            here.function.script = lambda posted: Answer(200, body=b"old", after=0.2)
            slow = asyncio.create_task(here.post())
            idle_reader, idle_writer = await here.connect()
            await until(lambda: here.function.processes and here.function.processes[0].sink.posted)
            here.function.script = lambda posted: Answer(200, body=b"new")
            here.activator.changed("main.py")
            assert await here.post() == b"200 new"
            assert await slow == b"200 old"
            await until(lambda: here.function.running == 1)
            idle_writer.close()
            assert await idle_reader.read() == b""
            here.activator.changed("main.py")
            here.activator.changed("main.py")  # nothing runs any more: nothing to say
            assert sum("main.py changed" in line for line in here.printer.lines) == 2

    run(test)


def test_what_does_not_finish_in_time_after_a_change_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAVE", 0.1)

    async def test() -> None:
        async with rig() as here:
            here.function.script = lambda posted: Answer(200, after=60)
            reader, writer = await here.connect()
            writer.write(POST)
            await until(lambda: here.function.processes and here.function.processes[0].sink.posted)
            here.activator.changed("main.py")
            assert await reader.read() == b""
            await until(lambda: not here.function.running)
            writer.close()

    run(test)


def test_a_function_that_ends_by_itself_is_started_by_the_next_message() -> None:
    async def test() -> None:
        async with rig() as here:
            assert await here.post() == b"200 hi"
            await here.function.processes[0].end(3)
            await until(lambda: any("ended with status 3" in line for line in here.printer.lines))
            assert await here.post() == b"200 hi"

    run(test)


def test_who_gave_up_while_it_started_is_not_served() -> None:
    async def test() -> None:
        async with rig() as here:
            here.function.hold = asyncio.Event()
            _, writer = await here.connect()
            writer.write(POST)
            await until(lambda: here.function.starts)
            writer.close()
            await writer.wait_closed()
            await asyncio.sleep(0.05)
            here.function.hold.set()
            assert await here.post() == b"200 hi"
            assert len(here.function.processes[0].sink.posted) == 1

    run(test)


def test_closing_it_at_once_asks_nobody() -> None:
    async def test() -> None:
        async with rig() as here:
            here.function.script = lambda posted: Answer(200, after=60)
            _, old = await here.connect()
            old.write(POST)
            await until(lambda: here.function.processes and here.function.processes[0].sink.posted)
            here.activator.changed("main.py")
            _, new = await here.connect()
            new.write(POST)
            await until(lambda: len(here.function.processes) == 2)
            await here.activator.close(at_once=True)
            assert [process.ended.result() for process in here.function.processes] == [-9, -9]
            old.close()
            new.close()

    run(test)


def test_closing_it_ends_a_start_and_every_connection() -> None:
    async def test() -> None:
        async with rig() as here:
            here.function.hold = asyncio.Event()
            reader, writer = await here.connect()
            writer.write(POST)
            await until(lambda: here.function.starts)
            await here.activator.close()
            assert await reader.read() == b""
            writer.close()
            with pytest.raises(OSError, match="Connect"):
                await here.connect()

    run(test)
