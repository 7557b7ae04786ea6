"""MQTT QoS 1 to a Broker: every function that listens sees every message, and one answers the device by `replyto`."""

import statistics

import pytest
from tests.e2e import devices
from tests.e2e.cluster import Space, timed
from tests.e2e.conftest import Images, Record
from tests.e2e.objects import bridge, destination, sink, sink_ksvc

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300, func_only=True), pytest.mark.peer("mosquitto_rr")]

MESSAGES = 10


def trigger(name: str, subscriber: dict[str, object]) -> dict[str, object]:
    wanted = {"filter": {"attributes": {"type": "dev.thinbridge.mqtt.message"}}}
    spec = {"broker": "default", "subscriber": subscriber, **wanted}
    return {"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": {"name": name}, "spec": spec}


def test_two_triggers_and_an_answer_by_replyto(space: Space, images: Images, controller: None, record: Record) -> None:
    broker = {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": {"name": "default"}}
    space.apply(broker, *sink("watching", images.bridge), *sink_ksvc("answering", images.bridge, "replyto"))
    space.apply(
        trigger("watching", destination("svc", "watching")), trigger("answering", destination("ksvc", "answering"))
    )
    space.apply(bridge("iot", destination("broker", "default"), "mqtt:1883", mode="later"))
    space.ready("ksvc/answering", "broker/default", "trigger/watching", "trigger/answering", "bridge/iot")
    space.rolled_out("watching")
    port = space.node_port("iot", 1883)
    space.reachable(port)
    space.at_zero("answering")

    def ask(number: int) -> float:
        answer, seconds = timed(lambda: devices.mqtt(port, f"rooms/{number}", f"message {number}"))
        assert answer == f"MESSAGE {number}"
        return seconds

    record("mosquitto_rr, Broker, Trigger, replyto, function at zero", f"{ask(0):.2f} s")
    warm = [ask(number) for number in range(1, MESSAGES)]
    record("mosquitto_rr, Broker, Trigger, replyto, warm, median", f"{statistics.median(warm) * 1000:.0f} ms")

    sent = {f"message {number}" for number in range(MESSAGES)}  # the other Trigger may be later with its last
    space.eventually(lambda: {event["data"] for event in space.fetch("watching", "/events")} >= sent)
    seen = space.fetch("watching", "/events")
    assert {event["data"] for event in seen} == sent
    assert len({event["id"] for event in seen}) == MESSAGES
    assert {event["source"] for event in seen} == {f"/apis/v1/namespaces/{space.name}/bridges/iot"}
    assert {event["mqttqos"] for event in seen} == {"1"}
