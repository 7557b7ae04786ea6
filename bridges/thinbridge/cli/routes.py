"""`thinbridge routes explain URL`: which route, sink and mode a message takes, and why."""

import os
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import SplitResult, unquote, unquote_to_bytes, urlsplit

import typer

from thinbridge.cli import console
from thinbridge.cli.options import Config, Mode, Sink

if TYPE_CHECKING:
    from thinbridge.protocols.base import Inbound
    from thinbridge.routes import Route
    from thinbridge.settings import Address, Listener, Settings

CONDITIONS: Final = ("endpoint", "type", "subject")
"""What a route looks at, in the order in which it is explained."""

EXAMPLES: Final = console.examples("""
  thinbridge routes explain coap://127.0.0.1/sensors/7 --config bridge.yaml
  thinbridge routes explain mqtt://127.0.0.1/site/a/door --config bridge.yaml
""")

app = typer.Typer(no_args_is_help=True, help="Which way a message takes.")


@app.callback()
def root() -> None:
    """Which way a message takes."""


@app.command("explain", cls=console.Command, epilog=EXAMPLES)
def explain(
    url: Annotated[str, typer.Argument(metavar="URL", hidden=True)],
    config: Config = None,
    sink: Sink = None,
    mode: Mode = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="NAME", help="The endpoint, where several have that scheme.")
    ] = None,
    event_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="The event's type, where the protocol has several.")
    ] = None,
) -> None:
    """Say which route, sink and mode a message takes, and why.

    URL is what a device sends to, such as coap://host/sensors/7. Nothing is sent.
    """
    from thinbridge.settings import load

    with console.mistakes():
        parts, address = _split(url)
        defaults = {"listen": [parts.scheme], "sink_from_binding": True}
        settings = load({"sink": sink, "mode": mode}, os.environ, config, defaults)
        listener = _listener(settings, url, address, endpoint)
        inbound = _inbound(url, parts, listener, event_type)
    for line in _explain(settings, listener, inbound):
        typer.echo(line)


def _split(url: str) -> tuple[SplitResult, "Address"]:
    """The parts of a device's URL, and the address in it."""
    from thinbridge.errors import SettingsError
    from thinbridge.settings import parse_listen

    try:
        parts = urlsplit(url)
        usable = bool(parts.scheme and parts.netloc) and "#" not in url
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError("URL", url, "write it as a device does: coap://host/sensors/7")
    try:
        return parts, parse_listen(f"{parts.scheme}://{parts.netloc}")
    except SettingsError as error:
        raise SettingsError("URL", url, error.fix) from error


def _listener(settings: "Settings", url: str, address: "Address", name: str | None) -> "Listener":
    """The endpoint that a device with this URL reaches: by name, by port, else the first of its scheme."""
    from thinbridge.errors import SettingsError

    fitting = [one for one in settings.listen if one.protocol is address.protocol and name in (None, one.name)]
    if not fitting:
        known = ", ".join(f"{one.name} ({one.url})" for one in settings.listen)
        raise SettingsError("--endpoint" if name else "URL", name or url, f"no such endpoint; there are: {known}")
    return next((one for one in fitting if one.port == address.port), fitting[0])


def _inbound(url: str, parts: SplitResult, listener: "Listener", event_type: str | None) -> "Inbound":
    """As much of a message as routes look at."""
    from thinbridge.errors import SettingsError
    from thinbridge.protocols.base import Inbound

    types = [one.type for one in listener.protocol.event_types]
    if event_type is not None and event_type not in types:
        raise SettingsError("--type", event_type, f"use one that {listener.protocol.name} has: {', '.join(types)}")
    return Inbound(1, event_type or types[0], _subject(url, parts, listener), {}, None, b"")


def _subject(url: str, parts: SplitResult, listener: "Listener") -> str | None:
    """What the protocol makes of the URL's path."""
    from thinbridge.cli import message
    from thinbridge.protocols.coap.request import segment

    path = parts.path.removeprefix("/")
    match listener.protocol.name:
        case "coap":
            return "/".join(segment(unquote_to_bytes(part)) for part in path.split("/")) or None
        case "mqtt":
            return message.topic(url, parts)
        case "udp":
            message.refuse_path(url, parts)
            return listener.name
        case _:
            return unquote(path) or None


def _explain(settings: "Settings", listener: "Listener", inbound: "Inbound") -> list[str]:
    protocol = listener.protocol.name
    message = {"endpoint": listener.name, "type": inbound.type, "subject": inbound.subject or ""}
    lines = [f"{name + ':':12} {value or '(none)'}" for name, value in message.items()]
    for index, route in enumerate(settings.routes):
        label = f"routes[{index}] {route.name}"
        failing = next((name for name in CONDITIONS if not _fits(route, name, message[name])), None)
        if failing is None:
            wanted = [f"{name} {getattr(route, name)}" for name in CONDITIONS if getattr(route, name) != "*"]
            return [*lines, *_taken(settings, protocol, route, label, " and ".join(wanted) or "it takes everything")]
        lines.append(f"not:         {label}, since its {failing} is {getattr(route, failing)}")
    why = "no other route fits" if settings.routes else "there are no others"
    return [*lines, *_taken(settings, protocol, settings.default_route, "the default", why)]


def _fits(route: "Route", name: str, value: str) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(value, getattr(route, name))


def _taken(settings: "Settings", protocol: str, route: "Route", label: str, why: str) -> list[str]:
    sink, dead_letter = route.sink or settings.sink, route.dead_letter or settings.dead_letter
    facts = {
        "route": f"{label}, since {why}",
        "sink": sink.uri if sink else "(none yet: K_SINK)",
        "dead letter": dead_letter.uri if dead_letter else "(none)",
        "mode": route.mode.value,
        "content": route.content.value,
        "timeout": f"{route.timeout:g} s",
    }
    if protocol == "mqtt":
        facts["retry for"] = f"{route.retry_for:g} s"
    return [f"{name + ':':12} {value}" for name, value in facts.items()]
