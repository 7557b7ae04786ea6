"""Help: at once, in cobra's layout, and complete."""

import subprocess
import sys

import click
import pytest
from tests.knative.cli.conftest import Kn

from thinbridge_knative.cli.app import app

HELP = "import sys; from thinbridge_knative.cli import main; sys.argv[1:] = ['--help']; main()"
HEAVY = ("kubernetes", "pydantic", "yaml", "urllib3")


def commands() -> list[str]:
    return [name for name, command in app.commands.items() if not command.hidden]


def test_help_imports_nothing_heavy() -> None:
    """What makes it answer at once (0.12 s); seconds are no test, a machine may be busy."""
    code = f"{HELP[:-8]}\ntry: main()\nfinally: print([one for one in {HEAVY} if one in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("name", commands())
def test_each_command_has_a_page(name: str, kn: Kn) -> None:
    status, out, err = kn(name, "--help")
    command = app.commands[name]
    assert (status, err) == (0, "")
    assert out.startswith(f"{command.help}\n\nUsage:\n  kn bridge {name} ")
    assert "\nExamples:\n\n  # " in out
    assert out.endswith(
        'Use "kn bridge options" for a list of global command-line options (applies to all commands).\n'
    )
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert f" {max(option.opts, key=len)}" in out


def test_the_list_of_commands(kn: Kn) -> None:
    out = kn("--help")[1]
    assert [line.split()[0] for line in out.split("Available Commands:\n")[1].split("\n\n")[0].splitlines()] == [
        *sorted(commands())
    ]
    assert "--kubeconfig string" in kn("options")[1]


def test_examples_are_commands(kn: Kn) -> None:
    for name in commands():
        words = [
            line.split() for line in kn(name, "--help")[1].split("Examples:")[1].splitlines() if "kn bridge" in line
        ]
        used = {line[line.index("bridge") + 1] for line in words if line[0] == "kn"}
        assert used == {name}
