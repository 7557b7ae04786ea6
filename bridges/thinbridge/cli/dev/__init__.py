"""`thinbridge dev PATH`: the bridges with a function behind them that is started at the first message.

target.py     which function of PATH is meant, found without importing it
function.py   the function's process: started, watched, stopped
leash.py      what that process runs, so that it ends with this one
activator.py  what the bridge's sink points at: holds requests while the function starts, stops it when idle
stage.py      all of it together, from the first line to the last
printer.py    one readable line a message
heard.py      its end: what the device gets of the answer
frames.py     what of the function's output is worth a line
banner.py     what to type in another terminal, and one real message of each protocol
"""

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from thinbridge.cli import console
from thinbridge.cli.options import Config, Drain, Http, Listen, LogLevel, Mode

EXAMPLES: Final = console.examples("""
  thinbridge dev functions/examples/echo
  thinbridge dev my_function.py --target on_message --cold-start 5 --idle 5
  thinbridge dev . --listen coap:5684 --listen udp:9001
""")


def dev(
    path: Annotated[Path, typer.Argument(metavar="PATH", readable=False, hidden=True)],
    listen: Listen = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="NAME", help="The function, where the file has several.")
    ] = None,
    idle: Annotated[
        float,
        typer.Option(
            "--idle",
            metavar="SECONDS",
            parser=console.number(float, 0.1),
            help="Stop the function after so long without work.",
        ),
    ] = 30.0,
    cold_start: Annotated[
        float,
        typer.Option(
            "--cold-start",
            metavar="SECONDS",
            parser=console.number(float, 0),
            help="Start it only after so long, to feel it.",
        ),
    ] = 0.0,
    demo: Annotated[bool, typer.Option("--demo", help="Send one message of each protocol first.")] = False,
    mode: Mode = None,
    http: Http = None,
    config: Config = None,
    drain: Drain = None,
    log_level: LogLevel = None,
) -> None:
    """Run a function behind CoAP, MQTT and UDP, here and now.

    PATH is a Python file, or a folder with a main.py. The function is started at the first message, stopped when
    nobody needs it, and started afresh after a change. Ends with Ctrl-C or SIGTERM, after what is open is done
    (--drain, 15 s). A taken port ends the start with one line and exit status 2.
    """
    from thinbridge.cli import serving
    from thinbridge.cli.dev.stage import Stage
    from thinbridge.cli.dev.target import find

    with console.mistakes():
        find(path, target)
    flags = {"listen": listen, "mode": mode, "http": http, "drain": drain, "log_level": log_level}
    stage = Stage(path, target, idle=idle, cold_start=cold_start, demo=demo)
    raise typer.Exit(serving.serve(lambda stop: stage.play(stop, flags, os.environ, config)))
