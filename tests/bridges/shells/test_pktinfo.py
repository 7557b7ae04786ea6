"""A listener on all addresses, over real sockets on more than one of loopback's."""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from tests.bridges.shells.rig import World, device, serving, udp
from tests.bridges.shells.test_datagram import Fresh
from tests.waiting import until

from thinbridge.protocols.base import LISTENER, Address, Inbound, Outcome, Path, Reply
from thinbridge.protocols.coap import CoAP, CoAPSettings
from thinbridge.protocols.coap.codec import compose
from thinbridge.protocols.udp import UDP, UDPSession, UDPSettings
from thinbridge.shells import DatagramShell, datagram
from thinbridge.shells.pktinfo import BURST, INFO4, INFO6, AnyAddress, destination, needed, source

LOOPS = ["asyncio", "uvloop"]
GROUP, ALL_HOSTS = "224.0.1.187", "127.255.255.255"

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="only Linux says where a datagram was sent to")


def run(main: Callable[[], object], loop: str = "asyncio") -> None:
    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())  # type: ignore[arg-type]


def has(address: str) -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True


no_ipv6 = pytest.mark.skipif(not has("::1"), reason="no IPv6 here")
wildcards = pytest.mark.parametrize("host", ["0.0.0.0", pytest.param("::", marks=no_ipv6)])
ways = pytest.mark.parametrize(
    ("host", "one", "other"),
    [
        ("0.0.0.0", "127.0.0.1", "127.0.0.2"),
        pytest.param("::", "127.0.0.2", "::1", marks=no_ipv6),
    ],
)


@asynccontextmanager
async def echoing(protocol: UDP, host: str) -> AsyncIterator[World]:
    """Every datagram is answered with itself."""
    async with serving(protocol, None, host) as world:
        report = world.on_event

        def on_event(endpoint: object, session: UDPSession, event: object) -> None:
            report(endpoint, session, event)
            if isinstance(event, Inbound):
                world.shell.answer(session, event.exchange, Reply(Outcome.ACCEPTED, 200, None, event.data))

        world.shell._on_event = on_event  # type: ignore[assignment]
        yield world


async def ask(host: str, port: int) -> bytes:
    """What a socket hears that is connected to one address."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((host, port))
        await loop.sock_sendall(sock, f"to {host}".encode())
        return await asyncio.wait_for(loop.sock_recv(sock, 100), 5)


@pytest.mark.parametrize("loop", LOOPS)
@ways
def test_an_answer_comes_from_where_its_datagram_was_sent_to(loop: str, host: str, one: str, other: str) -> None:
    async def main() -> None:
        async with echoing(udp(), host) as world:
            for address in (one, other):
                assert await ask(address, world.shell.port) == f"to {address}".encode()
                session = world.events[-1][0]
                assert isinstance(session, UDPSession)
                expected = address if host == "0.0.0.0" or ":" in address else f"::ffff:{address}"
                assert session._path.local[:2] == (expected, world.shell.port)
                assert session._path.multicast is False
                assert session._path.verified is True

    run(main, loop)


def test_a_device_that_speaks_to_two_addresses_is_two_sessions() -> None:
    async def main() -> None:
        async with echoing(udp(), "0.0.0.0") as world, device() as one:
            for host in ("127.0.0.1", "127.0.0.2", "127.0.0.1"):
                one.send(b"x", world.shell.port, host)
                assert await one.heard() == (b"x", (host, world.shell.port))
            assert world.shell.sessions == 2

    run(main)


@ways
def test_a_fresh_port_is_at_the_address_that_the_device_spoke_to(host: str, one: str, other: str) -> None:
    async def main() -> None:
        async with serving(Fresh(UDPSettings(), random.Random(1).randbytes), None, host) as world:
            for address in (one, other):
                async with device("::1" if ":" in address else "127.0.0.1") as sender:
                    sender.send(b"x", world.shell.port, address)
                    (_, fresh), _ = await sender.heard(), await sender.heard()
                    assert fresh[0] == address
                    assert fresh[1] != world.shell.port
                    sender.send(b"y", fresh[1], address)
                    assert await sender.heard() == (b"y", fresh)
                for session in list(world.shell._live):
                    world.shell._forget(session)

    run(main)


def test_where_the_kernel_does_not_say_it_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with echoing(udp(), "0.0.0.0") as world, device() as one:
            one.send(b"x", world.shell.port, "127.0.0.2")
            assert await one.heard() == (b"x", ("127.0.0.1", world.shell.port))

    monkeypatch.setattr(datagram, "needed", lambda bound: False)
    run(main)


# --- Groups ----------------------------------------------------------------------------------------------------


def join(sock: socket.socket) -> None:
    """Hear a group on loopback."""
    try:
        sock.setsockopt(
            socket.IPPROTO_IP,
            socket.IP_ADD_MEMBERSHIP,
            socket.inet_aton(GROUP) + socket.inet_aton("127.0.0.1"),
        )
    except OSError:
        pytest.skip("no multicast on loopback here")


@contextlib.contextmanager
def sender() -> Iterator[socket.socket]:
    """Speaks to groups and to all hosts on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield sock


