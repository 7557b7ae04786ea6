"""`thinbridge dev` as a process, for tests that play its user."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import until_now

ROOT = Path(__file__).parents[2]
EVERYTHING = [f"{scheme}://127.0.0.1:0" for scheme in ("coap", "mqtt", "udp")]


class Dev:
    """A running `thinbridge dev`."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        """All that it has printed."""
        return self._log.read_text()

    def port(self, scheme: str, index: int = 0) -> int:
        """Where it listens; the first of several, unless told."""
        found = re.findall(rf"listens on {scheme}://127\.0\.0\.1:(\d+)", self.log)
        assert len(found) > index, self.log
        return int(found[index])

    def wait_for(self, text: str, seconds: float = 30) -> None:
        """Until it has printed this."""
        until_now(lambda: text in self.log or self.process.poll() is not None, seconds)
        assert text in self.log, self.log


@contextmanager
def dev(path: str, *flags: str, listen: Sequence[str] = EVERYTHING, **environ: str) -> Iterator[Dev]:
    """Run it, on free ports unless told; SIGTERM at the end, which it must obey within 20 s."""
    command = [sys.executable, "-m", "thinbridge.cli", "dev", path, "--http", "127.0.0.1:0", *flags]
    command += [flag for url in listen for flag in ("--listen", url)]
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        running = Dev(process, Path(log.name))
        try:
            running.wait_for("Ctrl-C ends it")
            yield running
        finally:
            process.terminate()
            process.wait(20)
        assert process.returncode == 0, running.log
