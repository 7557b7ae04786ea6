"""The whole of `thinbridge dev`, from the first line to the last: activator, bridge, watcher, demo, drain."""

import asyncio
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
from watchfiles import awatch

from thinbridge.assembly import build
from thinbridge.bridge import Bridge
from thinbridge.cli.dev import banner
from thinbridge.cli.dev.activator import Activator
from thinbridge.cli.dev.function import Function
from thinbridge.cli.dev.printer import Printer
from thinbridge.cli.serving import Stop, log_as
from thinbridge.settings import Settings, load

DEFAULTS: Final = {
    "listen": ["coap://127.0.0.1:5683", "mqtt://127.0.0.1:1883", "udp://127.0.0.1:9000"],
    "drain": 15,
    "log_level": "warning",
    "log_format": "text",
}
"""Where `dev` differs from `run`: the usual ports on loopback, a drain that leaves time to end the function."""


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
        self._path = path
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
        try:
            settings = load({**flags, "sink": self._activator.url}, environ, config, DEFAULTS)
            log_as(settings)
            bridge = build(settings, self._printer)
            await bridge.start()
            try:
                await self._perform(bridge, settings, stop)
            finally:
                await bridge.stop()
        finally:
            await self._activator.close()

    async def _perform(self, bridge: Bridge, settings: Settings, stop: Stop) -> None:
        work = [asyncio.create_task(self._watch()), asyncio.create_task(self._greet(bridge))]
        try:
            await stop.wait()
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
        self._printer.say("bridge", f"draining, up to {settings.drain:g} s; again to end at once")
        finished = await bridge.drain(settings.drain)
        self._printer.say("bridge", "done" if finished else "time is up; what was open stays unanswered")

    async def _greet(self, bridge: Bridge) -> None:
        for endpoint in bridge.endpoints:
            self._printer.say(endpoint.name, f"listens on {endpoint.url}")
        assert bridge.inbox is not None
        self._printer.say("http", f"health, metrics and inbox on {bridge.inbox.url}")
        if self._demo:
            await self._show(bridge)
        click.echo("\n".join(banner.lines(bridge.endpoints)))

    async def _show(self, bridge: Bridge) -> None:
        """One real message of each protocol, typed as anybody would."""
        for endpoint in bridge.endpoints:
            if endpoint.protocol in banner.OURS:
                arguments = banner.ours(endpoint)
                click.echo(f"\n$ {banner.program()} {arguments}")
                command = (sys.executable, "-m", "thinbridge.cli", *shlex.split(arguments))
                child = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
                try:
                    await child.wait()
                finally:
                    if child.returncode is None:
                        child.terminate()
                        await child.wait()

    async def _watch(self) -> None:
        """Tell the activator what changed."""
        folder = self._path if self._path.is_dir() else self._path.parent
        async for changes in awatch(folder):
            names = sorted({Path(path).name for _, path in changes})
            self._activator.changed(names[0])
