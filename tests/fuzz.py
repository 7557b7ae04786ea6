"""`make fuzz`: feeds the sessions of every installed protocol with mutated messages, from a seed.

    python tests/fuzz.py [--count 1000000] [--seed 1] [--protocol coap]

Good messages come from `tests/vectors/` and from `SEEDS` below. What must hold: nothing is raised out of a session,
sessions stay within their limit and all end, and no memory stays behind. `tests/properties/test_fuzz.py` runs a little
of it with every `make test`.
"""

import argparse
import gc
import json
import sys
import time
import tomllib
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from random import Random
from typing import Any

from thinbridge import registry
from thinbridge.protocols.base import (
    LISTENER,
    Authorize,
    Closed,
    Decision,
    Event,
    Inbound,
    Outbound,
    Outcome,
    Path,
    Protocol,
    Reply,
    Session,
    Transport,
)
from thinbridge.testing import Mutator, Owner, seeded

VECTORS = FilePath(__file__).parent / "vectors"

SEEDS: dict[str, tuple[bytes, ...]] = {
    "udp": (b"21.5", bytes(1200)),
    "coap": (
        bytes.fromhex("44017d3412345678b773656e736f727301372a"),  # CON GET /sensors/7
        bytes.fromhex("42027d35abcdb3746d70113cff7b2274223a32317d"),  # CON POST /tmp, JSON
        bytes.fromhex("40007d36"),  # ping
        bytes.fromhex("60007d37"),  # ACK
    ),
    "coap+tcp": (
        bytes.fromhex("00e1"),  # CSM
        bytes.fromhex("a40112345678b773656e736f72730137"),  # GET /sensors/7
        bytes.fromhex("d4020212345678b3746d70113cff7b2274223a32317d"),  # POST /tmp, JSON
        bytes.fromhex("00e2"),  # ping
    ),
    "mqtt": (
        bytes.fromhex("101000044d5154540402003c00046465763 1".replace(" ", "")),  # CONNECT 3.1.1
        bytes.fromhex("101100044d5154540502003c00000464657632"),  # CONNECT 5
        bytes.fromhex("320b0003612f6200017b7d0a0a"),  # PUBLISH QoS 1
        bytes.fromhex("82080002000003612f2300"),  # SUBSCRIBE 5
        bytes.fromhex("c000"),  # PINGREQ
        bytes.fromhex("e000"),  # DISCONNECT
    ),
}
"""Good messages beside the vectors; those of streams begin with ways to open a connection (see `OPENINGS`)."""

SETTINGS: dict[str, dict[str, Any]] = {"coap": {"groups": ("224.0.1.187",)}}
"""What is off unless asked for."""

OPENINGS = {"mqtt": 2, "coap+tcp": 1}
"""How many of a stream's seeds open a connection: most inputs follow one of them, or they would get nowhere."""

SESSIONS = 256
"""At most so many live at once; the owner evicts or refuses past it."""

MAX_BUSY = 4 * SESSIONS
"""Sessions that may live all the same: those that nobody may evict, of which each peer has one."""

ROUND = 5_000
"""Inputs between two rests, in which an hour passes and everything must end."""

BLOCKS = 50_000
"""Memory blocks that may stay behind after the last rest: bounded caches, counters, the interpreter's own. CoAP leaves
36,000: two caches of 4096 path segments and query arguments, and the hashes of 4096 challenged requests, each of which
takes a few blocks. A block for every input is twenty times as much."""

REPLIES = (
    Reply(Outcome.ACCEPTED, 200, "application/json", b'{"ok":true}', {"mqtttopic": "a/b"}, is_event=True),
    Reply(Outcome.ACCEPTED, 204),
    Reply(Outcome.PENDING, 202),
    Reply(Outcome.REFUSED, 404, "text/plain", b"no"),
    Reply(Outcome.OVERLOADED, 503, retry_after=1),
    Reply(Outcome.UNKNOWN),
    Reply(Outcome.BAD_GATEWAY, 302),
)


@dataclass(frozen=True)
class Report:
    """What a run came to."""

    protocol: str
    inputs: int
    events: int
    seconds: float
    left: int
    """Memory blocks that stayed behind."""

    def __str__(self) -> str:
        speed = self.inputs / self.seconds if self.seconds else 0
        return (
            f"{self.protocol}: {self.inputs} inputs in {self.seconds:.1f} s ({speed:,.0f}/s), {self.events} became "
            f"events, nothing raised, {self.left} blocks of memory left behind"
        )


class Broken(Exception):
    """Something that must never happen; the message has the seed and the input that showed it."""


def corpus(name: str) -> tuple[bytes, ...]:
    """Good messages of a protocol: seeds, and all bytes in its vectors."""
    vectors: list[bytes] = []
    for path in sorted(VECTORS.glob(f"{name}*")):
        text = path.read_text("utf-8")
        vectors += hexes(json.loads(text) if path.suffix == ".json" else tomllib.loads(text))
    return (*SEEDS.get(name, ()), *vectors) or (bytes(range(64)),)


