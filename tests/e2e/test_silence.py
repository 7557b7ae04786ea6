"""A UDP device is silent for three minutes, then a function has something for it: what arrives, by each way in.

conntrack forgets an idle UDP flow after 120 s (30 s, if nothing was answered). What is sent after that leaves by the
pod's own address: a NAT between pod and device makes of it a datagram from somebody else. On the node's own network
there is nothing to forget.
"""

import socket
import time
from contextlib import suppress
from urllib.parse import urlencode

import pytest
from tests.e2e.cluster import Space, node
from tests.e2e.conftest import Images, Record
from tests.e2e.objects import bridge, destination, sink

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420, func_only=True)]

SILENCE = 180


class Device:
    """A UDP socket that hears only the bridge it spoke to, as most devices have it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((node(), port))
        self.socket.settimeout(2)

    def say(self, data: bytes) -> None:
        """Send a datagram; a port that nothing listens on yet is no error, as with most devices."""
        with suppress(ConnectionRefusedError):
            self.socket.send(data)

    def hears(self) -> bytes | None:
        """The next datagram, or none within two seconds."""
        try:
            return self.socket.recv(2048)
        except (TimeoutError, ConnectionRefusedError):
            return None


def test_an_answer_after_three_minutes_of_silence(
    space: Space, images: Images, controller: None, record: Record
) -> None:
    space.apply(*sink("function", images.bridge))
    to = destination("svc", "function")
    space.apply(bridge("nodeport", to, "udp:9000"), bridge("onhost", to, "udp:19000", expose="HostNetwork"))
    space.ready("bridge/nodeport", "bridge/onhost")
    space.rolled_out("function")
    ways = {"NodePort": Device(space.node_port("nodeport", 9000)), "HostNetwork": Device(19000)}
    replyto: dict[str, str] = {}

    def heard() -> bool:
        """Both devices were; until then they repeat themselves, as devices do: nothing says that a datagram arrives."""
        for way in ways.keys() - replyto:
            ways[way].say(way.encode())
        replyto.update({event["data"]: event["replyto"] for event in space.fetch("function", "/events")})
        return replyto.keys() == ways.keys()

    space.eventually(heard)

    def push(way: str, text: str) -> tuple[int, bytes | None]:
        said = space.fetch("function", "/push?" + urlencode({"to": replyto[way], "data": text}))
        return said["status"], ways[way].hears()

    for way in ways:
        assert push(way, "now") == (200, b"now"), way
    time.sleep(SILENCE)  # what is measured is the time itself
    late = {way: push(way, "late") for way in ways}
    for way, (status, data) in late.items():
        record(f"UDP, {way}, a push after {SILENCE} s of silence", f"{status}, {'arrives' if data else 'is lost'}")
    assert late["HostNetwork"] == (200, b"late")
    for device in ways.values():
        device.socket.close()
