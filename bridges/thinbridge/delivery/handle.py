"""One event on its way to one sink: attempts, the pauses between them, the verdict.

Made by `Delivery`, one per event and one per dead letter. Callbacks only, no task and no future, since every message
has one of these. It is always in one of four states: it waits for a connection, for an answer (`_connection`), for
the next attempt (`_timer`), or it is over.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from math import inf
from typing import Any, Final, Protocol

from thinbridge.delivery import retry
from thinbridge.delivery.answer import Answer, Verdict
from thinbridge.delivery.http import Client, Headers
from thinbridge.delivery.pool import Waiter
from thinbridge.delivery.retry import Failure, Ruling
from thinbridge.delivery.sink import Sink
from thinbridge.delivery.terms import DeliveryLimits, Terms
from thinbridge.delivery.watch import Watch
from thinbridge.errors import DecodeError
from thinbridge.events import Event, decode
from thinbridge.routes import Content

HELD_UP: Final = 30.0
"""Seconds of trying after which a message that its device keeps is said to hold things up: a cold start is over by
then, and the pauses have grown to their longest."""


class Connection(Protocol):
    """Carries one request at a time."""

    def request(self, request: Any, client: Client) -> None:
        """Send what `Pool.write` has made; exactly one of the client's `answered` and `failed` follows."""

    def abandon(self) -> None:
        """Nobody waits any more."""


class Pool(Protocol):
    """The way to one sink: `pool.Pool` by HTTP, `forward.Forwarder` by CoAP."""

    sink: Sink

    def write(self, event: Event, content: Content, now: float) -> Any:
        """An event as a request."""

    def acquire(self, waiter: Waiter) -> Connection | None:
        """A connection at once, or None: the waiter is called when there is one."""

    def renew(self, waiter: Waiter) -> None:
        """A new connection, since the one it had was stale."""

    def forget(self, waiter: Waiter) -> None:
        """It does not wait any more."""


class Office(Protocol):
    """What handles share: the `Delivery` that made them."""

    loop: asyncio.AbstractEventLoop
    watch: Watch["Handle"]
    limits: DeliveryLimits
    draining: bool
    counters: Counter[str]
    rng: Callable[[], float]


