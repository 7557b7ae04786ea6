"""Debian's mosquitto as the broker that a team already runs: a process of our own, on ports of our own."""

import asyncio
import shutil
import signal
import socket
import tempfile
import time
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path
from types import TracebackType

from tests.conftest import PATH
from tests.waiting import until

DURABLE = "autosave_on_changes true\nautosave_interval 1\nmax_queued_messages 0\n"
"""What docs/protocols/mqtt-broker.md asks of a mosquitto for nothing to be lost."""


class Mosquitto:
    """A broker that can be killed and started again; `async with` ends it.

    Args:
        settings: lines for its configuration; of the listener, too, which is the last that is said before them.
        durable: whether it writes each change down.
    """

    def __init__(self, settings: str = "allow_anonymous true\n", *, durable: bool = True) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port: int = sock.getsockname()[1]
        self._folder = Path(tempfile.mkdtemp(prefix="mosquitto-"))
        self._config = self._folder / "mosquitto.conf"
        text = f"persistence true\npersistence_location {self._folder}/\nset_tcp_nodelay true\n"
        text += DURABLE if durable else "max_queued_messages 0\n"
        user = "user root\n"  # started as root it would change to a user that can't write here
        self._config.write_text(f"{user}{text}listener {self.port} 127.0.0.1\n{settings}")
        self._process: Process | None = None

    async def __aenter__(self) -> "Mosquitto":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            await self._end(signal.SIGKILL)
        shutil.rmtree(self._folder)

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        program = shutil.which("mosquitto", path=PATH) or "mosquitto"
        command = [program, "-c", str(self._config)]
        self._process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=DEVNULL)
        await until(lambda: self._process is None or self._process.returncode is not None or self._listens())
        assert self._process.returncode is None, self._config.read_text()

    async def kill(self) -> None:
        """SIGKILL: what it has not written down is lost."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM: it writes everything down."""
        await self._end(signal.SIGTERM)

    async def written(self) -> None:
        """Wait until it has written down what it acknowledged until now."""
        now = time.time()
        database = self._folder / "mosquitto.db"
        await until(lambda: database.exists() and database.stat().st_mtime > now)

    async def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        await asyncio.wait_for(self._process.wait(), 20)
        self._process = None

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0
