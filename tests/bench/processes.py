"""The processes of a bench: a bridge on one core, devices and sink on another. Used by the suites.

All of them are children, are ended by their own pid, and talk over 127.0.0.1 only. Linux: CPU time is read from the
process's own clock, which counts nanoseconds and all of its threads.
"""

import json
import os
import re
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).parent
START = 60.0
"""Seconds that a bridge may take to listen."""

_LISTENS = re.compile(rb"(?:coap|mqtt|udp)[a-z+]*://127\.0\.0\.1:([1-9]\d*)")


class Failed(Exception):
    """A process did not do what it is here for; says why in one line."""


def cores() -> tuple[int, int]:
    """Where bridges run, and where the load does: two different cores if this process may use two."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def compiled(folder: str) -> list[str]:
    """The command of the load: `load.c` where there is a C compiler, else `load.py`."""
    compiler = shutil.which("cc")
    program = f"{folder}/load"
    if compiler is None or subprocess.run([compiler, "-O2", "-o", program, HERE / "load.c"], check=False).returncode:
        return [sys.executable, str(HERE / "load.py")]
    return [program]


class Process:
    """A child on a core; `with` ends it.

    Args:
        command: its command line.
        core: the only core it may use.
    """

    def __init__(self, command: list[str], core: int) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, cwd=HERE.parents[1]
        )
        os.sched_setaffinity(self._process.pid, {core})

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                pipe.close()

    def log(self) -> bytes:
        """What it wrote to stderr so far."""
        return os.pread(self._log.fileno(), 1 << 20, 0)

    def line(self, seconds: float) -> str:
        """The next line that it prints, within so long."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            raise self.failed(f"{Path(self._process.args[0]).name} hangs")  # type: ignore[index, arg-type]
        line = self._process.stdout.readline().decode()
        if not line:
            raise self.failed(f"{Path(self._process.args[0]).name} ended")  # type: ignore[index, arg-type]
        return line.strip()

    def failed(self, what: str) -> Failed:
        """An error that ends in its last words."""
        lines = self.log().decode(errors="replace").strip().splitlines()
        return Failed(f"{what}: {lines[-1] if lines else 'it said nothing'}")


class Bridge(Process):
    """What is measured. Ready when it says on stderr where it listens."""

    def port(self) -> int:
        """Where its devices connect; waits until it listens."""
        end = time.monotonic() + START
        while (found := _LISTENS.search(self.log())) is None:
            if self._process.poll() is not None or time.monotonic() > end:
                raise self.failed("does not start")
            time.sleep(0.02)
        return int(found[1])

    def cpu(self) -> float:
        """User and system seconds so far, all threads (clock_getcpuclockid(3))."""
        return time.clock_gettime(~self._process.pid << 3 | 2)

    def rss(self) -> int:
        """Bytes in memory."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * resource.getpagesize()


class Load(Process):
    """Devices and sink."""

    def sink(self) -> str:
        """The URL to POST to."""
        return f"http://127.0.0.1:{self.line(5)}/"

    def round(self, port: int, seconds: float) -> dict[str, float]:
        """Messages back and forth for so long; what became of them (`load.c`)."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{port} {seconds}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self.failed("load ended") from None
        result: dict[str, float] = json.loads(self.line(seconds + 15))
        return result
