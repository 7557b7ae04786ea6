"""The chaos proxy on real sockets: what arrives, what does not, and the command line."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
from tests.waiting import until

from thinbridge.testing.chaos import DatagramChaos, StreamChaos, faults_of, main, parse, parser, proxy_of
from thinbridge.testing.network import CLEAN, Burst, Faults

FAST = Faults(delay=0.0)


class Echo(asyncio.DatagramProtocol):
    """A bridge that answers every datagram with its own."""

    def __init__(self) -> None:
        self.peers: list[tuple[str, int]] = []
        self.heard: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.peers.append(addr)
        self.heard.append(data)
        self.transport.sendto(data, addr)  # type: ignore[attr-defined]


class Client(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(data)


async def through_datagrams(
    up: Faults, down: Faults, count: int, settled: Callable[[Echo, Client], bool]
) -> tuple[Echo, Client]:
    """Send datagrams through chaos; wait until enough has happened."""
    loop = asyncio.get_running_loop()
    server, echo = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    async with DatagramChaos(("127.0.0.1", echo.port), up, down, 1) as chaos:
        transport, client = await loop.create_datagram_endpoint(Client, remote_addr=("127.0.0.1", chaos.port))
        for number in range(count):
            transport.sendto(b"%03d" % number)
            await asyncio.sleep(0)
        await until(lambda: settled(echo, client))
        transport.close()
    server.close()
    return echo, client


def test_datagrams_pass() -> None:
    echo, client = asyncio.run(through_datagrams(FAST, FAST, 50, lambda _, client: len(client.heard) == 50))
    assert sorted(client.heard) == [b"%03d" % number for number in range(50)]
    assert len(set(echo.peers)) == 1


def test_datagrams_are_lost_and_doubled_from_a_seed() -> None:
    faults = Faults(loss=0.3, duplicate=0.3, delay=0, jitter=0.01)
    echo, client = asyncio.run(through_datagrams(faults, FAST, 100, lambda _, client: len(client.heard) > 60))
    assert 40 < len(set(echo.heard)) < 90
    assert len(echo.heard) > len(set(echo.heard))
    assert set(client.heard) <= set(echo.heard)


def test_a_rebind_is_a_new_source_port() -> None:
    echo, _ = asyncio.run(
        through_datagrams(Faults(delay=0, rebind=0.5), FAST, 30, lambda echo, _: len(set(echo.peers)) > 5)
    )
    assert len(set(echo.peers)) <= 30


def test_a_bridge_that_is_gone_is_no_error() -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        async with DatagramChaos(("127.0.0.1", port), FAST, FAST) as chaos:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
                for _ in range(3):
                    device.sendto(b"x", ("127.0.0.1", chaos.port))
                    await asyncio.sleep(0.01)

    asyncio.run(main())


async def through_stream(
    up: Faults, down: Faults, data: bytes, patience: float = 5, chunk: int = 1000
) -> tuple[bytes, StreamChaos]:
    """Send bytes through chaos to an echo, by chunks or (-1) after their end; what came back until the end."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while heard := await reader.read(chunk):
                writer.write(heard)
        except ConnectionError:
            pass
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with StreamChaos(("127.0.0.1", server.sockets[0].getsockname()[1]), up, down, 3) as chaos:
        reader, writer = await asyncio.open_connection("127.0.0.1", chaos.port)
        writer.write(data)
        writer.write_eof()
        try:
            back = await asyncio.wait_for(reader.read(-1), patience)
        except (ConnectionError, TimeoutError):
            back = b""
        writer.close()
    server.close()
    await server.wait_closed()
    return back, chaos


DATA = os.urandom(20_000)


def test_streams_pass_split_and_delayed() -> None:
    back, chaos = asyncio.run(through_stream(Faults(delay=0, split=1, jitter=0.01), FAST, DATA))
    assert back == DATA
    assert chaos.cuts == 0


def test_what_is_said_after_the_other_side_has_ended_arrives() -> None:
    back, chaos = asyncio.run(through_stream(FAST, Faults(delay=0, jitter=0.01), DATA, chunk=-1))
    assert back == DATA
    assert chaos.cuts == 0


def test_streams_are_cut() -> None:
    back, chaos = asyncio.run(through_stream(Faults(delay=0, cut=1), FAST, DATA))
    assert len(back) < len(DATA)
    assert chaos.cuts == 1


def test_half_open_streams_say_nothing_until_they_are_stopped() -> None:
    back, chaos = asyncio.run(through_stream(Faults(half_open=1), FAST, DATA, patience=0.1))
    assert back == b""
    assert chaos.cuts == 0


