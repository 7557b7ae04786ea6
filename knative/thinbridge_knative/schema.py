"""The CustomResourceDefinition, generated from the settings model: `make manifests` writes it, a test keeps it current.

A structural schema has no `$ref`, no `anyOf` and no closed objects, so the model's schema is unfolded into one that has
none. What a type can't say becomes a CEL rule with the words that the command line has for the same mistake.
"""

import inspect
import json
from collections.abc import Mapping
from typing import Any, Final

import yaml
from pydantic import ValidationError

from thinbridge import registry
from thinbridge.settings import Settings
from thinbridge.settings.faults import dotted, explain
from thinbridge_knative import resource
from thinbridge_knative.addressable import NOTHING, REF
from thinbridge_knative.objects import RESOURCES
from thinbridge_knative.resource import SECRETS_DIR
from thinbridge_knative.spec import NAME, NAME_FIX, SECRET, SECRET_FIX, SHARED

Schema = dict[str, Any]

KEPT: Final = ("type", "format", "description", "enum", "minimum", "maximum", "items", "properties", "required")
"""What a structural schema and pydantic's have in common; titles and defaults stay out: the bridge has them itself."""
FORMATS: Final = ("int32", "int64", "date-time")
"""Formats that the API server knows."""
BOUNDS: Final[Mapping[str, Schema]] = {
    "listen": {"maxItems": 64},
    "routes": {"maxItems": 256},
    "trusted_networks": {"maxItems": 256},
}
"""How long lists may be: the cost of a CEL rule is estimated from that."""
EXTENSIONS: Final = 64
"""Entries of `ceOverrides.extensions`."""
NAME_LENGTH: Final = 63
REF_LENGTH: Final = 317
"""Characters of the longest part of a ref: a group of 253, a slash, a version of 63."""


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition as it is applied.

    Without the label that makes it a source: the controller adds that (`controller.registration` says why).
    """
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": resource.CRD_NAME,
            "labels": {
                resource.NAME: resource.APP,
                "eventing.knative.dev/source": "true",
                "knative.dev/crd-install": "true",
            },
            "annotations": {"registry.knative.dev/eventTypes": json.dumps(event_types(), indent=1)},
        },
        "spec": {
            "group": resource.GROUP,
            "names": {
                "kind": resource.KIND,
                "listKind": f"{resource.KIND}List",
                "plural": resource.PLURAL,
                "singular": resource.SINGULAR,
                "categories": ["all", "knative", "sources"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": resource.VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _bridge()},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": [
                        _column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
                        _column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
                        _column("Sink", ".status.sinkUri"),
                        _column("Age", ".metadata.creationTimestamp", "date"),
                    ],
                }
            ],
        },
    }


def event_types() -> list[dict[str, str]]:
    """The event types of the protocols that come with thinbridge: Knative's registry takes descriptions from here."""
    types = {  # once each: schemes that differ in what carries them make the same events
        event.type: event.description
        for found in registry.installed()
        if found.protocol is not None and found.distribution.startswith("thinbridge ")
        for event in found.protocol.event_types
    }
    return [{"type": type, "description": description} for type, description in types.items()]


