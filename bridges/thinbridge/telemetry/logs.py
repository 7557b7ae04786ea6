"""Log lines: JSON for machines, coloured for people, and never more of them than a reader can take.

Nothing that came from a device, a sink or a poster can break a line, colour a terminal or fill a disk: text is escaped
and cut, and bytes are told by their number only (they are payloads or keys).
`cli` calls `configure` once; everybody else logs with the standard library:

    log = logging.getLogger(__name__)
    log.info("listening", extra=fields(endpoint="coap", url="coap://127.0.0.1:5683"))
"""

import json as _json
import logging
import math
import os
import sys
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TextIO

from thinbridge.errors import ThinbridgeError

MAX_TEXT: Final = 1024
"""Characters of one value; more than any name or URL needs."""

MAX_TRACEBACK: Final = 8192
"""Characters of a traceback, its end: the line that raised is there."""

COLOURS: Final = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
"""Level → ANSI SGR parameters."""


def configure(
    stream: TextIO | None = None, *, json: bool | None = None, level: int | str = logging.INFO
) -> logging.Handler:
    """Send all logs of this process to one stream, in one form; what was set up before is replaced.

    Args:
        stream: None: standard error.
        json: None: unless the stream is a terminal.
        level: of thinbridge's own loggers; others are heard from WARNING on.

    Returns:
        The handler, now the root logger's only one.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    handler = logging.StreamHandler(stream)
    if not terminal if json is None else json:
        handler.setFormatter(JSONFormatter())
    else:
        handler.setFormatter(PlainFormatter(colour=terminal and not os.environ.get("NO_COLOR")))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("thinbridge").setLevel(level)
    logging.captureWarnings(True)
    return handler


def fields(**values: object) -> dict[str, dict[str, object]]:
    """For `extra=`: values that the formatters show by name."""
    return {"fields": values}


# --- Forms -----------------------------------------------------------------------------------------------------


class JSONFormatter(logging.Formatter):
    """One JSON object a line, in ASCII, with the keys that Knative's own components write."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "severity": record.levelname,
            "logger": record.name,
            "message": _cut(record.getMessage()),
        }
        for key, value in _fields(record).items():
            line.setdefault(key, _plain(value))
        error = _error(record)
        if error is not None:
            line["error"] = _cut(_describe(error))
            if not isinstance(error, ThinbridgeError):
                line["traceback"] = _traceback(error)
        return _json.dumps(line).replace("\x7f", "\\u007f")  # DEL is ASCII; everything else json escapes itself


class PlainFormatter(logging.Formatter):
    """A line for people: time, level, who, what, `key=value`; a traceback follows indented.

    Args:
        colour: whether the level is coloured.
    """

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end; more than one only for a bug's traceback."""
        level = f"{record.levelname:<7}"
        if self._colour:
            level = f"\x1b[{COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        time_of_day = time.strftime("%H:%M:%S", time.localtime(record.created)) + f".{int(record.msecs):03}"
        who = record.name.removeprefix("thinbridge.")
        parts = [time_of_day, level, f"{who}:", printable(_cut(record.getMessage()))]
        parts += [f"{key}={printable(str(_plain(value)))}" for key, value in _fields(record).items()]
        error = _error(record)
        if error is None:
            return " ".join(parts)
        parts.append(f"error={printable(_cut(_describe(error)))}")
        line = " ".join(parts)
        if isinstance(error, ThinbridgeError):
            return line
        return "\n  | ".join([line, *(printable(each) for each in _traceback(error).splitlines())])


def printable(text: str) -> str:
    """Text that shows as what it is: controls, line ends, bidi marks and the like as escapes."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    found: Mapping[str, object] = getattr(record, "fields", {})
    return found


def _plain(value: object) -> object:
    """A value that JSON has, cut."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and value.bit_length() < 64:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    return _cut(_text(value))


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # a log line is no place to fail
        return f"<{type(value).__name__}: {type(error).__name__}>"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def _error(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {_text(error)}"


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
