"""The commands; each is a module beside this one."""

from typing import Annotated, Final

import typer

import thinbridge
from thinbridge.cli import console, dev, protocols, routes, run, send

EXAMPLES: Final = console.examples("""
  thinbridge dev functions/examples/echo      try it: a bridge with a function behind it
  thinbridge send coap://127.0.0.1/hello      be a device
  thinbridge run --config bridge.yaml         what a pod runs
""")

app = typer.Typer(
    name="thinbridge",
    no_args_is_help=True,
    epilog=EXAMPLES,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run", cls=console.Command, epilog=run.EXAMPLES)(run.run)
app.command("dev", cls=console.Command, epilog=dev.EXAMPLES)(dev.dev)
app.command("send", cls=console.Command, epilog=send.EXAMPLES)(send.send)
app.add_typer(protocols.app, name="protocols")
app.add_typer(routes.app, name="routes")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"thinbridge {thinbridge.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Thin bridges from CoAP, MQTT and UDP devices to Knative functions, with the answer back on the session."""
