"""Where events go, as people type it: `ksvc:NAME[:NAMESPACE]`, `broker:`, `channel:`, `svc:`, any group's kind, a URL.

The grammar is kn's own (`pkg/flags/sink`), the result a Knative Destination: `{ref: {…}}` or `{uri: …}`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from thinbridge_knative.client import Cluster, Resource
from thinbridge_knative.failures import Failure

KSERVICE: Final = Resource("serving.knative.dev", "v1", "services")
SERVICE: Final = Resource("", "v1", "services")
BROKER: Final = Resource("eventing.knative.dev", "v1", "brokers")
CHANNEL: Final = Resource("messaging.knative.dev", "v1", "channels")

PREFIXES: Final[Mapping[str, Resource]] = {
    "ksvc": KSERVICE,
    "kservice": KSERVICE,
    "broker": BROKER,
    "channel": CHANNEL,
    "svc": SERVICE,
    "service": SERVICE,
}
KINDS: Final[Mapping[Resource, str]] = {KSERVICE: "Service", SERVICE: "Service", BROKER: "Broker", CHANNEL: "Channel"}
"""What a manifest calls them, where no API server can be asked."""

USAGE: Final = (
    "Addressable sink for events. You can specify a broker, channel, Knative service, Kubernetes service or URI. "
    "Examples: '--{0} broker:nest' for a broker 'nest', '--{0} channel:pipe' for a channel 'pipe', "
    "'--{0} ksvc:mysvc:mynamespace' for a Knative service 'mysvc' in another namespace 'mynamespace', "
    "'--{0} https://event.receiver.uri' for an HTTP URI, '--{0} ksvc:receiver' or simply '--{0} receiver' for a "
    "Knative service 'receiver' in the current namespace, '--{0} svc:receiver:mynamespace' for a Kubernetes service "
    "'receiver' in the 'mynamespace' namespace, '--{0} special.eventing.dev/v1alpha1/channels:pipe' for "
    "GroupVersionResource of v1alpha1 'pipe'. If a prefix is not provided, it is considered as a Knative service in "
    "the current namespace."
)
"""kn's own text; `{0}` is the flag's name."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that takes events."""

    resource: Resource
    name: str
    namespace: str


def parse(text: str, namespace: str) -> Reference | str:
    """An object, or a URL as it is.

    Args:
        text: what was typed.
        namespace: where an object is that names none.

    Raises:
        Failure: it is neither.
    """
    prefix, colon, rest = text.partition(":")
    if prefix in ("http", "https"):
        return text
    name, _, other = rest.partition(":") if colon else (prefix, "", "")
    resource = _resource(prefix if colon else "ksvc", text)
    if not name:
        raise Failure(f"sink '{text}' has no name; write it as ksvc:NAME, broker:NAME, svc:NAME or a URL")
    return Reference(resource, name, other or namespace)


def resolve(text: str, namespace: str, cluster: Cluster | None) -> dict[str, Any]:
    """The Destination; that its object exists is asked of the cluster.

    Args:
        text: what was typed.
        namespace: where an object is that names none.
        cluster: None: nothing is asked (`--target`), so only the usual kinds can be named.

    Raises:
        Failure: there is no such object, or no such kind.
    """
    found = parse(text, namespace)
    if isinstance(found, str):
        return {"uri": found}
    if cluster is None:
        return {"ref": _offline(found, text)}
    sink = cluster.get(found.resource, found.name, found.namespace)
    return {
        "ref": {
            "apiVersion": sink["apiVersion"],
            "kind": sink["kind"],
            "name": found.name,
            "namespace": found.namespace,
        }
    }


def shown(destination: Mapping[str, Any] | None, namespace: str) -> str:
    """The Destination as one would type it in that namespace."""
    if not destination:
        return ""
    ref = destination.get("ref")
    if not ref:
        return str(destination.get("uri", ""))
    group, _, version = str(ref.get("apiVersion", "")).rpartition("/")
    plural = f"{str(ref.get('kind', '')).lower()}s"
    resource = Resource(group, version, plural)
    prefix = next((key for key, one in PREFIXES.items() if one == resource), f"{group}/{version}/{plural}")
    elsewhere = ref.get("namespace") not in (None, "", namespace)
    return f"{prefix}:{ref.get('name')}" + (f":{ref['namespace']}" if elsewhere else "")


def _resource(prefix: str, text: str) -> Resource:
    if known := PREFIXES.get(prefix):
        return known
    place, slash, plural = prefix.rpartition("/")
    group, _, version = place.rpartition("/")
    if not slash or not version or not plural:
        raise Failure(f"sink '{text}' has an unknown prefix '{prefix}'; known: {', '.join(PREFIXES)}, or a URL")
    return Resource(group, version, plural.lower() if plural.endswith("s") else f"{plural.lower()}s")


def _offline(found: Reference, text: str) -> dict[str, Any]:
    kind = KINDS.get(found.resource)
    if kind is None:
        raise Failure(f"sink '{text}' can't be looked up with --target; known: {', '.join(PREFIXES)}, or a URL")
    group, version = found.resource.group, found.resource.version
    api_version = f"{group}/{version}" if group else version
    return {"apiVersion": api_version, "kind": kind, "name": found.name, "namespace": found.namespace}
