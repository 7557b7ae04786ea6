"""Throttle: what is repeated is counted, not said again."""

import asyncio
import io
import logging
from typing import Any

import pytest

from thinbridge.errors import DecodeError
from thinbridge.telemetry import Throttle, loop_errors
from thinbridge.telemetry.logs import JSONFormatter


class Clock:
    """Time that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Lines(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def lines() -> list[logging.LogRecord]:
    handler, logger = Lines(), logging.getLogger("test.throttle")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.DEBUG)
    return handler.records


def throttle(clock: Clock, causes: int = 256) -> Throttle:
    return Throttle(logging.getLogger("test.throttle"), causes=causes, clock=clock)


def said(lines: list[logging.LogRecord]) -> list[tuple[str, Any]]:
    return [(line.getMessage(), vars(line)["fields"].get("suppressed")) for line in lines]


def test_one_line_per_cause_and_minute(lines: list[logging.LogRecord]) -> None:
    clock = Clock()
    one = throttle(clock)
    for _ in range(1000):
        one.log(logging.WARNING, "malformed", peer="192.0.2.1")
        one.log(logging.WARNING, "too large")
    assert said(lines) == [("malformed", None), ("too large", None)]
    assert vars(lines[0])["fields"] == {"peer": "192.0.2.1"}
    clock.now = 59.9
    one.log(logging.WARNING, "malformed")
    clock.now = 60
    one.log(logging.WARNING, "malformed")
    clock.now = 120
    one.log(logging.WARNING, "malformed")
    assert said(lines)[2:] == [("malformed", 1000), ("malformed", None)]


def test_flush_tells_what_is_left(lines: list[logging.LogRecord]) -> None:
    one = throttle(Clock())
    for _ in range(3):
        one.log(logging.ERROR, "malformed")
    one.log(logging.INFO, "once")
    one.flush()
    one.flush()
    assert said(lines) == [("malformed", None), ("once", None), ("malformed", 2)]
    assert lines[-1].levelno == logging.ERROR
    one.log(logging.INFO, "once")
    assert len(lines) == 4, "after a flush every cause is new"


def test_causes_are_bounded(lines: list[logging.LogRecord]) -> None:
    clock = Clock()
    one = throttle(clock, causes=3)
    for number in range(10_000):
        one.log(logging.WARNING, f"cause {number}")
    assert said(lines) == [("cause 0", None), ("cause 1", None), ("cause 2", None), (Throttle.OTHER, None)]
    clock.now = 60
    one.log(logging.WARNING, "later")
    assert said(lines)[4:] == [(Throttle.OTHER, 9996), ("later", None)]


def test_flood_is_ten_kilobytes() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter())
    logger = logging.Logger("flood")
    logger.addHandler(handler)
    one = Throttle(logger)
    for number in range(10_000):
        one.log(logging.WARNING, "malformed", DecodeError("x" * 100), peer=f"192.0.2.1:{number}")
    one.flush()
    assert len(stream.getvalue()) < 10_000


def test_errors_of_the_loop(lines: list[logging.LogRecord]) -> None:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(loop_errors(throttle(Clock())))
    bug = ZeroDivisionError()
    for _ in range(100):
        loop.call_exception_handler({"message": "a callback failed", "exception": bug})
    loop.call_exception_handler({"message": "no exception"})
    loop.close()
    assert [(line.getMessage(), line.exc_info and line.exc_info[1]) for line in lines] == [
        ("a callback failed", bug),
        ("no exception", None),
    ]
