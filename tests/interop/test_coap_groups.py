"""CoAP by IPv6 and by multicast, with libcoap's client as the device, on a link that is made for it.

Loopback has no link-local addresses and no IPv6 groups, so the scene plays in a network namespace of its own, which has
one cable with two ends: the device is at `left`, the bridge hears groups at `right`.
"""

import asyncio
import json
import socket
import subprocess
import sys
from typing import Any

import pytest
from tests.interop.bridges import run

from thinbridge.assembly import build
from thinbridge.settings import load
from thinbridge.testing.function import Answer, Sink

LINK = """
ip link set lo up
ip link add left type veth peer name right
for end in left right; do ip link set dev $end addrgenmode none; ip link set dev $end up; done
ip address add fe80::1/64 dev left nodad
ip address add fe80::2/64 dev right nodad
ip address add 192.0.2.1/24 dev left
ip address add 198.51.100.1/24 dev right
ip route add 224.0.0.0/4 dev left
for where in all right; do  # both ends of the cable are of one host
  echo 0 > /proc/sys/net/ipv4/conf/$where/rp_filter
  echo 1 > /proc/sys/net/ipv4/conf/$where/accept_local
done
exec "$0" -m tests.interop.test_coap_groups
"""

ASKED = {
    "a group of IPv6": ("-N", "-m", "post", "-e", "21", "coap://[ff02::fd%left]:{port}/light"),
    "a group of IPv4": ("-N", "-m", "post", "-e", "21", "coap://224.0.1.187:{port}/light"),
    "discovery": ("-N", "-m", "get", "coap://[ff02::fd%left]:{port}/.well-known/core?rt=li*"),
    "discovery of nothing": ("-N", "-m", "get", "coap://[ff02::fd%left]:{port}/.well-known/core?rt=heat"),
    "an error": ("-N", "-m", "post", "-e", "21", "coap://[ff02::fd%left]:{port}/wrong"),
    "a link-local address": ("-m", "post", "-e", "21", "coap://[fe80::2%left]:{port}/light"),
    "discovery at a link-local address": ("-m", "get", "coap://[fe80::2%left]:{port}/.well-known/core"),
    "loopback": ("-m", "post", "-e", "21", "coap://[::1]:{port}/light"),
    "IPv4": ("-m", "post", "-e", "21", "coap://127.0.0.1:{port}/light"),
}
SETTINGS: dict[str, Any] = {
    "http": "127.0.0.1:0",
    "trusted_networks": ["fe80::/10", "192.0.2.0/24", "::1/128", "127.0.0.0/8"],
    "listen": [{"url": "coap://[::]:0", "groups": ["ff02::fd%right", "224.0.1.187%right"], "leisure": 0.3}],
}
ROUTES = json.dumps([{"subject": "light", "resource": {"rt": "light"}}])


async def scene() -> dict[str, str]:
    """What the device hears each time, and what the function is told of it."""
    async with Sink(lambda posted: Answer(400 if b"wrong" in posted.body else 200, {}, b"here")) as sink:
        bridge = build(load(SETTINGS | {"sink": sink.url}, {"THINBRIDGE_ROUTES": ROUTES}))
        await bridge.start()
        try:
            port = bridge.endpoints[0].url.rpartition(":")[2]
            said = dict(zip(ASKED, await asyncio.gather(*(ask(port, *one) for one in ASKED.values())), strict=True))
        finally:
            await bridge.drain(1)
            await bridge.stop()
        said["peers"] = json.dumps([peer(posted.body, posted.headers) for posted in sink.posted])
    return said


async def ask(port: str, *arguments: str) -> str:
    """What libcoap's client prints within two seconds; one that asked a group waits for them."""
    command = [argument.format(port=port) for argument in arguments]
    _, output = await run("coap-client-notls", "-B", 2, *command)
    return output.strip()


def peer(body: bytes, headers: Any) -> str:
    """`peer` of an event in either mode, without its port, its zone by name."""
    text: str = headers.get("ce-peer") or json.loads(body)["peer"]
    return text.rpartition(":")[0].replace(f"%{socket.if_nametoindex('right')}]", "%right]")


@pytest.mark.peer("coap-client-notls", "unshare", "ip")
def test_ipv6_and_groups() -> None:
    done = subprocess.run(["unshare", "-n", "sh", "-ec", LINK, sys.executable], capture_output=True, text=True)
    if "unshare failed" in done.stderr:
        pytest.skip("no network namespaces here: that takes root")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for name in ("a group of IPv6", "a group of IPv4", "a link-local address", "loopback", "IPv4"):
        assert said[name] == "here", name
    assert said["discovery"] == said["discovery at a link-local address"] == '</light>;rt="light"'
    for name in ("discovery of nothing", "an error"):
        assert said[name] == "", name
    assert sorted(json.loads(said["peers"])) == ["127.0.0.1", "192.0.2.1", "[::1]", *["[fe80::1%right]"] * 3]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(scene())))
