"""Handlers behind functions-framework for the tests: its ASGI app in this process, its servers in one of their own."""

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from functions_framework.aio import create_asgi_app_from_module

from thinbridge_functions import Event
from thinbridge_functions.codec import Headers, NotAnEvent, decode, encode

Answer = tuple[int, dict[str, str], bytes]


def over_asgi(function: Callable[[Any], Any], method: str, path: str, headers: Headers, body: bytes) -> Answer:
    """Status, headers and body of one request to the app that the framework makes of a function."""
    module = SimpleNamespace(function=function)
    app = create_asgi_app_from_module("function", "main.py", "http", module, None)  # type: ignore[no-untyped-call]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start, *chunks = sent
    decoded = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return start["status"], decoded, b"".join(chunk.get("body", b"") for chunk in chunks)


class App:
    """functions-framework serving one function, on a port of its own until `close`."""

    def __init__(self, source: Path, target: str, *flags: str, env: Mapping[str, str] | None = None) -> None:
        self.port = _free_port()
        command = [sys.executable, "-m", "functions_framework", "--target", target, "--source", str(source)]
        self._process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(self.port), *flags],
            env={**os.environ, "THREADS": "2", **(env or {})},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # --debug has a child: both are ended by their group
        )

    def wait(self, seconds: float = 20.0) -> Self:
        """Until it answers."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                self.request("GET", "/health/ready")
                return self
            time.sleep(0.02)
        raise AssertionError(f"did not start: {self.close()}")

    def request(self, method: str, path: str, headers: Headers = (), body: bytes = b"") -> Answer:
        """One request, one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()

    def post(self, event: Event) -> tuple[int, Event | None, bytes]:
        """Status, the event and the body that answer an event."""
        status, headers, body = self.request("POST", "/", *encode(event.attributes, event.data))
        try:
            return status, Event(*decode(headers.items(), body)), body
        except NotAnEvent:
            return status, None, body

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, with its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, how)

    def close(self) -> str:
        """End it; what it wrote to stderr."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            self.end(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.communicate(timeout=10)[1].decode()
        raise AssertionError("it can't be ended")


@contextlib.contextmanager
def running(*apps: App) -> Iterator[None]:
    """Apps that were started side by side, once all of them answer."""
    try:
        for app in apps:
            app.wait()
        yield
    finally:
        for app in apps:
            app.end()
        for app in apps:
            app.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
