"""The command line: `thinbridge run`, `dev`, `send`, `protocols`, `routes`. Nobody imports it.

    main.py       the commands, and how a mistake ends
    run.py        the bridge alone, as a pod runs it
    dev/          the bridge with a function behind it that is started at the first message
    send.py       a device for people who have none
    protocols.py  what is installed
    routes.py     which way a message takes
    standing.py   a bridge from start to end
    serving.py    signals and the event loop: what `run` and `dev` have in common
    message.py    what `send` says
    client.py     the sockets of a device
    options.py    flags that several commands have
    console.py    what people see

Modules import what is heavy inside their functions, so that `--help` and completion answer at once.
"""

import sys
from io import TextIOWrapper


def main() -> None:
    """The console script `thinbridge`."""
    from thinbridge.cli.main import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an arrow must not end a bridge on an ASCII terminal
    app()
