"""A real bridge process that tests start, kill and start again."""

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress

from tests.waiting import until


def free_port() -> int:
    """A port that nobody has now, for UDP and for TCP."""
    while True:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            with suppress(OSError):  # somebody's, for UDP
                udp.bind(("127.0.0.1", port))
                return port


class BridgeProcess:
    """`thinbridge run` on fixed ports, so that devices find it again; `async with` ends it.

    Args:
        sink: where its events go.
        flags: more for the command line.
    """

    def __init__(self, sink: str, *flags: str) -> None:
        self.http = free_port()
        self.ports = {scheme: free_port() for scheme in ("coap", "mqtt", "udp")}
        self.log = b""
        self._command = [sys.executable, "-X", "dev", "-m", "thinbridge.cli", "run", "--sink", sink]
        self._command += ["--http", f"127.0.0.1:{self.http}", *flags]
        for scheme, port in self.ports.items():
            self._command += ["--listen", f"{scheme}://127.0.0.1:{port}"]
        self._process: Process | None = None

    async def __aenter__(self) -> "BridgeProcess":
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.kill()

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        self._process = await asyncio.create_subprocess_exec(*self._command, stderr=PIPE)
        self._reader = asyncio.create_task(self._read(self._process))
        await until(lambda: self._process is None or self._process.returncode is not None or self._accepts(), 60)
        assert self._process.returncode is None, self.log.decode()

    async def kill(self) -> None:
        """SIGKILL."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> int:
        """SIGTERM; its exit status."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        status = await asyncio.wait_for(self._process.wait(), 40)
        await self._reader
        return status

    async def _read(self, process: Process) -> None:
        assert process.stderr is not None
        self.log += await process.stderr.read()

    def _accepts(self) -> bool:
        """The HTTP side opens last."""
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.http)) == 0
