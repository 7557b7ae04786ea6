"""One look: what is made, what is left alone, what is said where it can't be."""

from typing import Any

import pytest
from tests.knative.bridges import bridge
from tests.knative.controller.world import FakeWorld, forbidden

from thinbridge_knative.controller.reconciler import Reconciler
from thinbridge_knative.failures import ApiFailure


def world(**spec: Any) -> FakeWorld:
    made = FakeWorld()
    made.objects["Bridge", "home", "iot"] = bridge(**spec)
    return made


def look(made: FakeWorld) -> bool | None:
    made.writes.clear()
    return Reconciler(made, "bridge:1", lambda: "2026-01-01T00:00:00Z")("home", "iot")


def conditions(made: FakeWorld) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = made.objects["Bridge", "home", "iot"]["status"]["conditions"]
    return told


def ready(made: FakeWorld) -> dict[str, Any]:
    return conditions(made)[0]


def settled(**spec: Any) -> FakeWorld:
    made = world(**spec)
    look(made)
    made.settle()
    assert look(made) is True
    return made


def test_all_is_made_in_order_and_then_ready() -> None:
    made = world()
    assert look(made) is False
    assert made.writes == [
        "apply ConfigMap iot-bridge",
        "apply SinkBinding iot-bridge",
        "apply Deployment iot-bridge",
        "apply Service iot",
        "apply Service iot-pods",
        "status",
    ]
    made.settle()
    assert look(made) is True
    assert made.writes == ["status"]
    assert (ready(made)["status"], made.objects["Bridge", "home", "iot"]["status"]["sinkUri"]) == (
        "True",
        "http://thermostat/",
    )


def test_ten_idle_looks_write_nothing_though_a_webhook_wrote() -> None:
    made = settled()
    generations = {key: one["metadata"].get("generation") for key, one in made.objects.items()}
    for _ in range(10):
        assert look(made) is True
        assert made.writes == []
    assert generations == {key: one["metadata"].get("generation") for key, one in made.objects.items()}
    [container] = made.objects["Deployment", "home", "iot-bridge"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "K_SINK", "value": "http://thermostat/"} in container["env"]


@pytest.mark.parametrize(
    "spec",
    [
        {"resources": {"limits": {"memory": "1024Mi", "cpu": 1}}},
        {"resources": {"limits": {}}},
    ],
    ids=str,
)
def test_what_the_api_server_writes_its_own_way_is_no_difference(spec: dict[str, Any]) -> None:
    made = settled(**spec)
    assert look(made) is True
    assert made.writes == []


def test_a_change_of_routes_writes_the_config_alone() -> None:
    made = settled()
    made.objects["Bridge", "home", "iot"]["spec"]["routes"] = [{"sink": {"uri": "http://b/"}}]
    look(made)
    assert made.writes == ["apply ConfigMap iot-bridge"]
    assert "http://b/" in made.objects["ConfigMap", "home", "iot-bridge"]["data"]["bridge.yaml"]


def test_a_change_of_listeners_rolls_the_pods() -> None:
    made = settled()
    before = made.objects["Deployment", "home", "iot-bridge"]["metadata"]["generation"]
    made.objects["Bridge", "home", "iot"]["spec"]["listen"] = [{"url": "coap:5684"}]
    assert look(made) is False
    assert "apply Deployment iot-bridge" in made.writes
    assert made.objects["Deployment", "home", "iot-bridge"]["metadata"]["generation"] == before + 1
    assert ready(made)["reason"] == "Deploying"


def test_drift_is_repaired_and_what_is_dropped_goes() -> None:
    made = settled(ceOverrides={"extensions": {"site": "a"}})
    made.objects["Deployment", "home", "iot-bridge"]["spec"]["replicas"] = 7
    del made.objects["Bridge", "home", "iot"]["spec"]["ceOverrides"]
    look(made)
    assert made.objects["Deployment", "home", "iot-bridge"]["spec"]["replicas"] == 1
    assert "ceOverrides" not in made.objects["SinkBinding", "home", "iot-bridge"]["spec"]


def test_services_that_are_no_longer_wanted_go_but_only_ours() -> None:
    made = settled(expose={"type": "LoadBalancer"})
    labels = made.objects["Service", "home", "iot"]["metadata"]["labels"]
    made.put("Service", "theirs", metadata={"labels": labels}, spec={})
    made.objects["Bridge", "home", "iot"]["spec"]["expose"] = {"type": "NodePort"}
    look(made)
    assert [write for write in made.writes if write.startswith("delete")] == [
        "delete Service iot-udp",
        "delete Service iot-tcp",
    ]
    assert ("Service", "home", "theirs") in made.objects


def test_a_bridge_that_is_gone_or_going_is_left_alone() -> None:
    made = FakeWorld()
    assert look(made) is None
    made = world()
    made.objects["Bridge", "home", "iot"]["metadata"]["deletionTimestamp"] = "now"
    assert look(made) is None
    assert made.writes == []


def test_a_spec_that_can_not_be_used_makes_nothing_and_says_why() -> None:
    made = world(listen=[{"url": "lora:1"}])
    assert look(made) is False
    assert made.writes == ["status"]
    assert ready(made)["reason"] == "InvalidSpec"
    assert ready(made)["message"].startswith("listen[0]: lora:1: unknown protocol; installed: coap, ")
    assert look(made) is False
    assert made.writes == []


