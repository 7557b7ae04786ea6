"""Three replicas and fifty devices: a rolling update, then a pod deleted; nothing that was acknowledged is lost."""

import asyncio
import statistics

import pytest
from tests.e2e.cluster import Space, node
from tests.e2e.conftest import Images, Record
from tests.e2e.fleet import Confirmable, Fleet, Publisher
from tests.e2e.objects import bridge, destination, sink

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420, func_only=True)]

DEVICES, REPLICAS = 50, 3
SETTLE = 10
"""Seconds of undisturbed traffic before and after each disturbance."""


def test_nothing_acknowledged_is_lost(space: Space, images: Images, controller: None, record: Record) -> None:
    space.apply(*sink("function", images.bridge))
    space.apply(bridge("iot", destination("svc", "function"), "coap:5683", "mqtt:1883", replicas=REPLICAS))
    space.ready("bridge/iot")
    space.rolled_out("function")
    coap, mqtt = space.node_port("iot", 5683), space.node_port("iot", 1883)

    def update() -> None:
        space.kubectl("rollout", "restart", "deployment/iot-bridge")
        space.rolled_out("iot-bridge")

    def delete() -> None:
        pod = space.pods("app.kubernetes.io/instance=iot")[0]["metadata"]["name"]
        space.kubectl("delete", "pod", pod, seconds=120)  # waits until it is gone: at most its grace period of 70 s
        space.rolled_out("iot-bridge")

    async def play() -> Fleet:
        some = [Confirmable(f"con{n}", node(), coap) for n in range(DEVICES // 2)]
        others = [Publisher(f"qos1-{n}", node(), mqtt) for n in range(DEVICES // 2)]
        fleet = Fleet([*some, *others])
        await asyncio.sleep(SETTLE)
        for disturb in (update, delete):
            await asyncio.to_thread(disturb)
            await asyncio.sleep(SETTLE)
        await fleet.stop()
        return fleet

    fleet = asyncio.run(play())
    at_the_sink = {event["data"] for event in space.fetch("function", "/events")}
    acknowledged = fleet.acknowledged()
    assert acknowledged - at_the_sink == set()  # lost
    assert {payload for device in fleet.devices for payload in device.sent} == acknowledged
    record(f"{DEVICES} devices, {REPLICAS} replicas: acknowledged, of these lost", f"{len(acknowledged)}, 0")
    for kind, name in ((Confirmable, "CON"), (Publisher, "QoS 1")):
        gaps = fleet.interruptions(kind)
        record(f"{name}: interruption of a device, median / worst", f"{statistics.median(gaps):.1f} / {gaps[-1]:.1f} s")
