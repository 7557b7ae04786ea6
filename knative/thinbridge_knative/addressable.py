"""From a Destination, as Knative writes it (`ref`, `uri`, `CACerts`), to the URL that a bridge POSTs to.

The sink's own Destination is Knative's to resolve (the SinkBinding does); those of routes and dead letters are the
controller's, which asks this module with the cluster behind `find`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urljoin

from thinbridge.errors import SettingsError, ThinbridgeError
from thinbridge.settings.faults import FIXES, shown

NOTHING: Final = "give a ref, or as uri an absolute URL, such as http://127.0.0.1:8080/"
NAMED: Final = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
NAME_FIX: Final = "use a name: small letters, digits, - and ."
REF: Final[Mapping[str, tuple[str, str]]] = {
    "apiVersion": (rf"({NAMED}/)?[a-z0-9]+", "write it as GROUP/VERSION, such as serving.knative.dev/v1"),
    "kind": (r"[A-Za-z0-9]+", "use the name of a kind, such as Service or Broker"),
    "name": (NAMED, NAME_FIX),
    "namespace": (f"({NAMED})?", NAME_FIX),
}
"""What each key of a ref may be, and what is said where it is not: they become a path of the API server."""
UNRESOLVED: Final = "http://sink.invalid/"
"""Stands for an object whose address only a cluster knows; nothing is sent there."""

Find = Callable[[str, str, str, str], Mapping[str, Any] | None]
"""(apiVersion, kind, namespace, name) → the object, None if there is none."""


class Unresolved(ThinbridgeError):
    """A Destination that has no address (yet); `str()` says which and why."""


def check(destination: object, key: str) -> None:
    """Refuse a Destination that names no place; whether what it names is there, `resolve` finds out.

    A URL that stands alone is the settings' to check, which have it after `resolve`.

    Args:
        destination: as it stands in the spec.
        key: where it stands.

    Raises:
        SettingsError: the first mistake.
    """
    place = _mapping(destination, key)
    if not isinstance(place.get("uri", ""), str):
        raise SettingsError(f"{key}.uri", shown(place["uri"]), FIXES["string_type"])
    if "ref" not in place:
        if not place.get("uri"):
            raise SettingsError(key, shown(place), NOTHING)
        return
    ref = _mapping(place["ref"], f"{key}.ref")
    for part, (shape, fix) in REF.items():
        value = ref.get(part) or ""
        if not value and part != "namespace":
            raise SettingsError(f"{key}.ref.{part}", "(none)", FIXES["missing"])
        if not re.fullmatch(shape, str(value)) or not isinstance(value, str):
            raise SettingsError(f"{key}.ref.{part}", shown(value), fix)


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


def offline(destination: Mapping[str, Any]) -> dict[str, str]:
    """The same where no cluster can be asked: good for a check."""
    return resolve(destination, "default", lambda *_: {"status": {"address": {"url": UNRESOLVED}}})


def _mapping(value: object, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SettingsError(key, shown(value), FIXES["dict_type"])
    return value


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
