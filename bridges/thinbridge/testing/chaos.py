"""A seeded chaos proxy for real UDP and TCP sockets, with the faults of `network`; no root, no `tc netem` needed.

In tests `DatagramChaos` and `StreamChaos`; from the command line

    python -m thinbridge.testing.chaos udp://127.0.0.1:5685 127.0.0.1:5683 --loss 0.3 --duplicate 0.1 --seed 7

The same seed meets the same traffic with the same faults; real sockets add their own timing.

Over 400 lines because the command line is in it: the module that is imported is the one that is started.
"""

import argparse
import asyncio
import contextlib
import math
import socket
import sys
from collections.abc import Sequence
from random import Random
from typing import NoReturn
from urllib.parse import SplitResult, urlsplit

from thinbridge.protocols.base import peer_text
from thinbridge.testing.closing import close
from thinbridge.testing.network import CLEAN, Burst, Faults, Link, Pipe

Address = tuple[str, int]

MAX_DEVICES = 4096
"""Source addresses that a proxy keeps apart; it is for tests, not for the world."""

READ = 65536


class DatagramChaos(asyncio.DatagramProtocol):
    """A UDP proxy: devices talk to `port`, the bridge sees one source port per device (a new one after a rebind).

    Args:
        to: the bridge's address.
        up: faults from devices to the bridge.
        down: faults on the way back.
        seed: where chance comes from.
        listen: address to listen on; port 0: any.
    """

    port = 0

    def __init__(
        self, to: Address, up: Faults = CLEAN, down: Faults = CLEAN, seed: int = 0, listen: Address = ("127.0.0.1", 0)
    ) -> None:
        self.to = to
        self.faults = up, down
        self.random = Random(seed)
        self._listen = listen
        self._devices: dict[Address, _Upstream] = {}
        self._transport: asyncio.DatagramTransport
        self._links: tuple[Link, Link]

    async def __aenter__(self) -> "DatagramChaos":
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; `port` is then set."""
        self.loop = asyncio.get_running_loop()
        begin = self.loop.time()
        self._links = Link(self.faults[0], self.random, begin), Link(self.faults[1], self.random, begin)
        transport, _ = await self.loop.create_datagram_endpoint(lambda: self, local_addr=self._listen)
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    async def stop(self) -> None:
        """Close everything; what is on its way is lost."""
        for device in self._devices.values():
            device.close()
        self._devices.clear()
        self._transport.close()
        await asyncio.sleep(0)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """A device sent something."""
        if self._links[0].rebinds() and addr in self._devices:
            self._devices.pop(addr).close()
        if addr not in self._devices:
            if len(self._devices) >= MAX_DEVICES:
                return
            self._devices[addr] = _Upstream(self, addr)
        device = self._devices[addr]
        for when, copy in self._links[0].carry(data, self.loop.time()):
            self.loop.call_at(when, device.send, copy)

    def from_bridge(self, data: bytes, device: Address) -> None:
        """The bridge sent something to a device."""
        for when, copy in self._links[1].carry(data, self.loop.time()):
            self.loop.call_at(when, self._to_device, copy, device)

    def _to_device(self, data: bytes, device: Address) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(data, device)

    def error_received(self, exc: Exception) -> None:
        """A device's port is closed: a network does not care."""


class _Upstream(asyncio.DatagramProtocol):
    """A device's socket towards the bridge."""

    def __init__(self, chaos: DatagramChaos, device: Address) -> None:
        self._chaos, self._device = chaos, device
        self._closed = False
        self._waiting: list[bytes] = []
        self._transport: asyncio.DatagramTransport | None = None
        self._task = chaos.loop.create_task(self._open())

    async def _open(self) -> None:
        transport, _ = await self._chaos.loop.create_datagram_endpoint(lambda: self, remote_addr=self._chaos.to)
        self._transport = transport
        for data in self._waiting:
            self._transport.sendto(data)
        if self._closed:
            self._transport.close()

    def send(self, data: bytes) -> None:
        if self._transport is None:
            self._waiting.append(data)
        elif not self._closed:
            self._transport.sendto(data)

    def close(self) -> None:
        self._closed = True
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if not self._closed:
            self._chaos.from_bridge(data, self._device)

    def error_received(self, exc: Exception) -> None:
        """The bridge's port is closed: the device is not told, as by most networks."""


