"""Bridges for tests, as the API server gives them."""

from collections.abc import Mapping
from typing import Any

from thinbridge_knative.addressable import resolve
from thinbridge_knative.resource import API_VERSION, KIND
from thinbridge_knative.spec import Plan, read

SINK = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "thermostat"}}


def bridge(name: str = "iot", **spec: Any) -> dict[str, Any]:
    """A Bridge that listens to CoAP and MQTT, unless the keys say otherwise."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": "home", "uid": "u1", "generation": 1},
        "spec": {"listen": [{"url": "coap:5683"}, {"url": "mqtt:1883"}], "sink": SINK, **spec},
    }


def plan(name: str = "iot", **spec: Any) -> Plan:
    """The same, checked; its Destinations are URLs."""
    return read(bridge(name, **spec), lambda destination: resolve(destination, "home", nothing))


def nothing(version: str, kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
    """A cluster that holds nothing."""
    return None
