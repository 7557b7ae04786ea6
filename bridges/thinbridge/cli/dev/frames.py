"""What a function prints, without what says nothing about it: frames that are not its own, tracebacks told before."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FRAME: Final = '  File "'
"""How a frame begins; its source and marks follow, deeper."""
DEEPER: Final = "    "

BEGIN: Final = "Traceback ("
HEADER: Final = re.compile(r"\S+ failed on <Event ")
"""What the handler SDK logs before a traceback; `dev` shows the message itself."""
MISTAKEN: Final = re.compile(r"\S+ answered with what can't be sent: ")
"""What it logs, without a traceback, of an answer that is none; it comes again with each try, as tracebacks do."""
AGAIN: Final = "the same again"
REMEMBERED: Final = 16
"""Tracebacks that are not shown twice: a function fails in few ways at a time."""


class Tracebacks:
    """A filter of lines: a traceback that was shown before, or has no frame, is one line.

    Outlives processes: it sees their starts.
    """

    def __init__(self) -> None:
        self._shown: dict[tuple[str, ...], None] = {}
        self._held: list[str] = []
        self.repeated = False
        """The last traceback was one that had been shown."""

    def take(self, line: str) -> Iterator[str]:
        """What to show now that a line has come; a traceback is held until its last line."""
        if HEADER.match(line):
            return
        if MISTAKEN.match(line):
            yield from self.end()
            self._held.append(line)
            yield from self.end()
        elif self._held and not line.startswith(" "):
            self._held.append(line)
            yield from self.end()
        elif self._held or line.startswith(BEGIN):
            self._held.append(line)
        else:
            yield line

    def end(self) -> Iterator[str]:
        """What is held: nothing follows."""
        if not self._held:
            return
        told, self._held = tuple(self._held), []
        if not any(line.startswith(FRAME) for line in told):
            told = told[-1:]  # no frame of the function's own is left of it
        self.repeated = told in self._shown
        if self.repeated:
            yield AGAIN
        else:
            yield from told
            self._shown[told] = None
            if len(self._shown) > REMEMBERED:
                del self._shown[next(iter(self._shown))]


class Frames:
    """A filter of lines.

    Args:
        folder: where the function's own files are.
    """

    def __init__(self, folder: Path) -> None:
        self._own = f"{FRAME}{folder.resolve()}/"
        self._skipping = False

    def keep(self, line: str) -> bool:
        """Whether to show a line; ask in order."""
        if line.startswith(FRAME):
            self._skipping = not line.startswith(self._own) or "/site-packages/" in line
        elif not line.startswith(DEEPER):
            self._skipping = False
        return not self._skipping