class StreamChaos:
    """A TCP proxy: bytes arrive in other pieces, later, or not to the end.

    Args:
        to: the bridge's address.
        up: faults from devices to the bridge.
        down: faults on the way back.
        seed: where chance comes from.
        listen: address to listen on; port 0: any.
    """

    port = 0

    def __init__(
        self, to: Address, up: Faults = CLEAN, down: Faults = CLEAN, seed: int = 0, listen: Address = ("127.0.0.1", 0)
    ) -> None:
        self.to = to
        self.faults = up, down
        self.random = Random(seed)
        self.cuts = 0
        """Connections that were cut."""
        self._listen = listen
        self._tasks: set[asyncio.Task[None]] = set()
        self._begin = 0.0
        self._server: asyncio.Server

    async def __aenter__(self) -> "StreamChaos":
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; `port` is then set."""
        self._begin = asyncio.get_running_loop().time()
        self._server = await asyncio.start_server(self._connected, *self._listen)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and cut all connections."""
        await close(self._server, self._tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writers = [writer]
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                upstream, onwards = await asyncio.open_connection(*self.to)
                writers.append(onwards)
                await self._carry(reader, writer, upstream, onwards)
                for one in writers:
                    one.close()
                    await one.wait_closed()  # what was carried arrives; aborting would throw away what still waits
        finally:
            self._tasks.discard(task)
            for one in writers:
                one.transport.abort()

    async def _carry(
        self,
        device: asyncio.StreamReader,
        to_device: asyncio.StreamWriter,
        bridge: asyncio.StreamReader,
        to_bridge: asyncio.StreamWriter,
    ) -> None:
        up, down = (Pipe(faults, self.random, self._begin) for faults in self.faults)
        ways = [
            asyncio.ensure_future(self._pump(device, to_bridge, up)),
            asyncio.ensure_future(self._pump(bridge, to_device, down)),
        ]
        try:
            await asyncio.gather(*ways)  # one way's end leaves the other open (RFC 9293 §3.6), but a cut ends both
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self.cuts += up.broken or down.broken

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pipe: Pipe) -> None:
        """One direction, until its end has arrived."""
        loop = asyncio.get_running_loop()
        reading: asyncio.Future[bytes] | None = asyncio.ensure_future(reader.read(READ))
        try:
            while not pipe.over:
                when = pipe.when()
                pause = None if when is None else max(0.0, when - loop.time())
                if reading is None:
                    await asyncio.sleep(3600 if pause is None else pause)  # half open: for ever, until we are stopped
                else:
                    await asyncio.wait([reading], timeout=pause)
                if reading is not None and reading.done():
                    reading = self._take(reading.result(), reader, pipe, loop.time())
                writer.write(pipe.read(loop.time()))
                await writer.drain()
            if pipe.broken:
                raise ConnectionAbortedError("cut")
            writer.write_eof()
        finally:
            if reading is not None:
                reading.cancel()

    def _take(
        self, data: bytes, reader: asyncio.StreamReader, pipe: Pipe, now: float
    ) -> "asyncio.Future[bytes] | None":
        if not data:
            pipe.close(now)
            return None
        pipe.write(data, now)
        return None if pipe.broken else asyncio.ensure_future(reader.read(READ))


# --- The command line ----------------------------------------------------------------------------------------------

