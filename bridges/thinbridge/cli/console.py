"""What people see: one line for a mistake, tables, colours that vanish when piped or when `NO_COLOR` is set."""

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand

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


def number(kind: type[int] | type[float], low: float, high: float = math.inf) -> Callable[[Any], float]:
    """A flag's parser: a number within bounds, both included; never infinite."""
    what = "a whole number" if kind is int else "a number"
    bounds = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"

    def parse(text: Any) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (low <= value <= high and value < math.inf):
            raise typer.BadParameter(f"{text}: use {what}, {bounds}")
        return value

    return parse


def choices(*words: str) -> Callable[[str], list[str]]:
    """What a shell offers for a flag; without it, it offers file names. What is allowed, the settings say."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


class Command(TyperCommand):
    """A command of which a value that a flag's parser refuses is one line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer does; what is no matter of a value (an unknown flag, a missing URL) keeps its usage."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            if error.param is None or not error.message:
                raise
            flag = max(error.param.opts, key=len)
            typer.echo(f"Error: {flag}: {error.message}", err=True)
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
