"""Transfers in blocks: an image to many devices at once, a body from each of them; what a bridge then holds.

A whole bridge with its defaults. All devices begin at the same moment, each with a port of its own, and go block by
block; each block, and each body that the function gets, is compared with what it should be. Memory is sampled all the
time: the figure is the most that it was.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic
from typing import Final, cast

import uvloop
from tests.bench.processes import Bridge, cores
from tests.bench.suite import Options, Say, Suite, Table

from thinbridge.protocols.coap.blockwise import Block, parse
from thinbridge.protocols.coap.codec import Message, OptionValue, decode, encode, from_uint, uint
from thinbridge.protocols.coap.codes import (
    CHANGED,
    CONTENT,
    CONTINUE,
    GATEWAY_TIMEOUT,
    GET,
    POST,
    SERVICE_UNAVAILABLE,
    Option,
    Type,
)

DEVICES: Final = 500
IMAGE: Final = 5 << 20
BODY: Final = 1 << 20
SZX: Final = 6

AGAIN: Final = 2.0
"""Seconds until a device repeats its message, as long as it takes (RFC 7252 §4.8, without the doubling)."""
PATIENCE: Final = 1800.0
"""Seconds for all of it; a machine that needs longer is too busy."""
MIB: Final = 1 << 20


class Device(asyncio.DatagramProtocol):
    """One request after another, until its transfer is complete."""

    def __init__(self, number: int, done: Callable[[], None]) -> None:
        self.number = number
        self.done = done
        self.wrong = self.refused = self.repeated = self.blocks = 0
        self.finished = False
        self.sent = 0.0
        """When its last message went out; in the future while it was told to wait."""
        self._mid = 0
        self._token = self._data = b""
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.next()

    def say(self, code: int, options: list[OptionValue], payload: bytes = b"") -> None:
        """A new message."""
        self._mid = self._mid + 1 & 0xFFFF
        self._token = self._mid.to_bytes(2, "big")
        self._data = encode(Message(Type.CON, code, self._mid, self._token, options, payload))
        self._transport.sendto(self._data)
        self.sent = monotonic()

    def look(self, now: float) -> None:
        """Repeat the last message if it is time; after a wait that it was told to make, begin anew."""
        if self.finished or now < self.sent + AGAIN:
            return
        self.repeated += 1
        self.sent = now
        self._transport.sendto(self._data)

    def datagram_received(self, data: bytes, addr: object) -> None:
        """The answer to the last message; others are late."""
        message = decode(data)
        if message.type == Type.CON:  # a separate response
            self._transport.sendto(encode(Message(Type.ACK, 0, message.mid)))
        if message.code == 0 or message.token != self._token:
            return
        if message.code in (SERVICE_UNAVAILABLE, GATEWAY_TIMEOUT):  # no room now, or the machine is too busy
            self.refused += 1
            self._token = b""  # a copy of it is no second refusal
            wait = from_uint(message.get(Option.MAX_AGE) or b"\5")
            self.sent = monotonic() + wait + 1
            asyncio.get_running_loop().call_later(wait, self.restart)
        elif not self.finished:
            self.blocks += 1
            self.take(message)

    def finish(self) -> None:
        """It is complete."""
        self.finished = True
        self.done()

    def next(self) -> None:
        """Say what comes next."""
        raise NotImplementedError

    def restart(self) -> None:
        """Begin anew."""
        raise NotImplementedError

    def take(self, message: Message) -> None:
        """A response that is neither 5.03 nor 5.04."""
        raise NotImplementedError


class Down(Device):
    """Fetches the image."""

    def __init__(self, number: int, image: bytes, done: Callable[[], None]) -> None:
        super().__init__(number, done)
        self._image, self._num = image, 0

    def next(self) -> None:
        block = (Option.BLOCK2, Block(self._num, False, SZX).encode())
        self.say(GET, [(Option.URI_PATH, b"firmware"), block])

    def restart(self) -> None:
        self._num = 0
        self.next()

    def take(self, message: Message) -> None:
        block = parse(message.get(Option.BLOCK2) or b"")
        expected = self._image[self._num << 10 : self._num + 1 << 10]
        if (message.code, block.num, message.payload) != (CONTENT, self._num, expected):
            self.wrong += 1
        self._num += 1
        if block.more:
            self.next()
        else:
            self.wrong += self._num << 10 < len(self._image)
            self.finish()


class Up(Device):
    """Sends a body."""

    def __init__(self, number: int, size: int, done: Callable[[], None]) -> None:
        super().__init__(number, done)
        self._size, self._num = size, 0

    def next(self) -> None:
        more = self._num + 1 << 10 < self._size
        options = [(Option.URI_PATH, b"log"), (Option.BLOCK1, Block(self._num, more, SZX).encode())]
        self.say(POST, [*options, (Option.SIZE1, uint(self._size))], part(self.number, self._num))

    def restart(self) -> None:
        self._num = 0
        self.next()

    def take(self, message: Message) -> None:
        if message.code == CONTINUE:
            self._num += 1
            self.next()
            return
        self.wrong += message.code != CHANGED or self._num + 1 << 10 < self._size
        self.finish()


def part(device: int, num: int) -> bytes:
    """A block of a device's body."""
    return (b"%8d %8d" % (device, num)) * 60 + bytes(4)


