"""`thinbridge protocols list`: what is installed, ours and a stranger's, and what of it is broken."""

from dataclasses import Field, fields
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from thinbridge.cli import console

EXAMPLES: Final = console.examples("""
  thinbridge protocols list
  thinbridge protocols list -o yaml      with options, defaults and attributes
""")

app = typer.Typer(no_args_is_help=True, help="The protocols that are installed.")


class Output(StrEnum):
    """How to print it."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def _output(text: str) -> Output:
    try:
        return Output(text)
    except ValueError:
        raise typer.BadParameter(f"{text}: use table, json or yaml") from None


@app.callback()
def root() -> None:
    """The protocols that are installed."""


@app.command("list", cls=console.Command, epilog=EXAMPLES)
def list_protocols(
    output: Annotated[
        Output,
        typer.Option(
            "--output",
            "-o",
            metavar="FORMAT",
            parser=_output,
            autocompletion=console.choices("table", "json", "yaml"),
            help="table, json or yaml.",
        ),
    ] = Output.TABLE,
) -> None:
    """List the protocols that a listener's URL may name.

    With the events that they make; as JSON or YAML with their options, too.
    """
    from thinbridge import registry

    found = registry.installed()
    if output is not Output.TABLE:
        console.structure([_details(one) for one in found], output.value)
    elif not found:
        typer.echo("No protocols found.")
    else:
        console.table(("NAME", "PORT", "OVER", "FROM", "EVENTS"), [_row(one) for one in found])


def _row(one: Any) -> tuple[str, ...]:
    from thinbridge import registry

    if one.protocol is None:
        return one.name, "-", "-", one.distribution, one.problem
    protocol = one.protocol
    types = ", ".join(event.type for event in protocol.event_types)
    by, port = registry.schemes(protocol)[one.name]
    over = protocol.transport.value if by == "tcp" else by
    return one.name, str(port), over, one.distribution, types


def _details(one: Any) -> dict[str, Any]:
    """Everything a program may want to know."""
    from thinbridge import registry

    details = {"name": one.name, "distribution": one.distribution}
    if one.protocol is None:
        return {**details, "problem": one.problem}
    protocol = one.protocol
    return {
        **details,
        "transport": protocol.transport.value,
        "port": registry.schemes(protocol)[one.name][1],
        "events": [
            {"type": event.type, "description": event.description, "attributes": list(event.attributes)}
            for event in protocol.event_types
        ],
        "options": {field.name: _default(field) for field in fields(protocol.Settings)},
    }


def _default(field: Field[Any]) -> Any:
    """A key's default; of the key alone, since a protocol may ask that some are given."""
    value = field.default_factory() if callable(field.default_factory) else field.default
    return list(value) if isinstance(value, tuple) else value