def text() -> str:
    """The CRD as a file."""
    head = (
        "# Generated from the settings model by `make manifests`: don't edit. The controller adds the label\n"
        f"# {resource.SOURCE_LABEL} once bridges are served: Eventing looks at a source once.\n"
    )
    return head + yaml.dump(crd(), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Without aliases, which few tools read; text of several lines as such."""

    def ignore_aliases(self, data: object) -> bool:
        """No node stands for another."""
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Text, as a block where it has lines."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _Dumper.represent_text)


# --- The spec ---------------------------------------------------------------------------------------------------


def _bridge() -> Schema:
    name = _rule(f"self.metadata.name.matches('^{NAME.pattern}$')", f"metadata.name: {NAME_FIX}")
    return {
        "type": "object",
        "description": "A bridge terminates device protocols, sends each message to the sink as a CloudEvent, and puts "
        "the answer back onto the device's session.",
        "required": ["spec"],
        "x-kubernetes-validations": [name],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _spec(),
            "status": _status(),
        },
    }


def _spec() -> Schema:
    model = Settings.model_json_schema()
    shared = {key: _unfold(model["properties"][key], model["$defs"]) | BOUNDS.get(key, {}) for key in SHARED}
    shared["listen"]["items"] = _listener(shared["listen"]["items"])
    shared["listen"]["x-kubernetes-validations"] = [
        _rule("size(self) > 0", _words({"listen": []})),
        _rule(
            "self.all(x, !has(x.name) || self.exists_one(y, has(y.name) && y.name == x.name))",
            "another listener has this name; use a different one",
        ),
    ]
    shared["drain"]["description"] = (
        "Seconds after SIGTERM in which open work may finish; the longest route timeout, in whole minutes, unless "
        "given. The pod's grace period follows from it."
    )
    sink = _destination("Where events go.")
    sink["properties"]["audience"] = _string("OIDC audience of the sink, over the one that its address has.")
    return _object(
        {
            "sink": sink,
            "ceOverrides": _object(
                {"extensions": _extensions()}, "What is set on every event, over what the bridge itself would set."
            ),
            **shared,
            "replicas": {"type": "integer", "format": "int32", "minimum": 0, "description": "Pods; 1 unless given."},
            "resources": _object(
                {"requests": _quantities(), "limits": _quantities()},
                f"What a pod asks for and may take; unless given, {json.dumps(RESOURCES)}.",
            ),
            "image": _string("The bridge's image; the controller's own choice unless given."),
            "expose": _expose(),
            "secrets": _secrets(),
            "http": _object(
                {"token_file": _unfold(model["$defs"]["Http"]["properties"]["token_file"], model["$defs"])},
                "The bridges' own HTTP side.",
            ),
        },
        "What a bridge listens to, where its events go, and how it is reached.",
        ["listen", "sink"],
    )


def _unfold(node: Mapping[str, Any], defs: Mapping[str, Schema]) -> Schema:
    """A node of pydantic's schema as a structural one."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        if name == "Destination":
            return _destination(node.get("description", ""))
        return _unfold({**defs[name], **{key: node[key] for key in ("description",) if key in node}}, defs)
    if "anyOf" in node:  # X or none; or strings of several formats
        first = next(option for option in node["anyOf"] if option.get("type") != "null")
        return _unfold({**first, **{key: node[key] for key in ("description",) if key in node}}, defs)
    kept = {key: node[key] for key in KEPT if key in node}
    if "format" in kept and kept["format"] not in FORMATS:
        del kept["format"]
    if isinstance(values := node.get("additionalProperties"), dict):  # of a map: no object of ours has others
        kept["additionalProperties"] = values
    if "description" in kept:
        kept["description"] = " ".join(inspect.cleandoc(kept["description"]).split())
    if "items" in kept:
        kept["items"] = _unfold(kept["items"], defs)
    if "properties" in kept:
        kept["properties"] = {key: _unfold(value, defs) for key, value in kept["properties"].items()}
    return kept


def _listener(listener: Schema) -> Schema:
    """A listener keeps its protocol's own keys, which no schema of ours knows."""
    url, name = listener["properties"]["url"], listener["properties"]["name"]
    shape = r"self.matches('^[a-z][a-z0-9+.-]*(://.+|(:[0-9]{1,5})?([?].*)?)$')"
    url |= {"maxLength": 1024, "x-kubernetes-validations": [_rule(shape, _words({"listen": [{"url": "127.0.0.1:1"}]}))]}
    letters = "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')"
    words = _words({"listen": [{"url": "udp:9000", "name": "A B"}]})
    name |= {"maxLength": NAME_LENGTH, "x-kubernetes-validations": [_rule(letters, words)]}
    return {**listener, "x-kubernetes-preserve-unknown-fields": True}


def _destination(description: str) -> Schema:
    """A Destination as Knative writes it."""
    parts = {
        key: {
            **_string(),
            "maxLength": REF_LENGTH,
            "x-kubernetes-validations": [_rule(f"self.matches('^{shape}$')", fix)],
        }
        for key, (shape, fix) in REF.items()
    }
    ref = _object(
        parts,
        "Something with an address: a Knative Service, a Broker, a Channel, a Service.",
        ["apiVersion", "kind", "name"],
    )
    uri = _string("An absolute URL; with a ref, it may be relative to the ref's.")
    destination = _object(
        {"ref": ref, "uri": uri, "CACerts": _string("PEM text of the authorities to trust.")}, description
    )
    uri["maxLength"] = 2048
    some = _rule("has(self.ref) || (has(self.uri) && self.uri != '')", NOTHING)
    absolute = _rule(
        "has(self.ref) || !has(self.uri) || self.uri == '' || self.uri.matches('^(https?|coap([+]tcp)?)://[^/@ ]+')",
        _words({"dead_letter": {"uri": "there"}}),
    )
    return {**destination, "x-kubernetes-validations": [some, absolute]}


def _extensions() -> Schema:
    return {
        "type": "object",
        "description": "Extension attributes by name.",
        "maxProperties": EXTENSIONS,
        "additionalProperties": {"type": "string"},
        "x-kubernetes-validations": [
            _rule("self.all(name, name.matches('^[a-z0-9]{1,20}$'))", _words({"ce_overrides": {"A-B": "x"}}))
        ],
    }


def _secrets() -> Schema:
    rule = _rule(f"self.all(name, name.matches('^{SECRET.pattern}$'))", SECRET_FIX)
    return {
        **_list(
            {"type": "string", "maxLength": NAME_LENGTH},
            f"Names of Secrets whose keys the pods have as files, in {SECRETS_DIR}/<name>/: certificates, tokens.",
        ),
        "maxItems": 16,
        "x-kubernetes-validations": [rule],
    }


def _expose() -> Schema:
    properties: dict[str, Schema] = {
        "type": {
            "type": "string",
            "enum": ["ClusterIP", "NodePort", "LoadBalancer", "HostNetwork"],
            "description": "How devices reach it; ClusterIP unless given. HostNetwork binds the node's own ports: for "
            "pushes over UDP after a silence that outlives the node's connection tracking.",
        },
        "externalTrafficPolicy": {
            "type": "string",
            "enum": ["Cluster", "Local"],
            "description": "Local keeps the device's own address, and reaches only nodes with a pod.",
        },
    }
    outside = _rule(
        "!has(self.externalTrafficPolicy) || (has(self.type) && self.type in ['NodePort', 'LoadBalancer'])",
        "externalTrafficPolicy: use it with type NodePort or LoadBalancer",
    )
    return {**_object(properties, "How devices reach the bridge."), "x-kubernetes-validations": [outside]}


def _words(bad: Mapping[str, Any]) -> str:
    """What the command line says about a mistake: without key and value, which the API server adds."""
    good = {"listen": [{"url": "udp:9000"}], "sink_from_binding": True}
    try:
        Settings.model_validate({**good, **bad})
    except ValidationError as error:
        return explain(error, dotted).fix
    raise AssertionError(f"no mistake: {bad}")


# --- The status -------------------------------------------------------------------------------------------------


def _status() -> Schema:
    condition = _object(
        {
            "type": _string(),
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "severity": _string(),
            "reason": _string(),
            "message": _string(),
            "lastTransitionTime": {"type": "string", "format": "date-time"},
        },
        "",
        ["type", "status"],
    )
    conditions = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": condition,
    }
    address = {"name": _string("The listener."), "url": _string("What a device is given.")}
    return _object(
        {
            "observedGeneration": {"type": "integer", "format": "int64"},
            "conditions": conditions,
            "sinkUri": _string("Where events go, resolved."),
            "sinkCACerts": _string(),
            "sinkAudience": _string(),
            "ceAttributes": _list(_object({"type": _string(), "source": _string()}), "What events may come from it."),
            "addresses": _list(_object(address), "Where devices reach it, from inside the cluster first."),
            "replicas": {"type": "integer", "format": "int32"},
            "selector": _string("Labels of its pods."),
        },
        "What the controller saw last.",
    )


# --- Words of a schema ------------------------------------------------------------------------------------------


def _object(properties: dict[str, Schema], description: str = "", required: list[str] | None = None) -> Schema:
    return {
        "type": "object",
        **({"description": description} if description else {}),
        **({"required": required} if required else {}),
        "properties": properties,
    }


def _list(items: Schema, description: str) -> Schema:
    return {"type": "array", "description": description, "items": items}


def _string(description: str = "") -> Schema:
    return {"type": "string", **({"description": description} if description else {})}


def _quantities() -> Schema:
    return {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}}


def _rule(rule: str, message: str) -> dict[str, str]:
    return {"rule": rule, "message": message}


def _column(name: str, path: str, kind: str = "string") -> dict[str, str]:
    return {"name": name, "type": kind, "jsonPath": path}
