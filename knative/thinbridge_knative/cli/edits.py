"""From flags and files to a Bridge, checked before anything is sent, by the model that the bridge itself has."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Final

from thinbridge.errors import SettingsError
from thinbridge_knative.client import Cluster, Object
from thinbridge_knative.destinations import resolve
from thinbridge_knative.failures import Failure
from thinbridge_knative.resource import API_VERSION, KIND

EXPOSED: Final = ("ClusterIP", "NodePort", "LoadBalancer", "HostNetwork")
OUTSIDE: Final = ("NodePort", "LoadBalancer")
"""Those of them that have an `externalTrafficPolicy`."""
FLAGS: Final = {
    "listen": "--listen",
    "routes": "--route",
    "mode": "--mode",
    "sink": "--sink",
    "dead_letter": "--dead-letter",
    "trusted_networks": "--trusted-network",
    "secrets": "--secret",
    "ceOverrides": "--ce-override",
    "metadata": "NAME",
}
"""Keys of the spec, by the flag that says them."""
MAPPINGS: Final = ("sink", "dead_letter", "ceOverrides", "limits", "resources", "expose", "http")
LISTS: Final = ("listen", "routes")
KEYS: Final = (*MAPPINGS, *LISTS, "mode", "trusted_networks", "drain", "log_level", "replicas", "image", "secrets")
"""All keys of a spec; the CRD has the same."""
IMPLIED: Final = ("extensions", "name", "url", "uri")
"""Keys below those that the flag's value itself is."""
FROM_FILE: Final = ("name", "namespace", "http", "sink_from_binding", "ce_overrides", "log_format")
"""Keys of `bridge.yaml` that a Bridge says elsewhere, or that its pods' are given anyway."""

Edit = Callable[[Object, Any, str, Cluster | None], None]
"""Changes a spec: (spec, the flag's value, namespace, the cluster to look sinks up in)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The file that a Bridge was read from: a mistake in it is named as it stands there."""

    file: str
    """As it was typed."""
    spec: Object
    """Before any flag changed it."""
    named: bool
    """The name was typed."""


def new(name: str, namespace: str) -> Object:
    """A Bridge that says nothing yet."""
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name, "namespace": namespace}, "spec": {}}


def from_file(path: str, name: str | None, namespace: str) -> Object:
    """A Bridge from its manifest (YAML or JSON), or from the `bridge.yaml` of a laptop.

    Raises:
        Failure: it can't be read, or is for another name.
    """
    content = _load(path)
    if not isinstance(content, dict):
        raise Failure(f"{path} holds no Bridge: use a manifest, or the bridge.yaml of 'thinbridge run'")
    key = "name" if "kind" not in content else "metadata.name"
    if "kind" not in content:
        content = {"metadata": {"name": content.get("name")}, "spec": _spec_of_settings(content)}
    elif (content["kind"], content.get("apiVersion")) != (KIND, API_VERSION):
        raise Failure(f"{path} holds a {content['kind']} of {content.get('apiVersion')}, not a {KIND} of {API_VERSION}")
    meta = content.get("metadata") or {}
    if not isinstance(meta, dict):
        raise Failure(f"{path}: metadata: use a mapping of keys to values")
    if name and meta.get("name") and name != meta["name"]:
        raise Failure(f"provided bridge name '{name}' doesn't match name from file '{meta['name']}' ({path}: {key})")
    if not (name or meta.get("name")):
        raise Failure("no bridge name provided in command parameter or file")
    bridge = new(name or meta["name"], namespace)
    bridge["metadata"] |= {key: meta[key] for key in ("labels", "annotations") if meta.get(key)}
    bridge["spec"] = content.get("spec") or {}
    return bridge


def edit(bridge: Object, flags: Mapping[str, Any], cluster: Cluster | None) -> Object:
    """The Bridge with what the flags say; what they don't say stays.

    Args:
        bridge: is not changed itself.
        flags: by name; None and empty mean not given.
        cluster: where sinks are looked up; None with `--target`.

    Raises:
        Failure: a flag that can't be used, a sink that does not exist.
    """
    edited = deepcopy(bridge)
    for name, change in EDITS.items():
        value = flags.get(name)
        if value is not None and value != ():
            change(edited["spec"], value, edited["metadata"]["namespace"], cluster)
    return edited


def check(bridge: Object, origin: Origin | None = None) -> None:
    """Refuse what the bridge itself would refuse, in the same words.

    Args:
        bridge: as the flags have it.
        origin: where it was read from; None: from no file.

    Raises:
        SettingsError: the first mistake, named by its flag, or by its file and key.
    """
    from thinbridge_knative.addressable import offline
    from thinbridge_knative.spec import read

    try:
        _shape(bridge["spec"])
        if "sink" not in bridge["spec"]:
            raise Failure('required flag(s) "sink" not set')
        read(bridge, offline)
    except SettingsError as error:
        raise SettingsError(_said(error.key, bridge, origin), error.value, error.fix) from error


