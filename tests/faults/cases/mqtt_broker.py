"""MQTT by way of a broker that dies, a bridge that dies, connections that break: real processes, real time.

What a device was acknowledged by the broker must arrive at the sink; the function fails three times in ten. Broker and
bridge are killed again and again while devices publish. While a bridge lives, what comes twice has the same event id,
unless it was published twice: a device that has no PUBACK sends its message again, and to the broker that is another.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any, Final
from urllib.parse import quote

from tests.faults.case import Case, Tally
from tests.faults.process import BridgeProcess
from tests.faults.publisher import Publisher
from tests.mosquitto import Mosquitto
from tests.waiting import until

from thinbridge.testing import Faults
from thinbridge.testing.chaos import StreamChaos
from thinbridge.testing.function import Answer, Posted, Sink, failing

SEEDS: Final = 5
MESSAGES: Final = 4000  # of each seed: 10⁵ in all
DEVICES: Final = 4
TIMES: Final = 3
"""How often a seed kills."""
CUTS: Final = 10
"""Of the connection, each of `TIMES`."""
WINDOW: Final = 500
"""Messages that may wait for the function at a time: each waits for the PUBACK of those before it, and they fail."""
PATIENCE: Final = 120.0
"""Seconds after the last acknowledgement in which the rest must arrive: a killed bridge and its broker come back."""


class Scene:
    """A broker, devices, bridges and a sink."""

    def __init__(self, seed: int, messages: int) -> None:
        self.random = Random(seed)
        self.broker = Mosquitto(f"allow_anonymous true\nmax_inflight_messages {WINDOW}\n")
        self.sink = Sink(failing(seed, 0.3, Answer(503), lambda posted: Answer(204)))
        self.messages = messages
        self.times = TIMES if messages >= MESSAGES else 1
        self.devices: list[Publisher] = []
        self.published: asyncio.Future[list[None]]

    def bridge(self, port: int, **options: object) -> BridgeProcess:
        """One that subscribes to what devices publish."""
        options = {"window": WINDOW, **options}
        query = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in options.items())
        listen = f"mqtt+broker://127.0.0.1:{port}/?subscribe=readings&client_id=faults&{query}"
        return BridgeProcess(self.sink.url, "--listen", listen)

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Devices publish meanwhile; then all of it must arrive."""
        each = self.messages // DEVICES
        self.devices = [Publisher(f"device-{number}", self.broker.port, each) for number in range(DEVICES)]
        self.published = asyncio.gather(*(device.run() for device in self.devices))
        yield
        await self.published
        try:
            await until(lambda: self.over, PATIENCE)
        except TimeoutError:
            pass  # the tally says what is missing

    async def meanwhile(self, fault: Callable[[], Awaitable[None]], times: int) -> None:
        """Spread over the run, each time after some progress at the sink."""
        for number in range(1, times + 1):
            goal = self.messages * (number - self.random.random()) / (times + 1)
            await until(lambda goal=goal: len(self.arrived) >= goal, PATIENCE)  # type: ignore[misc]
            await fault()

    @property
    def over(self) -> bool:
        """Everything is acknowledged to devices, and has arrived."""
        return self.published.done() and self.acknowledged <= self.arrived

    @property
    def acknowledged(self) -> set[bytes]:
        return set().union(*(device.acknowledged for device in self.devices))

    @property
    def arrived(self) -> set[bytes]:
        return {posted.body for posted in self.sink.accepted}

    def tally(self, *bridges: BridgeProcess, one_id: bool) -> Tally:
        """What became of it."""
        sent = {message for device in self.devices for message in device.sent}
        by_body: dict[bytes, list[Posted]] = {}
        for posted in self.sink.accepted:
            by_body.setdefault(posted.body, []).append(posted)
        again = set().union(*(device.repeated for device in self.devices))
        broken = [
            f"{body!r} came under {len(ids)} ids"
            for body, many in by_body.items()
            if one_id and body not in again and len(ids := {posted.headers["ce-id"] for posted in many}) > 1
        ]
        shared: dict[str, set[bytes]] = {}
        for posted in self.sink.accepted:
            shared.setdefault(posted.headers["ce-id"], set()).add(posted.body)
        broken += [f"id {key} is of {len(bodies)} messages" for key, bodies in shared.items() if len(bodies) > 1]
        broken += [bridge.log.decode()[-2000:] for bridge in bridges if b"Traceback" in bridge.log]
        return Tally(
            messages=len(sent),
            failed=len(sent - self.acknowledged),
            duplicated=sum(len(many) > 1 for many in by_body.values()),
            lost=len(self.acknowledged - self.arrived),
            unexpected=len(self.arrived - sent),
            broken=broken,
        )


