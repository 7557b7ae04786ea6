"""What a Bridge's spec says, as the settings of a bridge: the same model, the same words for a mistake.

The spec holds keys of `bridge.yaml` as they are (`SHARED`), and what only a cluster has. The controller makes the pods'
`bridge.yaml` of it; `kn bridge` asks it whether a spec can be used before it sends one.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from pydantic import ValidationError

from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Transport
from thinbridge.settings import Listener, Settings
from thinbridge.settings.faults import Location, dotted, explain
from thinbridge_knative.addressable import check, offline
from thinbridge_knative.resource import HTTP_PORT, LONGEST_NAME

SHARED: Final = ("listen", "routes", "mode", "limits", "dead_letter", "trusted_networks", "drain", "log_level")
"""Keys that are `bridge.yaml`'s own."""

HOST_NETWORK: Final = "HostNetwork"
"""The exposure that binds the node's own ports."""
ROOTS: Final = 1024
"""Ports below are root's alone, unless a pod's own network says otherwise."""

MARGIN: Final = 10
"""Seconds between the end of a drain and the kill: for closing what is left."""

NAME: Final = re.compile(rf"[a-z]([-a-z0-9]{{0,{LONGEST_NAME - 2}}}[a-z0-9])?")
NAME_FIX: Final = f"use up to {LONGEST_NAME} small letters, digits and -, the first a letter, the last none of -"

SECRET: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,53}[a-z0-9])?")
SECRET_FIX: Final = "use the name of a Secret: up to 55 small letters, digits and -, the first and last none of -"
"""Shorter than Kubernetes has it, since its volume's name holds it."""

Resolve = Callable[[Mapping[str, Any]], Mapping[str, str]]
"""A Destination → `uri` and perhaps `ca_certs`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A Bridge that can be used."""

    name: str
    namespace: str
    uid: str
    spec: Mapping[str, Any]
    config: Mapping[str, Any]
    """The pods' `bridge.yaml`."""
    settings: Settings
    """The same, checked."""

    @property
    def listeners(self) -> list[Listener]:
        """Those that bind a port; the others call somebody, such as a broker."""
        return [listener for listener in self.settings.listen if listener.protocol.listens]

    @property
    def exposure(self) -> str:
        """How devices reach it."""
        return str((self.spec.get("expose") or {}).get("type") or "ClusterIP")

    @property
    def grace(self) -> int:
        """Seconds from SIGTERM to SIGKILL."""
        return math.ceil(self.settings.drain) + MARGIN


def read(bridge: Mapping[str, Any], resolve: Resolve) -> Plan:
    """Check a Bridge and make its settings.

    Args:
        bridge: the resource.
        resolve: turns Destinations of routes and dead letters into URLs; what it raises passes through.

    Raises:
        SettingsError: the first mistake, named as it stands below `spec`.
    """
    meta, spec = bridge["metadata"], bridge["spec"]
    if not NAME.fullmatch(meta["name"]):
        raise SettingsError("metadata.name", meta["name"], NAME_FIX)
    config = {"name": meta["name"], **{key: spec[key] for key in SHARED if key in spec}}
    config |= _destinations(config, resolve)
    config |= {"http": {"listen": f"0.0.0.0:{HTTP_PORT}", **_token(spec)}, "sink_from_binding": True}
    _secrets(spec.get("secrets") or [])
    settings = _settings(config | _bound(spec))
    if "drain" not in config:
        config["drain"] = _patience(settings)
        settings = settings.model_copy(update={"drain": config["drain"]})
    plan = Plan(meta["name"], meta.get("namespace", ""), meta.get("uid", ""), spec, config, settings)
    for index, listener in enumerate(settings.listen):
        if listener.protocol.listens:
            _reachable(listener, f"listen[{index}].url", plan.exposure)
    return plan


def _destinations(config: Mapping[str, Any], resolve: Resolve) -> dict[str, Any]:
    """The keys with Destinations, resolved."""

    def resolved(holder: Mapping[str, Any], key: str, at: str) -> Mapping[str, str]:
        check(holder[key], f"{at}{key}")
        return resolve(holder[key])

    keys: dict[str, Any] = {}
    if "dead_letter" in config:
        keys["dead_letter"] = resolved(config, "dead_letter", "")
    if "routes" in config:
        keys["routes"] = [
            {
                **route,
                **{key: resolved(route, key, f"routes[{at}].") for key in ("sink", "dead_letter") if key in route},
            }
            for at, route in enumerate(config["routes"])
        ]
    return keys


def _token(spec: Mapping[str, Any]) -> dict[str, str]:
    """Where the token for publishing lies, which is all that a Bridge says of its HTTP side."""
    http = spec.get("http") or {}
    return {"token_file": http["token_file"]} if "token_file" in http else {}


def _secrets(names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        if not SECRET.fullmatch(name):
            raise SettingsError(f"secrets[{index}]", name, SECRET_FIX)


def _bound(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What the SinkBinding says to the pods, as far as it is known here: checked, and no part of their file."""
    check(spec["sink"], "sink")
    return {"sink": offline(spec["sink"]), "ce_overrides": (spec.get("ceOverrides") or {}).get("extensions") or {}}


def _settings(config: Mapping[str, Any]) -> Settings:
    try:
        return Settings.model_validate(config)
    except ValidationError as error:
        raise explain(error, _key) from error


def _key(location: Location) -> str:
    """How the key is called in the spec."""
    if location[:1] == ("ce_overrides",):
        location = ("ceOverrides", "extensions", *location[1:])
    return dotted(tuple("CACerts" if part == "ca_certs" else part for part in location))


def _patience(settings: Settings) -> int:
    """Seconds of a drain that lets the most patient route end; whole minutes, so that few changes of a route change the
    pods. An idle bridge ends at once whatever it is.
    """
    longest = max(route.timeout for route in (*settings.routes, settings.default_route))
    return min(math.ceil(longest / 60) * 60, 3600)


def _reachable(listener: Listener, key: str, exposure: str) -> None:
    """Refuse what no pod could bind, or no device reach."""
    if listener.port == 0:
        raise SettingsError(key, listener.url, "use a fixed port: a Service has to know it")
    if listener.port == HTTP_PORT and listener.protocol.transport is Transport.STREAM:
        raise SettingsError(key, listener.url, f"use another port: {HTTP_PORT} is the bridge's own HTTP side")
    if listener.port < ROOTS and exposure == HOST_NETWORK:
        fix = f"use a port from {ROOTS} up with HostNetwork: the node's ports below are root's alone"
        raise SettingsError(key, listener.url, fix)
    if _loopback(listener.host):
        raise SettingsError(key, listener.url, "use 0.0.0.0 or [::]: nobody reaches a pod's loopback")


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
