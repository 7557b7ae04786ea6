"""What a function prints, without the frames of a traceback that are not its own, which say nothing about it."""

from pathlib import Path
from typing import Final

FRAME: Final = '  File "'
"""How a frame begins; its source and marks follow, deeper."""
DEEPER: Final = "    "


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
