"""Which lines of a function's output `thinbridge dev` shows."""

from pathlib import Path

from thinbridge.cli.dev.frames import Frames, Tracebacks


def test_only_the_functions_own_frames_are_shown() -> None:
    own = Path.cwd()
    output = f"""\
Traceback (most recent call last):
  File "<frozen runpy>", line 88, in _run_code
  File "/usr/lib/python3/site-packages/click/core.py", line 1, in __call__
    return self.main(*args, **kwargs)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "{own}/main.py", line 5, in on
    1 / 0
    ~~^~~
  File "{own}/.venv/lib/python3.11/site-packages/other.py", line 1, in other
    more
ZeroDivisionError: division by zero
    deeper, but of no frame
"""
    frames = Frames(own)
    assert [line for line in output.splitlines() if frames.keep(line)] == [
        "Traceback (most recent call last):",
        f'  File "{own}/main.py", line 5, in on',
        "    1 / 0",
        "    ~~^~~",
        "ZeroDivisionError: division by zero",
        "    deeper, but of no frame",
    ]


def shown(tracebacks: Tracebacks, text: str) -> list[str]:
    lines = [one for line in text.splitlines() for one in tracebacks.take(line)]
    return [*lines, *tracebacks.end()]


def test_a_traceback_that_was_shown_is_one_line() -> None:
    tracebacks = Tracebacks()
    header = "on failed on <Event 'dev.thinbridge.coap.request' subject='x' id='1' 1 bytes>\n"
    text = 'Traceback (most recent call last):\n  File "main.py", line 5, in on\n    1 / 0\nZeroDivisionError: zero\n'
    assert shown(tracebacks, f"hello\n{header}{text}") == ["hello", *text.splitlines()]
    assert not tracebacks.repeated
    assert shown(tracebacks, f"{header}{text}hello\n") == ["the same again", "hello"]
    assert tracebacks.repeated
    other = text.replace("zero", "one")
    assert shown(tracebacks, other + text) == [*other.splitlines(), "the same again"]
    assert shown(tracebacks, text.rpartition("Zero")[0]) == text.splitlines()[:-1]  # the process ended in it


def test_few_tracebacks_are_remembered() -> None:
    tracebacks = Tracebacks()
    for number in range(50):
        text = f"Traceback (most recent call last):\nKeyError: {number}"
        assert shown(tracebacks, text) == [f"KeyError: {number}"]  # without a frame it is none
    assert shown(tracebacks, "Traceback (most recent call last):\nKeyError: 49") == ["the same again"]
    assert shown(tracebacks, "Traceback (most recent call last):\nKeyError: 0") == ["KeyError: 0"]


def test_an_answer_that_is_none_is_told_once() -> None:
    tracebacks = Tracebacks()
    line = "on answered with what can't be sent: int can't be an answer's data"
    assert shown(tracebacks, f"{line}\n{line}\nhello") == [line, "the same again", "hello"]
    prefixed = f"ERROR:thinbridge_functions:{line}"
    assert shown(tracebacks, f"{prefixed}\n{prefixed}") == [prefixed, "the same again"]
