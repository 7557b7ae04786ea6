"""Joining groups, over real sockets: IPv4 on loopback here, IPv6 in `tests/interop/test_coap_groups.py`."""

import asyncio
import random
import socket

import pytest
from tests.bridges.shells.rig import serving
from tests.bridges.shells.test_pktinfo import GROUP, LOOPS, run, sender, wildcards

from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Inbound, Outcome, Reply
from thinbridge.protocols.coap import CoAP, CoAPSettings
from thinbridge.protocols.coap.codec import compose, decode
from thinbridge.protocols.coap.codes import CHANGED
from thinbridge.shells import DatagramShell, groups
from thinbridge.shells.shell import bind

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="only Linux says where a datagram was sent to")

REQUEST = compose(1, 2, 3, b"m", [(11, b"x")], b"21")


def member(*names: str) -> CoAP:
    return CoAP(CoAPSettings(groups=names, leisure=0.01), random.Random(1).randbytes)


@pytest.mark.parametrize("loop", LOOPS)
@wildcards
def test_a_request_to_a_group_is_answered_to_who_sent_it(loop: str, host: str) -> None:
    async def main() -> None:
        async with serving(member(f"{GROUP}%lo"), None, host) as world:
            with sender() as sock:
                sock.connect(("127.0.0.1", world.shell.port))  # it hears this address alone
                sock.sendto(REQUEST, (GROUP, world.shell.port))
                session, event = await world.next()
                assert isinstance(event, Inbound)
                assert event.attributes["peer"] == f"127.0.0.1:{sock.getsockname()[1]}"
                world.shell.answer(session, event.exchange, Reply(Outcome.ACCEPTED, 200, None, b"here"))
                answer = decode(await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 100), 5))
            assert (answer.code, answer.token, answer.payload) == (CHANGED, b"m", b"here")

    run(main, loop)


def test_who_speaks_to_a_group_and_to_the_bridge_alone_is_two_sessions() -> None:
    async def main() -> None:
        async with serving(member(f"{GROUP}%{socket.if_nametoindex('lo')}"), None, "0.0.0.0") as world:
            with sender() as sock:
                for host in (GROUP, "127.0.0.1"):
                    sock.sendto(REQUEST, (host, world.shell.port))
                    await world.next()
            assert world.shell.sessions == 2

    run(main)


def fails(host: str, group: str) -> str:
    async def main() -> None:
        shell = DatagramShell(member(group), "dev", host, 0)
        with pytest.raises(SettingsError) as caught:
            await shell.open()
        assert shell._sock.fileno() == -1
        said.append(str(caught.value))

    said: list[str] = []
    run(main)
    return said[0]


def test_a_group_that_can_not_be_heard_ends_the_start() -> None:
    alone = "listen on 0.0.0.0 or [::]: an address of its own hears no group"
    assert fails("127.0.0.1", GROUP) == f"groups: {GROUP}: {alone}"
    assert fails("0.0.0.0", "ff02::fd") == "groups: ff02::fd: listen on [::] to hear an IPv6 group"
    assert fails("0.0.0.0", f"{GROUP}%nowhere") == f"groups: {GROUP}%nowhere: it can't be joined: no interface nowhere"


def test_an_interface_that_has_no_multicast_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(9999, "gone"), (socket.if_nametoindex("lo"), "lo")])
    with bind(socket.SOCK_DGRAM, "coap", "0.0.0.0", 0) as sock:
        groups.join(sock, GROUP)
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(9999, "gone")])
    with (
        bind(socket.SOCK_DGRAM, "coap", "0.0.0.0", 0) as sock,
        pytest.raises(SettingsError, match=r"it can't be joined: No such device"),
    ):
        groups.join(sock, GROUP)
