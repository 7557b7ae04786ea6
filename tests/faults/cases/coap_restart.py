"""CoAP devices on real sockets while the bridge's process is killed, or told to end, and started again.

Devices keep their ports, repeat as RFC 7252 §4.2 has it, and send a message anew when they are told that it failed, or
nothing; the function fails now and then. What a device is told is done must be at the sink by then. At the sink twice
is what was accepted and not yet answered when the bridge was killed.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Final

from tests.faults.case import Case, Tally, chance, tally
from tests.faults.process import BridgeProcess
from tests.waiting import until

from thinbridge.device.coap import Request
from thinbridge.testing import Heard, Ledger
from thinbridge.testing.function import Answer, Posted, Sink
from thinbridge.testing.ledger import find, label

DEVICES: Final = 10
MESSAGES: Final = 20
ATTEMPTS: Final = 8
PAUSE: Final = 1.0
"""Seconds between two: the Max-Age of a 5.03 in a drain."""
PATIENCE: Final = 20.0
"""Seconds that a device waits for an answer: a restart, and a repeat 2 to 3 s and 4 to 6 s after the first."""

Restart = Callable[[BridgeProcess], Awaitable[object]]


class Device(asyncio.DatagramProtocol):
    """One message after another, from one port."""

    transport: asyncio.DatagramTransport

    def __init__(self, number: int, ledger: Ledger) -> None:
        self._number, self._ledger = number, ledger
        self._request: Request | None = None
        self._over: asyncio.Future[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    async def run(self, port: int) -> None:
        """All of its messages."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, remote_addr=("127.0.0.1", port))
        for count in range(MESSAGES):
            await self._one(label(self._number, count))
        self.transport.close()

    async def _one(self, message: bytes) -> None:
        self._ledger.sent.append(message)
        for _ in range(ATTEMPTS):
            heard = await self._attempt(message)
            if heard.accepted:
                break
            await asyncio.sleep(PAUSE)
        self._ledger.heard(message, heard)

    async def _attempt(self, message: bytes) -> Heard:
        self._over = asyncio.get_running_loop().create_future()
        request = self._request = Request("POST", "/readings", message, entropy=os.urandom)
        request.start(_now())
        self._service()
        try:
            async with asyncio.timeout(PATIENCE):
                while request.result is None:
                    when = request.next_timer()
                    await asyncio.wait([self._over], timeout=None if when is None else max(0.0, when - _now()))
                    request.handle_timer(_now())
                    self._service()
        except TimeoutError:
            return Heard(False, told=False)
        return Heard(request.result.ok, True, request.result.data)

    def datagram_received(self, data: bytes, addr: object) -> None:
        if self._request is not None:
            self._request.receive(data, _now())
            self._service()

    def error_received(self, exc: Exception) -> None:
        """Nobody listens just now: it goes on by its timers."""

    def _service(self) -> None:
        assert self._request is not None
        for data in self._request.data_to_send():
            self.transport.sendto(data)
        if self._request.result is not None and not self._over.done():
            self._over.set_result(None)


def _now() -> float:
    return asyncio.get_running_loop().time()


def play(seed: int, *, restart: Restart) -> Tally:
    """One run: 200 messages, and a restart in the middle."""
    return asyncio.run(_play(seed, restart))


async def _play(seed: int, restart: Restart) -> Tally:
    random, ledger = Random(seed), Ledger()

    def function(posted: Posted) -> Answer:
        message = find(posted.body)
        assert message is not None
        ledger.started.append((message, posted.headers["ce-id"].encode()))
        if random.random() < 0.2:
            return Answer(503)
        ledger.accepted.append(message)
        return Answer(200, {"content-type": "text/plain"}, posted.body, after=random.random() * 0.05)

    async with Sink(function) as sink, BridgeProcess(sink.url) as bridge:
        devices = [Device(number, ledger) for number in range(DEVICES)]
        talking = asyncio.gather(*(device.run(bridge.ports["coap"]) for device in devices))
        await until(lambda: len(ledger.told) >= DEVICES * MESSAGES // 2, 60)
        await restart(bridge)
        await bridge.start()
        await talking
        status = await bridge.terminate()
    result = tally(ledger)
    if status or b"Traceback" in bridge.log:
        result.broken.append(f"seed {seed}: the bridge ended with status {status}: {bridge.log[-500:].decode()}")
    return result


def _case(name: str, how: str, restart: Restart) -> Case:
    fault = f"CoAP, real processes: the bridge is {how} and started again, a fifth of the sink's answers is 503"
    return Case(f"coap-{name}", fault, 10, partial(play, restart=restart), chance(0.0), real=True)


CASES: Final = (
    _case("killed", "killed (SIGKILL)", BridgeProcess.kill),
    _case("ended", "told to end (SIGTERM)", BridgeProcess.terminate),
)
