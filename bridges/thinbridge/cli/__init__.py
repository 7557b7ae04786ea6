"""The command line: `thinbridge run`, `dev`, `send`, `protocols`, `routes`. Nobody imports it.

    main.py       the commands, and how a mistake ends
    run.py        the bridge alone, as a pod runs it
    dev/          the bridge with a function behind it that is started at the first message
    send.py       a device for people who have none
    protocols.py  what is installed
    routes.py     which way a message takes
    assemble.py   from settings to a bridge
    serving.py    signals, the event loop, the drain: what `run` and `dev` have in common
    client.py     the sockets of a device
    console.py    what people see

Modules import what is heavy inside their functions, so that `--help` and completion answer at once.
"""


def main() -> None:
    """The console script `thinbridge`."""
    from thinbridge.cli.main import app

    app()
