"""`thinbridge run`: the bridge alone, as a pod runs it."""

import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from thinbridge.cli import console
from thinbridge.cli.options import Config, Drain, Http, Listen, LogLevel, Mode, Sink

EXAMPLES: Final = console.examples("""
  thinbridge run --listen coap://127.0.0.1:5683 --listen mqtt://127.0.0.1:1883 --sink http://127.0.0.1:8080/
  thinbridge run --config bridge.yaml
  THINBRIDGE_LISTEN="coap:5683 udp:9000" K_SINK=http://my-function/ thinbridge run
""")


def run(
    listen: Listen = None,
    sink: Sink = None,
    dead_letter: Annotated[
        str | None, typer.Option("--dead-letter", metavar="URL", help="Where an event goes that the sink did not take.")
    ] = None,
    mode: Mode = None,
    http: Http = None,
    config: Config = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="The bridge's name in events.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", metavar="NAME", help="Its namespace.")] = None,
    sink_from_binding: Annotated[
        bool | None, typer.Option("--sink-from-binding", help="Wait, not ready, until a SinkBinding has set K_SINK.")
    ] = None,
    trusted_networks: Annotated[
        list[str] | None,
        typer.Option("--trusted-networks", metavar="CIDR", help="Where addresses can't be forged. Repeatable."),
    ] = None,
    drain: Drain = None,
    log_level: LogLevel = None,
    log_format: Annotated[
        str | None,
        typer.Option(
            "--log-format",
            metavar="FORMAT",
            autocompletion=console.choices("auto", "json", "text"),
            help="auto, json, text.",
        ),
    ] = None,
) -> None:
    """Run the bridge alone, as a pod does.

    Until SIGTERM; then it finishes what is open, and exits with 0. Every flag is also a variable, THINBRIDGE_<FLAG>,
    and a key of the file; docs/settings.md explains them all. A setting that can't be used ends the start with one line
    and exit status 2.
    """
    flags: dict[str, Any] = {
        "listen": listen,
        "sink": sink,
        "dead_letter": dead_letter,
        "mode": mode,
        "http": http,
        "name": name,
        "namespace": namespace,
        "sink_from_binding": sink_from_binding,
        "trusted_networks": trusted_networks,
        "drain": drain,
        "log_level": log_level,
        "log_format": log_format,
    }
    raise typer.Exit(_run(flags, config))


def _run(flags: dict[str, Any], config: Path | None) -> int:
    from thinbridge.cli import serving, standing
    from thinbridge.cli.rereading import Source
    from thinbridge.settings import CONFIG, load

    with console.mistakes():
        settings = load(flags, os.environ, config)
    serving.log_as(settings)
    file = config or (Path(named) if (named := os.environ.get(CONFIG)) else None)
    source = Source(file, lambda: load(flags, os.environ, config)) if file else None
    return serving.serve(lambda stop: standing.stand(settings, stop, source))
