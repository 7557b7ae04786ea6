"""What people see: one line for a mistake, tables, colours that vanish when piped or when `NO_COLOR` is set."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from thinbridge.errors import SettingsError


def examples(text: str) -> str:
    """What `--help` ends with; the mark keeps its lines as they are."""
    return f"\b\nExamples:\n{text.strip(chr(10))}"


@contextmanager
def mistakes() -> Iterator[None]:
    """A bad setting ends the program with one line on stderr and exit status 2."""
    try:
        yield
    except SettingsError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns under upper-case headers, as `kn` and `kubectl` print them."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        typer.echo("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def structure(value: object, output: str) -> None:
    """The same as JSON or YAML."""
    if output == "json":
        typer.echo(json.dumps(value, indent=2))
    else:
        import yaml

        typer.echo(yaml.safe_dump(value, sort_keys=False), nl=False)


def colourful() -> bool:
    """Whether stdout is a terminal that may have colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
