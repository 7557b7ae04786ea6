"""`thinbridge routes explain URL`: which route, sink and mode a message takes, and why."""

import os
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import unquote, urlsplit

import typer

from thinbridge.cli import console
from thinbridge.cli.options import Config, Mode, Sink

if TYPE_CHECKING:
    from thinbridge.protocols.base import Inbound
    from thinbridge.routes import Route
    from thinbridge.settings import Listener, Settings

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


@app.command("explain", epilog=EXAMPLES)
def explain(
    url: Annotated[str, typer.Argument(metavar="URL", help="What a device sends to: coap://host/sensors/7")],
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
    """Say which route, sink and mode a message takes, and why. Nothing is sent."""
    from thinbridge.settings import load

    scheme = urlsplit(url).scheme
    with console.mistakes():
        settings = load(
            {"sink": sink, "mode": mode}, os.environ, config, {"listen": [scheme], "sink_from_binding": True}
        )
        listener = _listener(settings, url, endpoint)
    inbound = _inbound(url, listener, event_type)
    for line in _explain(settings, listener, inbound):
        typer.echo(line)


def _listener(settings: "Settings", url: str, name: str | None) -> "Listener":
    """The endpoint that a device with this URL reaches: by name, by port, else the first of its scheme."""
    from thinbridge.errors import SettingsError
    from thinbridge.settings import parse_listen

    address = parse_listen(urlsplit(url)._replace(path="", query="", fragment="").geturl(), "URL")
    fitting = [one for one in settings.listen if one.protocol is address.protocol and name in (None, one.name)]
    if not fitting:
        known = ", ".join(f"{one.name} ({one.url})" for one in settings.listen)
        raise SettingsError("--endpoint" if name else "URL", name or url, f"no such endpoint; there are: {known}")
    return next((one for one in fitting if one.port == address.port), fitting[0])


def _inbound(url: str, listener: "Listener", event_type: str | None) -> "Inbound":
    """As much of a message as routes look at."""
    from thinbridge.protocols.base import Inbound

    subject = unquote(urlsplit(url).path).lstrip("/") or (listener.name if listener.protocol.name == "udp" else None)
    return Inbound(1, event_type or listener.protocol.event_types[0].type, subject, {}, None, b"")


def _explain(settings: "Settings", listener: "Listener", inbound: "Inbound") -> list[str]:
    message = {"endpoint": listener.name, "type": inbound.type, "subject": inbound.subject or ""}
    lines = [f"{name + ':':12} {value or '(none)'}" for name, value in message.items()]
    for index, route in enumerate(settings.routes):
        label = f"routes[{index}] {route.name}"
        failing = next((name for name in CONDITIONS if not _fits(route, name, message[name])), None)
        if failing is None:
            wanted = [f"{name} {getattr(route, name)}" for name in CONDITIONS if getattr(route, name) != "*"]
            return [*lines, *_taken(settings, route, label, " and ".join(wanted) or "it takes everything")]
        lines.append(f"not:         {label}, since its {failing} is {getattr(route, failing)}")
    why = "no other route fits" if settings.routes else "there are no others"
    return [*lines, *_taken(settings, settings.default_route, "the default", why)]


def _fits(route: "Route", name: str, value: str) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(value, getattr(route, name))


def _taken(settings: "Settings", route: "Route", label: str, why: str) -> list[str]:
    sink, dead_letter = route.sink or settings.sink, route.dead_letter or settings.dead_letter
    facts = {
        "route": f"{label}, since {why}",
        "sink": sink.uri if sink else "(none yet: K_SINK)",
        "dead letter": dead_letter.uri if dead_letter else "(none)",
        "mode": route.mode.value,
        "content": route.content.value,
        "timeout": f"{route.timeout:g} s",
    }
    return [f"{name + ':':12} {value}" for name, value in facts.items()]
