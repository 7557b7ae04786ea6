"""A new state for very many: the loop turns meanwhile, and each hears it."""

import asyncio
import os
from itertools import pairwise

from tests.waiting import until

from thinbridge.protocols.base import Address, Closed, Endpoint, Event, Inbound, Outbound, Outcome, Path, Reply, Session
from thinbridge.protocols.coap import CoAP, CoAPSettings
from thinbridge.protocols.coap.codec import Message, decode, encode
from thinbridge.protocols.coap.codes import CONTENT, GET, Option, Type
from thinbridge.shells import DatagramShell
from thinbridge.shells.shell import SLICE

OBSERVERS = 2_000
REGISTER = encode(Message(Type.CON, GET, 1, b"t", [(Option.OBSERVE, b"")]))
GRANT = Reply(Outcome.ACCEPTED, 200, "text/plain", b"0", {"coapobserve": "true"})


class Wire:
    """In place of the socket: devices without one of their own."""

    def __init__(self) -> None:
        self.heard: dict[Address, bytes] = {}

    def sendto(self, data: bytes, path: Path) -> None:
        self.heard[path.peer] = data


def test_thousands_of_observers_hold_up_nobody() -> None:
    async def main() -> None:
        shell = DatagramShell(CoAP(CoAPSettings(rate=0.0), os.urandom, "coap"), "coap", "127.0.0.1", 0)
        await shell.open()
        asked: list[tuple[Session, int]] = []

        def on_event(endpoint: Endpoint, session: Session, event: Event | Closed) -> None:
            if isinstance(event, Inbound):
                asked.append((session, event.exchange))

        shell.serve(on_event)
        assert shell._task is not None
        await shell._task
        listener, wire = shell._listener, Wire()
        shell._listener = wire  # type: ignore[assignment]
        for number in range(OBSERVERS):
            peer = f"127.1.{number >> 8}.{number & 255}", 5683
            shell.received(REGISTER, peer, ("127.0.0.1", shell.port), 0)
        for session, exchange in asked:
            shell.answer(session, exchange, GRANT)
        wire.heard.clear()
        turns: list[int] = []  # how many had heard it when the loop turned

        def turn() -> None:
            turns.append(len(wire.heard))
            if not publishing.done():
                loop.call_soon(turn)

        loop = asyncio.get_running_loop()
        publishing = loop.create_task(shell.publish("", Outbound("text/plain", b"1")))
        loop.call_soon(turn)
        assert await publishing == OBSERVERS
        await until(lambda: turns[-1] == OBSERVERS)
        assert max(after - before for before, after in pairwise(turns)) <= SLICE
        assert {(decode(data).code, decode(data).payload) for data in wire.heard.values()} == {(CONTENT, b"1")}
        shell._listener = listener
        await shell.close()

    asyncio.run(main())
