"""The function's process: functions-framework in a child, started when asked, watched, and stopped with all it has."""

import asyncio
import inspect
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from thinbridge.cli.dev import leash
from thinbridge.cli.dev.frames import Frames, Tracebacks
from thinbridge.cli.dev.printer import Printer
from thinbridge.cli.dev.target import Target, find
from thinbridge.errors import SettingsError, ThinbridgeError

START_LIMIT: Final = 60.0
"""Seconds until a function must accept connections: models that load slowly take tens of seconds."""
STOP_LIMIT: Final = 3.0
"""Seconds between asking a process to end and ending it: with the drain of 15 s, ports are free within 20 s."""
POLL: Final = 0.02
"""Seconds between two looks whether it accepts connections."""
PROBLEM: Final = 200
"""Characters of its last line, which says why it ended."""
LONGEST: Final = 1 << 20
"""Bytes of one line of its output; what is longer is dropped."""


class NotStarted(ThinbridgeError):
    """The function's process ended, or said nothing, before it accepted a connection."""


class Process:
    """One run of the function.

    Args:
        child: the process.
        port: where on loopback it accepts connections.
        frames: what to show of its output.
        tracebacks: those that were shown before.
        printer: shows it.
    """

    def __init__(
        self,
        child: asyncio.subprocess.Process,
        port: int,
        frames: Frames,
        tracebacks: Tracebacks,
        printer: Printer,
    ) -> None:
        self.port = port
        self._frames = frames
        self._tracebacks = tracebacks
        self._child = child
        self._printer = printer
        self._last: deque[str] = deque(maxlen=1)
        self._relay = asyncio.create_task(self._relay_output())
        self.ended = asyncio.create_task(child.wait())
        """Done when it has ended; its exit status."""

    @classmethod
    async def spawn(cls, target: Target, tracebacks: Tracebacks, printer: Printer) -> "Process":
        """Start it; `accepting` tells when it is there."""
        port = _free_port()
        command = [sys.executable, "-c", inspect.getsource(leash), "--target", target.name, "--host", "127.0.0.1"]
        command += ["--port", str(port), "--source", target.source.name, *(["--asgi"] if target.asgi else [])]
        child = await asyncio.create_subprocess_exec(
            *command,
            cwd=target.source.parent,
            stdin=asyncio.subprocess.PIPE,  # the leash
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LONGEST,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # Ctrl-C is for us: we drain first; and its workers end with it
        )
        return cls(child, port, Frames(target.source.parent), tracebacks, printer)

    async def accepting(self) -> None:
        """Wait until it accepts connections.

        Raises:
            NotStarted: it ended first, or took too long.
        """
        end = time.monotonic() + START_LIMIT
        while not _accepts(self.port):
            if self.ended.done():
                await self._relay
                raise NotStarted(self._last[0][:PROBLEM] if self._last else f"exit status {self.ended.result()}")
            if time.monotonic() > end:
                raise NotStarted(f"no connection accepted within {START_LIMIT:g} s")
            await asyncio.sleep(POLL)

    async def stop(self, at_once: bool = False) -> None:
        """End it and its workers; the hard way, if it takes too long or whoever waits for it does not any more.

        Args:
            at_once: don't ask it first.
        """
        try:
            if not at_once:
                self._signal(signal.SIGTERM)
                await asyncio.wait([self.ended], timeout=STOP_LIMIT)
        finally:
            self._signal(signal.SIGKILL)
        await self.ended
        await self._relay

    def _signal(self, number: signal.Signals) -> None:
        if not self.ended.done():
            os.killpg(self._child.pid, number)

    async def _relay_output(self) -> None:
        assert self._child.stdout is not None
        while True:
            try:
                line = await self._child.stdout.readline()
            except ValueError:  # longer than that
                continue
            if not line:
                break
            text = line.decode("utf-8", "replace").rstrip()
            if text and self._frames.keep(text):
                self._last.append(text)
                self._show(self._tracebacks.take(text))
        self._show(self._tracebacks.end())

    def _show(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._printer.output(line)


class Function:
    """The function of a path: not running, until somebody needs it.

    Args:
        path: its file or folder.
        target: its name, None: the only one.
        cold_start: seconds to wait before starting it.
    """

    def __init__(self, path: Path, target: str | None, cold_start: float, printer: Printer) -> None:
        self._path, self._target = path, target
        self._cold_start = cold_start
        self._printer = printer
        self._tracebacks = Tracebacks()
        self._problem = ""
        """Why the last start failed."""

    async def start(self) -> Process:
        """Start it, and wait until it is there.

        Raises:
            NotStarted: its code is broken; the printer has said how.
        """
        begun = time.monotonic()
        self._tracebacks.repeated = False
        self._printer.say("function", "starting" + (f", {self._cold_start:g} s cold start" if self._cold_start else ""))
        await asyncio.sleep(self._cold_start)
        try:
            process = await Process.spawn(find(self._path, self._target), self._tracebacks, self._printer)
            try:
                await process.accepting()
            except BaseException:
                await process.stop(at_once=True)  # it is at nothing yet
                raise
        except (SettingsError, NotStarted, OSError) as error:
            self._tell(str(error))
            raise NotStarted(str(error)) from error
        self._problem = ""
        self._printer.say("function", f"ready after {time.monotonic() - begun:.1f} s")
        return process

    def _tell(self, problem: str) -> None:
        """Why it did not start; less of it if it is why the start before failed, too."""
        if problem != self._problem:
            self._printer.trouble("function", f"did not start: {problem}; messages are kept and tried again")
        elif not self._tracebacks.repeated:
            self._printer.trouble("function", "did not start, as before")
        self._problem = problem


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    """Loopback says yes or no at once, so this does not block."""
    with socket.socket() as sock:
        connected = sock.connect_ex(("127.0.0.1", port)) == 0
        return connected and sock.getsockname() != sock.getpeername()  # TCP may reach itself: RFC 9293 §3.5
