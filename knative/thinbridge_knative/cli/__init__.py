"""`kn bridge` (console script `kn-bridge`): bridges on a Knative cluster, in the grammar of kn.

    grammar.py     how help, flags and mistakes look
    options.py     flags that several commands have
    edits.py       from flags and files to a Bridge, checked
    stores.py      a cluster, or a folder for GitOps
    waiting.py     until a bridge is ready or gone
    writing.py     create, apply, update, import
    reading.py     list, describe, export, endpoints, list-types
    acting.py      delete, wait, logs, send
    completion.py  completion, options

`kubernetes` and the settings model are imported when a command needs them, so that `--help` answers at once.
"""

import os
import sys
from collections.abc import Sequence


def main(words: Sequence[str] | None = None) -> None:
    """The console script; `words` are the arguments, those of the process unless given."""
    from thinbridge_knative.cli.app import run

    try:
        status = run(sys.argv[1:] if words is None else words)
        sys.stdout.flush()
    except BrokenPipeError:  # `kn bridge logs … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    raise SystemExit(status)
