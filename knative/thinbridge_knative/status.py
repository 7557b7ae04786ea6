"""What the controller has seen, as a Bridge's status: conditions with reasons that a person understands. Pure.

SinkProvided    the SinkBinding knows the sink's address
Deployed        as many pods as asked for run and are ready
Ready           both, and the spec can be used
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from thinbridge import contract
from thinbridge_knative import resource
from thinbridge_knative.objects import port_name
from thinbridge_knative.resource import CONTROLLER, DEPLOYED, READY, SINK_PROVIDED
from thinbridge_knative.spec import HOST_NETWORK, Plan

Object = Mapping[str, Any]

STUCK: Final = (
    *("ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName"),
    *("CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
)
"""Why a container waits, where waiting alone won't help."""

SETTLED: Final = 10
"""Seconds in which Knative has looked for a sink that was changed."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a Bridge can't be made what it says."""

    reason: str
    """CamelCase."""
    message: str
    status: str = "False"
    """Unknown: it passes by itself."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the cluster holds of a bridge."""

    binding: Object | None = None
    deployment: Object | None = None
    services: Sequence[Object] = ()
    pods: Sequence[Object] = field(default=())

    @property
    def alive(self) -> list[Object]:
        """Pods that are not on their way out."""
        return [pod for pod in self.pods if not pod["metadata"].get("deletionTimestamp")]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


def status(bridge: Object, plan: Plan | Problem, seen: Seen, now: str) -> dict[str, Any]:
    """The whole status.

    Args:
        bridge: the resource, with its last status.
        plan: what it becomes, or why it can't.
        seen: what is there of it.
        now: RFC 3339, the time of whatever changed.
    """
    sink, deployed = _sink_provided(seen.binding, now), _deployed(seen)
    conditions = [_ready(plan, sink, deployed), sink, deployed]
    meta, found = bridge["metadata"], (seen.binding or {}).get("status") or {}
    return {
        "observedGeneration": meta["generation"],
        "conditions": _timed(conditions, bridge, now),
        **{key: found[key] for key in ("sinkUri", "sinkCACerts", "sinkAudience") if found.get(key)},
        **(_of_plan(plan, seen) if isinstance(plan, Plan) else _kept(bridge)),
        "replicas": _count(seen.deployment, "replicas"),
        "selector": ",".join(f"{key}={value}" for key, value in resource.selector(meta["name"]).items()),
    }


def _of_plan(plan: Plan, seen: Seen) -> dict[str, Any]:
    source = contract.source(plan.namespace, plan.name)
    protocols = {listener.protocol.name: listener.protocol for listener in plan.settings.listen}
    types = dict.fromkeys(event.type for protocol in protocols.values() for event in protocol.event_types)
    if not any(route.sessions for route in plan.settings.routes):
        types = dict.fromkeys(kind for kind in types if kind not in contract.SESSION_TYPES)  # none comes from it
    return {
        "ceAttributes": [{"type": kind, "source": source} for kind in types],
        "addresses": addresses(plan, seen),
    }


def _kept(bridge: Object) -> dict[str, Any]:
    """A spec that can't be used changes nothing: what ran still runs."""
    last = bridge.get("status") or {}
    return {key: last[key] for key in ("ceAttributes", "addresses") if key in last}


# --- Conditions -------------------------------------------------------------------------------------------------


def _ready(plan: Plan | Problem, sink: Condition, deployed: Condition) -> Condition:
    if isinstance(plan, Problem):
        return Condition(READY, plan.status, plan.reason, plan.message)
    for status in ("False", "Unknown"):
        for part in (sink, deployed):
            if part.status == status:
                return Condition(READY, status, part.reason, part.message)
    return Condition(READY, "True")


def _sink_provided(binding: Object | None, now: str) -> Condition:
    """As the SinkBinding has it. What it says of an older sink counts for nothing."""
    if binding is None:
        return Condition(SINK_PROVIDED, "Unknown", "NoSinkBinding", "the SinkBinding is not made yet")
    found = binding.get("status") or {}
    current = found.get("observedGeneration", 0) >= binding["metadata"].get("generation", 0)
    told = next((one for one in found.get("conditions") or () if one["type"] == SINK_PROVIDED), None)
    if told is None or not (current or _fails(binding, told, now)):
        return Condition(SINK_PROVIDED, "Unknown", "Resolving", "Knative has not looked for the sink yet")
    return Condition(SINK_PROVIDED, told["status"], told.get("reason", ""), told.get("message", ""))