class Handle:
    """One event's delivery to one sink.

    Args:
        office: what it shares with the others.
        pool: the sink's connections.
        event: what is delivered.
        terms: how; `sink` is the pool's.
        deadline: loop time at which it is over, one way or the other.
        over: told the verdict, once, last.
        done: for whom; the handle only keeps it.
    """

    __slots__ = (
        "_connection", "_end", "_office", "_over", "_pool", "_reached", "_renewed", "_timer", "attempts", "deadline",
        "done", "due", "event", "since", "size", "terms",
    )  # fmt: skip

    def __init__(
        self,
        office: Office,
        pool: Pool,
        event: Event,
        terms: Terms,
        deadline: float,
        over: Callable[["Handle", Answer], None],
        done: Callable[[Answer], None],
    ) -> None:
        self._office, self._pool, self._over = office, pool, over
        self.event, self.terms, self.deadline, self.done = event, terms, deadline, done
        self.attempts = 0
        """How many have begun; a repeat because of a stale connection is not one."""
        self.since = 0.0
        """Loop time of the first attempt; until then, of the event's coming."""
        self.size = 0
        """What its event counts of `DeliveryLimits.held_bytes`; the office's own note."""
        self.due = inf
        """Loop time at which the attempt is ended; `Watch` looks at it."""
        self._end = inf  # of the attempt, however its answer gets on
        self._connection: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reached = False  # an attempt's request was written: the function may have seen it
        self._renewed = False  # this attempt has had its new connection in place of a stale one

    @property
    def sink(self) -> Sink:
        """Where it goes."""
        return self._pool.sink

    @property
    def pausing(self) -> bool:
        """It waits for its next attempt."""
        return self._timer is not None

    def begin(self, now: float) -> None:
        """The first attempt, or the next."""
        if not self.attempts:
            self.since = now
        self.attempts += 1
        self._timer, self._renewed = None, False
        connection = self._pool.acquire(self)
        if connection is not None:
            self._send(connection, now)
        else:
            self.due = self.deadline
            self._office.watch.add(self)

    def cancel(self) -> None:
        """The bridge stops: over, as `CANCELLED`, wherever it is."""
        if self._timer is not None:
            self._timer.cancel()
        self._leave()
        self._over(self, Answer(Verdict.CANCELLED))

    def expired(self, now: float) -> None:
        """The attempt has had its time; called by `Watch`."""
        self._missed(self._leave(), now)

    # --- what the pool and the connection say ----------------------------------------------------------------

    def connected(self, connection: Connection) -> None:
        """It has been waited for, which took nothing from the attempt's time."""
        self._send(connection, self._office.loop.time())

    def answering(self) -> None:
        """An answer has begun: the rest of it has less time than a function has to begin."""
        due = self._office.loop.time() + self._office.limits.read
        if due < self.due:
            self.due = due
            self._office.watch.add(self)

    def held(self) -> None:
        """The answer waits for its turn: that takes nothing from the time for the rest of it."""
        self._office.counters["answers_waited"] += 1
        self.due = self._end

    def answered(self, status: int, headers: Headers, body: bytes) -> None:
        """The attempt has an answer."""
        self._connection = None
        if status == 202:  # Knative: accepted, and never a reply, whatever it holds
            headers, body = [], b""
        event, readable = None, True
        try:
            event = _event(headers, body)
        except DecodeError:
            headers, body, readable = [], b"", False
            self._office.counters["unreadable"] += 1
        ruling = retry.of_status(status, event is not None)
        if ruling is retry.ACCEPTED and not readable:
            ruling = retry.UNUSABLE
        if not ruling.again:
            if ruling is retry.UNUSABLE:
                self._pool.sink.failing(f"answered {status}", time.time())
            elif self._pool.sink.error is not None:
                self._pool.sink.well()
            self._over(self, Answer(ruling.verdict, status, headers, body, event))
            return
        self._reached = True
        self._pool.sink.failing(f"answered {status}", time.time())
        asked = retry.retry_after(status, headers, time.time)
        self._again(ruling, Answer(ruling.verdict, status, headers, body, event, asked), self._office.loop.time())

    def failed(self, failure: Failure) -> None:
        """The attempt has no connection, or lost it."""
        self._connection = None
        if failure is Failure.STALE and not self._renewed:
            self._renewed = self._reached = True
            self._office.counters["stale"] += 1
            self._pool.renew(self)
        else:
            self._missed(failure, self._office.loop.time())

    def _send(self, connection: Connection, now: float) -> None:
        due = now + self.terms.attempt_timeout
        self.due = self._end = due if due < self.deadline else self.deadline
        self._office.watch.add(self)
        self._connection = connection
        connection.request(self._pool.write(self.event, self.terms.content, now), self)

    # --- what follows ------------------------------------------------------------------------------------------

    def _leave(self) -> Failure:
        """Give up what it waits for; what that is called."""
        connection, self._connection = self._connection, None
        if connection is None:
            self._pool.forget(self)
            return Failure.NO_CONNECTION
        connection.abandon()
        return Failure.TIMEOUT

    def _missed(self, failure: Failure, now: float) -> None:
        self._pool.sink.failing(failure.value, time.time())
        self._office.counters[failure.name.lower()] += 1
        self._reached = self._reached or failure in retry.SEEN
        ruling = retry.of_failure(failure)
        self._again(ruling, Answer(ruling.verdict if self._reached else Verdict.UNREACHED), now)

    def _again(self, ruling: Ruling, answer: Answer, now: float) -> None:
        """Another attempt, if that may help and there is time; else this was the verdict."""
        terms = self.terms
        kept = terms.retries is None
        if kept and ruling.again and self._office.draining:
            self._over(self, Answer(Verdict.CANCELLED))  # its device brings it to another bridge
            return
        if ruling.again and (terms.retries is None or self.attempts <= terms.retries):
            pause = retry.pause(self.attempts - 1, terms.pause, terms.pause_max, self._office.rng())
            at = now + max(pause, answer.retry_after or 0.0)
            if kept and at >= self.deadline:  # asked to come when the time is up: once more before that
                at = max(now + pause, self.deadline - terms.attempt_timeout)
            if at < self.deadline:
                self.due = inf
                self._timer = self._office.loop.call_at(at, self.begin, at)
                self._office.counters["retried"] += 1
                if kept and at - self.since >= HELD_UP:
                    self._hold_up(now)
                return
        self._over(self, answer)

    def _hold_up(self, now: float) -> None:
        """Its device waits for it, and with it whatever the device has sent after it: that must be seen."""
        if self._pool.sink.hold_up(self, time.time() - (now - self.since)):
            self._office.counters["held_up"] += 1


def _event(headers: Headers, body: bytes) -> Event | None:
    """The event of an answer.

    Raises:
        DecodeError: it can't be read: compressed though we asked for none, or no event though it claims one.
    """
    if body:
        for name, value in headers:
            if name == b"content-encoding" and value.lower() != b"identity":
                raise DecodeError("compressed answer")
    return decode(headers, body)