@pytest.mark.parametrize(
    "host", ["0.0.0.0", pytest.param("::", marks=pytest.mark.skipif(not has("::"), reason="IPv6"))]
)
@pytest.mark.parametrize("group", [GROUP, ALL_HOSTS])
def test_a_coap_request_to_a_group_is_dropped_and_counted(host: str, group: str) -> None:
    async def main() -> None:
        core = CoAP(CoAPSettings(), random.Random(1).randbytes)
        async with serving(core, None, host) as world, device() as one:
            join(world.shell._sock)
            with sender() as sock:
                sock.sendto(compose(1, 1, 3, b"m", [(11, b"x")], b""), (group, world.shell.port))
                await until(lambda: world.shell.counters["multicast"])
            one.send(compose(1, 1, 3, b"m", [(11, b"x")], b""), world.shell.port)
            await world.next()
            assert len(world.events) == 1

    run(main)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", pytest.param("::", marks=pytest.mark.skipif(not has("::"), reason="IPv6"))]
)
def test_a_group_that_another_program_has_joined_is_not_heard(host: str) -> None:
    async def main() -> None:
        async with serving(udp(), None, host) as world, device() as one:
            with sender() as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as another:
                join(another)
                sock.sendto(b"to the group", (GROUP, world.shell.port))
                one.send(b"to us", world.shell.port)
                _, event = await world.next()
                assert isinstance(event, Inbound)
                assert event.data == b"to us"

    run(main)


def test_a_broadcast_is_marked_and_its_answer_comes_from_an_address_of_ours() -> None:
    async def main() -> None:
        async with echoing(udp(), "0.0.0.0") as world:
            with sender() as sock:
                sock.sendto(b"x", (ALL_HOSTS, world.shell.port))
                answer = asyncio.get_running_loop().sock_recvfrom(sock, 100)
                assert await asyncio.wait_for(answer, 5) == (b"x", ("127.0.0.1", world.shell.port))
            session = world.events[0][0]
            assert isinstance(session, UDPSession)
            assert session._path[1:4] == (("0.0.0.0", world.shell.port), LISTENER, True)

    run(main)


