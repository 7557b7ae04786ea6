"""`thinbridge send`: a device for people who have none. One message out, its answer on stdout."""

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from thinbridge.cli import console

if TYPE_CHECKING:
    from thinbridge.cli.message import Message
    from thinbridge.device.base import Result


EXAMPLES: Final = console.examples("""
  thinbridge send coap://127.0.0.1/sensors/7
  thinbridge send coap://127.0.0.1/sensors/7 -m PUT -d '{"t": 21}' -t application/json
  thinbridge send mqtt://127.0.0.1/sensors/7 -d '{"t": 21}'
  echo -n ping | thinbridge send udp://127.0.0.1:9000 -d -
""")


def send(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="coap://host/path?query, mqtt://host/topic, udp://host:port")
    ],
    method: Annotated[
        str | None, typer.Option("--method", "-m", metavar="METHOD", help="CoAP: GET, or POST if there is data.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", metavar="DATA", help="The payload; @FILE reads a file, - stdin.")
    ] = None,
    content_type: Annotated[
        str | None, typer.Option("--type", "-t", metavar="TYPE", help="The payload's media type.")
    ] = None,
    qos: Annotated[int, typer.Option("--qos", min=0, max=1, help="MQTT: 1 waits for PUBACK.")] = 1,
    response_topic: Annotated[
        str | None, typer.Option("--response-topic", metavar="TOPIC", help="MQTT 5: where to await the answer.")
    ] = None,
    version: Annotated[
        str, typer.Option("--mqtt-version", "-V", metavar="VERSION", help="MQTT: 5, or 3.1.1, which only publishes.")
    ] = "5",
    non: Annotated[bool, typer.Option("--non", help="CoAP: a message that is not confirmed.")] = False,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=0.001, help="How long to wait; a cold start takes a while."),
    ] = 60.0,
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, help="Send it so many times.")] = 1,
) -> None:
    """Be a device: send a message, and print what the function answers.

    The answer's data goes to stdout, the protocol's own word for it to stderr. Exit status: 0 if the protocol says that
    it was done, 1 if there was no answer or an error, 2 if the command line can't be used.
    """
    from thinbridge.cli.message import Message

    with console.mistakes():
        message = Message(url, _payload(data), method, content_type, qos, response_topic, version, not non)
        message.check()
    results = [_once(message, timeout) for _ in range(count)]
    raise typer.Exit(0 if all(result is not None and result.ok for result in results) else 1)


def _once(message: "Message", timeout: float) -> "Result | None":
    try:
        result = message.send(timeout)
    except OSError as error:
        typer.echo(f"{message.url}: {error.strerror or error}", err=True)
        return None
    if result is None:
        typer.echo(f"{message.url}: no answer", err=True)
        return None
    typer.echo(result.code + (f"  {result.content_type}" if result.content_type else ""), err=True)
    _print(result.data)
    return result


def _print(data: bytes) -> None:
    """Data as it is; a terminal gets the line end that it lacks."""
    sys.stdout.buffer.write(data)
    if data and not data.endswith(b"\n") and sys.stdout.isatty():
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def _payload(data: str | None) -> bytes | None:
    from thinbridge.errors import SettingsError

    if data == "-":
        return sys.stdin.buffer.read()
    if data is None or not data.startswith("@"):
        return None if data is None else data.encode("utf-8", "surrogateescape")
    try:
        with open(data[1:], "rb") as file:
            return file.read()
    except OSError as error:
        raise SettingsError("--data", data, f"give a file that can be read: {error.strerror}") from error
