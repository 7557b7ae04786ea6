"""The service that the bridge calls: events in, verdicts out, bounded."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from thinbridge.delivery import deadletter
from thinbridge.delivery.answer import Answer, Verdict
from thinbridge.delivery.cache import Cache
from thinbridge.delivery.handle import Handle
from thinbridge.delivery.pool import Pool
from thinbridge.delivery.room import Room
from thinbridge.delivery.sink import Notice, Sink
from thinbridge.delivery.terms import DeliveryLimits, Terms
from thinbridge.delivery.watch import Watch
from thinbridge.events import Event
from thinbridge.routes import Destination

if TYPE_CHECKING:
    from thinbridge.delivery.forward import Forwarder

COAP: Final = ("coap", "coap+tcp")
"""Schemes of sinks that messages are forwarded to instead of being POSTed."""


class Delivery:
    """POSTs events to sinks. Made anywhere, used on one loop; `close` it at the end.

    Args:
        limits: what all deliveries may take together.
        overrides: attributes that replace those of every event (`K_CE_OVERRIDES`), names already valid.
        namespace: the cluster's namespace that we are in, None outside one: `Kn-Namespace`.
        observe: told every verdict and its seconds; must not raise.
        notice: told what changes with a sink; must not raise.
        rng: where the chance of pauses comes from, in [0, 1).
    """

    loop: asyncio.AbstractEventLoop
    watch: Watch[Handle]

    def __init__(
        self,
        limits: DeliveryLimits | None = None,
        *,
        overrides: Mapping[str, str] | None = None,
        namespace: str | None = None,
        observe: Callable[[Verdict, float], None] | None = None,
        notice: Notice | None = None,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._limits = limits or DeliveryLimits()
        self.room = Room(self._limits.held_answers)
        """Long answers that are being read."""
        self.rng = rng
        self.in_flight = 0
        """Events whose verdict is not out; those of `OVERLOADED` never count."""
        self.held_bytes = 0
        """What they, and those that are postponed, take together."""
        self.counters: Counter[str] = Counter()
        """Every verdict by its value, every failed attempt by its `Failure`'s name, and `retried`, `stale`,
        `postponed`, `answers_waited`, `unreadable`, `dead_letters`, `dead_letters_failed`."""
        self._overrides = dict(overrides or {})
        self._namespace = namespace
        self._observe = observe
        self._notice = notice
        self.destinations: frozenset[Destination] | None = None
        """Where events go from now on; None: wherever they went so far."""
        self._pools: dict[Destination, Pool | Forwarder] = {}
        self._cache = Cache(self.limits, self.counters)
        self._held = 0
        self._postponed: dict[Handle, asyncio.TimerHandle] = {}
        self.draining = False
        """What its device keeps is tried no second time."""
        self._closed = False

    @property
    def limits(self) -> DeliveryLimits:
        """What all deliveries may take together; what is set counts from the next event, and the next request, on."""
        return self._limits

    @limits.setter
    def limits(self, limits: DeliveryLimits) -> None:
        self._limits = limits
        self.room.max_octets = limits.held_answers
        for pool in self._pools.values():
            pool.limits = limits

    @property
    def sinks(self) -> list[Sink]:
        """Every destination that something went to, and still does, and how it fares: for `/health/ready`."""
        in_use = self.destinations
        return [
            pool.sink
            for destination, pool in self._pools.items()
            if in_use is None or destination in in_use or pool.sink.held_up
        ]

    def deliver(self, event: Event, terms: Terms, deadline: float, done: Callable[[Answer], None]) -> Handle:
        """Start a delivery; it goes on whatever happens to the device.

        Args:
            event: what; not to be changed afterwards.
            terms: how.
            deadline: loop time at which the verdict is out at the latest; a dead letter may take 10 s more.
            done: told the verdict, exactly once, on the loop, never before this returns; must not raise.
        """
        if not self._pools:
            self._start()
        now = self.loop.time()
        if self._overrides:
            event = Event(event.attributes | self._overrides, event.data)
        pool = self._pools.get(terms.sink) or self._pool(terms.sink)
        handle = Handle(self, pool, event, terms, deadline, self._over, done)
        handle.since, handle.size = now, event.size
        limits, size = self._limits, handle.size
        if (
            self._closed
            or self.in_flight >= limits.deliveries
            or self.held_bytes + size > limits.held_bytes
            or len(pool.waiting) >= limits.waiting
            or deadline <= now
        ):
            self._turn_away(handle, pool, now)
        else:
            self.in_flight += 1
            self.held_bytes += size
            handle.begin(now)
        return handle

    def hold(self, event: Event) -> bool:
        """Count an event that is to be delivered later, when its turn comes; False: there is no room for it."""
        limits = self.limits
        if self._held >= limits.postponed or self.held_bytes + event.size > limits.held_bytes:
            self.counters[Verdict.OVERLOADED.value] += 1
            return False
        self._held += 1
        self.held_bytes += event.size
        return True

    def release(self, event: Event) -> None:
        """Its turn has come: `deliver` counts it."""
        self._held -= 1
        self.held_bytes -= event.size

    def drain(self) -> None:
        """Try nothing again that its device keeps: it comes back with it, to another bridge. What is open goes on."""
        self.draining = True
        self._cancel_postponed()
        for handle in self.watch.watched() if self._pools else ():
            if handle.pausing and handle.terms.retries is None:
                handle.cancel()

    async def close(self) -> None:
        """End what is left, as `CANCELLED`, and close every socket; for the end of a drain. May be called twice."""
        self._closed = True
        self._cancel_postponed()
        if self._pools:
            for handle in self.watch.close():
                handle.cancel()
            await asyncio.gather(*(pool.close() for pool in self._pools.values()))

    def _cancel_postponed(self) -> None:
        postponed, self._postponed = self._postponed, {}
        for handle, timer in postponed.items():
            timer.cancel()
            self.held_bytes -= handle.size
            self.counters[Verdict.CANCELLED.value] += 1
            handle.done(Answer(Verdict.CANCELLED))

    def _start(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.watch = Watch(self.loop)

    def _pool(self, destination: Destination) -> "Pool | Forwarder":
        sink = Sink(destination, self._notice, self._namespace)
        pool = self._pools[destination] = (
            self._forwarder(sink) if sink.scheme in COAP else Pool(sink, self.limits, self.room, self.loop)
        )
        return pool

    def _forwarder(self, sink: Sink) -> "Forwarder":
        from thinbridge.delivery.forward import Forwarder  # only who forwards to CoAP waits for aiocoap's import

        return Forwarder(sink, self.limits, self.loop, self._cache, self.counters)

    def _turn_away(self, handle: Handle, pool: "Pool | Forwarder", now: float) -> None:
        """Not tried now: it is too late, or there is too much to do; what its device keeps is tried again later."""
        if self._closed:
            answer = Answer(Verdict.CANCELLED)
        elif handle.deadline <= now:
            answer = Answer(Verdict.UNREACHED)
        elif handle.terms.retries is None and not self.draining and self._may_wait(handle):
            self.held_bytes += handle.size
            self._postpone(handle, pool)
            return
        else:
            answer = Answer(Verdict.OVERLOADED, retry_after=self.limits.retry_after)
        self.counters[answer.verdict.value] += 1
        self.loop.call_soon(handle.done, answer)

    def _may_wait(self, handle: Handle) -> bool:
        limits = self.limits
        return len(self._postponed) < limits.postponed and self.held_bytes + handle.size <= limits.held_bytes

    def _postpone(self, handle: Handle, pool: "Pool | Forwarder") -> None:
        """Its device keeps the message until it is answered, so it can wait: refusing it would only bring it back."""
        self.counters["postponed"] += 1
        pause = self.limits.retry_after * (0.5 + self.rng())
        self._postponed[handle] = self.loop.call_later(pause, self._resume, handle, pool)

    def _resume(self, handle: Handle, pool: "Pool | Forwarder") -> None:
        del self._postponed[handle]
        now = self.loop.time()
        if handle.deadline <= now:
            self.in_flight += 1
            self._over(handle, Answer(Verdict.UNREACHED))
        elif self.in_flight >= self.limits.deliveries or len(pool.waiting) >= self.limits.waiting:
            self._postpone(handle, pool)
        else:
            self.in_flight += 1
            handle.begin(now)

    def _over(self, handle: Handle, answer: Answer) -> None:
        """A sink's verdict."""
        self.watch.discard(handle)
        if handle.attempts > 1:
            handle.sink.let_go(handle)
        dead_letter = handle.terms.dead_letter
        if dead_letter is not None and answer.verdict in deadletter.UNDELIVERED:
            self._dead_letter(handle, answer, dead_letter)
        else:
            self._tell(handle, answer)

    def _dead_letter(self, handle: Handle, answer: Answer, sink: Destination) -> None:
        pool = self._pools.get(sink) or self._pool(sink)
        event = deadletter.letter(handle.event, handle.sink.url, answer)
        now = self.loop.time()
        terms, deadline = deadletter.terms(sink, handle.terms), now + deadletter.TIMEOUT
        over = partial(self._dead_lettered, handle, answer)
        Handle(self, pool, event, terms, deadline, over, handle.done).begin(now)

    def _dead_lettered(self, handle: Handle, answer: Answer, letter: Handle, receipt: Answer) -> None:
        """The dead-letter sink's verdict; a refusal stays one, since its sender is told so."""
        self.watch.discard(letter)
        if receipt.verdict is Verdict.CANCELLED:
            answer = receipt
        elif receipt.verdict is not Verdict.ACCEPTED:
            self.counters["dead_letters_failed"] += 1
        else:
            self.counters["dead_letters"] += 1
            if answer.verdict is not Verdict.REFUSED:
                answer = Answer(Verdict.DEAD_LETTERED)
        self._tell(handle, answer)

    def _tell(self, handle: Handle, answer: Answer) -> None:
        self.in_flight -= 1
        self.held_bytes -= handle.size
        self.counters[answer.verdict._value_] += 1  # `value` is a descriptor in Python, ten times slower
        if self._observe is not None:
            self._observe(answer.verdict, self.loop.time() - handle.since)
        handle.done(answer)
