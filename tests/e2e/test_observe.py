"""A device observes what a function answered, and hears what is published to its subject, with the bridge's token."""

import subprocess
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tests.e2e.cluster import Space, node
from tests.e2e.conftest import Images
from tests.e2e.objects import bridge, destination, sink

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300, func_only=True),
    pytest.mark.peer("coap-client-notls"),
]

TOKEN = "only-publishers-know"
FILE = "/run/secrets/thinbridge/publishers/token"
SUBJECT = "http://iot-pods:8090/observe/rooms/kitchen"


def test_what_is_published_reaches_who_observes(space: Space, images: Images, controller: None, tmp_path: Path) -> None:
    space.kubectl("create", "secret", "generic", "publishers", f"--from-literal=token={TOKEN}")
    space.apply(*sink("function", images.bridge))
    granted = {"name": "rooms", "subject": "rooms/*", "reply": {"coapobserve": "true"}}
    to, http = destination("svc", "function"), {"token_file": FILE}
    space.apply(bridge("iot", to, "coap:5683", secrets=["publishers"], http=http, routes=[granted]))
    space.ready("bridge/iot")
    space.rolled_out("function")
    heard = tmp_path / "heard"
    url = f"coap://{node()}:{space.node_port('iot', 5683)}/rooms/kitchen"
    with heard.open("wb") as file:
        device = subprocess.Popen(["coap-client-notls", "-B", "60", "-s", "60", url], stdout=file)
    try:
        space.eventually(lambda: [one.get("coapobserve") for one in space.fetch("function", "/events")] == ["register"])
        assert publish(space, "not for you") == 401
        space.eventually(lambda: publish(space, "21.5", TOKEN) == 200 and b"21.5" in heard.read_bytes())
        assert b"not for you" not in heard.read_bytes()
    finally:
        device.terminate()
        device.wait()


def publish(space: Space, text: str, token: str = "") -> int:
    """The status that a function hears which publishes from inside the cluster."""
    order = {"to": SUBJECT, "data": text, "token": token}
    return int(space.fetch("function", "/push?" + urlencode(order))["status"])
