"""Outside programs as devices, outside the pod network: libcoap's client, Mosquitto's, netcat."""

from tests.e2e.cluster import node, run

PATIENCE = 60
"""Seconds that a device waits for its answer; a function's pod may have to start."""


def coap(port: int, path: str, payload: str = "", method: str = "post", media_type: str = "text/plain") -> str:
    """The answer to a CoAP request; a refusal's code comes first, as in `4.04 no such room`."""
    sent = ["-e", payload, "-t", media_type] if payload else []
    url = f"coap://{node()}:{port}/{path}"
    return run("coap-client-notls", "-B", PATIENCE, "-m", method, *sent, url, seconds=PATIENCE + 10).strip()


def mqtt(port: int, topic: str, payload: str, answers: str = "answers", client: str = "e2e") -> str:
    """The answer to an MQTT 5 request."""
    what = ["-t", topic, "-e", answers, "-m", payload, "-q", 1, "-W", PATIENCE]
    rr = ["mosquitto_rr", "-V", "mqttv5", "-h", node(), "-p", port, "-i", client]
    return run(*rr, *what, seconds=PATIENCE + 10).strip()


def udp(port: int, payload: str) -> str:
    """The first datagram that comes back."""
    return run("nc", "-u", "-W", 1, "-w", PATIENCE, node(), port, stdin=payload, seconds=PATIENCE + 10).strip()
