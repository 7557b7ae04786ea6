"""MQTT with real processes: a function that fails, a bridge that is killed, connections that are cut inside a packet.

The function fails three POSTs of ten at random: it answers with what is retried, hangs up before it has taken the
message, or after it (the answer is lost). Devices are written against the specification, with QoS 1 or 2, and run until
everything is acknowledged; so `failed` is 0 unless one never ends.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from random import Random
from typing import Any, Final

from tests.faults.case import Case, Tally, chance
from tests.faults.process import BridgeProcess
from tests.faults.publisher import Publisher

from thinbridge.testing import Faults
from thinbridge.testing.chaos import StreamChaos
from thinbridge.testing.function import Answer, Posted, Sink

DEVICES: Final = 40
EACH: Final = 50
SEEDS: Final = 10  # 20,000 messages in a case, 120,000 in all
KILLS: Final = 2
PATIENCE: Final = 300.0
"""Seconds for all messages of a seed."""

RETRIED: Final = 404, 408, 429, 500, 502, 503, 504
CUT: Final = Faults(delay=0.0, split=0.3, cut=0.02)
"""Of each chunk: one in fifty ends within a packet, and the connection with it."""


class Function:
    """Fails three of ten; remembers what it was sent, and what became of it.

    Args:
        seed: where chance comes from.
        settles: no event comes again whose sender has heard that it is taken.
    """

    def __init__(self, seed: int, settles: bool) -> None:
        self.accepted: dict[bytes, list[str]] = {}
        """Payloads that it has taken → the events that they came as."""
        self.broken: list[str] = []
        self._random = Random(seed)
        self._settles = settles
        self._settled: set[str] = set()  # events whose sender has heard that they are taken

    def __call__(self, posted: Posted) -> Answer:
        """What it says to one."""
        event = posted.headers["ce-id"]
        if self._settles and event in self._settled:
            self.broken.append(f"{posted.body!r} came again after it was accepted, as {event}")
        fate = self._random.random()
        if fate < 0.24:
            return Answer(self._random.choice(RETRIED))
        if fate < 0.27:
            return Answer(drop=True)
        self.accepted.setdefault(posted.body, []).append(event)
        if fate < 0.30:
            return Answer(drop=True)  # taken, and nobody hears of it
        self._settled.add(event)
        return Answer(204)


def play(seed: int, *, qos: int, kills: int = 0, cut: bool = False, each: int = EACH) -> Tally:
    """One run: 20 devices, their bridge, its function."""
    return asyncio.run(_play(seed, qos, kills, cut, each))


async def _play(seed: int, qos: int, kills: int, cut: bool, each: int) -> Tally:
    function = Function(seed, settles=qos == 2 or not cut)  # a PUBACK that is lost is asked for again
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(Sink(function))
        bridge = await stack.enter_async_context(BridgeProcess(sink.url))
        port = bridge.ports["mqtt"]
        if cut:
            port = (await stack.enter_async_context(StreamChaos(("127.0.0.1", port), CUT, CUT, seed))).port
        devices = [Publisher(f"d{n}", port, each, qos, accepted=function.accepted.__contains__) for n in range(DEVICES)]
        publishing = asyncio.gather(*(device.run() for device in devices))
        await _kill(bridge, kills, each, devices, Random(seed), publishing.done)
        async with asyncio.timeout(PATIENCE):
            await publishing
        status = await bridge.terminate()
    sent = {f"{device.client_id}:{number}".encode() for device in devices for number in range(each)}
    acknowledged = set[bytes]().union(*(device.acknowledged for device in devices))
    broken = list(function.broken)
    if status or b"Traceback" in bridge.log:
        broken.append(f"the bridge ended with {status}: {bridge.log[-2000:].decode()}")
    if not kills:
        names = [payload for payload, events in function.accepted.items() if len(set(events)) > 1]
        broken += [f"{len(names)} messages came as several events: {names[:3]}"] if names else []
    return Tally(
        messages=len(sent),
        failed=len(sent - acknowledged),
        duplicated=sum(len(events) > 1 for events in function.accepted.values()),
        lost=len(acknowledged - function.accepted.keys()),
        phantom=sum(len(device.phantom) for device in devices),
        unexpected=len(function.accepted.keys() - sent),
        broken=[f"seed {seed}: {what}" for what in broken],
    )


async def _kill(
    bridge: BridgeProcess, kills: int, each: int, devices: list[Publisher], random: Random, over: Callable[[], bool]
) -> None:
    """SIGKILL, spread over the run: each time some progress was made."""
    done, step = 0, len(devices) * each // (kills + 2)
    for _ in range(kills):
        goal = done + random.randrange(step // 2, step)
        while done < goal and not over():
            await asyncio.sleep(0.005)
            done = sum(len(device.acknowledged) for device in devices)
        await bridge.kill()
        await bridge.start()


def _case(qos: int, name: str, fault: str, **how: Any) -> Case:
    fault = f"MQTT, QoS {qos}, real processes: the function fails 30 %{fault}"
    return Case(f"mqtt-qos{qos}-{name}", fault, SEEDS, partial(play, qos=qos, **how), chance(0.0), real=True)


CASES: Final = tuple(
    case
    for qos in (1, 2)
    for case in (
        _case(qos, "fails", ""),
        _case(qos, "killed", ", the bridge is killed (SIGKILL) twice", kills=KILLS),
        _case(qos, "cut", ", 2 % of all chunks end the connection inside a packet", cut=True),
    )
)
