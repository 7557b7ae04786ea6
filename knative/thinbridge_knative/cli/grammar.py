"""kn's grammar on click: how help, flags and mistakes look (cobra's ways, and those that kn has itself)."""

import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from shutil import get_terminal_size
from typing import Any, Final

import click

from thinbridge_knative.failures import Failure

PROGRAM: Final = "kn bridge"
FOOTER: Final = f'Use "{PROGRAM} options" for a list of global command-line options (applies to all commands).\n'
COMMAND: Final = re.compile(rf"'({PROGRAM}\s.+?)'")
"""The command that a message is about, as kn finds it."""


Completer = Callable[[click.Context, click.Parameter, str], list[str]]
"""(context, parameter, what is typed so far) → whole words."""


class Flag(click.Option):
    """One flag; its help is shown as cobra does, with the type after the name."""

    def __init__(self, *names: str, negative: str = "", **settings: Any) -> None:
        """`negative` is the help of the second half of `--wait/--no-wait`."""
        super().__init__(names, **settings)
        self.negative = negative

    @property
    def rows(self) -> Iterator[tuple[str, str, str]]:
        """(long name, left column, right column) of each of its lines."""
        long = max(self.opts, key=len)
        short = f"{min(self.opts, key=len)}, " if len(self.opts) > 1 else "    "
        kind = (
            "" if self.is_flag else " stringArray" if self.multiple else " int" if self.type is click.INT else " string"
        )
        yield long, f"{short}{long}{kind}", f"{self.help}{self._default}"
        for other in self.secondary_opts:
            yield other, f"    {other}", self.negative + ("" if self.default else " (default true)")

    @property
    def _default(self) -> str:
        if not isinstance(self.default, (bool, int, str)) or not self.default:
            return ""
        text = (
            "true" if self.default is True else f'"{self.default}"' if isinstance(self.default, str) else self.default
        )
        return f" (default {text})"


class Command(click.Command):
    """A command; every one takes the global flags too."""

    def __init__(self, *args: Any, words: str = "", example: str = "", **settings: Any) -> None:
        """`words` is what follows the name in `Usage`; `example` its examples."""
        super().__init__(*args, **settings)
        self.words = words
        self.example = example
        self.params += global_flags()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; a mistake knows its command."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The page that `--help` prints."""
        usage = " ".join(part for part in (ctx.command_path, self.words, "[options]") if part)
        formatter.write(f"{self.help}\n\nUsage:\n  {usage}\n\n")
        if self.example:
            formatter.write(f"Examples:\n\n{textwrap.indent(textwrap.dedent(self.example).strip(), '  ')}\n\n\n")
        flags = [flag for flag in self.params if isinstance(flag, Flag) and not flag.hidden]
        if flags:
            formatter.write(f"Options:\n{flag_table(flags)}\n")
        formatter.write(FOOTER)


class Group(click.Group):
    """The commands."""

    command_class = Command

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.invoke_without_command = True
        self.no_args_is_help = False
        self.params += global_flags()

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The page that `--help` prints."""
        formatter.write(f"{self.help}\n\nUsage:\n  {PROGRAM} COMMAND [options]\n\nAvailable Commands:\n")
        width = max(map(len, self.commands)) + 1
        for name in self.list_commands(ctx):
            command = self.commands[name]
            if not command.hidden:
                formatter.write(f"  {name:{width}} {command.short_help}\n")
        formatter.write(f'\n\nUse "{PROGRAM} <command> --help" for more information about a given command.\n{FOOTER}')

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is named; an unknown one is kn's own message."""
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            raise Failure(f"unknown sub-command '{args[0]}' for '{PROGRAM}'. Available sub-commands: {self.names(ctx)}")
        return super().resolve_command(ctx, args)

    def names(self, ctx: click.Context) -> str:
        """All commands that are shown."""
        return ", ".join(name for name in self.list_commands(ctx) if not self.commands[name].hidden)