# --- Faults ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_what_waits_since_the_port_was_bound_is_read_in_turns(loop: str) -> None:
    async def main() -> None:
        shell = DatagramShell(udp(open_exchanges=1000), "dev", "0.0.0.0", 0)
        await shell.open()
        turns: list[int] = []
        world = World(shell)
        report = world.on_event

        def on_event(*event: object) -> None:
            report(*event)  # type: ignore[arg-type]
            if len(world.events) == 1:
                asyncio.get_running_loop().call_soon(lambda: turns.append(len(world.events)))

        async with device() as one:
            for _ in range(2 * BURST):
                one.send(b"x", shell.port, "127.0.0.2")
            shell.serve(on_event)
            await until(lambda: len(world.events) == 2 * BURST)
        assert turns == [BURST]
        await shell.close()

    run(main, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_listener_that_never_served_closes(loop: str) -> None:
    async def main() -> None:
        for host in ("0.0.0.0", "127.0.0.1"):
            shell = DatagramShell(udp(), "dev", host, 0)
            await shell.open()
            await shell.close()
            assert shell._sock.fileno() == -1

    run(main, loop)


@pytest.mark.parametrize("local", [("127.0.0.1", 1), ("192.0.2.1", 1), ("0.0.0.0", 1), ()])
def test_what_the_kernel_does_not_send_is_a_counter(local: Address) -> None:
    """Too long; from an address that is not ours any more. A path without a local address leaves the choice."""

    async def main() -> None:
        async with serving(udp(), None, "0.0.0.0") as world, device() as one:
            one.send(b"x", world.shell.port)
            session, _ = await world.next()
            assert isinstance(session, UDPSession)
            size = 70_000 if local and local[0] == "127.0.0.1" else 5
            session._out.append((bytes(size), session._path._replace(local=local)))
            world.shell.answer(session, 1, Reply(Outcome.ACCEPTED, 200, None, b"still there"))
            sent = [await one.heard() for _ in range(1 if world.shell.counters["send_failed"] else 2)]
            assert sent[-1] == (b"still there", ("127.0.0.1", world.shell.port))
            assert bool(world.shell.counters["send_failed"]) is (local[:1] in (("127.0.0.1",), ("192.0.2.1",)))

    run(main)


def test_an_error_of_the_socket_is_a_counter_and_reading_goes_on() -> None:
    """An ICMP error, which Linux tells a connected socket only."""

    async def main() -> None:
        got: list[bytes] = []
        failed: list[None] = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind(("0.0.0.0", 0))
            listener = AnyAddress(sock, lambda data, *_: got.append(data), lambda: failed.append(None))
            async with device() as one:
                address = one.transport.get_extra_info("sockname")
            sock.connect(address)  # nobody is there now
            listener.start()
            listener.sendto(b"x", Path(address, ("127.0.0.1", 0)))
            await until(lambda: failed)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
                again.bind(address)
                again.sendto(b"hello", sock.getsockname())
                await until(lambda: got == [b"hello"])
            listener.close()
            assert not asyncio.get_running_loop().remove_reader(sock)

    run(main)


# --- The words of the kernel -----------------------------------------------------------------------------------

V4, V6 = ("0.0.0.0", 7), ("::", 7, 0, 0)
OURS, EVERYBODY = bytes((10, 0, 0, 1)), b"\xff" * 4


def v6(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, address)


@pytest.mark.parametrize(
    ("info", "bound", "result"),
    [
        (INFO4.pack(2, OURS, OURS), V4, (("10.0.0.1", 7), False)),
        (INFO4.pack(2, OURS, OURS), V6, (("::ffff:10.0.0.1", 7, 0, 0), False)),
        (INFO4.pack(0, bytes(4), OURS), V4, (("10.0.0.1", 7), False)),
        (INFO4.pack(2, OURS, bytes((10, 0, 0, 255))), V4, (V4, True)),
        (INFO4.pack(2, OURS, bytes((224, 0, 0, 1))), V6, (V6, True)),
        (INFO4.pack(0, bytes(4), bytes((224, 0, 0, 1))), V4, (V4, True)),
        (INFO4.pack(0, bytes(4), EVERYBODY), V4, (V4, True)),
        (INFO6.pack(v6("fd00::2"), 4), V6, (("fd00::2", 7, 0, 0), False)),
        (INFO6.pack(v6("fe80::2"), 4), V6, (("fe80::2", 7, 0, 4), False)),
        (INFO6.pack(v6("ff02::1"), 4), V6, (V6, True)),
        (b"", V4, (V4, False)),
    ],
)
def test_where_a_datagram_was_sent_to(info: bytes, bound: Address, result: tuple[Address, bool]) -> None:
    assert destination(info, bound) == result


def test_where_a_datagram_is_sent_from() -> None:
    assert source(("10.0.0.1", 7)) == [(0, 8, INFO4.pack(0, OURS, bytes(4)))]
    assert source(("::ffff:10.0.0.1", 7, 0, 0)) == [(41, 50, v6("::ffff:10.0.0.1") + bytes(4))]
    assert source(("fe80::2", 7, 0, 4)) == [(41, 50, v6("fe80::2") + struct.pack("=I", 4))]
    assert source(V4) == source(V6) == source(()) == source((GROUP, 7)) == []


def test_it_is_needed_where_an_address_is_not_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [needed(bound) for bound in (V4, V6, (GROUP, 7), ("ff02::fd", 7, 0, 1))] == [True] * 4
    assert [needed(bound) for bound in (("127.0.0.1", 7), ("fe80::1", 7, 0, 1))] == [False] * 2
    monkeypatch.setattr("sys.platform", "darwin")
    assert not needed(V4)
