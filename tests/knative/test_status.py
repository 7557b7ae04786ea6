"""What the controller has seen, as conditions that a person understands."""

from typing import Any

import pytest
from tests.knative.bridges import bridge, plan

from thinbridge_knative.status import Problem, Seen, addresses, status

NOW = "2026-01-01T00:00:00Z"
URI = "http://thermostat.home.svc.cluster.local"


def binding(sink: str = "True", observed: int = 1, **told: str) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": sink}, {"type": "SinkProvided", "status": sink, **told}]
    return {
        "metadata": {"generation": 1},
        "status": {"observedGeneration": observed, "conditions": conditions, "sinkUri": URI},
    }


def deployment(updated: int = 1, available: int = 1, total: int = 1, **more: Any) -> dict[str, Any]:
    counts = {"updatedReplicas": updated, "availableReplicas": available, "replicas": total, "observedGeneration": 2}
    return {"metadata": {"generation": 2}, "spec": {"replicas": 1}, "status": counts | more}


def pod(host: str | None = "10.0.0.7", **told: Any) -> dict[str, Any]:
    return {"metadata": {"name": "iot-1"}, "status": {**({"hostIP": host} if host else {}), **told}}


def waiting(reason: str, message: str = "", last: str = "") -> dict[str, Any]:
    container: dict[str, Any] = {"image": "bridge:1", "state": {"waiting": {"reason": reason, "message": message}}}
    if last:
        container["lastState"] = {"terminated": {"message": last}}
    return pod(containerStatuses=[container])


def conditions(made: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {one["type"]: (one["status"], one.get("reason", ""), one.get("message", "")) for one in made["conditions"]}


def seen(**parts: Any) -> dict[str, tuple[str, str, str]]:
    whole = Seen(**{"binding": binding(), "deployment": deployment(), **parts})
    return conditions(status(bridge(), plan(), whole, NOW))


def test_all_is_well() -> None:
    made = status(bridge(), plan(), Seen(binding(), deployment()), NOW)
    assert {kind: told[0] for kind, told in conditions(made).items()} == {
        "Ready": "True",
        "SinkProvided": "True",
        "Deployed": "True",
    }
    assert made["conditions"][0]["type"] == "Ready"
    assert (made["observedGeneration"], made["sinkUri"], made["replicas"]) == (1, URI, 1)
    source = "/apis/v1/namespaces/home/bridges/iot"
    types = [f"dev.thinbridge.{kind}" for kind in ("coap.request", "mqtt.message", "mqtt.will")]
    assert made["ceAttributes"] == [{"type": kind, "source": source} for kind in types]
    assert made["selector"] == "app.kubernetes.io/name=thinbridge,app.kubernetes.io/instance=iot"


def test_sessions_are_told_of_where_a_route_wants_them() -> None:
    made = status(bridge(), plan(routes=[{"sessions": True}]), Seen(binding(), deployment()), NOW)
    types = [one["type"].removeprefix("dev.thinbridge.") for one in made["ceAttributes"]]
    assert types == ["coap.request", "mqtt.message", "mqtt.will", "session.opened", "session.closed"]


def test_nothing_is_there_yet() -> None:
    made = conditions(status(bridge(), plan(), Seen(), NOW))
    assert made["SinkProvided"][:2] == ("Unknown", "NoSinkBinding")
    assert made["Deployed"][:2] == ("Unknown", "NoDeployment")
    assert made["Ready"] == made["SinkProvided"]


@pytest.mark.parametrize(
    "found", [{"metadata": {"generation": 1}}, binding(observed=0), binding("Unknown", observed=0)], ids=str
)
def test_a_binding_that_has_not_looked_says_nothing(found: dict[str, Any]) -> None:
    assert seen(binding=found)["SinkProvided"][:2] == ("Unknown", "Resolving")


def test_a_sink_that_is_not_there_is_told_in_knatives_words() -> None:
    made = seen(binding=binding("False", observed=0, reason="NoAddressable", message="not found"))
    assert made["SinkProvided"] == ("False", "NoAddressable", "not found")
    assert made["Ready"] == ("False", "NoAddressable", "not found")


def failed(since: str, applied: str, now: str) -> tuple[str, str]:
    """SinkProvided of a binding that failed `since`, whose sink was `applied` by the controller, as seen `now`."""
    found = binding("False", observed=0, reason="NoAddressable", message="nobody not found", lastTransitionTime=since)
    found["metadata"]["managedFields"] = [
        {"manager": "thinbridge-controller", "operation": "Apply", "time": applied},
        {"manager": "controller", "operation": "Update", "time": "2027-01-01T00:00:00Z"},
    ]
    told = conditions(status(bridge(), plan(), Seen(found, deployment()), now))["SinkProvided"]
    return told[:2]


def test_a_failure_of_an_older_sink_is_not_told_of_the_new_one() -> None:
    old, change = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
    assert failed(old, change, "2026-01-01T00:01:09Z") == ("Unknown", "Resolving")
    assert failed(change, change, "2026-01-01T00:01:09Z") == ("False", "NoAddressable")
    # The same failure again is not told anew: it counts when Knative has had time to look.
    assert failed(old, change, "2026-01-01T00:01:10Z") == ("False", "NoAddressable")


def test_pods_that_are_on_their_way_are_counted() -> None:
    assert seen(deployment=deployment(available=0))["Deployed"] == (
        "Unknown",
        "Deploying",
        "0 of 1 pods are up to date and ready",
    )
    assert seen(deployment=deployment(total=2))["Deployed"][1] == "Deploying"
    assert seen(deployment=deployment(observedGeneration=1))["Ready"][1] == "Deploying"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (waiting("ImagePullBackOff", "no such host"), ("ImagePullBackOff", "no such host")),
        (waiting("CrashLoopBackOff", "back-off", "Error: listen:\n …"), ("CrashLoopBackOff", "Error: listen: …")),
        (waiting("CrashLoopBackOff"), ("CrashLoopBackOff", "no more is known")),
    ],
)
def test_a_pod_that_never_starts_says_why(found: dict[str, Any], expected: tuple[str, str]) -> None:
    reason, words = expected
    made = seen(deployment=deployment(available=0), pods=[pod(), found])
    assert made["Deployed"] == made["Ready"] == ("False", reason, f"pod iot-1, image bridge:1: {words}")


