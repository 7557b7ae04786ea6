"""A Bridge looks to what people already use as if it had always been there, and leaves as if it never was."""

import json
from collections import Counter
from functools import partial

import pytest
from tests.e2e.cluster import CommandError, Space, run, timed
from tests.e2e.conftest import Images, Record
from tests.e2e.objects import bridge, destination, ksvc

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300, func_only=True)]

EVERYTHING = "configmap,deployment,replicaset,pod,service,sinkbinding,eventtype,bridge"
MINE = "app.kubernetes.io/instance=iot"
LISTEN = ("coap:5683", "mqtt:1883", "udp:9000")
EVENT_TYPES = {
    "dev.thinbridge.coap.request",
    "dev.thinbridge.mqtt.message",
    "dev.thinbridge.mqtt.will",
    "dev.thinbridge.udp.datagram",
}
EVENTING = 90
"""Seconds until EventTypes are there: Eventing's watch of a kind that has come again backs off for half a minute."""


def names(space: Space) -> set[str]:
    """What is in the namespace, but for what Kubernetes and the function put there."""
    found = space.get(EVERYTHING)["items"]
    return {
        f"{one['kind']}/{one['metadata']['name']}"
        for one in found
        if one["metadata"].get("labels", {}).get("app.kubernetes.io/instance") == "iot"
        or one["kind"] in ("Bridge", "EventType", "SinkBinding")
    }


def test_it_is_a_source_like_any_other(space: Space, images: Images, controller: None) -> None:
    space.apply(ksvc("function", {"image": images.echo}), bridge("iot", destination("ksvc", "function"), *LISTEN))
    space.ready("ksvc/function", "bridge/iot")
    [row] = space.kubectl("get", "bridges", "--no-headers").splitlines()
    assert row.split()[:3] == ["iot", "True", f"http://function.{space.name}.svc.cluster.local"]
    listed = [line.split() for line in space.kn("source", "list").splitlines()]
    assert ["iot", "Bridge", "bridges.thinbridge.dev", "ksvc:function", "True"] in listed
    assert "bridges.thinbridge.dev" in run("kn", "source", "list-types")
    space.eventually(lambda: len(space.get("eventtypes")["items"]) == len(EVENT_TYPES), EVENTING)
    types = space.get("eventtypes")["items"]
    attributes = [{one["name"]: one.get("value") for one in each["spec"]["attributes"]} for each in types]
    assert {one["type"] for one in attributes} == EVENT_TYPES
    assert {one["source"] for one in attributes} == {f"/apis/v1/namespaces/{space.name}/bridges/iot"}


def test_deleting_it_leaves_nothing(space: Space, images: Images, controller: None, record: Record) -> None:
    space.apply(ksvc("function", {"image": images.echo}), bridge("iot", destination("ksvc", "function"), *LISTEN))
    space.ready("ksvc/function", "bridge/iot")
    space.eventually(lambda: len(space.get("eventtypes")["items"]) == len(EVENT_TYPES), EVENTING)
    assert {name.split("/")[0] for name in names(space)} > {"ConfigMap", "Deployment", "Pod", "Service", "SinkBinding"}
    assert (
        space.kn("bridge", "delete", "iot").strip() == f"Bridge 'iot' successfully deleted in namespace '{space.name}'."
    )
    _, seconds = timed(lambda: space.eventually(lambda: not names(space), 60))
    record("kn bridge delete, until nothing is left", f"{seconds:.1f} s")


