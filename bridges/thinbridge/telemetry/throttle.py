"""Not too often: one line per cause and minute, so that nothing a stranger repeats can fill a disk.

Whoever logs what bytes from outside, a sink or a bug can cause again and again does it through a `Throttle`.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Any, Final

from thinbridge.telemetry.logs import fields


class Throttle:
    """One line per cause and minute, with the number of those that were left out.

    Args:
        logger: where the lines go.
        per: seconds.
        causes: how many are told apart at a time; more share one line.
        clock: monotonic seconds.
    """

    OTHER: Final = "more causes than are told apart"

    def __init__(
        self,
        logger: logging.Logger,
        *,
        per: float = 60.0,
        causes: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._per = per
        self._causes = causes
        self._clock = clock
        self._windows: dict[str, _Window] = {}

    def log(self, level: int, cause: str, error: BaseException | None = None, /, **values: object) -> None:
        """Say it, or count it.

        Args:
            level: of the line.
            cause: the message, a fixed phrase: what differs from one time to the next goes into `values`.
            error: what was raised, if anything.
            values: the line's fields.
        """
        now = self._clock()
        window = self._windows.get(cause)
        if window is None:
            if len(self._windows) >= self._causes:
                self._sweep(now)
            if len(self._windows) >= self._causes:
                cause = self.OTHER
            window = self._windows.setdefault(cause, _Window(level))
        if now < window.until:
            window.suppressed += 1
            return
        window.until = now + self._per
        self._say(window, cause, error, values)

    def flush(self) -> None:
        """Tell the numbers that no line has told yet, as at the end of a run."""
        self._sweep(math.inf)

    def _sweep(self, now: float) -> None:
        """Forget what has been quiet for a window."""
        for cause, window in [each for each in self._windows.items() if each[1].until <= now]:
            del self._windows[cause]
            if window.suppressed:
                self._say(window, cause, None, {})

    def _say(self, window: "_Window", cause: str, error: BaseException | None, values: dict[str, object]) -> None:
        if window.suppressed:
            values["suppressed"] = window.suppressed
            window.suppressed = 0
        self._logger.log(window.level, cause, exc_info=error, extra=fields(**values))


class _Window:
    """What a `Throttle` knows of one cause."""

    __slots__ = ("level", "suppressed", "until")

    def __init__(self, level: int) -> None:
        self.level = level
        self.until = -math.inf
        self.suppressed = 0


def loop_errors(throttle: Throttle) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """A handler for `loop.set_exception_handler`: a bug that every message hits is one traceback a minute."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        throttle.log(logging.ERROR, context["message"], context.get("exception"))

    return handle