def made(pod: dict[str, Any], template: str, when: str = "", **more: Any) -> dict[str, Any]:
    return pod | {
        "metadata": {"name": "iot-1", "labels": {"pod-template-hash": template}, "creationTimestamp": when} | more
    }


STUCK = waiting("ImagePullBackOff", "no such host")


@pytest.mark.parametrize(
    ("counts", "pods"),
    [
        ({"observedGeneration": 1}, [made(STUCK, "old")]),  # the Deployment does not know the new template yet
        ({"updated": 0}, [made(STUCK, "old")]),  # and has made no pod of it yet
        ({"total": 2}, [made(STUCK, "old", "1"), made(waiting("ContainerCreating"), "new", "2")]),
        ({"total": 2}, [made(STUCK, "new", deletionTimestamp="now")]),
        ({"observedGeneration": 1, "conditions": [{"type": "ReplicaFailure", "status": "True"}]}, []),
    ],
)
def test_what_an_older_template_failed_of_is_not_told_of_the_new_one(counts: Any, pods: Any) -> None:
    assert seen(deployment=deployment(available=0, **counts), pods=pods)["Deployed"][:2] == ("Unknown", "Deploying")


def test_all_pods_of_the_new_template_count() -> None:
    pods = [made(STUCK, "new", "2"), made(pod(), "new", "3"), made(pod(), "old", "1")]
    assert seen(deployment=deployment(available=0, total=3), pods=pods)["Deployed"][1] == "ImagePullBackOff"


def test_a_pod_that_is_being_made_is_not_stuck() -> None:
    assert seen(deployment=deployment(available=0), pods=[waiting("ContainerCreating")])["Deployed"][0] == "Unknown"


def test_a_pod_without_a_node_says_why() -> None:
    full = [
        {"type": "Initialized", "status": "True"},
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no free ports"},
    ]
    made = seen(deployment=deployment(available=0), pods=[pod(), pod(None, conditions=full)])
    assert made["Deployed"] == ("Unknown", "Unschedulable", "pod iot-1: no free ports")