def _shape(spec: object) -> None:
    """Refuse what is no spec at all: a file may hold anything."""
    from thinbridge.settings.faults import nearest, shown

    if not isinstance(spec, dict):
        raise SettingsError("spec", shown(spec), "use a mapping of keys to values")
    for key, value in spec.items():
        if key not in KEYS:
            raise SettingsError(f"spec.{key}", shown(value), f"unknown key; {nearest(str(key), KEYS)}")
        if key in MAPPINGS and not isinstance(value, dict):
            raise SettingsError(f"spec.{key}", shown(value), "use a mapping of keys to values")
        if key in LISTS and not (isinstance(value, list) and all(isinstance(one, dict) for one in value)):
            raise SettingsError(f"spec.{key}", shown(value), "use a list of mappings")


def _said(key: str, bridge: Object, origin: Origin | None) -> str:
    """A key as somebody wrote it: by a flag, or in the file that says the same."""
    below = key.removeprefix("spec.")
    place = re.findall(r"[^.\[\]]+", below)[:2]
    if origin is None or (place[0] == "metadata" and origin.named):
        return _flag(key)
    if place[0] == "metadata":
        return f"{origin.file}: name"
    if _value(bridge["spec"], place) != _value(origin.spec, place):
        return _flag(key)
    return f"{origin.file}: {re.sub(r'[.](url|uri)$', '', below)}"


def _value(spec: Any, place: Sequence[str]) -> Any:
    """What stands there; None: nothing."""
    for part in place:
        if isinstance(spec, list) and part.isdecimal() and int(part) < len(spec):
            spec = spec[int(part)]
        else:
            spec = spec.get(part) if isinstance(spec, dict) else None
    return spec


def _flag(key: str) -> str:
    """`routes[0].mode` as it was typed: `--route mode`; what only a file can say keeps its key."""
    top, *below = re.findall(r"[^.\[\]]+", key)
    if top not in FLAGS or "ref" in below or "CACerts" in below:
        return key
    return " ".join((FLAGS[top], *(part for part in below if not part.isdecimal() and part not in IMPLIED)))


def listener_names(spec: Mapping[str, Any]) -> list[str]:
    """What each listener is called, in order, as far as they can be used."""
    from pydantic import ValidationError

    from thinbridge.settings import Settings

    try:
        settings = Settings.model_validate({"listen": spec.get("listen"), "sink_from_binding": True})
    except ValidationError:
        return [str(one.get("name", "")) for one in spec.get("listen") or []]
    return [listener.name for listener in settings.listen]


