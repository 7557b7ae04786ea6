"""How to undo what was done, for a bridge that does not become ready: a command to be typed as it stands."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from thinbridge_knative.client import Object
from thinbridge_knative.resource import CRD_NAME


def creation(name: str, namespace: str) -> str:
    """Of a bridge that was not there before."""
    return f"kn bridge delete {name} -n {namespace}"


def change(before: Object, after: Object) -> str:
    """Of a bridge that was: a patch with what it said before, of what it says otherwise now. The cluster keeps no
    earlier version, so this is the only place where it still stands.
    """
    meta = after["metadata"]
    said, says = ({"metadata": _own(one), "spec": one["spec"]} for one in (before, after))
    patch = json.dumps(_patch(says, said), separators=(",", ":"))
    return f"kubectl patch {CRD_NAME} {meta['name']} -n {meta['namespace']} --type=merge -p {shlex.quote(patch)}"


def _own(bridge: Object) -> Object:
    return {key: bridge["metadata"].get(key) or {} for key in ("labels", "annotations")}


def _patch(now: Mapping[str, Any], then: Mapping[str, Any]) -> Object:
    """The JSON merge patch (RFC 7386) that makes the one into the other."""
    patch: Object = {key: None for key in now if key not in then}
    for key, value in then.items():
        if isinstance(value, Mapping) and isinstance(now.get(key), Mapping):
            if inner := _patch(now[key], value):
                patch[key] = inner
        elif key not in now or now[key] != value:
            patch[key] = value
    return patch
