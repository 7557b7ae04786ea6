"""Whether an object is as it is wanted: only the fields that we own are compared, and quantities by what they mean."""

from collections.abc import Callable, Mapping
from operator import eq
from typing import Any, Final

from thinbridge_knative.client import same_quantity
from thinbridge_knative.resource import APPLIED

Object = dict[str, Any]

QUANTITIES: Final = ("requests", "limits")
"""Keys whose values are quantities: the API server writes `1024Mi` as `1Gi`, and `1` as `"1"`."""


def differs(wanted: Object, live: Object) -> bool:
    """Whether a field that we own is not as wanted, or one is there that we no longer want (the digest tells)."""
    said = (live["metadata"].get("annotations") or {}).get(APPLIED)
    return said != wanted["metadata"]["annotations"][APPLIED] or not holds(live, wanted)


def holds(live: Any, wanted: Any, same: Callable[[Any, Any], bool] = eq) -> bool:
    """Whether everything that is wanted is there; what else is there is somebody else's."""
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            key in live and holds(live[key], value, same_quantity if key in QUANTITIES else same)
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(live, list) and all(any(holds(one, item, same) for one in live) for item in wanted)
    return bool(same(live, wanted))
