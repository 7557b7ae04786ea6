"""What to type in another terminal to be a device, with the ports that were really given."""

import math
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from thinbridge import registry
from thinbridge.protocols.base import Endpoint

TOOLS: Final = {
    **dict.fromkeys(("coap", "coap+tcp"), "coap-client-notls -m post -e hello {scheme}://{netloc}/greeting"),
    "mqtt": "mosquitto_rr -h {host} -p {port} -t greeting -e answers -m hello",
    "udp": "echo -n hello | nc -u -w {wait} {host} {port}",
}
"""With the tools that people of the protocol have; `wait`, in seconds, outlasts a cold start."""
OURS: Final = {
    **dict.fromkeys(("coap", "coap+tcp", "coap+ws", "mqtt", "mqtt+ws"), "send {scheme}://{netloc}/greeting -d hello"),
    "udp": "send udp://{netloc} -d hello",
}
"""The arguments of `thinbridge` that do the same."""
TRUSTING: Final = dict.fromkeys(
    ("coaps+tcp", "coaps+ws", "mqtts", "mqtt+wss"), "send {scheme}://{netloc}/greeting -d hello --ca FILE"
)
"""The same over TLS; whoever made the certificate knows whose it is."""
PATIENCE: Final = 3
"""Seconds in which a function on this machine starts and answers."""
ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Who listens everywhere is reached on loopback."""


def lines(endpoints: Sequence[Endpoint], cold_start: float) -> list[str]:
    """The banner."""
    shown = ["", "Be a device, in another terminal:"]
    for endpoint in endpoints:
        shown += ["", *(f"  {line}" for line in _typed(endpoint, PATIENCE + math.ceil(cold_start)))]
    return [*shown, "", "Ctrl-C ends it.", ""]


def _typed(endpoint: Endpoint, wait: int) -> list[str]:
    """What sends it a message, or where it is, if nothing here can."""
    place, by = _place(endpoint), scheme(endpoint)
    found = [TOOLS[by].format(**place, wait=wait)] if by in TOOLS else []
    if ours := (OURS | TRUSTING).get(by):
        found.append(f"{program()} {ours.format(**place)}")
    return found or [f"{endpoint.protocol} at {endpoint.url}"]


def where(endpoint: Endpoint) -> str:
    """What an endpoint does at its address: not all of them bind a port."""
    return f"{'listens on' if registry.find(endpoint.protocol).listens else 'takes messages from'} {endpoint.url}"


def ours(endpoint: Endpoint) -> str:
    """The arguments of `thinbridge` that send it a message."""
    return OURS[scheme(endpoint)].format(**_place(endpoint))


def scheme(endpoint: Endpoint) -> str:
    """What carries it counts: who listens for TLS alone is not reached without."""
    return urlsplit(endpoint.url).scheme


def program() -> str:
    """How to call this program again: by name if the shell finds it, else by path."""
    return "thinbridge" if shutil.which("thinbridge") else os.path.relpath(sys.argv[0])


def _place(endpoint: Endpoint) -> dict[str, object]:
    parts = urlsplit(endpoint.url)
    host = ANY.get(parts.hostname or "", parts.hostname or "")
    netloc = f"[{host}]:{parts.port}" if ":" in host else f"{host}:{parts.port}"
    return {"scheme": parts.scheme, "host": host, "port": parts.port, "netloc": netloc}