def body(device: int, size: int) -> bytes:
    """All of it."""
    return b"".join(part(device, num) for num in range(size >> 10))


@asynccontextmanager
async def function(answer: bytes, sees: Callable[[bytes], None]) -> AsyncIterator[str]:
    """The function: the same answer to all, and each body is looked at, and not kept. Its URL."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: %d\r\n\r\n" % len(answer)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                length = int(request.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                sees(await reader.readexactly(length))
                writer.writelines((head, answer))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


class Run:
    """One transfer of each device, through one bridge."""

    def __init__(self, bridge: Bridge, say: Say) -> None:
        self.bridge, self._say = bridge, say
        self.before = self.most = bridge.rss()
        self.seconds = self.cpu = 0.0
        self.devices: list[Device] = []

    async def play(self, make: Callable[[int, Callable[[], None]], Device], count: int) -> None:
        """All begin at once; returns when all are done, or patience is over."""
        loop = asyncio.get_running_loop()
        port = await asyncio.to_thread(self.bridge.port)
        left, done = count, loop.create_future()

        def one_is_done() -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set_result(None)

        begin, cpu = monotonic(), self.bridge.cpu()
        transports = []
        for number in range(count):
            device = make(number, one_is_done)
            self.devices.append(device)
            transport, _ = await loop.create_datagram_endpoint(partial(_same, device), remote_addr=("127.0.0.1", port))
            transports.append(transport)
        told = begin
        while not done.done() and monotonic() < begin + PATIENCE:
            await asyncio.wait([done], timeout=0.1)
            now = monotonic()
            self.most = max(self.most, self.bridge.rss())
            for device in self.devices:
                device.look(now)
            if now > told + 10:
                told = now
                self._say(f"{count - left} of {count} done, {(self.most - self.before) / MIB:.0f} MiB more than before")
        self.seconds, self.cpu = monotonic() - begin, self.bridge.cpu() - cpu
        for transport in transports:
            transport.close()

    def count(self, what: str) -> int:
        """Of all devices together."""
        return sum(getattr(device, what) for device in self.devices)


def _same(device: Device) -> Device:
    return device


HEADS: Final = (
    "what", "devices", "MiB each", "seconds", "MiB/s", "CPU µs/block", "RSS before, MiB", "at most, more",
    "POSTs", "5.03, 5.04", "repeats",
)  # fmt: skip


def _bridge(sink: str) -> Bridge:
    command = [sys.executable, "-m", "thinbridge.cli", "run", "--listen", "coap://127.0.0.1:0", "--http", "127.0.0.1:0"]
    return Bridge([*command, "--sink", sink], cores()[0])


def _row(table: Table, what: str, run: Run, size: int, delivered: int, bound: int) -> None:
    count, blocks = len(run.devices), run.count("blocks")
    more = run.most - run.before
    unfinished = sum(not device.finished for device in run.devices)
    figures = {
        "devices": count,
        "bytes": size,
        "seconds": run.seconds,
        "cpu_us_per_block": run.cpu / blocks * 1e6,
        "rss_before": run.before,
        "rss_more": more,
        "bodies": delivered,
        "refused": run.count("refused"),
        "repeated": run.count("repeated"),
    }
    table.figures[what] = figures
    table.rows.append(
        (
            what, f"{count}", f"{size / MIB:.3g}", f"{run.seconds:.1f}", f"{count * size / MIB / run.seconds:.1f}",
            f"{run.cpu / blocks * 1e6:.0f}", f"{run.before / MIB:.0f}", f"{more / MIB:.0f}", f"{delivered}",
            f"{run.count('refused')}", f"{run.count('repeated')}",
        )
    )  # fmt: skip
    for name, number in (("blocks are wrong", run.count("wrong")), ("devices are not done", unfinished)):
        if number:
            table.wrong.append(f"{what}: {number} {name}")
    if more > bound:
        table.wrong.append(f"{what}: {more / MIB:.0f} MiB more than before, over {bound / MIB:.0f}")


def measure(options: Options, say: Say) -> Table:
    """Down, then up, each through a bridge of its own."""
    table = Table("CoAP: transfers in blocks of 1,024 bytes, all devices at once", HEADS)
    count = max(5, round(DEVICES * options.scale))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for one in (_down, _up):
            runner.run(one(table, count, options.scale, say))
    table.notes.append(
        "Stated bounds. Down: 64 MiB of answers on their way (limits.held_answers), as much of bodies that are fetched "
        "(downloads_in_all), one answer twice. Up: 64 MiB of incomplete bodies (uploads_in_all), 128 MiB of messages "
        "for the sink, each there twice (limits.held_bytes). And 10 kB for each device."
    )
    return table


def _blocks(size: int) -> int:
    """A size in whole blocks."""
    return max(4096, size & ~1023)


async def _down(table: Table, count: int, scale: float, say: Say) -> None:
    size = _blocks(round(IMAGE * scale))
    image = b"".join(b"%16d" % number for number in range(size // 16))
    asked: list[int] = []
    async with function(image, lambda data: asked.append(len(data))) as sink:
        with _bridge(sink) as bridge:
            await asyncio.to_thread(bridge.port)
            run = Run(bridge, say)
            await run.play(lambda number, done: Down(number, image, done), count)
    _row(table, "firmware down", run, size, len(asked), (64 + 64 + 16) * MIB + count * 10_000)


async def _up(table: Table, count: int, scale: float, say: Say) -> None:
    size = _blocks(round(BODY * scale))
    expected = {part(number, 0)[:8]: number for number in range(count)}
    bodies: list[int] = []

    def sees(data: bytes) -> None:
        number = expected.pop(data[:8], None)
        if number is None or data != body(number, size):
            table.wrong.append(f"uploads: a body of {len(data)} bytes that nobody sent, or that came already")
        bodies.append(len(data))

    async with function(b"", sees) as sink:
        with _bridge(sink) as bridge:
            await asyncio.to_thread(bridge.port)
            run = Run(bridge, say)
            await run.play(lambda number, done: Up(number, size, done), count)
    _row(table, "bodies up", run, size, len(bodies), (72 + 256) * MIB + count * 10_000)


SUITES: Final = (Suite("coap-transfers", "500 devices fetch 5 MiB, and send 1 MiB, at once: memory and CPU", measure),)
