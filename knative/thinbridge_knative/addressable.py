"""From a Destination, as Knative writes it (`ref`, `uri`, `CACerts`), to the URL that a bridge POSTs to.

The sink's own Destination is Knative's to resolve (the SinkBinding does); those of routes and dead letters are the
controller's, which asks this module with the cluster behind `find`.
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urljoin

from thinbridge.errors import ThinbridgeError

Find = Callable[[str, str, str, str], Mapping[str, Any] | None]
"""(apiVersion, kind, namespace, name) → the object, None if there is none."""


class Unresolved(ThinbridgeError):
    """A Destination that has no address (yet); `str()` says which and why."""


def resolve(destination: Mapping[str, Any], namespace: str, find: Find) -> dict[str, str]:
    """The `uri`, and the `ca_certs` if there are any, of `bridge.yaml`.

    Args:
        destination: with `ref`, `uri` or both: a relative `uri` is resolved against the ref's address.
        namespace: of the bridge, the default of a ref.
        find: looks into the cluster.

    Raises:
        Unresolved: what it refers to is not there, or has no address.
    """
    uri, ref = destination.get("uri", ""), destination.get("ref")
    address = _address(ref, namespace, find) if ref else {}
    url = urljoin(address["url"], uri) if ref else uri
    certs = destination.get("CACerts") or address.get("CACerts")
    return {"uri": url, **({"ca_certs": certs} if certs else {})}


def _address(ref: Mapping[str, Any], namespace: str, find: Find) -> Mapping[str, str]:
    """The address of a referent: `status.addresses`' first, else `status.address`; a core Service has neither."""
    version, kind, name = (ref.get(key) or "" for key in ("apiVersion", "kind", "name"))
    place = ref.get("namespace") or namespace
    found = find(version, kind, place, name)
    if found is None:
        raise Unresolved(f"{kind} {place}/{name} does not exist")
    if (version, kind) == ("v1", "Service"):
        return {"url": f"http://{name}.{place}.svc/"}
    status = found.get("status") or {}
    address = next(iter(status.get("addresses") or ()), None) or status.get("address") or {}
    if not address.get("url"):
        raise Unresolved(f"{kind} {place}/{name} has no address (yet)")
    return dict(address)