def test_an_idle_bridge_is_left_alone(space: Space, images: Images, controller: None) -> None:
    """The webhook of SinkBindings writes into the same pod template: two that disagree would never come to rest."""
    space.apply(ksvc("function", {"image": images.echo}))
    space.ready("ksvc/function")
    space.apply(bridge("iot", destination("ksvc", "function"), *LISTEN))
    space.ready("bridge/iot")

    def generations() -> dict[str, tuple[int, str]]:
        found = [
            *space.get("configmap,deployment,service,sinkbinding,pod", "-l", MINE)["items"],
            space.get("bridge/iot"),
        ]
        return {
            f"{one['kind']}/{one['metadata']['name']}": (
                one["metadata"].get("generation", 0),
                "" if one["kind"] == "Pod" else json.dumps(one.get("spec", one.get("data")), sort_keys=True),
            )
            for one in found
        }

    # A first pod may have started before the webhook knew the sink, and be on its way out.
    space.eventually(lambda: len(space.get("pods", "-l", MINE)["items"]) == 1, 60)
    before = generations()
    kinds = Counter(name.partition("/")[0] for name in before)
    assert kinds == {"ConfigMap": 1, "Deployment": 1, "Service": 2, "SinkBinding": 1, "Pod": 1, "Bridge": 1}
    for number in range(10):  # each annotation is an event, hence a look
        looks = reconciles()
        space.kubectl("annotate", "--overwrite", "bridge/iot", f"e2e={number}")
        space.eventually(partial(more_reconciles, looks))
    assert generations() == before


def reconciles() -> float:
    """How many looks the controller has taken, by its own metrics."""
    path = "/api/v1/namespaces/thinbridge-system/services/thinbridge-controller:http-metrics/proxy/metrics"
    lines = run("kubectl", "get", "--raw", path).splitlines()
    counts = [line.split()[-1] for line in lines if line.startswith("thinbridge_controller_reconciles_total")]
    return sum(map(float, counts))


def more_reconciles(than: float) -> bool:
    return reconciles() > than


def test_settings_are_reread_or_roll_the_pods(space: Space, images: Images, controller: None, record: Record) -> None:
    """Routes and mode reach the bridge that runs; a listener needs another."""
    space.apply(ksvc("function", {"image": images.echo}), bridge("iot", destination("ksvc", "function"), "coap:5683"))
    space.ready("ksvc/function", "bridge/iot")
    [pod] = [one["metadata"]["name"] for one in space.pods(MINE)]
    space.apply(bridge("iot", destination("ksvc", "function"), "coap:5683", mode="event"))
    _, seconds = timed(lambda: space.eventually(lambda: "settings reread" in space.kubectl("logs", pod), 150))
    record("kubectl apply of another mode, until the running bridge has it", f"{seconds:.0f} s")
    assert [one["metadata"]["name"] for one in space.pods(MINE)] == [pod]
    space.apply(bridge("iot", destination("ksvc", "function"), "coap:5683", "udp:9000"))
    space.eventually(lambda: space.pods(MINE) and pod not in [one["metadata"]["name"] for one in space.pods(MINE)], 60)
    space.ready("bridge/iot")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--listen", "coap:5683", "--sink", "ksvc:nowhere"], 'services.serving.knative.dev "nowhere" not found'),
        (["--listen", "smtp:25", "--sink", "http://sink.example/"], "smtp"),
        (["--listen", "coap:5683"], "sink"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_made(
    space: Space, controller: None, arguments: list[str], says: str
) -> None:
    with pytest.raises(CommandError) as failed:
        space.kn("bridge", "create", "iot", *arguments)
    assert "Error: " in str(failed.value)
    assert says in str(failed.value)
    assert names(space) == set()


def test_what_cannot_start_says_why_and_how_to_undo_it(space: Space, images: Images, controller: None) -> None:
    """An image that is nowhere, then a name that is somebody else's; each undone by the command that it names."""
    space.apply(ksvc("function", {"image": images.echo}))
    space.ready("ksvc/function")
    create = ("bridge", "create", "iot", "--listen", "coap:5683", "--sink", "ksvc:function")
    with pytest.raises(CommandError) as failed:
        space.kn(*create, "--image", "dev.local/nowhere:1")
    assert "dev.local/nowhere:1" in str(failed.value)
    undo = f"kn bridge delete iot -n {space.name}"
    assert undo in str(failed.value)
    run(*undo.split(), "--wait")
    space.kubectl("create", "service", "clusterip", "iot", "--tcp=80")
    with pytest.raises(CommandError) as failed:
        space.kn(*create)
    assert f"Service {space.name}/iot is there already" in str(failed.value)
    run(*undo.split(), "--wait")
    assert names(space) == set()
