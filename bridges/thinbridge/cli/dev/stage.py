"""The whole of `thinbridge dev`, from the first line to the last: activator, bridge, watcher, demo, drain."""

import asyncio
import errno
import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from watchfiles import PythonFilter, awatch

from thinbridge.assembly import build
from thinbridge.bridge import Bridge
from thinbridge.cli.client import KINDS
from thinbridge.cli.dev import banner
from thinbridge.cli.dev.activator import Activator
from thinbridge.cli.dev.function import Function
from thinbridge.cli.dev.printer import Printer
from thinbridge.cli.dev.target import find, mistake
from thinbridge.cli.serving import FORGEABLE, Stop, forgeable, log_as
from thinbridge.errors import ListenError, SettingsError
from thinbridge.protocols.base import Transport
from thinbridge.settings import Address, Listener, Settings, load
from thinbridge.shells.shell import bind

DEFAULTS: Final = {
    "listen": ["coap://127.0.0.1:5683", "mqtt://127.0.0.1:1883", "udp://127.0.0.1:9000"],
    "drain": 15,
    "log_level": "warning",
    "log_format": "text",
}
"""Where `dev` differs from `run`: the usual ports on loopback, a drain that leaves time to end the function."""
RETRY_FOR: Final = 30.0
"""Seconds for which a message that its device keeps is tried where no route says it: who is watching mends the function
and sends another one, and does not want to hear of the old one for a quarter of an hour."""
CODE: Final = (".toml", ".yaml", ".yml")
"""What makes a function another one, beside Python; a file of data that it writes must not restart it."""


class Stage:
    """One `thinbridge dev`.

    Args:
        path: the function's file or folder.
        target: the function's name; None: the only one.
        idle: seconds without work after which it is stopped.
        cold_start: seconds to wait before it is started.
        demo: send a message of each protocol first.
    """

    def __init__(self, path: Path, target: str | None, *, idle: float, cold_start: float, demo: bool) -> None:
        self._path, self._target = path, target
        self._demo = demo
        self._cold_start = cold_start
        self._printer = Printer()
        self._activator = Activator(Function(path, target, cold_start, self._printer), idle, self._printer)

    async def play(self, stop: Stop, flags: Mapping[str, Any], environ: Mapping[str, str], config: Path | None) -> None:
        """Serve until `stop` says so; then drain.

        Raises:
            SettingsError: a flag, or a port that is taken; nothing is left open.
        """
        await self._activator.open()
        hurry = False
        try:
            settings = impatient(load({**flags, "sink": self._activator.url}, environ, config, DEFAULTS))
            log_as(settings)
            logging.getLogger("thinbridge").addFilter(self._is_news)
            bridge = build(settings, self._printer)
            self._printer.routes = bridge.routes
            try:
                await bridge.start()
            except ListenError as error:
                raise _way_out(error, settings) from error
            try:
                await self._perform(bridge, settings, stop)
            finally:
                await bridge.stop()
        except asyncio.CancelledError:  # the second signal
            hurry = True
            raise
        finally:
            logging.getLogger("thinbridge").removeFilter(self._is_news)
            await self._activator.close(hurry)

    def _is_news(self, record: logging.LogRecord) -> bool:
        """Whether to log it: what the bridge says of the function as its sink, each message's own line has said."""
        return not record.getMessage().startswith(f"sink {self._activator.url} ")

    async def _perform(self, bridge: Bridge, settings: Settings, stop: Stop) -> None:
        work = [asyncio.create_task(self._watch()), asyncio.create_task(self._greet(bridge, settings))]
        try:
            await stop.wait()
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
        self._printer.say("bridge", f"draining, up to {settings.drain:g} s{_open(bridge)}; again to end at once")
        finished = await bridge.drain(settings.drain)
        self._printer.say("bridge", "done" if finished else "time is up; what was open stays unanswered")

    async def _greet(self, bridge: Bridge, settings: Settings) -> None:
        for endpoint in bridge.endpoints:
            self._printer.say(endpoint.name, banner.where(endpoint))
        for name in forgeable(settings):
            self._printer.say(name, FORGEABLE)
        assert bridge.inbox is not None
        self._printer.say("http", f"health, metrics and inbox on {bridge.inbox.url}")
        self._look()
        if self._demo:
            await self._show(bridge)
        self._printer.show("\n".join(banner.lines(bridge.endpoints, self._cold_start)))

    async def _show(self, bridge: Bridge) -> None:
        """One real message of each protocol, typed as anybody would."""
        for endpoint in bridge.endpoints:
            if banner.scheme(endpoint) in banner.OURS:
                arguments = banner.ours(endpoint)
                self._printer.show(f"\n$ {banner.program()} {arguments}")
                self._printer.show(await _send(arguments))

    def _look(self) -> None:
        """Say which function is served, or why none can be."""
        try:
            target = find(self._path, self._target)
        except SettingsError as error:
            problem = str(error)
        else:
            problem = mistake(target.source)
        if problem:
            self._printer.trouble("function", f"can't start: {problem}; mend it, there is no need to start again")
        else:
            self._printer.say("function", f"serves {target.source}: {target.name}")

    async def _watch(self) -> None:
        """Tell the activator what changed."""
        folder = self._path if self._path.is_dir() else self._path.parent
        try:
            async for changes in awatch(folder, watch_filter=PythonFilter(extra_extensions=CODE)):
                self._changed(sorted(Path(path) for _, path in changes))
        except OSError as error:
            self._printer.trouble("function", f"changes are not seen: {error}")

    def _changed(self, files: Sequence[Path]) -> None:
        """Tell the activator; and say at once what Python can't read, not only at the next message."""
        self._activator.changed(min(file.name for file in files))
        for file in files:
            if file.suffix == ".py" and (problem := mistake(file)):
                self._printer.trouble("function", problem)


