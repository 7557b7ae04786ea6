"""Kubernetes objects that the tests set up: functions, sinks, and a bridge made by hand, without the controller."""

from pathlib import Path
from typing import Any

import yaml
from tests.e2e.cluster import Object

HERE = Path(__file__).parent


def meta(name: str, **labels: str) -> Object:
    return {"name": name, "labels": {"app": name, **labels}}


def ksvc(name: str, container: Object) -> Object:
    """A function, cluster-local, with one pod or none."""
    annotations = {
        "autoscaling.knative.dev/min-scale": "0",
        "autoscaling.knative.dev/max-scale": "1",
        "autoscaling.knative.dev/window": "6s",  # the least that there is: tests wait for zero
    }
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": meta(name, **{"networking.knative.dev/visibility": "cluster-local"}),
        "spec": {
            "template": {
                "metadata": {"annotations": annotations},
                "spec": {"containers": [container], "timeoutSeconds": 60},
            }
        },
    }


def sink_script() -> Object:
    """What `sink` and `sink_ksvc` run, on the Python of the bridge's own image."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": meta("sink"),
        "data": {"sink.py": (HERE / "sink.py").read_text()},
    }


def _sink_container(image: str, answer: str) -> Object:
    return {
        "image": image,
        "command": ["python3", "-u", "/e2e/sink.py"],
        "env": [{"name": "ANSWER", "value": answer}],
        "volumeMounts": [{"name": "script", "mountPath": "/e2e"}],
        "readinessProbe": {"httpGet": {"path": "/"}},
    }


def sink(name: str, image: str, answer: str = "accept") -> list[Object]:
    """A plain Deployment and Service that remember every event; see `sink.py` for `answer`."""
    container = _sink_container(image, answer) | {"name": "sink", "ports": [{"containerPort": 8080}]}
    container["readinessProbe"] = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    pod = {"containers": [container], "volumes": [{"name": "script", "configMap": {"name": "sink"}}]}
    return [
        sink_script(),
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta(name),
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta(name),
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]


def sink_ksvc(name: str, image: str, answer: str) -> list[Object]:
    """The same as a Knative Service, hence only as long as it has a pod."""
    service = ksvc(name, _sink_container(image, answer))
    service["spec"]["template"]["spec"]["volumes"] = [{"name": "script", "configMap": {"name": "sink"}}]
    return [sink_script(), service]


def destination(kind: str, name: str) -> Object:
    """A SinkBinding's or a Bridge's sink, by reference."""
    versions = {"ksvc": ("serving.knative.dev/v1", "Service"), "broker": ("eventing.knative.dev/v1", "Broker")}
    version, word = versions.get(kind, ("v1", "Service"))
    return {"ref": {"apiVersion": version, "kind": word, "name": name}}


def plain_bridge(image: str, name: str, to: Object) -> list[Object]:
    """A bridge without a controller, as `plain.yaml` has it: ConfigMap, Deployment, Service, SinkBinding."""
    text = (HERE / "plain.yaml").read_text().replace("$NAME", name).replace("$IMAGE", image)
    objects: list[Object] = list(yaml.safe_load_all(text))
    for one in objects:
        if one["kind"] == "SinkBinding":
            one["spec"]["sink"] = to
    return objects


def bridge(name: str, to: Object, *listen: str, expose: str = "NodePort", **spec: Any) -> Object:
    """A Bridge that devices outside reach."""
    whole = {"listen": [{"url": url} for url in listen], "sink": to, "expose": {"type": expose}, **spec}
    return {"apiVersion": "thinbridge.dev/v1alpha1", "kind": "Bridge", "metadata": {"name": name}, "spec": whole}
