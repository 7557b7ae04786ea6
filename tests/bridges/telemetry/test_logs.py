"""Log lines: one record, one line that parses, whatever is in it."""

import io
import json
import logging
import unicodedata
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinbridge.errors import DecodeError, SettingsError
from thinbridge.telemetry import configure, fields
from thinbridge.telemetry.logs import JSONFormatter, PlainFormatter, printable

HOSTILE = "\r\n\x1b[31m\x00\x7f\x85\u2028\u2029\u202e\u2066\ud800\U000e0001"
"""CR, LF, ANSI, NUL, DEL, NEL, line and paragraph separators, bidi, a lone surrogate, a tag character."""


class Terminal(io.StringIO):
    """Somebody reads it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("thinbridge")
    before = list(root.handlers), root.level, own.level
    yield
    root.handlers[:], root.level, own.level = before
    logging.captureWarnings(False)


def record(message: str, error: BaseException | None = None, /, **values: object) -> logging.LogRecord:
    made = logging.LogRecord("thinbridge.test", logging.WARNING, "", 0, message, None, None)
    made.exc_info = (type(error), error, error.__traceback__) if error else None
    if values:
        made.fields = values
    return made


def as_json(message: str, error: BaseException | None = None, /, **values: object) -> dict[str, Any]:
    line = JSONFormatter().format(record(message, error, **values))
    assert line.isascii()
    assert line.isprintable()
    found: dict[str, Any] = json.loads(line)
    return found


def as_text(message: str, error: BaseException | None = None, /, **values: object) -> str:
    return PlainFormatter(colour=False).format(record(message, error, **values))


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


# --- JSON ------------------------------------------------------------------------------------------------------


def test_json_line() -> None:
    line = as_json("listening", endpoint="coap", port=5683, share=0.5, proven=True, nothing=None)
    assert line.pop("timestamp").endswith("+00:00")
    assert line == {
        "severity": "WARNING",
        "logger": "thinbridge.test",
        "message": "listening",
        "endpoint": "coap",
        "port": 5683,
        "share": 0.5,
        "proven": True,
        "nothing": None,
    }


def test_fields_never_replace_what_the_line_says_itself() -> None:
    assert as_json("true", message="false", severity="DEBUG", logger="x")["message"] == "true"


values = st.one_of(
    st.text(),
    st.binary(),
    st.integers(),
    st.floats(),
    st.none(),
    st.booleans(),
    st.lists(st.text(max_size=3), max_size=3),
)


@settings(derandomize=True, deadline=None)
@given(st.text(), st.dictionaries(st.text(max_size=9), values, max_size=4), st.one_of(st.none(), st.text()))
def test_each_record_is_one_json_line(message: str, extra: dict[str, object], error: str | None) -> None:
    made = record(message, ValueError(error) if error is not None else None)
    made.fields = extra
    line = JSONFormatter().format(made)
    assert line.isascii()
    assert line.isprintable()
    assert len(line.splitlines()) == 1
    parsed = json.loads(line, parse_constant=pytest.fail)
    assert len(message) > 1000 or parsed["message"] == message


@settings(derandomize=True, deadline=None)
@given(
    st.text(),
    st.dictionaries(st.sampled_from(["topic", "client"]), values, max_size=2),
    st.one_of(st.none(), st.text()),
)
def test_each_record_is_one_plain_line(message: str, extra: dict[str, object], error: str | None) -> None:
    line = as_text(message, DecodeError(error) if error is not None else None, **extra)
    assert len(line.splitlines()) == 1
    assert not {unicodedata.category(each) for each in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_hostile_text() -> None:
    assert as_json(HOSTILE, topic=HOSTILE)["topic"] == HOSTILE
    expected = r"\r\n\x1b[31m\x00\x7f\x85\u2028\u2029\u202e\u2066\ud800\U000e0001"
    assert printable(HOSTILE) == expected
    assert as_text("heard", topic=HOSTILE).endswith(f"WARNING test: heard topic={expected}")


def test_long_values_are_cut() -> None:
    line = as_json("m" * 2000, topic="t" * 1024, client="c" * 1025)
    assert (len(line["message"]), line["topic"], line["client"]) == (1024, "t" * 1024, "c" * 1023 + "…")
    assert len(as_text("m" * 5000, topic="t" * 5000)) < 2200


def test_bytes_are_told_by_their_number() -> None:
    """They are payloads, or keys."""
    line = as_json("m", password=b"hunter2", key=bytearray(b"hunter2"), view=memoryview(b"hunter2"))
    assert (line["password"], line["key"], line["view"]) == ("<7 bytes>",) * 3
    assert "hunter2" not in as_text("m", password=b"hunter2")


def test_numbers_that_json_has_not() -> None:
    line = as_json("m", nan=float("nan"), infinite=float("-inf"), huge=10**30, enormous=10**5000)
    assert (line["nan"], line["infinite"], line["huge"]) == ("nan", "-inf", str(10**30))
    assert line["enormous"] == "<int: ValueError>"


def test_value_that_has_no_text() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert as_json("m", value=Broken())["value"] == "<Broken: RuntimeError>"


def test_no_traceback_for_what_is_no_bug() -> None:
    line = as_json("refused", raised(DecodeError("token too long")))
    assert line["error"] == "DecodeError: token too long"
    assert "traceback" not in line
    text = as_text("refused", raised(SettingsError("--listen", "x", "y")))
    assert text.endswith("test: refused error=SettingsError: --listen: x: y")


def test_traceback_for_a_bug() -> None:
    bug = raised(ZeroDivisionError("a\nb" * 10_000))
    line = as_json("failed", bug)
    assert len(line["traceback"]) == 8192
    text = as_text("failed", raised(ZeroDivisionError("first\nsecond\x1b[31m")))
    first, *rest = text.splitlines()
    assert first.endswith(r"error=ZeroDivisionError: first\nsecond\x1b[31m")
    assert rest[0] == "  | Traceback (most recent call last):"
    assert all(each.startswith("  | ") and each.isprintable() for each in rest)


# --- configure -------------------------------------------------------------------------------------------------


def test_json_without_a_terminal() -> None:
    stream = io.StringIO()
    handler = configure(stream)
    logging.getLogger("thinbridge.shells").info("listening", extra=fields(url="coap://127.0.0.1:5683"))
    logging.getLogger("thinbridge").debug("not asked for")
    logging.getLogger("library").info("nobody asked")
    logging.getLogger("library").warning("heard")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["logger"] for line in lines] == ["thinbridge.shells", "library", "py.warnings"]
    assert lines[0]["url"] == "coap://127.0.0.1:5683"
    assert logging.getLogger().handlers == [handler]


@pytest.mark.parametrize(("no_color", "expected"), [("", "\x1b[32mINFO   \x1b[0m"), ("1", " INFO    ")])
def test_colours_on_a_terminal(no_color: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    stream = Terminal()
    configure(stream)
    logging.getLogger("thinbridge.cli").info("ready")
    assert expected in stream.getvalue()
    assert stream.getvalue().endswith(" cli: ready\n")


def test_form_and_level_may_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    terminal, pipe = Terminal(), io.StringIO()
    configure(terminal, json=True, level="DEBUG")
    logging.getLogger("thinbridge").debug("ready")
    assert json.loads(terminal.getvalue())["severity"] == "DEBUG"
    configure(pipe, json=False, level=logging.ERROR)
    logging.getLogger("thinbridge").warning("ready")
    logging.getLogger("thinbridge").error("failed")
    assert pipe.getvalue().endswith(" ERROR   thinbridge: failed\n")
    assert len(pipe.getvalue().splitlines()) == 1
    configure()
    logging.getLogger("thinbridge").warning("to standard error")
    assert json.loads(capsys.readouterr().err)["message"] == "to standard error"


def test_level_of_a_stranger() -> None:
    made = record("m")
    made.levelname = "NOTICE"
    assert "\x1b[0mNOTICE" in PlainFormatter(colour=True).format(made)