def _open(bridge: Bridge) -> str:
    """What a drain waits for."""
    messages = bridge.state()["in_flight"]
    return f", for {messages} message{'s' if messages > 1 else ''}" if messages else ""


def impatient(settings: Settings) -> Settings:
    """What no route takes is tried for `RETRY_FOR` only."""
    last = replace(settings.default_route, retry_for=RETRY_FOR)
    return settings.model_copy(update={"routes": (*settings.routes, last)})


async def _send(arguments: str) -> str:
    """What `thinbridge send …` prints."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "thinbridge.cli", *shlex.split(arguments)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await child.communicate()
    finally:
        if child.returncode is None:
            child.terminate()
            await child.wait()
    return output.decode("utf-8", "replace").rstrip()


def _way_out(error: ListenError, settings: Settings) -> SettingsError:
    """Name the flags that would work where a port is taken, in one go: `--listen` replaces all listeners, so it names
    all, and who has taken one port, such as another `dev`, has usually taken the others, too."""
    problem = error.fix.partition(";")[0]
    if problem != os.strerror(errno.EADDRINUSE):
        return error
    named = {(one.protocol.transport, one.port) for one in settings.listen}
    named.add((Transport.STREAM, settings.http.port))
    ports = [_free_port(one.protocol.transport, one.host, one.port, named) for one in settings.listen]
    http = _free_port(Transport.STREAM, settings.http.host, settings.http.port, named)
    flags = []
    if ports != [one.port for one in settings.listen]:
        flags = [f"--listen {_at(one, port)}" for one, port in zip(settings.listen, ports, strict=True)]
    if http != settings.http.port:
        flags.append(f"--http {Address(settings.http.host, http).netloc}")
    key = "--listen" if error.key == "listen" else "--http"
    return SettingsError(key, error.value, f"{problem}; use {' '.join(flags)}" if flags else f"{problem}; try again")


def _free_port(transport: Transport, host: str, port: int, named: set[tuple[Transport, int]]) -> int:
    """The port if it can be had, else the next one that can and that nobody else is to have; it is then `named`."""
    if not _is_taken(transport, host, port):
        return port
    others = (one for one in range(port + 1, 0x10000) if (transport, one) not in named)
    found = next((one for one in others if not _is_taken(transport, host, one)), 0)
    named.add((transport, found))
    return found


def _is_taken(transport: Transport, host: str, port: int) -> bool:
    try:
        bind(KINDS[transport], "", host, port).close()
    except ListenError as error:
        return error.fix.startswith(os.strerror(errno.EADDRINUSE))
    return False


def _at(listener: Listener, port: int) -> str:
    """Its URL, with this port."""
    if port == listener.port:
        return listener.url
    _, mark, options = listener.url.partition("?")
    return f"{_url(listener, port)}{mark}{options}"


def _url(listener: Listener, port: int) -> str:
    scheme = listener.url.partition("?")[0].partition(":")[0]
    return f"{scheme}://{Address(listener.host, port).netloc}"
