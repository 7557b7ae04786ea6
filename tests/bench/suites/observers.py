"""What a new state costs that many observe: one POST to `/observe/<subject>`, a CON to each device, an ACK of each.

A whole bridge with its defaults, devices with an address of their own. It is linear if a device costs the same whatever
their number. Another device pings the bridge all the time (RFC 7252 §4.3): how long it waits for its RST at most says
whether a round holds up other traffic.
"""

import asyncio
import resource
import select
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from threading import Thread
from time import monotonic
from typing import Final

from tests.bench.fleet import address
from tests.bench.processes import Bridge, cores
from tests.bench.suite import Options, Say, Suite, Table

from thinbridge.protocols.coap.codec import Message, decode, empty, encode
from thinbridge.protocols.coap.codes import GET, Option, Type
from thinbridge.testing.function import Answer, Sink
from thinbridge_functions import publish

COUNTS: Final = (500, 1000, 2000, 5000, 10_000)
SPARE: Final = 256
"""File descriptors that are no device's."""
AT_ONCE: Final = 64
PAUSE: Final = 0.002
"""Seconds between two pings: they are to measure, not to be a load."""
PATIENCE: Final = 60.0

CONFIG: Final = """
listen: [{url: "coap://127.0.0.1:0"}]
http: {listen: "127.0.0.1:0"}
routes: [{reply: {coapobserve: "true"}}]
"""
REGISTER: Final = encode(Message(Type.CON, GET, 1, b"t", [(Option.OBSERVE, b""), (Option.URI_PATH, b"watched")]))


class Watchers:
    """Devices that observe, all by one epoll: they cost little, so that the bridge's cost is seen.

    Args:
        stack: closes their sockets.
        port: the bridge's.
    """

    def __init__(self, stack: ExitStack, port: int) -> None:
        self._stack = stack
        self._port = port
        self._epoll = stack.enter_context(select.epoll())
        self._sockets: dict[int, socket.socket] = {}
        self._probe = self._open(200_000)
        self.longest_ping = 0.0
        self.cons = 0
        """That came in all: a device that is slow to acknowledge, on a busy machine, gets a state more than once."""

    def __len__(self) -> int:
        return len(self._sockets)

    def _open(self, number: int) -> socket.socket:
        device = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        device.bind((address(number)[0], 0))
        device.connect(("127.0.0.1", self._port))
        self._epoll.register(device.fileno(), select.EPOLLIN)
        return device

    def register(self, count: int) -> int:
        """Until there are so many; how many were not answered with Observe."""
        missing = 0
        while len(self) < count:
            batch = [self._open(len(self) + index) for index in range(min(AT_ONCE, count - len(self)))]
            new = {device.fileno(): device for device in batch}
            self._sockets |= new
            for device in batch:
                device.send(REGISTER)
            missing += self._hear(set(new), lambda data: decode(data).get(Option.OBSERVE) is not None)
        return missing

    def wait(self, value: bytes) -> tuple[float, int]:
        """Acknowledge until each has heard a value: when the last one had, and how many have not."""
        missing = self._hear(set(self._sockets), lambda data: data.endswith(value), ping=True)
        return monotonic(), missing

    def _hear(self, waiting: set[int], is_it: Callable[[bytes], bool], *, ping: bool = False) -> int:
        """Acknowledge what comes until each of these has what it waits for; how many have not."""
        end, pinged, rest = monotonic() + PATIENCE, 0.0, 0.0
        self.longest_ping = 0.0
        while waiting and monotonic() < end:
            if ping and not pinged and monotonic() > rest:
                pinged = monotonic()
                self._probe.send(empty(Type.CON, 1))
            for number, _ in self._epoll.poll(PAUSE if ping else 1.0):
                if number == self._probe.fileno():
                    self._probe.recv(64)
                    if pinged:  # else it is the answer to a ping of the round before
                        self.longest_ping, pinged = max(self.longest_ping, monotonic() - pinged), 0.0
                    rest = monotonic() + PAUSE
                    continue
                data = self._sockets[number].recv(2048)
                if data[0] >> 4 & 3 == Type.CON:
                    self.cons += 1
                    self._sockets[number].send(empty(Type.ACK, data[2] << 8 | data[3]))
                if number in waiting and is_it(data):
                    waiting.remove(number)
        return len(waiting)


def measure(options: Options, say: Say) -> Table:
    """One bridge, more and more observers."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return asyncio.run(_measure(options, hard - SPARE, say))


async def _measure(options: Options, room: int, say: Say) -> Table:
    heads = (
        "observers",
        "bridge, µs of CPU for each CON",
        "CONs for each",
        "ms until the POST is answered",
        "ms until all have it",
    )
    table = Table("One state to all who observe it, each by a CON", (*heads, "longest ping, ms"))
    counts = [max(10, round(count * options.scale)) for count in COUNTS]
    if counts[-1] > room:
        table.notes.append(f"No more than {room} devices: `ulimit -n` says so.")
    with ExitStack() as stack:
        config = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".yaml"))
        config.write(CONFIG)
        config.flush()
        sink = await asyncio.wait_for(
            Sink(lambda posted: Answer(200, {"content-type": "text/plain"}, b"0")).__aenter__(), 10
        )
        command = [sys.executable, "-m", "thinbridge.cli", "run", "--config", config.name, "--sink", sink.url]
        bridge = stack.enter_context(Bridge(command, cores()[0]))
        watchers = Watchers(stack, await asyncio.to_thread(bridge.port))
        for count in (count for count in counts if count <= room):
            if missing := await asyncio.to_thread(watchers.register, count):
                table.wrong.append(f"{missing} registrations were not granted")
            inbox = sink.accepted[0].headers["ce-replyto"].partition("/r/")[0]
            rounds = [await asyncio.to_thread(_round, bridge, watchers, inbox, one) for one in range(options.rounds)]
            figures = min(rounds)  # the one that others disturbed least
            if deaf := max(one[-1] for one in rounds):
                table.wrong.append(f"{deaf:.0f} of {count} devices did not hear it")
            table.rows.append((str(count), *(f"{figure:.1f}" for figure in figures[:-1])))
            table.figures[str(count)] = dict(zip((*table.heads[1:], "missing"), figures, strict=True))
            say(f"{count} observers: {figures[0]:.0f} µs each")
        await sink.__aexit__(None, None, None)
    first, *_, last = table.rows
    table.notes.append(
        f"Each of {last[0]} costs {float(last[1]) / float(first[1]):.2f} times as much as each of {first[0]}."
    )
    return table


def _round(bridge: Bridge, watchers: Watchers, inbox: str, number: int) -> tuple[float, ...]:
    """One state to all of them."""
    value, answered = f"{number} of {len(watchers)}", 0.0

    def post() -> None:
        nonlocal answered
        publish(inbox, "watched", value, timeout=PATIENCE)
        answered = monotonic()

    before, begin, cons = bridge.cpu(), monotonic(), watchers.cons
    thread = Thread(target=post)
    thread.start()
    end, missing = watchers.wait(value.encode())
    thread.join()
    cons = watchers.cons - cons
    cost = (bridge.cpu() - before) / cons * 1e6
    return (
        cost,
        cons / len(watchers),
        (answered - begin) * 1e3,
        (end - begin) * 1e3,
        watchers.longest_ping * 1e3,
        missing,
    )


SUITES: Final = (Suite("observers", "a state to 500 to 10,000 who observe it: linear, and nobody waits", measure),)
