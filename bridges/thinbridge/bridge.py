"""The bridge: wires endpoints, mapping, delivery and inbox; starts, drains and stops them. Only `cli` imports it.

The one way of a message: an endpoint reports an `Inbound`; its route, its event and its terms are made; delivery POSTs
it and calls the exchange back once; what came becomes a `Reply` for the session. A POST to `replyto` comes the other
way, through `post`. Nothing else moves a message.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from thinbridge import contract, mapping
from thinbridge.delivery import Answer, Delivery, Terms
from thinbridge.errors import ListenError, SettingsError
from thinbridge.events import Event
from thinbridge.inbox import Inbox
from thinbridge.protocols.base import (
    Authorize,
    Closed,
    Decision,
    Endpoint,
    Entropy,
    Inbound,
    Opened,
    Outbound,
    Outcome,
    PushResult,
    Reply,
    Session,
)
from thinbridge.routes import Mode, Route, Routes
from thinbridge.sessions import Directory, Entry, Missing
from thinbridge.telemetry import Recorder
from thinbridge.turns import Turns

SETTLE: Final = 0.05
"""Seconds between two looks whether the last answers are acknowledged; a drain only ends this much later."""

RETRIES: Final = 3
"""Tries after the first while a device waits; a message that its device keeps is tried until `retry_for` is over."""


class Observer(Protocol):
    """Who wants to see every message: `thinbridge dev` prints them."""

    def received(self, endpoint: Endpoint, session: Session, inbound: Inbound, event: Event) -> None:
        """A message became an event and goes out."""

    def answered(
        self, endpoint: Endpoint, session: Session, inbound: Inbound, answer: Answer, reply: Reply, seconds: float
    ) -> None:
        """Its delivery ended, and the session was told."""

    def pushed(self, endpoint: Endpoint, session: Session, outbound: Outbound, result: PushResult) -> None:
        """A push ended."""

    def published(self, endpoint: Endpoint, subject: str, outbound: Outbound, count: int) -> None:
        """Something went to all who listen to a subject there, and so many do."""


class Exchange:
    """One message on its way: the delivery calls it back, exactly once."""

    __slots__ = ("bridge", "entry", "held", "inbound", "pending", "route", "started")

    def __init__(self, bridge: "Bridge", entry: Entry, inbound: Inbound, route: Route, started: float) -> None:
        self.bridge = bridge
        self.entry = entry
        self.inbound = inbound
        self.route = route
        self.started = started
        self.pending: asyncio.TimerHandle | None = None
        """Set while the answer is to come by `replyto`: what ends the wait."""
        self.held: Outbound | None = None
        """An answer by `replyto` that came before the sink had accepted the event; it waits for that."""

    def __call__(self, answer: Answer) -> None:
        """The delivery ended."""
        self.bridge._delivered(self, answer)


class Bridge:
    """One bridge process.

    Args:
        endpoints: opened by `start`, in this order.
        delivery: how events get to their sinks.
        routes: where they go, each with its sink.
        source: the `source` of all events.
        inbox: the HTTP side, None for none; its gate is this bridge.
        replyto: the base URL of reply addresses; None: the inbox's own.
        entropy: chance, handed in for tests.
        recorder: counts messages and pushes.
        observer: sees every message.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        delivery: Delivery,
        routes: Routes,
        *,
        source: str = contract.source("local", "bridge"),
        inbox: Inbox | None = None,
        replyto: str | None = None,
        entropy: Entropy = os.urandom,
        recorder: Recorder | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.endpoints = endpoints
        self.delivery = delivery
        self.routes = routes
        self.inbox = inbox
        self.observer = observer
        self.recorder = recorder or Recorder()
        self._replyto = replyto
        self._mapper = mapping.Mapper(source, entropy)
        self._directory = Directory(entropy, self._base)
        self._turns = Turns()
        self._terms: dict[tuple[int, bool], Terms] = {}  # by the route's identity: hashing its fields takes longer
        self._open = 0
        self._drained: asyncio.Future[None] | None = None
        self._ready = False
        self._loop: asyncio.AbstractEventLoop

    # --- Life -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open everything, then serve; ready from here on until the process ends, drain included.

        Raises:
            SettingsError: a port is taken or a setting can't be used; nothing is left open.
        """
        self._loop = asyncio.get_running_loop()
        opened: list[Endpoint] = []
        try:
            for number, endpoint in enumerate(self.endpoints):
                await _open(endpoint, number)
                opened.append(endpoint)
            if self.inbox is not None:
                await self.inbox.start()
        except BaseException:
            for endpoint in opened:
                await endpoint.close()
            raise
        for endpoint in self.endpoints:
            endpoint.serve(self._on_event)
        self._ready = True

    def reroute(self, routes: Routes) -> None:
        """Take other routes from the next message on; what is on its way keeps its own."""
        self.routes = routes
        self._terms.clear()
        self.delivery.destinations = routes.destinations

    async def drain(self, seconds: float) -> bool:
        """Take nothing new, finish what was accepted; True if all of it was finished in time.

        Finished is what has its answer, and what must be acknowledged has that, too: a CoAP device that has had its
        empty ACK would otherwise wait for a response that nobody repeats any more.
        """
        end = self._loop.time() + seconds
        for endpoint in self.endpoints:
            endpoint.drain()
        self.delivery.drain()
        if self._open:
            self._drained = self._loop.create_future()
            await asyncio.wait([self._drained], timeout=seconds)
        while not self._settled() and self._loop.time() < end:  # noqa: ASYNC110  # acknowledgements are no events
            await asyncio.sleep(SETTLE)
        return not self._open and self._settled()

    def _settled(self) -> bool:
        return all(endpoint.settled for endpoint in self.endpoints)

    async def stop(self) -> None:
        """End what is left open (its devices hear that it is unknown), then sessions, ports and inbox."""
        self._turns.clear()
        await self.delivery.close()
        for exchange in self._directory.waiting():
            self._finish(exchange, Reply(Outcome.UNKNOWN))
        for endpoint in self.endpoints:
            await endpoint.close()
        if self.inbox is not None:
            await self.inbox.stop()
        self._ready = False

    def _base(self) -> str:
        if self._replyto is not None:
            return self._replyto
        return self.inbox.url if self.inbox is not None else "http://127.0.0.1"

    # --- From the device --------------------------------------------------------------------------------------

    def _on_event(self, endpoint: Endpoint, session: Session, event: Inbound | Opened | Authorize | Closed) -> None:
        if isinstance(event, Inbound):
            self._deliver(endpoint, session, event)
        elif isinstance(event, Authorize):
            endpoint.authorized(session, Decision(True))
        elif isinstance(event, Closed):
            self._closed(session)

    def _deliver(self, endpoint: Endpoint, session: Session, inbound: Inbound) -> None:
        route = self.routes.match(endpoint.name, inbound)
        if inbound.type in contract.SESSION_TYPES and not route.sessions:
            endpoint.answer(session, inbound.exchange, Reply(Outcome.ACCEPTED))
            return
        now, wall = self._loop.time(), time.time()
        entry = self._directory.entry(endpoint, session)
        patience = route.retry_for if inbound.at_least_once else route.timeout
        event = self._mapper.to_event(inbound, entry, wall, None if inbound.at_least_once else wall + route.timeout)
        exchange = entry.open[inbound.exchange] = Exchange(self, entry, inbound, route, now)
        self._open += 1
        if self.observer is not None:
            self.observer.received(endpoint, session, inbound, event)
        terms = self._terms_of(route, inbound.at_least_once)
        if route.ordered:
            self._in_turn(exchange, event, terms, patience)
        else:
            self.delivery.deliver(event, terms, now + patience, exchange)

    def _in_turn(self, exchange: Exchange, event: Event, terms: Terms, patience: float) -> None:
        """Deliver it when the session's messages before it are."""
        key = exchange.entry, id(exchange.route)
        waits = self._turns.busy(key)
        if waits and not self.delivery.hold(event):
            self._finish(exchange, Reply(Outcome.OVERLOADED, retry_after=self.delivery.limits.retry_after))
            return

        def start() -> None:
            if waits:
                self.delivery.release(event)
            since = self._loop.time() if exchange.inbound.at_least_once else exchange.started  # `replyby` is the same
            self.delivery.deliver(event, terms, since + patience, exchange)

        self._turns.enter(key, start)

    def _terms_of(self, route: Route, at_least_once: bool) -> Terms:
        terms = self._terms.get((id(route), at_least_once))
        if terms is None:
            assert route.sink is not None, "whoever makes a bridge gives each route its sink"
            terms = self._terms[id(route), at_least_once] = Terms(
                route.sink, route.dead_letter, route.content, route.timeout, None if at_least_once else RETRIES
            )
        return terms

    def _delivered(self, exchange: Exchange, answer: Answer) -> None:
        """A delivery ended: tell the session, unless the answer is to come by `replyto`."""
        route = exchange.route
        reply = mapping.to_reply(answer, route)
        held = exchange.held
        if held is not None and mapping.says_nothing(reply):
            reply, held = mapping.answer_by_replyto(held, route), None
        if reply.outcome is Outcome.PENDING and not exchange.entry.session.closed:
            since = self._loop.time() if exchange.inbound.at_least_once else exchange.started  # `replyby` is the same
            due = since + route.timeout
            exchange.pending = self._loop.call_at(due, self._finish, exchange, Reply(Outcome.UNKNOWN))
            exchange.entry.endpoint.answer(exchange.entry.session, exchange.inbound.exchange, reply)
        else:
            self._finish(exchange, reply)
        if held is not None and reply.outcome is Outcome.ACCEPTED:  # the sink answered, too: this one is a push
            exchange.entry.endpoint.push(exchange.entry.session, exchange.inbound.exchange, held, lambda _: None)
        self.recorder.message(exchange.entry.endpoint.name, reply.outcome._value_)  # `value` takes ten times as long
        if route.ordered:
            self._turns.leave((exchange.entry, id(route)))
        if self.observer is not None:
            seconds = self._loop.time() - exchange.started
            entry = exchange.entry
            self.observer.answered(entry.endpoint, entry.session, exchange.inbound, answer, reply, seconds)

    def _finish(self, exchange: Exchange, reply: Reply) -> bool:
        """The exchange is over: its session hears the reply. False: the session had given it up."""
        entry, number = exchange.entry, exchange.inbound.exchange
        if entry.open.get(number) is not exchange:
            return False  # `stop` has ended it
        del entry.open[number]
        if exchange.pending is not None:
            exchange.pending.cancel()
        self._open -= 1
        if not self._open and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        return entry.endpoint.answer(entry.session, number, reply)

    def _closed(self, session: Session) -> None:
        entry = self._directory.remove(session)
        if entry is not None:  # deliveries go on; only the waiting for `replyto` ends
            for exchange in [one for one in entry.open.values() if one.pending is not None]:
                self._finish(exchange, Reply(Outcome.UNKNOWN))

    # --- To the device (the inbox's gate) -----------------------------------------------------------------------

    async def post(self, token: str, exchange: int, outbound: Outbound) -> PushResult | None:
        """A POST to a reply address: answers the exchange while it waits for that, else reaches its session.

        Returns:
            What became of it; None: no such session.
        """
        entry = self._directory.find(token)
        if isinstance(entry, Missing):
            return PushResult.GONE if entry is Missing.GONE else None
        done: asyncio.Future[PushResult] = self._loop.create_future()

        def ended(result: PushResult) -> None:
            self.recorder.push(result.name.lower())
            if self.observer is not None:
                self.observer.pushed(entry.endpoint, entry.session, outbound, result)
            if not done.done():  # whoever posted may have stopped waiting
                done.set_result(result)

        result = self._answer(entry, exchange, outbound)
        if result is None:
            entry.endpoint.push(entry.session, exchange, outbound, ended)
        else:
            ended(result)
        return await done

    def _answer(self, entry: Entry, number: int, outbound: Outbound) -> PushResult | None:
        """Answer an exchange in mode `later`; None: it does not wait, or its session does not any more: a push."""
        exchange: Exchange | None = entry.open.get(number)
        if exchange is None or exchange.route.mode is not Mode.LATER:
            return None
        if exchange.pending is None:  # the sink has not accepted the event yet: no device hears of it before
            if exchange.held is not None:
                return PushResult.BUSY
            exchange.held = outbound
            return PushResult.QUEUED
        if self._finish(exchange, mapping.answer_by_replyto(outbound, exchange.route)):
            return PushResult.DELIVERED
        return PushResult.GONE if entry.session.closed else None

    async def publish(self, subject: str, outbound: Outbound) -> int:
        """A POST to a subject: everyone who listens to it, on every endpoint; how many there were."""
        counts = {endpoint: await endpoint.publish(subject, outbound) for endpoint in self.endpoints}
        if self.observer is not None:
            for endpoint in (one for one, count in counts.items() if count):
                self.observer.published(endpoint, subject, outbound, counts[endpoint])
        return sum(counts.values())

    def live(self) -> bool:
        """The loop turns, or nobody would be answering."""
        return True

    def ready(self) -> bool:
        """Every listener is bound. Never a load signal: a UDP endpoint that turns NotReady loses its flows."""
        return self._ready

    def state(self) -> dict[str, Any]:
        """What `/health/ready` says beside its status."""
        return {
            "endpoints": [
                {"name": one.name, "url": one.url, "protocol": one.protocol, "sessions": one.sessions, **one.health()}
                for one in self.endpoints
            ],
            "in_flight": self._open,
            "sinks": [
                {
                    "url": sink.url,
                    "failing_since": _rfc3339(sink.failing_since),
                    "error": sink.error,
                    "held_up": sink.held_up,
                    "held_up_since": _rfc3339(sink.held_up_since),
                }
                for sink in self.delivery.sinks
            ],
        }


async def _open(endpoint: Endpoint, number: int) -> None:
    """What can't be used is named as a key of this listener; an address names itself."""
    try:
        await endpoint.open()
    except ListenError:
        raise
    except SettingsError as error:
        raise SettingsError(f"listen[{number}].{error.key}", error.value, error.fix) from error


def _rfc3339(wall: float | None) -> str | None:
    return None if wall is None else datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")
