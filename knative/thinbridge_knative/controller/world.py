"""The cluster as the reconciler needs it: objects by kind, applied under the controller's own name."""

import json
from collections.abc import Mapping
from typing import Any, Final, Protocol

from thinbridge_knative.client import BRIDGES, PODS, SERVICES, Cluster, Resource
from thinbridge_knative.failures import ApiFailure
from thinbridge_knative.resource import API_VERSION, CONTROLLER, KIND

Object = dict[str, Any]

DEFINITIONS: Final = "customresourcedefinitions"

KINDS: Final[Mapping[tuple[str, str], Resource]] = {
    (API_VERSION, KIND): BRIDGES,
    ("v1", "ConfigMap"): Resource("", "v1", "configmaps"),
    ("v1", "Service"): SERVICES,
    ("v1", "Pod"): PODS,
    ("apps/v1", "Deployment"): Resource("apps", "v1", "deployments"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): Resource("apiextensions.k8s.io", "v1", DEFINITIONS),
    ("sources.knative.dev/v1", "SinkBinding"): Resource("sources.knative.dev", "v1", "sinkbindings"),
}
"""The plurals that need not be asked for."""


class World(Protocol):
    """What the reconciler asks of a cluster; each may raise `Failure`."""

    def get(self, version: str, kind: str, namespace: str, name: str) -> Object | None:
        """An object; None: there is none, or no such kind."""

    def find(self, version: str, kind: str, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        """All objects of a kind with these labels."""

    def apply(self, body: Object) -> Object:
        """Make it, or change what the controller said of it before; what it became."""

    def apply_status(self, body: Object) -> None:
        """The same for the status alone."""

    def delete(self, body: Object) -> None:
        """Have it deleted."""


class _Status(Resource):
    """The status of a kind."""

    def path(self, namespace: str | None, name: str = "") -> str:
        return f"{super().path(namespace, name)}/status"


class ClusterWorld:
    """A `World` on an API server.

    Args:
        cluster: where.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._plurals: dict[tuple[str, str], Resource] = dict(KINDS)

    def get(self, version: str, kind: str, namespace: str, name: str) -> Object | None:
        """An object; None: there is none, or no such kind."""
        resource = self._resource(version, kind)
        if resource is None:
            return None
        try:
            return self._cluster.get(resource, name, namespace)
        except ApiFailure as error:
            if error.missing:
                return None
            raise

    def find(self, version: str, kind: str, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        """All objects of a kind with these labels."""
        return list(self._cluster.find(KINDS[version, kind], namespace, labels)["items"])

    def apply(self, body: Object) -> Object:
        """Make it, or change what the controller said of it before; what it became."""
        return self._cluster.apply(KINDS[body["apiVersion"], body["kind"]], body, CONTROLLER)

    def apply_status(self, body: Object) -> None:
        """The same for the status alone; what is gone in the meantime needs none."""
        kind = KINDS[body["apiVersion"], body["kind"]]
        try:
            self._cluster.apply(_Status(kind.group, kind.version, kind.plural), body, CONTROLLER)
        except ApiFailure as error:
            if not error.missing:
                raise

    def delete(self, body: Object) -> None:
        """Have it deleted; that it is gone already is well, too."""
        meta = body["metadata"]
        try:
            self._cluster.delete(KINDS[body["apiVersion"], body["kind"]], meta["name"], meta["namespace"])
        except ApiFailure as error:
            if not error.missing:
                raise

    def _resource(self, version: str, kind: str) -> Resource | None:
        """Where a kind is served. What is not there is asked for again: it may be installed any time."""
        if (version, kind) not in self._plurals:
            group, _, number = version.rpartition("/")
            try:
                served = json.loads(self._cluster.text(Resource(group, number, "").root))
            except ApiFailure as error:
                if error.missing:
                    return None
                raise
            for one in served.get("resources", ()):
                if "/" not in one["name"]:
                    self._plurals[version, one["kind"]] = Resource(group, number, one["name"])
        return self._plurals.get((version, kind))
