"""docs/kn-bridge.md says what is so: its comparison is current, its commands exist."""

import re
import shlex

import pytest
from tests.knative.cli import side_by_side
from tests.knative.cli.conftest import Kn

from thinbridge_knative.cli.app import app


def test_the_comparison_is_current() -> None:
    assert side_by_side.PAGE.read_text("utf-8") == side_by_side.page(), "run python -m tests.knative.cli.side_by_side"


def test_every_command_is_on_the_page() -> None:
    text = side_by_side.PAGE.read_text("utf-8")
    assert [
        name for name, command in app.commands.items() if not command.hidden and f"kn bridge {name}" not in text
    ] == []


@pytest.mark.parametrize("words", [["--help"], ["delete", "--help"]])
def test_recorded_help_is_ours(words: list[str], kn: Kn) -> None:
    page = "\n".join(line.rstrip() for line in kn(*words)[1].splitlines())
    assert f"$ kn bridge {' '.join(words)}\n{page}\n" in side_by_side.PAGE.read_text("utf-8")


def test_flags_of_the_page_exist() -> None:
    head = side_by_side.PAGE.read_text("utf-8").partition(side_by_side.MARK)[0]
    known = {name for command in app.commands.values() for option in command.params for name in option.opts}
    known |= {name for command in app.commands.values() for option in command.params for name in option.secondary_opts}
    lines = [line for line in head.splitlines() if line.startswith("kn bridge")]
    used = {word.partition("=")[0] for line in lines for word in shlex.split(line) if re.match("--?[a-z]", word)}
    assert used <= known
    assert lines