async def health(bridge: BridgeProcess) -> dict[str, Any]:
    """What a bridge says of its endpoint at the broker; nothing while it is not there."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", bridge.http)
    except OSError:
        return {}
    writer.write(b"GET /health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    endpoints = json.loads(answer.partition(b"\r\n\r\n")[2])["endpoints"]
    return next(dict(one) for one in endpoints if one["protocol"] == "mqtt+broker")


async def subscribed(bridge: BridgeProcess) -> dict[str, Any]:
    """Wait until it has subscribed."""
    for _ in range(400):
        state = await health(bridge)
        if state.get("subscribed"):
            return state
        await asyncio.sleep(0.05)
    raise TimeoutError(bridge.log.decode())


async def _bridge_killed(scene: Scene) -> Tally:
    async with scene.bridge(scene.broker.port) as bridge:
        await subscribed(bridge)

        async def fault() -> None:
            await bridge.kill()
            await bridge.start()

        async with scene.publishing():
            await scene.meanwhile(fault, scene.times)
        return scene.tally(bridge, one_id=False)


async def _broker_restarted(scene: Scene) -> Tally:
    async with scene.bridge(scene.broker.port) as bridge:
        await subscribed(bridge)

        async def fault() -> None:
            await scene.broker.stop()
            await asyncio.sleep(scene.random.random())
            await scene.broker.start()

        async with scene.publishing():
            await scene.meanwhile(fault, scene.times)
        return scene.tally(bridge, one_id=True)


async def _broker_killed(scene: Scene) -> Tally:
    """While the bridge takes what devices have published; mosquitto acknowledges that a moment before it writes it."""
    async with scene.bridge(scene.broker.port) as bridge:
        await subscribed(bridge)

        async def fault() -> None:
            await scene.published
            await scene.broker.written()
            await scene.broker.kill()
            await asyncio.sleep(scene.random.random())
            await scene.broker.start()

        async with scene.publishing():
            await scene.meanwhile(fault, scene.times)
        return scene.tally(bridge, one_id=True)


async def _connection_cut(scene: Scene) -> Tally:
    """In the middle of packets, both ways, again and again; each time the broker sends its window again."""
    bad = Faults(delay=0.001, split=0.2, cut=0.2)
    place = "127.0.0.1", scene.broker.port
    async with (
        StreamChaos(place, bad, bad, scene.random.randrange(1 << 30)) as chaos,
        scene.bridge(chaos.port) as bridge,
    ):
        await subscribed(bridge)
        async with scene.publishing():
            await until(lambda: chaos.cuts >= CUTS * scene.times or scene.over, PATIENCE)
            chaos.faults = Faults(), Faults()
        result = scene.tally(bridge, one_id=True)
        if not chaos.cuts:
            result.broken.append("no connection was cut")
        return result


async def _replica_gone(scene: Scene) -> Tally:
    """Two share the messages; one is killed and never comes back."""
    options = {"share": "all", "adopt_after": 1, "replicas": 4}
    async with scene.bridge(scene.broker.port, **options) as one, scene.bridge(scene.broker.port, **options) as other:
        states = [await subscribed(one), await subscribed(other)]
        broken = [] if states[0]["client_ids"] != states[1]["client_ids"] else ["both have the same client id"]

        async def fault() -> None:
            await one.kill()

        async with scene.publishing():
            await scene.meanwhile(fault, 1)
        result = scene.tally(one, other, one_id=False)
        if len((await health(other))["client_ids"]) != 2:
            broken.append("the dead one's client id is nobody's")
        result.broken += broken
        return result


def play(seed: int, scene: Callable[[Scene], Awaitable[Tally]], messages: int = MESSAGES) -> Tally:
    """One seed of a scene."""

    async def main() -> Tally:
        made = Scene(seed, messages)
        async with made.broker, made.sink:
            return await scene(made)

    result = asyncio.run(main())
    result.broken = [f"seed {seed}: {what}" for what in result.broken]
    return result


def _case(name: str, fault: str, scene: Callable[[Scene], Awaitable[Tally]]) -> Case:
    what = f"MQTT by broker, QoS 1, function fails 30 %: {fault}"
    return Case(f"mqtt-broker-{name}", what, SEEDS, partial(play, scene=scene), real=True)


CASES: Final = (
    _case("bridge-killed", f"bridge killed {TIMES} times (SIGKILL)", _bridge_killed),
    _case("restart", f"broker restarted {TIMES} times", _broker_restarted),
    _case("killed", f"broker killed {TIMES} times (SIGKILL), durable settings", _broker_killed),
    _case("cut", "connection to the broker cut inside packets", _connection_cut),
    _case("replica-gone", "two replicas, one killed for good", _replica_gone),
)