def _load(path: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(Path(path).read_text("utf-8"))
    except OSError as error:
        raise Failure(f"open {path}: {(error.strerror or '').lower()}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Failure(f"{path} is no YAML: {' '.join(str(error).split())}") from error


def _spec_of_settings(content: Mapping[str, Any]) -> Object:
    """`bridge.yaml` as a spec: short forms written out, its sinks as Destinations."""
    spec = {key: value for key, value in content.items() if key not in FROM_FILE}
    if isinstance(listen := spec.get("listen"), list):
        spec["listen"] = [{"url": one} if isinstance(one, str) else one for one in listen]
    routes = spec.get("routes")
    for holder in (spec, *(routes if isinstance(routes, list) else ())):
        if isinstance(holder, dict):
            holder |= {key: _destination(holder[key]) for key in ("sink", "dead_letter") if key in holder}
    if extensions := content.get("ce_overrides"):
        spec["ceOverrides"] = {"extensions": extensions}
    return spec


def _destination(value: Any) -> Any:
    if isinstance(value, str):
        return {"uri": value}
    if isinstance(value, dict) and "ca_certs" in value:
        return {"uri": value.get("uri"), "CACerts": value["ca_certs"]}
    return value


def _listen(spec: Object, texts: Sequence[str], namespace: str, cluster: Cluster | None) -> None:
    """A listener whose name is there replaces it; `NAME-` removes it."""
    for text in texts:
        listeners, names = spec.setdefault("listen", []), listener_names(spec)
        if text.endswith("-") and ":" not in text:
            if text[:-1] not in names:
                raise Failure(f"--listen: {text}: no such listener; there are: {', '.join(names) or 'none'}")
            del listeners[names.index(text[:-1])]
            continue
        listener = {"url": text}
        [name] = listener_names({"listen": [listener]})
        if name and name in names and not _both_new(name, texts):
            listeners[names.index(name)] = listener
        else:
            listeners.append(listener)


def _both_new(name: str, texts: Sequence[str]) -> bool:
    """Whether this very command names that listener twice: then both are meant, and the model numbers them."""
    return sum(name in listener_names({"listen": [{"url": text}]}) for text in texts if not text.endswith("-")) > 1


def _sink(spec: Object, text: str, namespace: str, cluster: Cluster | None) -> None:
    spec["sink"] = resolve(text, namespace, cluster)


def _dead_letter(spec: Object, text: str, namespace: str, cluster: Cluster | None) -> None:
    if text:
        spec["dead_letter"] = resolve(text, namespace, cluster)
    else:
        spec.pop("dead_letter", None)


def _ce_override(spec: Object, texts: Sequence[str], namespace: str, cluster: Cluster | None) -> None:
    extensions = dict((spec.get("ceOverrides") or {}).get("extensions") or {})
    _assign(extensions, texts, "--ce-override")
    spec.pop("ceOverrides", None)
    if extensions:
        spec["ceOverrides"] = {"extensions": extensions}


def _expose(spec: Object, text: str, namespace: str, cluster: Cluster | None) -> None:
    kind = next((one for one in EXPOSED if one.lower() == text.lower()), None)
    if kind is None:
        raise Failure(f"--expose: {text}: use {', '.join(EXPOSED[:-1])} or {EXPOSED[-1]}")
    policy = (spec.get("expose") or {}).get("externalTrafficPolicy")
    kept = {"externalTrafficPolicy": policy} if policy and kind in OUTSIDE else {}
    spec["expose"] = {"type": kind, **kept}


def _replicas(spec: Object, count: int, namespace: str, cluster: Cluster | None) -> None:
    if count < 0:
        raise Failure(f"--replicas: {count}: use 0 or more")
    spec["replicas"] = count


def _plain(key: str) -> Edit:
    def change(spec: Object, value: Any, namespace: str, cluster: Cluster | None) -> None:
        spec[key] = value

    return change


def _resources(key: str, flag: str) -> Edit:
    def change(spec: Object, texts: Sequence[str], namespace: str, cluster: Cluster | None) -> None:
        resources = spec.setdefault("resources", {})
        amounts = resources.setdefault(key, {})
        _assign(amounts, [part for text in texts for part in text.split(",")], flag)

    return change


def _route(spec: Object, texts: Sequence[str], namespace: str, cluster: Cluster | None) -> None:
    """A route whose name is there replaces it in its place; `NAME-` removes it."""
    routes = spec.setdefault("routes", [])
    for text in texts:
        names = [route.get("name") for route in routes]
        if text.endswith("-") and "=" not in text:
            if text[:-1] not in names:
                raise Failure(f"--route: {text}: no such route; there are: {', '.join(filter(None, names)) or 'none'}")
            del routes[names.index(text[:-1])]
            continue
        route = _route_of(text, namespace, cluster)
        if route.get("name") in names:
            routes[names.index(route["name"])] = route
        else:
            routes.append(route)


def _route_of(text: str, namespace: str, cluster: Cluster | None) -> Object:
    from thinbridge.routes import Route

    numbers = {field.name for field in fields(Route) if field.default is not MISSING and type(field.default) is float}
    route: Object = {}
    for pair in text.split(","):
        key, equals, value = pair.partition("=")
        if not equals:
            raise Failure(f"--route: {text}: write it as name=NAME,subject=GLOB,sink=ksvc:NAME")
        if key in ("sink", "dead_letter"):
            route[key] = resolve(value, namespace, cluster)
        else:
            route[key] = _number(value) if key in numbers else value
    return route


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text  # the model's to refuse


def _words(key: str) -> Edit:
    """`word` adds to a list, `word-` removes."""

    def edit(spec: Object, texts: Sequence[str], namespace: str, cluster: Cluster | None) -> None:
        words = list(spec.get(key) or [])
        for text in texts:
            if text.endswith("-"):
                words = [one for one in words if one != text[:-1]]
            elif text not in words:
                words.append(text)
        spec[key] = words

    return edit


def _assign(mapping: dict[str, str], texts: Iterable[str], flag: str) -> None:
    """`key=value` sets, `key-` removes."""
    for text in texts:
        key, equals, value = text.partition("=")
        if equals and key:
            mapping[key] = value
        elif text.endswith("-") and not equals:
            mapping.pop(text[:-1], None)
        else:
            raise Failure(f"{flag}: {text}: write it as key=value, or key- to remove it")


EDITS: Final[Mapping[str, Edit]] = {
    "listen": _listen,
    "sink": _sink,
    "ce_override": _ce_override,
    "dead_letter": _dead_letter,
    "expose": _expose,
    "image": _plain("image"),
    "mode": _plain("mode"),
    "replicas": _replicas,
    "request": _resources("requests", "--request"),
    "limit": _resources("limits", "--limit"),
    "route": _route,
    "secret": _words("secrets"),
    "trusted_network": _words("trusted_networks"),
}
"""What each flag does to a spec."""
