"""What the bridge's sink points at: a gate before the function, as Knative's activator is.

It passes bytes as they are, and of an answer it reads the status, to say which message is tried again. HTTP/1.1 without
pipelining takes turns, so a connection whose last bytes came from the bridge is waiting for an answer. When none waits
and nothing passed for `idle` seconds, the function is stopped, and the connections that the bridge keeps open for later
are closed with it.
"""

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from thinbridge.cli.dev.function import Function, NotStarted, Process
from thinbridge.cli.dev.printer import NOT_STARTED, Printer

CHUNK: Final = 65536
"""Bytes passed at once."""
POLL: Final = 0.1
"""Seconds between two looks whether a connection still waits."""
LEAVE: Final = 10.0
"""Seconds for which a function that was changed may finish what it is at."""
BROKEN: Final = 2.0
"""Seconds after a failed start in which nobody tries again: longer than a delivery's retries of one message take."""
REFUSAL: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
"""What is said for a function that can't be started: bare, so it is retried, and the device hears that it failed."""

FAILURE: Final = re.compile(rb"http/1\.[01] (404|408|409|429|5\d\d)")
EVENT: Final = (b"\nce-specversion:", b"application/cloudevents")
"""What makes an answer the function's last word, whatever its status."""


@dataclass(slots=True, eq=False)
class _Link:
    """One connection of the bridge."""

    task: asyncio.Task[None]
    process: Process | None = None
    """Who answers on it."""
    waiting: bool = False
    """The bridge has asked and the function has not answered."""
    asked: bytes = b""
    """The beginning of what it has asked."""


class Activator:
    """Starts the function for whoever connects, stops it when nobody needs it.

    Args:
        function: what to start.
        idle: seconds without work after which it is stopped.
        printer: told what happens.
    """

    def __init__(self, function: Function, idle: float, printer: Printer) -> None:
        self._function = function
        self._idle = idle
        self._printer = printer
        self._links: set[_Link] = set()
        self._starting: asyncio.Task[Process] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        """Watching and ending processes."""
        self._touched = 0.0
        self._broken_until = 0.0
        self._broken = False
        """The last start failed, and nothing has changed since."""
        self._at_once = False
        """Nobody waits any more until a function has finished what it is at."""
        self._left = False
        """The bridge gave up waiting, and no answer has come since: the function may still be at it."""

    async def open(self) -> None:
        """Listen on a free port of loopback."""
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"

    async def close(self, at_once: bool = False) -> None:
        """Close every connection, and end the function; at once, whatever it is at, if so wished."""
        self._at_once = at_once
        self._server.close()
        serving = [link.task for link in self._links]
        for task in (*serving, *(self._tasks if at_once else ())):
            task.cancel()
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()  # if it is still at it, it ends what it has started
            for process in await asyncio.gather(starting, return_exceptions=True):
                if not isinstance(process, BaseException):
                    await process.stop(at_once)
        await asyncio.gather(*serving, *self._tasks, return_exceptions=True)

    def changed(self, what: str) -> None:
        """The code changed: what runs finishes what it is at, the next message starts it afresh."""
        if self._starting is None and self._broken:
            self._printer.say("function", f"{what} changed; the next try starts it")
        self._broken, self._broken_until = False, 0.0
        if self._starting is not None and self._starting.done():
            self._printer.say("function", f"{what} changed; the next message starts it afresh")
            self._retire(self._starting.result())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        link = _Link(task)
        self._links.add(link)
        try:
            if first := await reader.read(CHUNK):
                await self._pass(link, first, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the bridge sees its connection close, and tries again
        finally:
            self._links.discard(link)
            self._left |= link.waiting and link.process is not None
            writer.close()

    async def _pass(
        self, link: _Link, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        link.waiting, link.asked = True, first
        try:
            link.process = await self._running()
        except NotStarted:
            self._printer.failed(first, NOT_STARTED)
            await _refuse(reader, writer)
            return
        if reader.at_eof():
            return  # the bridge gave up meanwhile
        answers, asks = await asyncio.open_connection("127.0.0.1", link.process.port)
        try:
            asks.write(first)
            await _first(self._pump(link, reader, asks, True), self._pump(link, answers, writer, False))
        finally:
            asks.close()

    async def _pump(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asks: bool) -> None:
        while data := await reader.read(CHUNK):
            if asks and not link.waiting:
                link.asked = data
            elif not asks and link.waiting and (status := _failure(data)):
                self._printer.failed(link.asked, status)
            link.waiting = asks
            self._left = self._left and asks
            self._touched = self._loop.time()
            writer.write(data)
            await writer.drain()

    async def _running(self) -> Process:
        """The function's process, started if it does not run; all who wait share one start."""
        if self._starting is None:
            if self._loop.time() < self._broken_until:
                raise NotStarted
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> Process:
        try:
            process = await self._function.start()
        except NotStarted:
            self._starting = None
            self._broken, self._broken_until = True, self._loop.time() + BROKEN
            raise
        self._broken = self._left = False
        self._touched = self._loop.time()
        self._keep(self._watch(process))
        return process

    async def _watch(self, process: Process) -> None:
        """Until it has ended, is idle, or another one takes its place."""
        while not process.ended.done():
            rest = self._touched + self._idle - self._loop.time()
            if not self._is_current(process):
                return
            if rest <= 0 and not self._waiting(process):
                why = "nobody waits for it any more" if self._left else f"idle for {self._idle:g} s"
                self._printer.say("function", f"stopped, {why}; the next message starts it")
                self._retire(process)
                return
            await asyncio.wait([process.ended], timeout=max(rest, POLL))
        if self._is_current(process):
            self._starting = None
            status = process.ended.result()
            self._printer.trouble("function", f"ended with status {status}; the next message starts it")

    def _retire(self, process: Process) -> None:
        """Let it finish what it is at, then end it; whoever comes now starts another."""
        self._starting = None
        self._keep(self._leave(process))

    async def _leave(self, process: Process) -> None:
        end = self._loop.time() + LEAVE
        try:
            while links := [link for link in self._links if link.process is process]:
                late = self._loop.time() > end
                for link in links:
                    if late or not link.waiting:
                        link.task.cancel()
                await asyncio.sleep(POLL)
        finally:
            await process.stop(self._at_once)

    def _is_current(self, process: Process) -> bool:
        return self._starting is not None and self._starting.done() and self._starting.result() is process

    def _waiting(self, process: Process) -> bool:
        return any(link.waiting for link in self._links if link.process is process)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _failure(answer: bytes) -> str:
    """The status of an answer that makes the bridge try again: an accident, no event (Knative's delivery table)."""
    head = answer.partition(b"\r\n\r\n")[0].lower()
    found = FAILURE.match(head)
    return "" if found is None or any(mark in head for mark in EVENT) else found[1].decode()


async def _first(*work: Coroutine[Any, Any, None]) -> None:
    """Until one of them ends; the others end with it."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A bare 503, then wait for the other side to close: what it still sends must not reset what we said."""
    writer.write(REFUSAL)
    try:
        async with asyncio.timeout(1):
            while await reader.read(CHUNK):
                pass
    except TimeoutError:
        pass
