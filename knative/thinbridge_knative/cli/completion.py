"""`kn bridge completion`, `options`, and the answer to kn's question for a manifest."""

from collections.abc import Sequence
from typing import Any, Final

import click
from click.shell_completion import get_completion_class

from thinbridge_knative.cli.grammar import Command, command, flag_table, global_flags, single
from thinbridge_knative.failures import Failure

SHELLS: Final = ("bash", "fish", "zsh")
VARIABLE: Final = "_KN_BRIDGE_COMPLETE"


@command(
    "completion",
    "Output shell completion code",
    "SHELL",
    """
    # Generate completion code for bash
    source <(kn bridge completion bash)

    # Generate completion code for fish
    kn bridge completion fish | source

    # Generate completion code for zsh
    source <(kn bridge completion zsh)
    """,
)
def completion(ctx: click.Context, names: Sequence[str], **flags: Any) -> None:
    """Code that a shell evaluates, for `kn-bridge`."""
    shell = single(names, "'kn bridge completion' requires the shell as single argument: bash, fish or zsh")
    found = get_completion_class(shell) if shell in SHELLS else None
    if found is None:
        raise Failure(f"'kn bridge completion' does not know the shell {shell}; known: {', '.join(SHELLS)}")
    click.echo(found(ctx.find_root().command, {}, "kn-bridge", VARIABLE).source())


@command("options", "Print the list of flags inherited by all commands", "", "")
def options(ctx: click.Context, names: Sequence[str], **flags: Any) -> None:
    """The global flags."""
    click.echo("The following options can be passed to any command:\n")
    click.echo(flag_table(global_flags()), nl=False)


def _manifest() -> None:
    """What kn asks a plugin whether they share a context: no."""
    click.echo('{"hasManifest": false}')


options.hidden = True  # as kn has it: every page of help ends with its name
manifest: Final = Command("manifest", callback=_manifest, hidden=True)
