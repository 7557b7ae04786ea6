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
  thinbridge send coap://127.0.0.1/sensors/7 --observe --stay 60
  thinbridge send mqtt://127.0.0.1/sensors/7 -d '{"t": 21}'
  thinbridge send mqtts://bridge.example/sensors/7 -d '{"t": 21}' --ca ca.pem
  echo -n ping | thinbridge send udp://127.0.0.1:9000 -d -
""")

OPTIONS: Final = {
    "coap": ("--method", "--type", "--non", "--observe", "--stay"),
    "coap+tcp": ("--method", "--type", "--observe", "--stay"),
    "mqtt": ("--type", "--qos", "--response-topic", "--mqtt-version"),
    "udp": (),
    "tls": ("--ca", "--cert", "--key"),
    "ws": ("--ws-path",),
    "wss": ("--ca", "--cert", "--key", "--ws-path"),
}
"""What has a meaning for whom: by protocol, and by what carries it."""
TIMEOUT: Final = 60.0
"""Seconds: a cold start takes 5 to 30."""
STAY: Final = 60.0
"""Seconds: Max-Age where nobody says one, so at least one state is new."""
GRACE: Final = 2.0
"""Seconds for MQTT's answer after its PUBACK, where nobody says a timeout: in mode request the PUBACK itself waits for
the function, so the answer comes right after it, or never. In mode later it may come much later: say how long."""


def send(
    url: Annotated[str, typer.Argument(metavar="URL", hidden=True)],
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            "-m",
            metavar="METHOD",
            autocompletion=console.choices("GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "iPATCH"),
            help="CoAP: GET, or POST if there is data.",
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", metavar="DATA", help="The payload; @FILE reads a file, - stdin.")
    ] = None,
    content_type: Annotated[
        str | None, typer.Option("--type", "-t", metavar="TYPE", help="The payload's media type.")
    ] = None,
    qos: Annotated[
        int | None,
        typer.Option(
            "--qos",
            metavar="0|1|2",
            parser=console.number(int, 0, 2),
            autocompletion=console.choices("0", "1", "2"),
            help="MQTT: 1, the default, waits for PUBACK, 2 for PUBCOMP.",
        ),
    ] = None,
    response_topic: Annotated[
        str | None, typer.Option("--response-topic", metavar="TOPIC", help="MQTT 5: where to await the answer.")
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(
            "--mqtt-version",
            "-V",
            metavar="VERSION",
            autocompletion=console.choices("5", "3.1.1"),
            help="MQTT: 5, the default, or 3.1.1, which only publishes.",
        ),
    ] = None,
    non: Annotated[bool, typer.Option("--non", help="CoAP: a message that is not confirmed.")] = False,
    ca: Annotated[
        str | None, typer.Option("--ca", metavar="FILE", help="TLS: authorities to trust (PEM); the system's.")
    ] = None,
    certificate: Annotated[
        str | None, typer.Option("--cert", metavar="FILE", help="TLS: the device's own certificate (PEM).")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="FILE", help="TLS: its key (PEM), where it is not in --cert.")
    ] = None,
    ws_path: Annotated[
        str | None, typer.Option("--ws-path", metavar="PATH", help="WebSocket: its path; /mqtt for MQTT.")
    ] = None,
    observe: Annotated[bool, typer.Option("--observe", help="CoAP: print each new state, for --stay seconds.")] = False,
    stay: Annotated[
        float | None,
        typer.Option(
            "--stay", metavar="SECONDS", parser=console.number(float, 0.001), help="CoAP: how long to observe: 60."
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            parser=console.number(float, 0.001),
            help="How long to wait: 60, but MQTT 2 after its PUBACK, unless said.",
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", metavar="N", parser=console.number(int, 1), help="Send it so many times.")
    ] = 1,
) -> None:
    """Be a device: send a message, print the function's answer.

    URL is coap://host/path?query, mqtt://host/topic or udp://host:port; coap+tcp is over TCP, mqtts and coaps+tcp are
    over TLS, mqtt+ws, mqtt+wss, coap+ws and coaps+ws are over WebSocket, without and with TLS. The answer's data goes
    to stdout, the protocol's own word for it to stderr. Exit status: 0 if the protocol says that it was done, 1 if
    there was no answer or an error, 2 if the command line can't be used.
    """
    from thinbridge.cli.message import Message

    given = {
        "--method": method,
        "--type": content_type,
        "--qos": qos,
        "--response-topic": response_topic,
        "--mqtt-version": version,
        "--non": non or None,
        "--observe": observe or None,
        "--stay": stay,
        "--ca": ca,
        "--cert": certificate,
        "--key": key,
        "--ws-path": ws_path,
    }
    with console.mistakes():
        _check(url, given)
        message = Message(
            url,
            _payload(data),
            method,
            content_type,
            1 if qos is None else qos,
            response_topic,
            version or "5",
            not non,
            GRACE if timeout is None else None,
            ca,
            certificate,
            key,
            ws_path,
            (stay or STAY) if observe or stay else None,
            _tell,
        )
        message.check()
    results = [_once(message, timeout or TIMEOUT, number < count) for number in range(1, count + 1)]
    raise typer.Exit(0 if all(result is not None and result.ok for result in results) else 1)


def _check(url: str, given: dict[str, str | int | float | None]) -> None:
    """No option without a meaning for the URL's protocol, and for what carries it."""
    from thinbridge.cli.message import carrier
    from thinbridge.errors import SettingsError

    scheme = url.partition(":")[0].lower()
    try:
        protocol, by, _ = carrier(scheme)
    except SettingsError:
        return  # the URL is the mistake to name
    known = (*OPTIONS.get(protocol.name, given), *OPTIONS.get(by, ()))
    for flag, value in given.items():
        if value is not None and flag not in known:
            raise SettingsError(flag, value, f"leave it out: {scheme} has no such thing")


def _once(message: "Message", timeout: float, more: bool) -> "Result | None":
    try:
        result = message.send(timeout)
    except OSError as error:
        typer.echo(f"{message.url}: {_problem(error)}", err=True)
        return None
    if result is None:
        typer.echo(f"{message.url}: no answer", err=True)
        return None
    _tell(result, more)
    return result


def _tell(result: "Result", more: bool = True) -> None:
    typer.echo(result.code + (f"  {result.content_type}" if result.content_type else ""), err=True)
    _print(result.data, more)


def _problem(error: OSError) -> str:
    """Why the bridge can't be reached, or was not the one to talk to."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}; --ca names its authority"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"TLS: {error.reason.lower().replace('_', ' ')}"
    return error.strerror or str(error)


def _print(data: bytes, more: bool) -> None:
    """Data as it is; a terminal, and the answer that follows, gets the line end that it lacks."""
    sys.stdout.buffer.write(data)
    if data and not data.endswith(b"\n") and (more or sys.stdout.isatty()):
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
