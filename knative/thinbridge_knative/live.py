"""What a bridge's pods say of themselves: health and metrics, read through the API server's proxy of pods."""

import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from thinbridge_knative.client import PODS, Cluster, Object
from thinbridge_knative.failures import Failure
from thinbridge_knative.resource import HTTP_PORT, selector

APART: Final = 1.0
"""Seconds between two readings: the difference is the rate."""
SAMPLE: Final = re.compile(r"(\w+)\{([^}]*)\} (\S+)|(\w+) (\S+)")
LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Rates:
    """Of one endpoint of one pod."""

    sessions: int
    messages: float
    """A second."""
    dropped: float
    """A second."""


@dataclass(slots=True)
class Pod:
    """One pod, as far as it can be read."""

    name: str
    ready: bool
    endpoints: dict[str, Rates] = field(default_factory=dict)
    in_flight: int = 0
    troubles: list[str] = field(default_factory=list)
    """Sinks that fail, or why the pod can't be read."""


def pods(cluster: Cluster, bridge: str, namespace: str) -> list[Object]:
    """The bridge's pods, without those that are on their way out."""
    found = cluster.find(PODS, namespace, selector(bridge))["items"]
    alive = [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]
    return sorted(alive, key=lambda pod: str(pod["metadata"]["name"]))


def look(cluster: Cluster, bridge: str, namespace: str, apart: float = APART) -> list[Pod]:
    """Every pod with its sessions and rates; takes `apart` seconds if there is anything to measure."""
    seen = [Pod(pod["metadata"]["name"], _ready(pod)) for pod in pods(cluster, bridge, namespace)]
    before = {pod.name: _counts(cluster, pod, namespace) for pod in seen if pod.ready}
    started = time.monotonic()
    if before:
        time.sleep(apart)
    for pod in seen:
        if pod.name in before and not pod.troubles:
            _measure(cluster, pod, namespace, before[pod.name], started)
    return seen


def counts(metrics: str) -> dict[str, Counter[str]]:
    """Sums by endpoint: `{"messages": {"coap": 12}, "dropped": {…}}`."""
    totals: dict[str, Counter[str]] = {"messages": Counter(), "dropped": Counter()}
    for line in metrics.splitlines():
        sample = SAMPLE.fullmatch(line)
        if sample and (kind := (sample[1] or "").removeprefix("thinbridge_").removesuffix("_total")) in totals:
            labels = dict(LABEL.findall(sample[2]))
            totals[kind][labels.get("endpoint", "")] += int(float(sample[3]))
    return totals


def _measure(cluster: Cluster, pod: Pod, namespace: str, before: Mapping[str, Counter[str]], started: float) -> None:
    after = _counts(cluster, pod, namespace)
    seconds = time.monotonic() - started
    state = _state(cluster, pod, namespace)
    pod.in_flight = int(state.get("in_flight", 0))
    for endpoint in state.get("endpoints", []):
        name = endpoint["name"]
        rates = {kind: (after[kind][name] - before[kind][name]) / seconds for kind in after}
        pod.endpoints[name] = Rates(int(endpoint["sessions"]), rates["messages"], rates["dropped"])
    for sink in state.get("sinks", []):
        if sink.get("failing_since"):
            pod.troubles.append(f"{sink['url']} fails since {sink['failing_since']}: {sink.get('error')}")


def _counts(cluster: Cluster, pod: Pod, namespace: str) -> dict[str, Counter[str]]:
    return counts(_read(cluster, pod, namespace, "metrics"))


def _state(cluster: Cluster, pod: Pod, namespace: str) -> Mapping[str, Any]:
    try:
        state = json.loads(_read(cluster, pod, namespace, "health/ready"))
    except ValueError:
        return {}
    return state if isinstance(state, dict) else {}


def _read(cluster: Cluster, pod: Pod, namespace: str, page: str) -> str:
    try:
        return cluster.text(f"{PODS.path(namespace, f'{pod.name}:{HTTP_PORT}')}/proxy/{page}")
    except Failure as error:
        if str(error) not in pod.troubles:
            pod.troubles.append(str(error))
        return ""


def _ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