def hexes(value: Any) -> Iterator[bytes]:
    """All strings of hexadecimal digits in a vectors file, whatever its shape."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from hexes(one)
    elif isinstance(value, str) and len(value) >= 4:
        try:
            yield bytes.fromhex(value)
        except ValueError:
            return


class Fuzz:
    """One protocol under fire."""

    def __init__(self, protocol: type[Protocol], seed: int) -> None:
        self.random = Random(seed)
        self.now = 1000.0
        self.events = 0
        self.name = protocol.name
        good = corpus(protocol.name)
        self.good = good
        self.openings = good[: OPENINGS.get(protocol.name, 0)]
        self.mutator = Mutator(seed, good)
        self.streams = protocol.transport is Transport.STREAM
        core = protocol(protocol.Settings(**SETTINGS.get(protocol.name, {})), seeded(seed), protocol.name)
        self.owner = Owner(core, self._reported, lambda data, path: None, SESSIONS)
        self.core = core
        self.open: list[tuple[Session, int]] = []
        self.asked: list[Session] = []
        self.fresh: list[int] = [LISTENER]
        self.path = Path(("198.51.100.1", 1), ("192.0.2.1", core.port), 1, False, True)
        self.connections = 1

    def _reported(self, session: Session, event: Event | Closed) -> None:
        if isinstance(event, Inbound):
            self.events += 1
            self.open.append((session, event.exchange))
        elif isinstance(event, Authorize):
            self.asked.append(session)

    def feed(self, data: bytes) -> None:
        """One input, and now and then what a bridge does."""
        chance = self.random.random()
        self.now += chance / 100
        if self.streams:
            self._stream(data, chance)
        else:
            number = int(chance * 4096) & 127
            peer = "198.51.100.1", 1000 + number
            self.owner.datagram(data, Path(peer, ("192.0.2.1", 1), number & 3, number == 9, number < 64), self.now)
        while self.asked:
            self.owner.authorized(self.asked.pop(), Decision(chance < 0.9), self.now)
        if len(self.open) > 64 or (self.open and chance < 0.2):
            session, exchange = self.open.pop(0)
            self.owner.answer(session, exchange, REPLIES[int(chance * 1e4) % len(REPLIES)], self.now)
            if chance < 0.02:
                self.owner.push(session, exchange, Outbound(None, data), lambda result: None, self.now)
        if chance > 0.95:
            self.owner.handle_timers(self.now)

    def _stream(self, data: bytes, chance: float) -> None:
        if chance < 0.25 or self.connections == 1:
            self.owner.eof(self.path, self.now)
            self.connections += 1
            self.path = self.path._replace(socket=self.connections)
            self.owner.connect(self.path, self.now)
            if self.openings and chance < 0.22:
                self.owner.stream(self.openings[self.connections % len(self.openings)], self.path, self.now)
        if 0.25 < chance < 0.5:  # something good between: what is broken then meets more states
            self.owner.stream(self.good[int(chance * 1e5) % len(self.good)], self.path, self.now)
        self.owner.stream(data, self.path, self.now)

    def rest(self) -> None:
        """An hour passes, everything is answered and ends."""
        while self.open:
            session, exchange = self.open.pop()
            self.owner.answer(session, exchange, REPLIES[5], self.now)
        if self.streams:
            self.owner.eof(self.path, self.now)
        for _ in range(10 * ROUND):
            when = self.owner.next_timer()
            if when is None or when > self.now + 3600:
                break
            self.now = max(self.now, when)
            self.owner.handle_timers(self.now)
        self.now += 3600
        self.owner.close(self.now)  # what may stay longer than an hour

    def check(self) -> None:
        """What must hold at any time."""
        if len(self.owner.live) > MAX_BUSY:
            raise Broken(f"{len(self.owner.live)} sessions live, {SESSIONS} may")
        if self.owner.faults:
            raise Broken(self.owner.faults[0])


def blocks() -> int:
    """Memory blocks in use."""
    gc.collect()
    return sys.getallocatedblocks()


def fuzz(protocol: type[Protocol], count: int, seed: int) -> Report:
    """Feed one protocol.

    Raises:
        Broken: something happened that must never happen.
    """
    one = Fuzz(protocol, seed)
    begin = time.perf_counter()
    before = None
    for number in range(1, count + 1):
        data = one.mutator.next()
        try:
            one.feed(data)
            if number % 256 == 0:
                one.check()
            if number % ROUND == 0 or number == count:
                one.rest()
                one.check()
                before = before or blocks()
        except Exception as error:
            raise Broken(f"{one.name}, seed {seed}, input {number}: {error!r}\n{data.hex()}") from error
    left = max(0, blocks() - (before or 0))
    if left > BLOCKS:
        raise Broken(f"{one.name}, seed {seed}: {left} blocks of memory stay behind after {count} inputs")
    return Report(one.name, count, one.events, time.perf_counter() - begin, left)


def protocols(only: str | None) -> Iterable[type[Protocol]]:
    """The cores that are installed, or the one that was asked for."""
    found = [registry.find(only)] if only else [one.protocol for one in registry.installed()]
    return [one for one in found if one is not None and issubclass(one, Protocol)]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs per protocol")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--protocol", help="only this one")
    options = parser.parse_args()
    for protocol in protocols(options.protocol):
        try:
            print(fuzz(protocol, options.count, options.seed), flush=True)
        except Broken as broken:
            traceback.print_exception(broken.__cause__ or broken, limit=-6)
            print(f"broken: {broken}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