def test_a_dead_letter_that_is_not_there_is_waited_for() -> None:
    ref = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "dead"}
    made = world(dead_letter={"ref": ref})
    look(made)
    assert (ready(made)["reason"], ready(made)["message"]) == (
        "DestinationNotFound",
        "Service home/dead does not exist",
    )
    made.put("Service", "dead", status={"address": {"url": "http://dead/"}})
    look(made)
    assert "http://dead/" in made.objects["ConfigMap", "home", "iot-bridge"]["data"]["bridge.yaml"]


def test_a_dead_letter_that_may_not_be_read_is_told() -> None:
    made = world(dead_letter={"ref": {"apiVersion": "v1", "kind": "Pod", "name": "dead"}})
    made.hide["Pod"] = forbidden("pods is forbidden")
    assert look(made) is False
    assert made.writes == ["status"]
    assert (ready(made)["reason"], ready(made)["message"]) == (
        "Forbidden",
        "Pod home/dead can't be read: pods is forbidden",
    )


def test_an_object_that_may_not_be_read_is_told() -> None:
    made = world()
    made.hide["ConfigMap"] = forbidden("configmaps is forbidden")
    look(made)
    assert made.writes == ["status"]
    assert ready(made)["message"] == "ConfigMap home/iot-bridge can't be read: configmaps is forbidden"


def test_a_ref_that_names_no_kind_is_told() -> None:
    made = world(dead_letter={"ref": {"kind": "Service", "name": "dead"}})
    look(made)
    assert (ready(made)["reason"], ready(made)["message"]) == (
        "InvalidSpec",
        "dead_letter.ref.apiVersion: (none): add it: this key has no default",
    )


def test_a_name_that_is_taken_leaves_nothing_half_made() -> None:
    made = world()
    made.put("Service", "iot")
    look(made)
    assert made.writes == ["status"]
    assert ready(made)["reason"] == "NameTaken"
    assert ready(made)["message"] == "Service home/iot is there already and is not this bridge's"


def test_what_a_predecessor_left_is_waited_for() -> None:
    made = settled()
    left = [key for key in made.objects if key[0] != "Bridge"]
    again = bridge()
    again["metadata"]["uid"] = "u2"
    made.objects["Bridge", "home", "iot"] = again
    assert look(made) is False
    assert made.writes == ["status"]
    told = {one["type"]: (one["status"], one["reason"]) for one in conditions(made)}
    assert told == {
        "Ready": ("Unknown", "WaitingForDeletion"),
        "SinkProvided": ("Unknown", "NoSinkBinding"),  # that of the predecessor says nothing of this one
        "Deployed": ("Unknown", "NoDeployment"),
    }
    assert ready(made)["message"] == "ConfigMap home/iot-bridge is left from before: it is waited for until it is gone"
    for key in left:
        del made.objects[key]
    look(made)
    assert "apply Deployment iot-bridge" in made.writes


def test_what_is_on_its_way_out_is_waited_for() -> None:
    made = world()
    made.put("Service", "iot", metadata={"deletionTimestamp": "now"})
    look(made)
    assert made.writes == ["status"]
    assert (ready(made)["status"], ready(made)["reason"]) == ("Unknown", "WaitingForDeletion")


def test_what_is_on_its_way_out_is_not_deleted_again() -> None:
    made = settled(expose={"type": "LoadBalancer"})
    made.objects["Service", "home", "iot-udp"]["metadata"]["deletionTimestamp"] = "now"
    made.objects["Bridge", "home", "iot"]["spec"]["expose"] = {"type": "ClusterIP"}
    look(made)
    assert [write for write in made.writes if write.startswith("delete")] == ["delete Service iot-tcp"]


def test_what_the_api_server_refuses_is_told() -> None:
    made = world()
    made.refuse["Deployment"] = forbidden("deployments.apps is forbidden")
    look(made)
    assert (ready(made)["reason"], ready(made)["message"]) == (
        "Forbidden",
        "Deployment home/iot-bridge: deployments.apps is forbidden",
    )


def test_a_problem_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    made = world()
    made.refuse["Deployment"] = forbidden("deployments.apps is forbidden")
    for _ in range(3):
        look(made)
    made.refuse["Deployment"] = forbidden("by a quota")
    look(made)
    del made.refuse["Deployment"]
    look(made)  # on its way: no problem
    told = [{**line.__dict__["fields"], "level": line.levelname} for line in caplog.records]
    assert told == [
        {
            "bridge": "home/iot",
            "reason": "Forbidden",
            "error": f"Deployment home/iot-bridge: {error}",
            "level": "WARNING",
        }
        for error in ("deployments.apps is forbidden", "by a quota")
    ]


def test_eventing_that_is_not_installed_is_told() -> None:
    made = world()
    made.refuse["SinkBinding"] = ApiFailure(404, {}, "404 page not found")
    look(made)
    assert (ready(made)["reason"], ready(made)["message"]) == (
        "Refused",
        "SinkBinding home/iot-bridge: 404 page not found",
    )


def test_in_a_namespace_that_is_being_deleted_nothing_is_left_to_do(caplog: pytest.LogCaptureFixture) -> None:
    made = world()
    causes = [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]
    made.refuse["ConfigMap"] = ApiFailure(403, {"reason": "Forbidden", "details": {"causes": causes}})
    assert look(made) is None
    assert "status" not in made.writes
    assert caplog.records == []


@pytest.mark.parametrize("code", [408, 409, 429, 500, 503])
def test_what_may_pass_is_tried_again(code: int) -> None:
    made = world()
    made.refuse["ConfigMap"] = ApiFailure(code, {"reason": "Conflict"})
    with pytest.raises(ApiFailure):
        look(made)
    assert "status" not in made.writes
