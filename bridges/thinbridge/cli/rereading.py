"""Reread `bridge.yaml` when it changes: routes, mode, limits and dead letter take effect without a restart.

`standing` keeps it running beside the bridge. The file is polled, not watched: a ConfigMap's volume changes by a swap
of symbolic links, which a watch on the file does not see, and the kubelet itself takes up to a minute for it.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from thinbridge.assembly import rebuild
from thinbridge.bridge import Bridge
from thinbridge.errors import SettingsError
from thinbridge.settings import RELOADED, Settings
from thinbridge.telemetry import fields

log = logging.getLogger("thinbridge")

PERIOD: Final = 2.0
"""Seconds between two looks: one `stat` each."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where settings came from."""

    file: Path
    load: Callable[[], Settings]
    """Flags, environment and file again."""

    def mark(self) -> tuple[int, int, int] | None:
        """Differs when the file does, through whatever links; None: it is not there, as in the middle of a swap."""
        try:
            found = os.stat(self.file)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


@asynccontextmanager
async def rereading(
    bridge: Bridge, settings: Settings, source: Source | None, period: float = PERIOD
) -> AsyncIterator[None]:
    """Reread the file while the block runs.

    Args:
        bridge: started.
        settings: what it was built of.
        source: None: nothing is reread.
        period: seconds between two looks.
    """
    if source is None:
        yield
        return
    task = asyncio.create_task(_watch(bridge, settings, source, period))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])  # whatever became of it: what is open is to be drained now


async def _watch(bridge: Bridge, settings: Settings, source: Source, period: float) -> None:
    seen = None  # so that a change between the start and the first look is not missed
    while True:
        await asyncio.sleep(period)
        mark = source.mark()
        if mark is not None and mark != seen:
            seen = mark
            settings = reread(bridge, settings, source)


def reread(bridge: Bridge, settings: Settings, source: Source) -> Settings:
    """Give the bridge what its file says now, as far as that can change while it runs.

    Returns:
        What is in force now: as before, where the file has a mistake.
    """
    try:
        new = source.load()
    except SettingsError as error:
        log.error("settings not reread, the old ones stay", extra=fields(error=str(error)))
        return settings
    changed = [key for key in Settings.model_fields if getattr(new, key) != getattr(settings, key)]
    if late := [key for key in changed if key not in RELOADED]:
        log.warning("settings that take a restart have changed", extra=fields(keys=", ".join(late)))
    if taken := [key for key in changed if key in RELOADED]:
        settings = settings.model_copy(update={key: getattr(new, key) for key in taken})
        rebuild(bridge, settings)
        log.info("settings reread", extra=fields(keys=", ".join(taken)))
    return settings