@pytest.mark.parametrize(
    "told",
    [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"},
        {"type": "Progressing", "status": "False", "reason": "FailedCreate", "message": "exceeded quota"},
    ],
)
def test_a_deployment_that_fails_says_why(told: dict[str, str]) -> None:
    fine = {"type": "Available", "status": "False"}
    assert seen(deployment=deployment(conditions=[fine, told]))["Deployed"] == (
        "False",
        "FailedCreate",
        "exceeded quota",
    )


def test_a_bad_spec_leaves_what_runs_and_what_is_known_of_it() -> None:
    good = status(bridge(), plan(), Seen(binding(), deployment()), NOW)
    bad = status({**bridge(), "status": good}, Problem("InvalidSpec", "no"), Seen(binding(), deployment()), "later")
    assert conditions(bad)["Ready"] == ("False", "InvalidSpec", "no")
    assert conditions(bad)["Deployed"][0] == "True"
    assert (bad["ceAttributes"], bad["addresses"]) == (good["ceAttributes"], good["addresses"])
    assert "addresses" not in status(bridge(), Problem("InvalidSpec", "no"), Seen(), NOW)


def test_what_passes_by_itself_is_no_failure() -> None:
    made = status(bridge(), Problem("WaitingForDeletion", "soon", "Unknown"), Seen(), NOW)
    assert conditions(made)["Ready"] == ("Unknown", "WaitingForDeletion", "soon")


def test_a_condition_keeps_the_time_at_which_it_changed() -> None:
    first = status(bridge(), plan(), Seen(binding(), deployment(available=0)), "1")
    second = status({**bridge(), "status": first}, plan(), Seen(binding(), deployment()), "2")
    times = {one["type"]: one["lastTransitionTime"] for one in second["conditions"]}
    assert times == {"Ready": "2", "SinkProvided": "1", "Deployed": "2"}
    assert status({**bridge(), "status": second}, plan(), Seen(binding(), deployment()), "3") == second


# --- Addresses --------------------------------------------------------------------------------------------------


def service(kind: str, port: str = "udp-9000", number: int | None = 30900, **told: Any) -> dict[str, Any]:
    node = {} if number is None else {"nodePort": number}
    return {"spec": {"type": kind, "ports": [{"name": port, "port": 9000, **node}]}, "status": told}


def urls(kind: str, **parts: Any) -> list[str]:
    made = plan(listen=[{"url": "udp:9000"}], expose={"type": kind})
    return [one["url"] for one in addresses(made, Seen(**parts))]


INSIDE = "udp://iot.home.svc:9000"


def test_inside_the_cluster_the_service_is_the_address() -> None:
    assert urls("ClusterIP", services=[service("ClusterIP")], pods=[pod()]) == [INSIDE]


def test_a_node_port_is_reached_at_nodes_with_a_pod() -> None:
    found = [service("NodePort"), service("ClusterIP", "http-bridge")]
    pods = [pod(), pod("fd00::7"), pod(), pod(None), {"metadata": {"name": "new"}}]
    assert urls("NodePort", services=found, pods=pods) == [INSIDE, "udp://10.0.0.7:30900", "udp://[fd00::7]:30900"]
    assert urls("NodePort", services=[service("NodePort", number=None)], pods=pods) == [INSIDE]


def test_the_nodes_own_port_is_reached_there() -> None:
    leaving = made(pod("10.0.0.8"), "new", deletionTimestamp="now")
    assert urls("HostNetwork", pods=[pod(), leaving]) == [INSIDE, "udp://10.0.0.7:9000"]


def test_a_load_balancer_has_an_address_or_a_name_once_it_is_there() -> None:
    given = service("LoadBalancer", loadBalancer={"ingress": [{"ip": "203.0.113.9"}, {"hostname": "lb.example"}]})
    assert urls("LoadBalancer", services=[given]) == [INSIDE, "udp://203.0.113.9:9000", "udp://lb.example:9000"]
    assert urls("LoadBalancer", services=[service("LoadBalancer")]) == [INSIDE]