def _fails(binding: Object, told: Object, now: str) -> bool:
    """Whether the sink as it is now fails. A binding observes a generation only when it is well (`psbinding` of
    knative.dev/pkg), so it goes by time: a failure counts that was told since our last word, or, as the same failure
    again is not told anew, that still stands when Knative must have looked.
    """
    ours = [
        one.get("time", "")
        for one in binding["metadata"].get("managedFields") or ()
        if one.get("manager") == CONTROLLER
    ]
    word = max(ours, default="")
    since = told.get("lastTransitionTime", now)
    return told["status"] == "False" and (since >= word or _seconds(word, now) >= SETTLED)


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def _deployed(seen: Seen) -> Condition:
    deployment = seen.deployment
    if deployment is None:
        return Condition(DEPLOYED, "Unknown", "NoDeployment", "the Deployment is not made yet")
    wanted = deployment["spec"].get("replicas", 1)
    counts = {key: _count(deployment, key) for key in ("updatedReplicas", "availableReplicas", "replicas")}
    looked = _count(deployment, "observedGeneration") >= deployment["metadata"].get("generation", 0)
    pods = _latest(seen.alive) if looked and counts["updatedReplicas"] else []
    if looked and (refused := _stuck(pods) or _failure(deployment)):
        return Condition(DEPLOYED, "False", *refused)
    if looked and all(count == wanted for count in counts.values()):
        return Condition(DEPLOYED, "True")
    if homeless := _unschedulable(pods):  # time may heal it: a node with room, or whose ports are free
        return Condition(DEPLOYED, "Unknown", "Unschedulable", homeless)
    ready = min(counts["availableReplicas"], counts["updatedReplicas"])
    return Condition(DEPLOYED, "Unknown", "Deploying", f"{ready} of {wanted} pods are up to date and ready")


def _latest(pods: Sequence[Object]) -> list[Object]:
    """Pods of the newest template, which alone say how it does: one that never started stays beside them until they
    are ready, and its failure may be what was just mended.
    """
    newest = max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), default=None)
    return [pod for pod in pods if newest and _template(pod) == _template(newest)]


def _template(pod: Object) -> str | None:
    return (pod["metadata"].get("labels") or {}).get("pod-template-hash")


def _stuck(pods: Iterable[Object]) -> tuple[str, str] | None:
    """Why a pod does not start, if it is something that time does not heal."""
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in STUCK:
                ended = (container.get("lastState") or {}).get("terminated") or {}
                told = ended.get("message") or waiting.get("message") or "no more is known"
                told = " ".join(told.split())
                return waiting["reason"], f"pod {pod['metadata']['name']}, image {container['image']}: {told}"
    return None


def _unschedulable(pods: Iterable[Object]) -> str:
    """Why no node takes a pod."""
    for pod in pods:
        for told in (pod.get("status") or {}).get("conditions") or ():
            if (told["type"], told["status"], told.get("reason")) == ("PodScheduled", "False", "Unschedulable"):
                return f"pod {pod['metadata']['name']}: {told.get('message', '')}"
    return ""


def _failure(deployment: Object) -> tuple[str, str] | None:
    """What the Deployment itself complains of: a quota, a rollout that does not get on."""
    for told in (deployment.get("status") or {}).get("conditions") or ():
        if (told["type"], told["status"]) in (("ReplicaFailure", "True"), ("Progressing", "False")):
            return told.get("reason", told["type"]), told.get("message", "")
    return None


def _timed(conditions: Iterable[Condition], bridge: Object, now: str) -> list[dict[str, Any]]:
    """Conditions with the time at which each took the status that it has."""
    last = {one["type"]: one for one in (bridge.get("status") or {}).get("conditions") or ()}
    timed = []
    for one in conditions:
        old = last.get(one.type, {})
        since = old.get("lastTransitionTime", now) if old.get("status") == one.status else now
        told = {key: value for key, value in (("reason", one.reason), ("message", one.message)) if value}
        timed.append({"type": one.type, "status": one.status, **told, "lastTransitionTime": since})
    return timed


# --- Addresses --------------------------------------------------------------------------------------------------


def addresses(plan: Plan, seen: Seen) -> list[dict[str, str]]:
    """Where devices reach each listener: from inside the cluster, then from outside as far as it can be known."""
    found = []
    for listener in plan.listeners:
        scheme = listener.protocol.name
        hosts = [f"{plan.name}.{plan.namespace}.svc:{listener.port}", *_outside(plan, seen, port_name(listener))]
        found += [{"name": listener.name, "url": f"{scheme}://{host}"} for host in hosts]
    return found


def _outside(plan: Plan, seen: Seen, port: str) -> list[str]:
    number = port.rpartition("-")[2]
    if plan.exposure == HOST_NETWORK:
        return [f"{_bracketed(node)}:{number}" for node in _nodes(seen)]
    found = []
    for service in seen.services:
        ports = [one for one in service["spec"].get("ports") or () if one["name"] == port]
        kind = service["spec"].get("type")
        if kind == "NodePort":
            found += [
                f"{_bracketed(node)}:{one['nodePort']}" for one in ports for node in _nodes(seen) if "nodePort" in one
            ]
        elif kind == "LoadBalancer":
            balancer = (service.get("status") or {}).get("loadBalancer") or {}
            hosts = [place.get("ip") or place.get("hostname", "") for place in balancer.get("ingress") or ()]
            found += [f"{_bracketed(host)}:{one['port']}" for one in ports for host in hosts]
    return found


def _nodes(seen: Seen) -> list[str]:
    """Nodes that have a pod: a node port answers there whatever the traffic policy is."""
    return sorted({host for pod in seen.alive if (host := (pod.get("status") or {}).get("hostIP"))})


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _count(deployment: Object | None, key: str) -> int:
    return int(((deployment or {}).get("status") or {}).get(key) or 0)
