"""The endpoint at a broker, as the bridge sees it. Real brokers are in `tests/interop/test_mqtt_broker.py`."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.bridges.adapters.mqtt_broker.broker import Broker, Script, listening, publish
from tests.waiting import until

from thinbridge.adapters.mqtt_broker import BrokerSettings
from thinbridge.adapters.mqtt_broker.endpoint import BrokerEndpoint
from thinbridge.protocols.base import Endpoint, Inbound, Limits, Outbound, Outcome, Reply, Session

REPLY = Reply(Outcome.ACCEPTED, 200, "text/plain", b"done", {"mqtttopic": "answers"}, is_event=True)


class Place:
    """An endpoint, and what it reports."""

    def __init__(self, port: int) -> None:
        settings = BrokerSettings(subscribe=("t",))
        place = "127.0.0.1", port
        self.counters: Counter[str] = Counter()
        self.endpoint = BrokerEndpoint(
            "mqtt+broker", "b", place, settings, self.counters, iter("abc").__next__, Limits()
        )
        self.inbounds: list[tuple[Session, Inbound]] = []

    def on_event(self, endpoint: Endpoint, session: Session, event: object) -> None:
        if isinstance(event, Inbound):
            self.inbounds.append((session, event))

    def answer(self, reply: Reply = REPLY, index: int = -1) -> None:
        session, inbound = self.inbounds[index]
        assert self.endpoint.answer(session, inbound.exchange, reply)


@asynccontextmanager
async def endpoint(script: Script) -> AsyncIterator[Place]:
    """One at a broker that plays a script."""
    async with listening(script) as (port, _):
        place = Place(port)
        await place.endpoint.open()
        place.endpoint.serve(place.on_event)
        try:
            yield place
        finally:
            await place.endpoint.close()


async def hears_an_answer(broker: Broker) -> None:
    await broker.welcome()
    broker.writer.write(publish(1))
    await broker.expect(4)
    await broker.expect(3, b"\x40\x02\x00\x02")
    broker.writer.write(publish(2))
    await broker.packet()


def test_while_it_drains_what_functions_send_is_acknowledged_and_nothing_new_is_taken() -> None:
    async def scene() -> None:
        async with endpoint(hears_an_answer) as place:
            await until(lambda: place.inbounds)
            place.endpoint.drain()
            place.answer()
            await until(lambda: place.endpoint.settled)
            await until(lambda: place.counters["draining"])
            assert len(place.inbounds) == 1

    asyncio.run(scene())


def test_whoever_publishes_may_stop_waiting() -> None:
    async def never(broker: Broker) -> None:
        await broker.welcome()
        await broker.forever()

    async def scene() -> None:
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        async with endpoint(never) as place:
            await until(lambda: place.endpoint.health()["connected"])
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(place.endpoint.publish("t", Outbound(None, b"x")), 0.05)
            assert not place.endpoint.settled
        assert place.counters["outbound_gone"] == 1
        assert faults == []

    asyncio.run(scene())
