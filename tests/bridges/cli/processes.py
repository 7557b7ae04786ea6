"""`thinbridge` as a real process: started, read line by line, ended; bounded in everything."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

from tests.waiting import until_now

COMMAND = (sys.executable, "-W", "default", "-m", "thinbridge.cli")
"""With all warnings: what is left open is told."""


class Program:
    """A running `thinbridge`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.out: list[str] = []
        self.err: list[str] = []
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = [_read(process.stdout, self.out), _read(process.stderr, self.err)]

    def line(self, pattern: str, seconds: float = 20) -> re.Match[str]:
        """The first line, of either stream, with the pattern; waits for it."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            found[:] = [match for line in [*self.out, *self.err] if (match := re.search(pattern, line))]
            return bool(found) or self.process.poll() is not None

        try:
            until_now(look, seconds)
        except TimeoutError as error:
            raise TimeoutError(f"no {pattern!r} within {seconds} s:\n{self.text}") from error
        assert found, f"ended with {self.process.poll()}, without {pattern!r}:\n{self.text}"
        return found[0]

    def count(self, pattern: str) -> int:
        """How many lines have the pattern so far."""
        return sum(bool(re.search(pattern, line)) for line in [*self.out, *self.err])

    def url(self, name: str) -> str:
        """Where it listens."""
        return self.line(rf"\b{name}\b.*?((?:coap|mqtt|udp|http)://[^\s\"]+)")[1]

    def port(self, name: str) -> int:
        """The port of where it listens."""
        return int(self.url(name).rpartition(":")[2])

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 20) -> int:
        """Send a signal and wait; the exit status."""
        self.process.send_signal(number)
        return self.wait(seconds)

    def wait(self, seconds: float = 20) -> int:
        """Wait for its end; the exit status."""
        status = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(seconds)
        return status

    @property
    def text(self) -> str:
        """All that it has said."""
        return "".join([*self.out, *self.err])


@contextmanager
def program(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Program]:
    """Start `thinbridge` without a terminal; it is gone afterwards, whatever the test does."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ(env),
        encoding="utf-8",
    )
    running = Program(process)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        running.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def environ(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This environment without what would steer `thinbridge`."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("THINBRIDGE_", "K_", "POD_"))}
    return {**ours, **(more or {})}


def free(port: int, kind: socket.SocketKind = socket.SOCK_DGRAM) -> bool:
    """Whether a port of loopback can be bound."""
    with socket.socket(type=kind) as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def seconds_since(start: float) -> float:
    """How long ago `time.monotonic()` said `start`."""
    return time.monotonic() - start


def _read(stream: IO[str], lines: list[str]) -> threading.Thread:
    reader = threading.Thread(target=lambda: lines.extend(iter(stream.readline, "")), daemon=True)
    reader.start()
    return reader
