"""From flags, environment and file to `Settings`: flags beat the environment beats the file; `K_SINK` stands in."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from thinbridge.errors import SettingsError
from thinbridge.settings.faults import Location, dotted, explain, nearest, shown
from thinbridge.settings.listen import parse_address
from thinbridge.settings.model import Settings

PREFIX: Final = "THINBRIDGE_"
CONFIG: Final = "THINBRIDGE_CONFIG"
"""The variable that names the file, where no flag does."""
SERVICE_LINK: Final = re.compile(r"(.*_)?(SERVICE_HOST|SERVICE_PORT|PORT)(_.*)?")
"""What Kubernetes sets, after our prefix, in pods beside a Service `thinbridge` or `thinbridge-…`: none of ours."""
SECTIONS: Final = ("http", "limits")
"""Keys that are merged key by key; all others are replaced whole."""
LISTS: Final = ("listen", "trusted_networks")
"""Keys whose variable is a list of words."""
STRUCTURES: Final = ("routes", "limits", "ce_overrides")
"""Keys whose variable is YAML, hence also JSON."""

Namer = Callable[[Location], str]
"""From where a mistake is to how the operator wrote that key."""


@dataclass(slots=True)
class _Said:
    """What was said so far, and by whom."""

    values: dict[str, Any] = field(default_factory=dict)
    names: dict[Location, Namer] = field(default_factory=dict)

    def add(self, key: str, value: Any, name: Namer) -> None:
        """Say something, over what was said before."""
        if key == "http" and isinstance(value, str):
            value, name = {"listen": value}, _only(name)
        if key in SECTIONS and isinstance(value, Mapping):
            self.values[key] = {**self.values.get(key, {}), **value}
            self.names |= {(key, inner): name for inner in value}
        else:
            self.values[key] = value
        self.names[(key,)] = name

    def name(self, location: Location) -> str:
        """How the operator wrote the key at `location`; what nobody wrote is named as its flag."""
        name = self.names.get(location[:2]) or self.names.get(location[:1])
        return name(location) if name else _flag(dotted(location))


def load(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    file: Path | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings of a bridge.

    Args:
        flags: by key, as typed; None means not given.
        environ: the process's environment.
        file: `bridge.yaml`; None: `$THINBRIDGE_CONFIG`, else no file.
        defaults: by key, what a command takes where nobody says anything.

    Raises:
        SettingsError: the first mistake, in one line; the caller ends with exit status 2.
    """
    said = _Said()
    for key, value in (defaults or {}).items():
        said.add(key, value, _just(_flag(key)))
    if namespace := environ.get("POD_NAMESPACE"):
        said.add("namespace", namespace, _just("POD_NAMESPACE"))
    if path := file or (Path(environ[CONFIG]) if environ.get(CONFIG) else None):
        _file(said, path)
    _environment(said, environ)
    for key, value in flags.items():
        if value is not None:
            said.add(key, value, _just(_flag(key)))
    _binding(said, environ)
    _pod_address(said, environ)
    try:
        return Settings.model_validate(said.values)
    except ValidationError as error:
        raise explain(error, said.name) from error


def _file(said: _Said, path: Path) -> None:
    """The keys of `bridge.yaml`; an empty file says nothing."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise SettingsError("--config", path, f"give a file that can be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError("--config", path, "give a YAML file in UTF-8") from error
    content = _yaml(text, str(path))
    if not isinstance(content, dict | None):
        raise SettingsError(str(path), shown(content), "use a mapping of keys to values, such as `name: bridge`")
    for key, value in (content or {}).items():
        said.add(str(key), value, lambda location: f"{path}: {dotted(location)}")


def _environment(said: _Said, environ: Mapping[str, str]) -> None:
    """`THINBRIDGE_<KEY>`; an empty one is as good as none, since manifests can't leave one out."""
    for variable, text in sorted(environ.items()):
        key = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or variable == CONFIG or not text:
            continue
        if key in Settings.model_fields:
            said.add(key, _value(variable, key, text), _just(variable))
        elif not SERVICE_LINK.fullmatch(variable.removeprefix(PREFIX)):
            raise SettingsError(variable, shown(text), f"unknown key; {nearest(key, Settings.model_fields)}")


def _value(variable: str, key: str, text: str) -> Any:
    if key in STRUCTURES or text.startswith(("{", "[{")):
        return _yaml(text, variable)
    return re.findall(r"[^\s,]+", text) if key in LISTS else text


def _binding(said: _Said, environ: Mapping[str, str]) -> None:
    """What a Knative SinkBinding injects; it speaks only where nobody else said anything.

    `K_CE_OVERRIDES` is an empty string when there are none; `K_CA_CERTS` belongs to `K_SINK` only.
    """
    if said.values.get("sink") is None and (sink := environ.get("K_SINK")):
        said.add("sink", {"uri": sink, "ca_certs": environ.get("K_CA_CERTS") or None}, _sink_variable)
    if "ce_overrides" not in said.values and (text := environ.get("K_CE_OVERRIDES")):
        said.add("ce_overrides", _overrides(text), _just("K_CE_OVERRIDES"))


def _overrides(text: str) -> Any:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise SettingsError("K_CE_OVERRIDES", shown(text), 'use JSON: {"extensions": {"site": "a"}}') from error
    if not isinstance(content, dict):
        raise SettingsError("K_CE_OVERRIDES", shown(text), 'use JSON: {"extensions": {"site": "a"}}')
    return content.get("extensions") or {}


def _pod_address(said: _Said, environ: Mapping[str, str]) -> None:
    """In a pod, `replyto` is reached by the pod's own address, whatever the inbox is bound to."""
    http, address = said.values.setdefault("http", {}), environ.get("POD_IP")
    if not address or not isinstance(http, dict) or http.get("url"):
        return
    listen = http.get("listen", Settings.model_fields["http"].default.listen)
    if isinstance(listen, str) and (port := parse_address(listen, said.name(("http", "listen"))).port):
        said.add(
            "http",
            {"url": f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"},
            _just("POD_IP"),
        )


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key that is there twice is a mistake; by default the first is lost without a word.

    Whatever else is wrong is a mistake with its line, too.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """A value; what YAML takes for a date or a number may be none."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError) as error:
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value} is no {kind}", node.start_mark
            ) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, each key once."""
        seen: set[object] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _yaml(text: str, name: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SettingsError(f"{name}{line}", shown(error.problem or "syntax"), "correct the YAML") from error
    except yaml.YAMLError as error:
        raise SettingsError(name, shown(getattr(error, "reason", str(error))), "correct the YAML") from error
    except RecursionError as error:
        raise SettingsError(name, "(nested)", "write it with fewer levels") from error


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _just(name: str) -> Namer:
    """A flag or a variable, and the keys below it: `--listen idle`."""
    return lambda location: " ".join((name, *(part for part in location[1:] if isinstance(part, str))))


def _only(name: Namer) -> Namer:
    """Without the keys below it: `--http` is short for `http.listen`."""
    return lambda location: name(location[:1]) if location[1:] == ("listen",) else name(location)


def _sink_variable(location: Location) -> str:
    return "K_CA_CERTS" if location[1:] == ("ca_certs",) else "K_SINK"