def flag_table(flags: Sequence[Flag]) -> str:
    """Flags by name, their help in one column; folded only where a terminal is that narrow."""
    rows = sorted(row for flag in flags for row in flag.rows)
    width = max(len(left) for _, left, _ in rows) + 3
    room = get_terminal_size().columns - width - 2 if sys.stdout.isatty() else 0
    return "".join(f"  {left.ljust(width)}{_folded(right, room, width + 2)}\n" for _, left, right in rows)


def global_flags() -> list[Flag]:
    """Flags that any command takes, in any place; `options` lists them."""
    return [
        Flag("--as", "user", help="username to impersonate for the operation", **_remembered()),
        Flag(
            "--as-group",
            "groups",
            multiple=True,
            help="group to impersonate for the operation, this flag can be repeated to specify multiple groups",
            **_remembered(),
        ),
        Flag("--as-uid", "uid", help="uid to impersonate for the operation", **_remembered()),
        Flag("--context", help="name of the kubeconfig context to use", **_remembered()),
        Flag("--kubeconfig", help="kubectl configuration file (default: ~/.kube/config)", **_remembered()),
        Flag("--log-http", is_flag=True, help="log http traffic", **_remembered()),
    ]


def fail(error: Exception) -> int:
    """Print a mistake as kn does; returns the exit status."""
    text = re.sub(r"(?i)^error:\s*", "", str(error))
    path = COMMAND.search(text)
    click.echo(f"Error: {text}\nRun '{path[1] if path else PROGRAM} --help' for usage", err=True)
    return 1


def usage(error: click.UsageError) -> Failure:
    """A mistake in the command line, in cobra's words."""
    path = error.ctx.command_path if error.ctx else PROGRAM
    return Failure(f"{_what(error)} for '{path}'")


def single(names: Sequence[str], message: str) -> str:
    """The one name.

    Raises:
        Failure: there is none, or there are several; `message` says what is wanted.
    """
    if len(names) != 1:
        raise Failure(message)
    return names[0]


def missing(**flags: object) -> None:
    """Refuse if one of these was not given.

    Raises:
        Failure: naming all that are missing.
    """
    absent = ", ".join(f'"{name.replace("_", "-")}"' for name, value in sorted(flags.items()) if not value)
    if absent:
        raise Failure(f"required flag(s) {absent} not set")


def _what(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption):
        long = error.option_name.startswith("--")
        name = error.option_name
        return f"unknown flag: {name}" if long else f"unknown shorthand flag: '{name[1:2]}' in {name}"
    if isinstance(error, click.BadOptionUsage):
        given = error.option_name
        return f"flag needs an argument: {given}" if "argument" in error.message else f"{error.message.rstrip('.')}"
    if isinstance(error, click.BadParameter) and error.param is not None:
        value = re.search(r"'(.*?)' is not", error.message)
        flag = max(error.param.opts, key=len)
        return f'invalid argument "{value[1] if value else ""}" for "{flag}" flag: invalid syntax'
    return error.message.rstrip(".")


def _remembered() -> dict[str, Any]:
    return {"expose_value": False, "hidden": True, "callback": _remember}


def _remember(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """Keep a global flag, wherever on the line it stood."""
    if value:
        ctx.find_root().ensure_object(dict)[param.name] = value


def _folded(text: str, room: int, indent: int) -> str:
    lines = text.split("\n")
    if room >= 24:
        lines = [part for line in lines for part in textwrap.wrap(line, room, break_long_words=False)]
    return ("\n" + " " * indent).join(lines)


def command(
    name: str, short: str, words: str, example: str, *flags: Flag, complete: Completer | None = None
) -> Callable[[Callable[..., None]], Command]:
    """Make a function a command; it is called with the context, the words, and its flags by name.

    `complete` says how a shell may go on with a word.
    """

    def make(run: Callable[..., None]) -> Command:
        return Command(
            name,
            callback=click.pass_context(run),
            help=short,
            short_help=short,
            words=words,
            example=example,
            params=[click.Argument(["names"], nargs=-1, shell_complete=complete), *flags],
        )

    return make
