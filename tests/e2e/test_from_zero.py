"""A device outside, a bridge, and a function that has no pod when the message comes."""

import json
from collections.abc import Callable

import pytest
from tests.e2e import devices
from tests.e2e.cluster import Space, timed
from tests.e2e.conftest import Images, Record
from tests.e2e.objects import destination, ksvc, plain_bridge

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600, func_only=True),
    pytest.mark.peer("coap-client-notls", "mosquitto_rr", "nc"),
]


READING = '{"temperature": 18.5}'
STATE = {"setpoint": 20.0, "heating": True}


def test_a_plain_deployment(space: Space, images: Images) -> None:
    """Without the controller: what it makes is nothing that a person could not make."""
    space.apply(ksvc("thermostat", {"image": images.thermostat}))
    space.apply(*plain_bridge(images.bridge, "iot", destination("ksvc", "thermostat")))
    space.ready("ksvc/thermostat", "sinkbinding/iot-bridge")
    space.rolled_out("iot-bridge")
    space.at_zero("thermostat")
    assert json.loads(ask(space, "coap-client")()) == STATE


def test_kn_bridge_create(space: Space, images: Images, controller: None, record: Record) -> None:
    space.apply(ksvc("thermostat", {"image": images.thermostat}))
    space.ready("ksvc/thermostat")
    listen = [word for url in ("coap:5683", "mqtt:1883", "udp:9000") for word in ("--listen", url)]
    said, seconds = timed(
        lambda: space.kn("bridge", "create", "iot", *listen, "--sink", "ksvc:thermostat", "--expose", "NodePort")
    )
    assert said.startswith(f"Creating bridge 'iot' in namespace '{space.name}':\n")
    record("kn bridge create, until Ready", f"{seconds:.1f} s")
    for name in ("coap-client", "mosquitto_rr", "nc -u"):
        space.at_zero("thermostat")
        before = started(space)
        answer, seconds = timed(ask(space, name))
        assert json.loads(answer) == STATE, name
        assert started(space) - before, f"{name} woke no pod"
        record(f"{name}, message to answer, function at zero", f"{seconds:.2f} s")
        answer, seconds = timed(ask(space, name))
        assert json.loads(answer) == STATE, name
        record(f"{name}, message to answer, warm", f"{seconds * 1000:.0f} ms")


def ask(space: Space, program: str) -> Callable[[], str]:
    """A device that reports a temperature and is told what the thermostat makes of it."""
    port = {number: space.node_port("iot", number) for number in (5683, 1883, 9000)}
    asks: dict[str, Callable[[], str]] = {
        "coap-client": lambda: devices.coap(port[5683], "rooms/kitchen", READING, media_type="application/json"),
        "mosquitto_rr": lambda: devices.mqtt(port[1883], "rooms/kitchen", READING),
        "nc -u": lambda: devices.udp(port[9000], '{"room": "kitchen", "temperature": 18.5}'),
    }
    return asks[program]


def started(space: Space) -> set[str]:
    """The function's pods, the ending ones included."""
    pods = space.get("pods", "-l", "serving.knative.dev/service=thermostat")["items"]
    return {pod["metadata"]["name"] for pod in pods}