def test_a_refused_connection_is_closed() -> None:
    async def main() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        async with StreamChaos(("127.0.0.1", port)) as chaos:
            reader, writer = await asyncio.open_connection("127.0.0.1", chaos.port)
            with contextlib.suppress(ConnectionError):
                assert not await asyncio.wait_for(reader.read(), 5)
            writer.close()

    asyncio.run(main())


# --- The command line ----------------------------------------------------------------------------------------------


def test_flags_are_faults() -> None:
    flags = "--loss 0.3 --rebind 0.1 --burst 0.1 0.2 0.9 --partition 5 6 --seed 4"
    options = parse(["udp://127.0.0.1:0", "127.0.0.1:9", *flags.split()])
    assert faults_of(options) == Faults(loss=0.3, rebind=0.1, burst=Burst(0.1, 0.2, 0.9), partitions=((5, 6),))


def test_only_one_way() -> None:
    proxy = proxy_of(parse(["tcp://127.0.0.1:0", "127.0.0.1:9", "--cut", "1", "--only", "down"]))
    assert isinstance(proxy, StreamChaos)
    assert proxy.faults == (CLEAN, Faults(cut=1))


HOME = "127.0.0.1:9"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("127.0.0.1:1", "argument listen: 127.0.0.1:1: write udp://HOST:PORT or tcp://HOST:PORT"),
        ("http://127.0.0.1:1", "argument listen: http://127.0.0.1:1: write udp://HOST:PORT or tcp://HOST:PORT"),
        ("udp://:1", "argument listen: udp://:1: write udp://HOST:PORT or tcp://HOST:PORT"),
        ("udp://h", "argument listen: udp://h: write udp://HOST:PORT or tcp://HOST:PORT"),
        ("udp://h:99999", "argument listen: udp://h:99999: write udp://HOST:PORT or tcp://HOST:PORT"),
        ("udp://h:0 --loss 3", "argument --loss: 3: use a chance from 0 to 1"),
        ("udp://h:0 --loss -0.1", "argument --loss: -0.1: use a chance from 0 to 1"),
        ("udp://h:0 --burst 0.1 0.2 nan", "argument --burst: nan: use a chance from 0 to 1"),
        ("udp://h:0 --delay soon", "argument --delay: soon: use seconds, 0 or more"),
        ("udp://h:0 --jitter inf", "argument --jitter: inf: use seconds, 0 or more"),
        ("udp://h:0 --partition 6 5", "argument --partition: 6 5: use a FROM before TO"),
        ("udp://h:0 --cut 0.3", "argument --cut: udp:// has no such fault; use it with tcp://"),
        ("udp://h:0 --half-open 1", "argument --half-open: udp:// has no such fault; use it with tcp://"),
        ("tcp://h:0 --loss 0.3", "argument --loss: tcp:// has no such fault; use it with udp://"),
        ("tcp://h:0 --burst 0.1 0.2 1", "argument --burst: tcp:// has no such fault; use it with udp://"),
    ],
)
def test_what_makes_no_proxy_is_one_line(words: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    listen, *flags = words.split()
    with pytest.raises(SystemExit) as caught:
        main([listen, HOME, *flags])
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"error: {line}\n"


@pytest.mark.parametrize("to", ["127.0.0.1", "[::1:9", ":9", "h:99999"])
def test_a_target_that_is_none_is_one_line(to: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["udp://127.0.0.1:0", to])
    assert capsys.readouterr().err == f"error: argument to: {to}: write HOST:PORT\n"


@pytest.mark.parametrize("host", ["nobody.invalid", f"{'a' * 64}.invalid"])
def test_a_target_that_nobody_has_is_one_line(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["udp://127.0.0.1:0", f"{host}:9"])
    err = capsys.readouterr().err
    assert err.startswith(f"error: argument to: {host}:9: no such host: ")
    assert err.count("\n") == 1


def test_a_port_that_is_taken_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        assert main([f"udp://127.0.0.1:{taken.getsockname()[1]}", HOME]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_every_fault_has_a_flag_that_says_what_it_is() -> None:
    flags = {name.removesuffix("s") if name == "partitions" else name for name in Faults.__dataclass_fields__}
    actions = {one.dest: one for one in parser()._actions}
    assert flags <= actions.keys()
    assert all(one.help for one in actions.values())


def test_the_command_runs_until_it_is_interrupted() -> None:
    command = [sys.executable, "-m", "thinbridge.testing.chaos", "tcp://127.0.0.1:0", "127.0.0.1:9"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().endswith("to 127.0.0.1:9, seed 0\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
