"""The commands together, and how each of them ends."""

from collections.abc import Sequence
from typing import Final

import click

from thinbridge.errors import ThinbridgeError
from thinbridge_knative.cli import acting, completion, reading, writing
from thinbridge_knative.cli.grammar import PROGRAM, Group, fail, usage
from thinbridge_knative.failures import Failure

INTERRUPTED: Final = 130
"""128 + SIGINT, as shells have it."""


@click.pass_context
def _root(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        assert isinstance(ctx.command, Group)
        raise Failure(f"no sub-command given for '{PROGRAM}'. Available sub-commands: {ctx.command.names(ctx)}")


app: Final = Group(
    "bridge",
    callback=_root,
    help="Manage bridges from CoAP, MQTT and UDP devices to Knative",
    context_settings={"help_option_names": ["-h", "--help"]},
    commands=[
        writing.apply,
        completion.completion,
        writing.create,
        acting.delete,
        reading.describe,
        reading.endpoints,
        reading.export,
        writing.import_,
        reading.list_,
        reading.list_types,
        acting.logs,
        completion.manifest,
        completion.options,
        acting.send,
        writing.update,
        acting.wait,
    ],
)


def run(words: Sequence[str]) -> int:
    """One command; returns the exit status."""
    try:
        status = app.main(list(words), PROGRAM, standalone_mode=False, complete_var=completion.VARIABLE)
    except click.UsageError as error:
        return fail(usage(error))
    except ThinbridgeError as error:
        return fail(error)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    return status if isinstance(status, int) else 0
