"""The endpoint at a broker: connections, sessions, what goes out, and, with replicas, who has which client id.

The one way of a message: a `Link` reads it, its `Consumer` gives it a place in its window, the session of its device
makes an `Inbound` of it, the bridge delivers that and calls `answer`; then the window lets the PUBACKs go that are due.

Over 400 lines because it joins the parts, so that none of them has to know another.
"""

import asyncio
import logging
import os
import random
import re
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from thinbridge.adapters.mqtt_broker import messages, tls
from thinbridge.adapters.mqtt_broker.consumer import Consumer
from thinbridge.adapters.mqtt_broker.devices import BrokerSession, Devices
from thinbridge.adapters.mqtt_broker.link import Identity, Link, Owner
from thinbridge.adapters.mqtt_broker.outbox import Done, Outbox
from thinbridge.adapters.mqtt_broker.presence import Presence
from thinbridge.adapters.mqtt_broker.replicas import PATIENCE, Act, Action
from thinbridge.adapters.mqtt_broker.settings import BrokerSettings
from thinbridge.adapters.mqtt_broker.window import Use, Window
from thinbridge.errors import SettingsError
from thinbridge.protocols.base import (
    Closed,
    Endpoint,
    Limits,
    OnEvent,
    Outbound,
    Outcome,
    PushResult,
    Reply,
    Session,
)
from thinbridge.protocols.mqtt import reasons, topics
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.exchanges import OPEN, Exchange
from thinbridge.protocols.mqtt.message import Publication, publication

LOG: Final = logging.getLogger(__name__)

AGAIN: Final = 1.0
"""Seconds before a message is delivered again that the delivery has given up; doubled each time."""
AGAIN_MAX: Final = 30.0
"""Seconds that they grow to, as the delivery's own do."""

SOLE: Final = 0
"""The number of the one consumer where there is no pool."""


