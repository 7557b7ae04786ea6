"""Flags that several commands have. The settings check them, so that each mistake is one line: here all are text, and
a file need not be readable."""

from pathlib import Path
from typing import Annotated

import typer

from thinbridge.cli.console import choices

Listen = Annotated[
    list[str] | None,
    typer.Option(
        "--listen",
        metavar="URL",
        help="An endpoint: coap://127.0.0.1:5683; coap:5683, or coap, for all addresses. Repeatable.",
    ),
]
Sink = Annotated[str | None, typer.Option("--sink", metavar="URL", help="Where events go.")]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", readable=False, help="bridge.yaml; flags beat it.")
]
Mode = Annotated[
    str | None,
    typer.Option(
        "--mode",
        metavar="MODE",
        autocompletion=choices("request", "event", "later"),
        help="What a device's answer waits for: request, event, later.",
    ),
]
Http = Annotated[
    str | None,
    typer.Option(
        "--http", metavar="HOST:PORT", help="Where health, metrics and the inbox are; a bare port: on loopback."
    ),
]
Drain = Annotated[
    str | None, typer.Option("--drain", metavar="SECONDS", help="How long open work may finish after SIGTERM.")
]
LogLevel = Annotated[
    str | None,
    typer.Option(
        "--log-level",
        metavar="LEVEL",
        autocompletion=choices("debug", "info", "warning", "error"),
        help="The least to log: debug, info, warning, error.",
    ),
]
