"""A device outside, a bridge in a plain Deployment, and a function that has no pod when the message comes."""

import json
from collections.abc import Callable

import pytest
from tests.e2e import devices
from tests.e2e.cluster import Space, timed
from tests.e2e.conftest import Images, Record
from tests.e2e.objects import destination, ksvc, plain_bridge

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), pytest.mark.peer("coap-client-notls", "mosquitto_rr", "nc")]


def test_each_protocol_wakes_a_function(space: Space, images: Images, record: Record) -> None:
    space.apply(ksvc("thermostat", {"image": images.thermostat}))
    space.apply(*plain_bridge(images.bridge, "iot", destination("ksvc", "thermostat")))
    space.ready("ksvc/thermostat", "sinkbinding/iot-bridge")
    space.rolled_out("iot-bridge")
    port = {name: space.node_port("iot", name) for name in ("coap", "mqtt", "udp")}
    reading = '{"temperature": 18.5}'
    asks: dict[str, Callable[[], str]] = {
        "coap-client": lambda: devices.coap(port["coap"], "rooms/kitchen", reading, media_type="application/json"),
        "mosquitto_rr": lambda: devices.mqtt(port["mqtt"], "rooms/kitchen", reading),
        "nc -u": lambda: devices.udp(port["udp"], '{"room": "kitchen", "temperature": 18.5}'),
    }
    for name, ask in asks.items():
        space.at_zero("thermostat")
        before = started(space)
        answer, seconds = timed(ask)
        assert json.loads(answer) == {"setpoint": 20.0, "heating": True}, name
        assert started(space) - before, f"{name} woke no pod"
        record(f"{name}, message to answer, function at zero", f"{seconds:.2f} s")
        answer, seconds = timed(ask)
        assert json.loads(answer) == {"setpoint": 20.0, "heating": True}, name
        record(f"{name}, message to answer, warm", f"{seconds * 1000:.0f} ms")


def started(space: Space) -> set[str]:
    """The function's pods, the ending ones included."""
    pods = space.get("pods", "-l", "serving.knative.dev/service=thermostat")["items"]
    return {pod["metadata"]["name"] for pod in pods}