class BrokerEndpoint(Endpoint):
    """One listener at a broker.

    Args:
        scheme: its URL's.
        name: the endpoint's.
        place: host and port of the broker.
        settings: the listener's.
        counters: of the adapter.
        session_id: makes random ids.
        limits: what it may hold.
    """

    def __init__(
        self,
        scheme: str,
        name: str,
        place: tuple[str, int],
        settings: BrokerSettings,
        counters: Counter[str],
        session_id: Callable[[], str],
        limits: Limits,
    ) -> None:
        host = f"[{place[0]}]" if ":" in place[0] else place[0]
        self.url = f"{scheme}://{host}:{place[1]}"
        self.name, self.protocol, self.limits = name, scheme, limits
        self._tls = scheme.startswith("mqtts")
        self._place, self._settings, self._counters = place, settings, counters
        self._devices = Devices(settings, counters, session_id, self._closed)
        self._allowed = [tuple(text.split("/")) for text in settings.publish]
        self._consumers: dict[int, Consumer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: dict[Use, asyncio.TimerHandle] = {}
        self._owners: dict[Use, tuple[Consumer, BrokerSession]] = {}
        self._draining = self._closing = False
        self._presence: Presence | None = None
        self._outbox: Outbox
        self._publisher: Link
        self._on_event: OnEvent
        self._loop: asyncio.AbstractEventLoop

    # --- Endpoint -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Check files and names; the broker need not be there, it is dialled until it is."""
        settings = self._settings
        tls.check(settings, self._tls)
        self._loop = asyncio.get_running_loop()
        if settings.pooled:
            own = _own(settings)
            self._presence = Presence(
                settings, own, self._link, self._act, self._allow, self._speak, self._connection, self._published
            )
            self._publisher = self._presence.link
        else:
            identity = Identity(
                settings.name if settings.qos or settings.client_id else "", settings.filters, bool(settings.qos)
            )
            self._consumers[SOLE] = self._consumer(identity)
            self._publisher = self._consumers[SOLE].link
        self._outbox = Outbox(self._publisher, settings.outbound_queue, settings.outbound_bytes, self._counters)

    def serve(self, on_event: OnEvent) -> None:
        """Dial the broker."""
        self._on_event = on_event
        if self._presence is not None:
            self._presence.start()
        for consumer in self._consumers.values():
            consumer.link.start()

    def answer(self, session: Session, exchange: int, reply: Reply) -> bool:
        """The PUBACK, in its turn, then what the function answered, to the Response Topic or its `mqtttopic`."""
        assert isinstance(session, BrokerSession)
        use = session.exchanges.find(exchange)
        if not isinstance(use, Use):
            return False
        outcome = reply.outcome
        if use.reason == OPEN and not self._decide(session, use, reply):
            return True
        if outcome is Outcome.PENDING:
            session.exchanges.wait(use)
        else:
            session.exchanges.end(use)
        if outcome is Outcome.ACCEPTED and (reply.data or reply.is_event):
            self._reply(use, Outbound(reply.content_type, reply.data, dict(reply.attributes), reply.is_event), None)
        return True

    def push(
        self, session: Session, target: int | None, outbound: Outbound, done: Callable[[PushResult], None]
    ) -> None:
        """To the event's `mqtttopic`, or to the Response Topic of the exchange that was posted to."""
        assert isinstance(session, BrokerSession)
        if session.closed:
            done(PushResult.GONE)
            return
        self._reply(session.exchanges.target(target), outbound, done)

    async def publish(self, subject: str, outbound: Outbound) -> int:
        """To a topic of that name; the broker knows who listens, so it counts as one."""
        told: asyncio.Future[PushResult] = self._loop.create_future()

        def done(result: PushResult) -> None:
            if not told.done():  # whoever posted may have stopped waiting
                told.set_result(result)

        self._send(subject, outbound, None, done)
        return int(await told in (PushResult.DELIVERED, PushResult.QUEUED))

    def drain(self) -> None:
        """Take nothing new; what is open goes on, and what is withheld stays with the broker."""
        self._draining = True
        for consumer in self._consumers.values():
            consumer.leave()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def close(self) -> None:
        """Leave every client id, so that another can have it, and disconnect."""
        self._draining = self._closing = True
        await asyncio.gather(*self._tasks)
        await asyncio.gather(*(self._disconnect(number) for number in list(self._consumers)))
        if self._presence is not None:
            await self._presence.stop()
        self._outbox.close()
        self._devices.close()

    @property
    def sessions(self) -> int:
        """Devices that topics name, and one for all others."""
        return len(self._devices)

    @property
    def settled(self) -> bool:
        """Whether acknowledgements are written, and answers acknowledged."""
        return not len(self._outbox) and not any(one.link.unsent for one in self._consumers.values())

    @property
    def counters(self) -> Mapping[str, int]:
        """Of the adapter."""
        return self._counters

    def health(self) -> Mapping[str, Any]:
        """The broker's state, and this bridge's place at it."""
        links = [consumer.link for consumer in self._consumers.values()]
        faults = [link.error for link in (self._publisher, *links) if link.error is not None]
        return {
            "connected": bool(links) and not faults,
            "subscribed": bool(links) and all(link.subscribed for link in links),
            "error": faults[0] if faults else None,
            "client_ids": sorted(link.identity.client_id for link in links),
            "waiting": self._presence is not None and self._presence.replicas.waiting,
            "refused": sorted({text for link in links for text in link.refused}),
            "open": sum(consumer.window.open for consumer in self._consumers.values()),
            "withheld": sum(bool(use.tries) for use in self._owners),
        }

    # --- from the broker ------------------------------------------------------------------------------------------

    def _arrived(self, consumer: Consumer, use: Use, publish: Publish) -> None:
        session = self._devices.session(publish.topic, self.limits.sessions)
        self._owners[use] = consumer, session
        message = messages.read(publish, self._settings.structured_311)
        self._on_event(self, session, session.begin(use, publish.topic, message))

    def _decide(self, session: BrokerSession, use: Use, reply: Reply) -> bool:
        """Whether the message is done with; if not, it is withheld, and delivered again: the broker keeps it."""
        outcome = reply.outcome
        if outcome not in (Outcome.ACCEPTED, Outcome.PENDING):
            self._counters[f"not_{outcome.name.lower()}"] += 1
            if outcome is not Outcome.REFUSED and use.qos:
                self._withhold(session, use, reply)
                return False
        consumer, _ = self._owners.pop(use)
        consumer.decided(use, reasons.SUCCESS)
        if use.tries and not any(one.tries for one in self._owners):
            LOG.info("no message waits for its sink any longer", extra={"fields": {"endpoint": self.name}})
        return True

    def _withhold(self, session: BrokerSession, use: Use, reply: Reply) -> None:
        self._counters["withheld"] += 1
        if not any(one.tries for one in self._owners):
            LOG.warning(
                "the sink does not take messages: they are tried again", extra={"fields": {"endpoint": self.name}}
            )
        use.tries += 1
        if self._draining or self._owners[use][0].leaving:  # it stays with the broker, for whoever is next
            session.exchanges.end(use)
            del self._owners[use]
            return
        pause = min(AGAIN_MAX, AGAIN * 2.0 ** min(use.tries - 1, 16)) * (0.5 + random.random() / 2)
        self._timers[use] = self._loop.call_later(max(pause, reply.retry_after or 0.0), self._again, session, use)

    def _again(self, session: BrokerSession, use: Use) -> None:
        del self._timers[use]
        assert use.inbound is not None
        self._on_event(self, session, use.inbound)

    def _closed(self, session: BrokerSession) -> None:
        self._on_event(self, session, Closed())

    # --- to the broker --------------------------------------------------------------------------------------------

    def _reply(self, exchange: Exchange | None, outbound: Outbound, done: Done | None) -> None:
        """To the `mqtttopic` that it names, else to the Response Topic of the exchange."""
        topic, correlation = outbound.attributes.get("mqtttopic"), None
        if topic is None and exchange is not None:
            topic, correlation = exchange.response, exchange.correlation
        if topic is not None:
            self._send(topic, outbound, correlation, done)
        elif done is not None:
            done(PushResult.REFUSED)  # it does not say where, and nobody asked

    def _send(self, topic: str, outbound: Outbound, correlation: bytes | None, done: Done | None) -> None:
        """Publish to a topic that is allowed; `done` hears what became of it."""
        if self._may_publish(topic):
            now, attributes = self._loop.time(), outbound.attributes
            sent = publication(topic, outbound.content_type, outbound.data, attributes, now, correlation=correlation)
            self._outbox.add(sent, done, now)
            return
        self._counters["topic_not_allowed"] += 1
        if done is not None:
            done(PushResult.REFUSED)

    def _may_publish(self, topic: str) -> bool:
        """A topic that a function, or a request, named: one that we may, and on the list."""
        return topics.is_ours(topic) and any(topics.matches(levels, topic) for levels in self._allowed)

    def _published(self, packet_id: int, reason: int) -> None:
        self._outbox.published(packet_id, reason, self._loop.time())

    def _connection(self, up: bool) -> None:
        """The connection that publishes stands, or is gone."""
        if up:
            self._loop.call_soon(self._outbox.pump, self._loop.time())  # when paho has sent again what it must
        else:
            self._outbox.down()

    # --- connections ----------------------------------------------------------------------------------------------

    def _link(self, identity: Identity, owner: Owner) -> Link:
        context = partial(tls.context, self._settings) if self._tls else None
        return Link(self._place, self._settings, identity, context, owner)

    def _consumer(self, identity: Identity) -> Consumer:
        settings = self._settings
        window = Window(settings.window, settings.held, os.urandom(16), self._counters)
        published = self._published if self._presence is None else self._spoken
        return Consumer(
            lambda consumer: self._link(identity, consumer),
            window,
            self._counters,
            self._arrived,
            self._consumer_changed,
            published,
        )

    def _consumer_changed(self, consumer: Consumer, up: bool) -> None:
        if self._presence is None:
            self._connection(up)
            return
        number = next((number for number, one in self._consumers.items() if one is consumer), None)
        if number is None or consumer.leaving:
            return
        if up:
            self._presence.replicas.connected(number, self._loop.time())
            self._presence.say(number)
        else:
            consumer.link.permitted.clear()  # until it is known that nobody else has it by now
            self._presence.replicas.lost(number)
        self._loop.call_soon(self._presence.look)

    async def _disconnect(self, number: int) -> None:
        """End a consumer; who waits for its client id hears that it is free."""
        consumer = self._consumers.pop(number)
        consumer.leave()
        if self._presence is not None:
            consumer.say(self._presence.free(number))
            self._presence.replicas.left(number, self._loop.time())
        await consumer.link.stop()
        self._forget(consumer)

    def _forget(self, consumer: Consumer) -> None:
        """What it has withheld is another's now; what is being delivered goes on, and is acknowledged to nobody."""
        for use, (owner, session) in list(self._owners.items()):
            if owner is consumer and use in self._timers:
                self._timers.pop(use).cancel()
                session.exchanges.end(use)
                del self._owners[use]

    # --- replicas -------------------------------------------------------------------------------------------------

    def _act(self, action: Action) -> None:
        """Do what was decided about a seat."""
        presence, (act, seat) = self._presence, action
        assert presence is not None
        if self._draining:
            return
        if act is Act.TAKE:
            self._take(seat)
        elif act is Act.LEAVE:
            self._start(self._leave(seat))
        elif act is Act.DROP:
            self._start(self._drop(seat))
        elif act is Act.ASK:
            presence.ask(seat)
        else:
            presence.say(seat)

    def _take(self, seat: int) -> None:
        assert self._presence is not None
        LOG.info("client id taken", extra={"fields": {"endpoint": self.name, "replica": seat}})
        self._counters["adopted"] += self._presence.replicas.held[seat].adopted
        consumer = self._consumers[seat] = self._consumer(self._presence.identity(seat, self._settings.filters))
        consumer.link.start()

    def _allow(self, seat: int, may: bool) -> None:
        consumer = self._consumers.get(seat)
        if consumer is not None:
            (consumer.link.permitted.set if may else consumer.link.permitted.clear)()

    async def _leave(self, seat: int) -> None:
        """Another wants it: finish what is open, then go; not for ever."""
        consumer = self._consumers.get(seat)
        if consumer is None or consumer.leaving:
            return
        consumer.leave()
        end = self._loop.time() + PATIENCE / 2
        while consumer.window.open and self._loop.time() < end and not self._closing:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        if self._consumers.get(seat) is consumer:
            await self._disconnect(seat)

    async def _drop(self, seat: int) -> None:
        """Another has it."""
        consumer = self._consumers.pop(seat, None)
        if consumer is not None:
            consumer.leaving = True
            await consumer.link.stop()
            self._forget(consumer)

    def _start(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _speak(self, seat: int, message: Publication) -> None:
        consumer = self._consumers.get(seat)
        if consumer is not None and not consumer.leaving:
            consumer.say(message)

    def _spoken(self, packet_id: int, reason: int) -> None:
        """The broker's acknowledgement of what was said to the other replicas."""
        if reason >= reasons.FAILURE and not self._counters["presence_refused"]:
            LOG.error(
                "the broker refuses what replicas tell each other: grant the bridge's user read and write of %s/#",
                self._settings.presence_topic,
                extra={"fields": {"endpoint": self.name, "reason": reasons.NAMES.get(reason, hex(reason))}},
            )
        self._counters["presence_refused"] += reason >= reasons.FAILURE


def _own(settings: BrokerSettings) -> int | None:
    """The seat that this replica takes; None: any."""
    if settings.replica == "any":
        return None
    if settings.replica != "hostname":
        return int(settings.replica)
    host = socket.gethostname()
    ordinal = re.search(r"-([0-9]+)$", host)
    if ordinal is None or int(ordinal[1]) >= settings.replicas:
        raise SettingsError("replica", f"hostname {host}", "use it in a StatefulSet of up to `replicas` pods, else any")
    return int(ordinal[1])
