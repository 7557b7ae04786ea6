"""Which function of a file `thinbridge dev` means."""

from pathlib import Path

import pytest

from thinbridge.cli.dev.target import Target, find, mistake
from thinbridge.errors import SettingsError

HANDLER = "from thinbridge_functions import handler\n"


def written(folder: Path, text: str) -> Path:
    file = folder / "main.py"
    file.write_text(text, "utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "name", "asgi"),
    [
        (f"{HANDLER}@handler\ndef on(event): ...", "on", False),
        (f"{HANDLER}@handler\nasync def on(event): ...", "on", True),
        ("from thinbridge_functions import handler as h\n@h\ndef on(event): ...", "on", False),
        ("import thinbridge_functions\n@thinbridge_functions.handler\ndef on(event): ...", "on", False),
        ("import thinbridge_functions as t\n@t.handler\ndef on(event): ...", "on", False),
        ("import functions_framework\n@functions_framework.http\ndef on(request): ...", "on", False),
        ("import functions_framework as ff\n@ff.typed(dict)\ndef on(request): ...", "on", False),
        ("from functions_framework import cloud_event\n@cloud_event\ndef on(event): ...", "on", False),
        ("import functions_framework.aio\n@functions_framework.aio.http\ndef on(request): ...", "on", True),
        (
            f"import functools\n{HANDLER}@functools.cache\ndef a(): ...\n@handler\ndef b(event): ...\ndef c(): ...",
            "b",
            False,
        ),
    ],
)
def test_the_decorated_function_is_found(tmp_path: Path, text: str, name: str, asgi: bool) -> None:
    file = written(tmp_path, text)
    assert find(file) == find(tmp_path) == Target(file, name, asgi)


def test_a_name_finds_a_function_without_a_decorator(tmp_path: Path) -> None:
    file = written(tmp_path, f"{HANDLER}@handler\ndef one(event): ...\nasync def two(request): ...\n")
    assert find(file, "two") == Target(file, "two", True)


def test_the_file_is_not_run(tmp_path: Path) -> None:
    written(tmp_path, f"{HANDLER}@handler\ndef on(event): ...\nraise SystemExit('it was run')")
    assert find(tmp_path).name == "on"


@pytest.mark.parametrize("text", ["def on(:", "\0"])
def test_a_file_that_is_no_python_has_a_function_whose_start_will_say_so(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, text)
    assert find(file) == Target(file, "handler", False)
    assert find(file, "on") == Target(file, "on", False)


@pytest.mark.parametrize(
    ("text", "target", "line"),
    [
        ("def on(event): ...", None, "PATH: FILE: decorate a function with @handler, or name one with --target"),
        ("def on(event): ...", "off", "--target: off: use the name of a function in FILE"),
        (
            f"{HANDLER}@handler\ndef a(e): ...\n@handler\ndef b(e): ...",
            None,
            "PATH: FILE: choose one with --target: a, b",
        ),
    ],
)
def test_what_is_not_clear_is_one_line(tmp_path: Path, text: str, target: str | None, line: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        find(tmp_path, target)
    assert str(caught.value).replace(str(file), "FILE") == line


def test_a_path_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^PATH: .*: give a Python file, or a folder with a main.py: No such file"):
        find(tmp_path)


def test_a_file_that_is_no_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# no function\n", "utf-8")
    with pytest.raises(
        SettingsError, match=r"^PATH: .*README.md: give a Python file, \*\.py, or a folder with a main.py$"
    ):
        find(tmp_path / "README.md")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def on(:", "main.py:1: SyntaxError: invalid syntax"),
        (
            "def on():\nreturn",
            "main.py:2: IndentationError: expected an indented block after function definition on line 1",
        ),
        ("x = 1\nreturn x", "main.py:2: SyntaxError: 'return' outside function"),  # none that ast.parse sees
        ("raise ValueError", ""),
        ("'\\d'", ""),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    assert mistake(written(tmp_path, text)) == told


def test_a_null_byte_is_a_mistake_and_a_file_that_is_gone_is_none(tmp_path: Path) -> None:
    assert "null bytes" in mistake(written(tmp_path, "\0"))
    assert mistake(tmp_path / "gone.py") == ""
