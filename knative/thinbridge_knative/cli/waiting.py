"""Waiting for a bridge to be Ready or gone, with a line for each thing that happens, as kn's `pkg/wait` does."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import click

from thinbridge_knative.client import BRIDGES, PODS, Cluster, Object
from thinbridge_knative.failures import ApiFailure, Failure
from thinbridge_knative.output import condition
from thinbridge_knative.resource import selector

LONELY: Final = 5.0
"""Seconds after which a bridge that no controller has touched is worth a word."""
PAUSE: Final = 0.1
"""Seconds between one watch and the next."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait."""

    timeout: float = 600
    """Seconds in all."""
    window: float = 2
    """Seconds for which Ready may be False before that is the end."""


class Progress:
    """`  1.234s message`; a message that repeats is `...`."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._last = ""

    def say(self, message: str) -> None:
        """Print one line."""
        text = "..." if message == self._last else message
        click.echo(f"{time.monotonic() - self._start:7.3f}s {text}")
        self._last = message


def until_ready(cluster: Cluster, name: str, namespace: str, patience: Patience) -> Object:
    """The bridge, Ready.

    Raises:
        Failure: it is not: False for the whole window, no time left, or deleted.
    """
    progress = Progress()
    end = time.monotonic() + patience.timeout
    lonely: float | None = time.monotonic() + LONELY
    broken: tuple[float, str] | None = None
    version = ""
    while (now := time.monotonic()) < end:
        due = min(moment for moment in (end, broken and broken[0] + patience.window, lonely) if moment)
        for bridge in _changes(cluster, name, namespace, version, due - now):
            version = bridge["metadata"]["resourceVersion"]
            ready = condition(bridge) if _seen(bridge) else {}
            if ready.get("status") == "True":
                return bridge
            if ready:
                lonely = None
                broken = _broken(ready, broken)
                if ready.get("message"):
                    progress.say(ready["message"])
                break
        now = time.monotonic()
        if broken and now >= broken[0] + patience.window:
            raise Failure(broken[1])
        if lonely and now >= lonely:
            lonely = None
            progress.say("No controller has taken it up yet: is thinbridge-controller running?")
        time.sleep(PAUSE)  # whatever ends a watch at once must not make this loop spin
    raise Failure(f"timeout: bridge '{name}' not ready after {patience.timeout:.0f} seconds")


def until_gone(cluster: Cluster, name: str, namespace: str, patience: Patience) -> None:
    """Return when the bridge is gone and its last pod has drained.

    Raises:
        Failure: no time left.
    """
    end = time.monotonic() + patience.timeout
    while time.monotonic() < end:
        if not _there(cluster, name, namespace) and not cluster.find(PODS, namespace, selector(name))["items"]:
            return
        time.sleep(PAUSE)
    raise Failure(f"timeout: bridge '{name}' not deleted after {patience.timeout:.0f} seconds")


def _there(cluster: Cluster, name: str, namespace: str) -> bool:
    try:
        cluster.get(BRIDGES, name, namespace)
    except ApiFailure as error:
        if error.missing:
            return False
        raise
    return True


def _seen(bridge: Object) -> bool:
    """Whether its status speaks of the spec as it is now."""
    return bool(bridge.get("status", {}).get("observedGeneration") == bridge["metadata"].get("generation"))


def _broken(ready: Mapping[str, Any], since: tuple[float, str] | None) -> tuple[float, str] | None:
    """Since when Ready is False, and why; another state in between ends it."""
    if ready["status"] != "False":
        return None
    why = f"{ready.get('reason', '')}: {ready.get('message', '')}"
    return (since[0] if since else time.monotonic(), why)


def _changes(cluster: Cluster, name: str, namespace: str, version: str, seconds: float) -> Iterator[Object]:
    """The bridge as it is, unless that is the known version, then each time that it changes."""
    bridge = cluster.get(BRIDGES, name, namespace)
    if bridge["metadata"]["resourceVersion"] != version:
        yield bridge
    for event in cluster.watch(BRIDGES, name, namespace, bridge["metadata"]["resourceVersion"], max(PAUSE, seconds)):
        if event["type"] == "DELETED":
            raise Failure(f"bridge '{name}' was deleted while it was waited for")
        if event["type"] != "MODIFIED":
            return  # the version is too old to be watched from: look again
        yield event["object"]
