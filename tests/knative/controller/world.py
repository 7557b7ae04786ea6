"""A cluster in memory: objects by kind, server-side apply by one manager, and a webhook that writes beside it."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from thinbridge_knative.failures import ApiFailure, Failure

Object = dict[str, Any]


class FakeWorld:
    """What the reconciler sees, and what it did."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        """By (kind, namespace, name)."""
        self.said: dict[tuple[str, str, str], Object] = {}
        """What the controller applied last."""
        self.writes: list[str] = []
        self.refuse: dict[str, Failure] = {}
        """By kind: what applying it answers."""
        self.hide: dict[str, Failure] = {}
        """By kind: what reading it answers."""

    def put(self, kind: str, name: str, namespace: str = "home", **rest: Any) -> Object:
        """Somebody else's object."""
        meta = {"name": name, "namespace": namespace, "generation": 1, **rest.pop("metadata", {})}
        self.objects[kind, namespace, name] = thing = {"kind": kind, "metadata": meta, **rest}
        return thing

    def get(self, version: str, kind: str, namespace: str, name: str) -> Object | None:
        if failure := self.hide.get(kind):
            raise failure
        return deepcopy(self.objects.get((kind, namespace, name)))

    def find(self, version: str, kind: str, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        return [
            deepcopy(one)
            for (other, place, _), one in self.objects.items()
            if (other, place) == (kind, namespace) and labels.items() <= one["metadata"].get("labels", {}).items()
        ]

    def apply(self, body: Object) -> Object:
        key = _key(body)
        self.writes.append(f"apply {body['kind']} {body['metadata']['name']}")
        if failure := self.refuse.get(body["kind"]):
            raise failure
        live = self.objects.setdefault(key, {"metadata": {"generation": 0}})
        before = deepcopy(live.get("spec"))
        _drop(live, self.said.get(key, {}), body)
        _merge(live, body)
        if body["kind"] == "Deployment":
            self.inject(live)
            self.normalise(live)
        live["metadata"]["generation"] += live.get("spec") != before
        self.said[key] = deepcopy(body)
        return deepcopy(live)

    def apply_status(self, body: Object) -> None:
        self.writes.append("status")
        self.objects[_key(body)]["status"] = deepcopy(body["status"])

    def delete(self, body: Object) -> None:
        self.writes.append(f"delete {body['kind']} {body['metadata']['name']}")
        del self.objects[_key(body)]

    def inject(self, deployment: Object) -> None:
        """What Knative's webhook does to each template that it sees."""
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        if not any(one["name"] == "K_SINK" for one in container["env"]):
            container["env"].append({"name": "K_SINK", "value": "http://thermostat/"})

    def normalise(self, deployment: Object) -> None:
        """The API server writes quantities its own way, and leaves out what is empty."""
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        container["resources"] = {
            key: {name: {"1024Mi": "1Gi", 1: "1"}.get(amount, amount) for name, amount in amounts.items()}
            for key, amounts in container["resources"].items()
            if amounts
        }

    def settle(self, namespace: str = "home", name: str = "iot-bridge") -> None:
        """Knative and Kubernetes have done their part."""
        for kind, told in (
            (
                "SinkBinding",
                {"conditions": [{"type": "SinkProvided", "status": "True"}], "sinkUri": "http://thermostat/"},
            ),
            ("Deployment", {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}),
        ):
            one = self.objects[kind, namespace, name]
            one["status"] = {"observedGeneration": one["metadata"]["generation"], **told}


def forbidden(words: str = "no") -> ApiFailure:
    return ApiFailure(403, {"reason": "Forbidden", "message": words})


def _key(body: Object) -> tuple[str, str, str]:
    return body["kind"], body["metadata"]["namespace"], body["metadata"]["name"]


def _drop(live: Object, said: Object, body: Object) -> None:
    """Fields that were said and no longer are."""
    for key in said.keys() - body.keys():
        live.pop(key, None)
    for key in said.keys() & body.keys():
        if isinstance(said[key], dict) and isinstance(live.get(key), dict):
            _drop(live[key], said[key], body[key])


def _merge(live: Object, body: Object) -> None:
    """Fields that are said; lists of named things by name."""
    for key, value in body.items():
        if isinstance(value, dict) and isinstance(live.get(key), dict):
            _merge(live[key], value)
        elif key in ("containers", "env") and isinstance(live.get(key), list):
            named = {one["name"]: one for one in live[key]}
            for one in value:
                _merge(named.setdefault(one["name"], {}), one)
            live[key] = list(named.values())
        else:
            live[key] = deepcopy(value)