STREAM_ONLY = ("split", "merge", "cut", "half_open")
DATAGRAM_ONLY = ("loss", "burst", "reorder", "duplicate", "corrupt", "truncate", "rebind")
OTHER = {"udp": "tcp", "tcp": "udp"}
"""Who has the faults that this scheme does not have."""
SECONDS = {
    "delay": "what everything takes (default 0.01)",
    "jitter": "at most so much more, evenly spread: datagrams overtake each other by it",
    "behind": "how long --reorder and --merge hold back (default 0.3)",
}
CHANCES = {
    "loss": "udp: of not arriving",
    "reorder": "udp: of being held back by --behind",
    "duplicate": "udp: of arriving twice (and again: three times, ...)",
    "corrupt": "udp: that one bit flips",
    "truncate": "udp: of losing its end",
    "rebind": "udp: that the device's NAT gives it a new source port from here on",
    "split": "tcp: of arriving in pieces, one after another",
    "merge": "tcp: of waiting for --behind, and so of arriving together with what follows",
    "cut": "tcp: that the connection breaks inside this chunk",
    "half_open": "tcp: that from here on nothing arrives and nobody is told",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage: it is half a page."""
        self.exit(2, f"error: {message}\n")


def parser() -> argparse.ArgumentParser:
    """One flag per fault."""
    one = _Parser(
        prog="python -m thinbridge.testing.chaos",
        description="A proxy between devices and a bridge that behaves like a terrible network, from a seed.",
        epilog="Chances are 0 to 1 and per datagram (per chunk on streams), times are seconds.",
    )
    one.add_argument("listen", type=_listen, help="udp://HOST:PORT or tcp://HOST:PORT: where devices connect")
    one.add_argument("to", type=_target, help="HOST:PORT of the bridge")
    one.add_argument("--seed", type=int, default=0, help="where chance comes from (default 0)")
    one.add_argument("--only", choices=("up", "down"), help="faults only towards the bridge, or only back")
    burst = "udp: losses in bursts (Gilbert-Elliott): chances of one's begin, of its end, of a loss in it"
    one.add_argument("--burst", nargs=3, type=_chance, metavar=("ENTER", "LEAVE", "LOSS"), help=burst)
    apart = "nothing passes from then to then, since the start; tcp waits it out. Repeatable"
    one.add_argument(
        "--partition", nargs=2, type=_seconds, action="append", default=[], metavar=("FROM", "TO"), help=apart
    )
    for name, text in SECONDS.items():
        one.add_argument(_flag(name), type=_seconds, default=getattr(CLEAN, name), metavar="SECONDS", help=text)
    for name, text in CHANCES.items():
        one.add_argument(_flag(name), type=_chance, default=getattr(CLEAN, name), metavar="CHANCE", help=text)
    return one


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What was typed; ends the program with one line and 2 if it can't be used."""
    one = parser()
    options = one.parse_args(arguments)
    if problem := _misplaced(options):
        one.error(problem)
    return options


def _misplaced(options: argparse.Namespace) -> str | None:
    """A fault that this kind of proxy does not have, or a partition that ends before it begins."""
    scheme = options.listen.scheme
    for name in STREAM_ONLY if scheme == "udp" else DATAGRAM_ONLY:
        if getattr(options, name) != getattr(CLEAN, name):
            return f"argument {_flag(name)}: {scheme}:// has no such fault; use it with {OTHER[scheme]}://"
    for begin, end in options.partition:
        if begin >= end:
            return f"argument --partition: {begin:g} {end:g}: use a FROM before TO"
    return None


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _number(text: str, high: float, fix: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= high or number == math.inf:
        raise argparse.ArgumentTypeError(f"{text}: {fix}")
    return number


def _chance(text: str) -> float:
    return _number(text, 1, "use a chance from 0 to 1")


def _seconds(text: str) -> float:
    return _number(text, math.inf, "use seconds, 0 or more")


def _listen(text: str) -> SplitResult:
    """Where to listen; port 0: any."""
    try:
        url = urlsplit(text)
        usable = url.scheme in OTHER and bool(url.hostname) and url.port is not None
    except ValueError:
        usable = False
    if not usable:
        raise argparse.ArgumentTypeError(f"{text}: write udp://HOST:PORT or tcp://HOST:PORT")
    return url


def _target(text: str) -> Address:
    """Where the bridge is: looked up here, since a proxy would take a name that nobody has without a word."""
    try:
        url = urlsplit(f"//{text}")
        host, port = url.hostname, url.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise argparse.ArgumentTypeError(f"{text}: write HOST:PORT")
    try:
        socket.getaddrinfo(host, port)
    except (OSError, UnicodeError) as error:
        raise argparse.ArgumentTypeError(f"{text}: no such host: {getattr(error, 'strerror', error)}") from error
    return host, port


def faults_of(options: argparse.Namespace) -> Faults:
    """What the flags say."""
    plain = {name: getattr(options, name) for name in (*SECONDS, *CHANCES)}
    burst = Burst(*options.burst) if options.burst else None
    return Faults(**plain, burst=burst, partitions=tuple((begin, end) for begin, end in options.partition))


def proxy_of(options: argparse.Namespace) -> DatagramChaos | StreamChaos:
    """The proxy that the flags ask for."""
    url = options.listen
    faults = faults_of(options)
    up, down = (CLEAN if options.only == "down" else faults), (CLEAN if options.only == "up" else faults)
    kind = DatagramChaos if url.scheme == "udp" else StreamChaos
    return kind(options.to, up, down, options.seed, (url.hostname, url.port))


async def serve(options: argparse.Namespace) -> None:
    """Run until cancelled."""
    async with proxy_of(options) as proxy:
        host = options.listen.hostname
        print(f"chaos on {host}:{proxy.port} to {peer_text(options.to)}, seed {options.seed}", flush=True)
        await asyncio.Event().wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 2 if its arguments can't be used, or its port is taken."""
    options = parse(arguments)
    try:
        asyncio.run(serve(options))
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
