"""The cluster by kind: which path, whose name, what a 404 means."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from thinbridge_knative.client import Access, Cluster, Resource
from thinbridge_knative.controller.registration import register
from thinbridge_knative.controller.world import ClusterWorld
from thinbridge_knative.failures import ApiFailure, NotInstalled
from thinbridge_knative.resource import BINDING_LABEL, CRD_NAME, SOURCE_LABEL

KSVC = ("serving.knative.dev/v1", "Service")
DISCOVERY = {
    "/apis/serving.knative.dev/v1": [
        {"name": "services/status", "kind": "Service"},
        {"name": "services", "kind": "Service"},
    ],
    "/api/v1": [{"name": "endpoints", "kind": "Endpoints"}],
    "/apis/..%2F..%2Fapi/v1": [],
}


class StubCluster(Cluster):
    """Remembers what is asked, by path."""

    def __init__(self) -> None:
        super().__init__(Access())
        self.objects: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.fails: Exception | None = None

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.fails:
            raise self.fails

    def get(self, resource: Resource, name: str, namespace: str | None) -> dict[str, Any]:
        path = resource.path(namespace, name)
        self._ask(f"GET {path}")
        if path not in self.objects:
            raise ApiFailure(404, {"reason": "NotFound"})
        return self.objects[path]

    def find(
        self, resource: Resource, namespace: str | None, labels: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        self._ask(f"LIST {resource.path(namespace)} {dict(labels or {})}")
        return {"items": [{"kind": "Pod"}]}

    def apply(self, resource: Resource, body: dict[str, Any], manager: str) -> dict[str, Any]:
        meta = body["metadata"]
        self._ask(f"APPLY {resource.path(meta['namespace'], meta['name'])} as {manager}")
        return body

    def delete(self, resource: Resource, name: str, namespace: str, propagation: str = "Background") -> dict[str, Any]:
        self._ask(f"DELETE {resource.path(namespace, name)}")
        return {}

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        self._ask(f"TEXT {path}")
        if path not in DISCOVERY:
            raise ApiFailure(404, {})
        return json.dumps({"resources": DISCOVERY[path]} if DISCOVERY[path] else {"versions": ["v1"]})


def body(version: str, kind: str, name: str = "iot") -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "home"}}


def test_our_own_kinds_are_known() -> None:
    cluster = StubCluster()
    world = ClusterWorld(cluster)
    assert world.find("v1", "Pod", "home", {"a": "b"}) == [{"kind": "Pod"}]
    world.apply(body("apps/v1", "Deployment"))
    world.apply_status(body("thinbridge.dev/v1alpha1", "Bridge"))
    world.delete(body("v1", "Service"))
    assert cluster.asked == [
        "LIST /api/v1/namespaces/home/pods {'a': 'b'}",
        "APPLY /apis/apps/v1/namespaces/home/deployments/iot as thinbridge-controller",
        "APPLY /apis/thinbridge.dev/v1alpha1/namespaces/home/bridges/iot/status as thinbridge-controller",
        "DELETE /api/v1/namespaces/home/services/iot",
    ]


def test_other_kinds_are_asked_for_once() -> None:
    cluster = StubCluster()
    world = ClusterWorld(cluster)
    cluster.objects["/apis/serving.knative.dev/v1/namespaces/home/services/f"] = {"status": {}}
    assert world.get(*KSVC, "home", "f") == {"status": {}}
    assert world.get(*KSVC, "home", "g") is None
    assert cluster.asked.count("TEXT /apis/serving.knative.dev/v1") == 1
    assert world.get("v1", "Endpoints", "home", "f") is None
    assert cluster.asked[-1] == "GET /api/v1/namespaces/home/endpoints/f"


@pytest.mark.parametrize("version", ["none.example/v1", "v1"])
def test_a_kind_that_is_not_served_is_as_good_as_an_object_that_is_not_there(version: str) -> None:
    assert ClusterWorld(StubCluster()).get(version, "Thing", "home", "f") is None


def test_what_a_ref_says_stays_within_its_path() -> None:
    cluster = StubCluster()
    world = ClusterWorld(cluster)
    assert world.get("../../api/v1", "Pod", "home", "f") is None  # and an answer that lists no kinds has none
    assert world.get(*KSVC, "../home", "..") is None
    assert cluster.asked == [
        "TEXT /apis/..%2F..%2Fapi/v1",
        "TEXT /apis/serving.knative.dev/v1",
        "GET /apis/serving.knative.dev/v1/namespaces/..%2Fhome/services/%2E%2E",
    ]


def test_a_refusal_is_no_absence() -> None:
    cluster = StubCluster()
    cluster.fails = ApiFailure(403, {"reason": "Forbidden"})
    world = ClusterWorld(cluster)
    with pytest.raises(ApiFailure):
        world.get("v1", "Pod", "home", "f")
    with pytest.raises(ApiFailure):
        world.get(*KSVC, "home", "f")
    with pytest.raises(ApiFailure):
        world.delete(body("v1", "Service"))
    with pytest.raises(ApiFailure):
        world.apply_status(body("thinbridge.dev/v1alpha1", "Bridge"))
    cluster.fails = ApiFailure(404, {"reason": "NotFound"})
    world.delete(body("v1", "Service"))  # gone is gone
    world.apply_status(body("thinbridge.dev/v1alpha1", "Bridge"))


# --- The label that makes bridges a source ------------------------------------------------------------------------

CRD = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{CRD_NAME}"


def test_the_label_comes_when_bridges_are_served() -> None:
    cluster = StubCluster()
    world = ClusterWorld(cluster)
    assert register(world) is False
    cluster.objects[CRD] = {"metadata": {"labels": {BINDING_LABEL: "true"}}}
    assert register(world) is True
    assert cluster.asked[-2:] == [
        "LIST /apis/thinbridge.dev/v1alpha1/bridges {}",
        f"APPLY {CRD} as thinbridge-controller",
    ]
    cluster.objects[CRD] = {"metadata": {"labels": {SOURCE_LABEL: "true"}}}
    assert register(world) is True
    assert cluster.asked[-1] == f"GET {CRD}"


def test_a_kind_that_is_not_served_yet_is_not_labelled() -> None:
    class Young(StubCluster):
        def find(self, resource: Resource, namespace: str | None, labels: Any = None) -> dict[str, Any]:
            raise NotInstalled

    cluster = Young()
    cluster.objects[CRD] = {"metadata": {}}
    with pytest.raises(NotInstalled):
        register(ClusterWorld(cluster))
    assert not any(what.startswith("APPLY") for what in cluster.asked)
