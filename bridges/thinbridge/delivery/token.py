"""The bearer token of a SinkBinding: a file that the kubelet rewrites, `/oidc/token`."""

from math import inf
from pathlib import Path
from typing import Final

RECHECK: Final = 1.0
"""Seconds between two looks at the file: a token is replaced after four fifths of its life, at least eight minutes."""
MAX_TOKEN: Final = 16 * 1024
"""Bytes; a service account's token takes about one thousand."""


class Token:
    """Reads the file when it changed.

    Args:
        path: the file; it may come and go.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._checked = -inf
        self._stamp: tuple[int, int] | None = None
        self._line = ""

    def line(self, now: float) -> str:
        """The `authorization` header line with its CRLF; empty while there is no token.

        Args:
            now: monotonic seconds.
        """
        if now - self._checked >= RECHECK:
            self._checked = now
            self._look()
        return self._line

    def _look(self) -> None:
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
            if stamp != self._stamp:
                with self._path.open("rb") as file:
                    self._line = _line(file.read(MAX_TOKEN))
                self._stamp = stamp
        except OSError:
            self._stamp, self._line = None, ""


def _line(content: bytes) -> str:
    token = content.strip().decode("latin-1")
    usable = token and token.isascii() and token.isprintable() and " " not in token
    return f"authorization: Bearer {token}\r\n" if usable else ""
