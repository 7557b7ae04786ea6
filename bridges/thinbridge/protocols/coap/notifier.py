"""How notifications get to one peer: CON or NON, one at a time for each observation, the latest state (RFC 7641 §4.5).

`observations` has one, and hands it what there is to say.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Final

from thinbridge.protocols.base import Event, Pushed, PushResult
from thinbridge.protocols.coap.codes import Type
from thinbridge.protocols.coap.observation import Held, Notification, Observation, ends
from thinbridge.protocols.coap.outgoing import Outgoing
from thinbridge.protocols.coap.request import Response

if TYPE_CHECKING:
    from thinbridge.protocols.coap import CoAPSettings

NON_PACE: Final = 3.0
"""Seconds between two NONs to a device whose round-trip time nobody knows (RFC 7641 §4.5.1)."""
RECENT: Final = 4
"""NONs of an observation whose RST is known: at one per round trip, those that a RST can be for."""


class Notifier:
    """Sends the notifications of a session's observations.

    Args:
        outgoing: the session's CONs.
        settings: of the endpoint.
        counters: of the endpoint.
        events: where the session's events are collected.
        send: sends datagrams to the peer.
        ended: hears of each observation that is over.
    """

    __slots__ = ("_counters", "_ended", "_events", "_outgoing", "_pacing", "_send", "_settings", "_slots")

    def __init__(
        self,
        outgoing: Outgoing,
        settings: "CoAPSettings",
        counters: Counter[str],
        events: list[Event],
        send: Callable[[Sequence[bytes]], None],
        ended: Callable[[Observation], None],
    ) -> None:
        self._outgoing = outgoing
        self._settings = settings
        self._counters = counters
        self._events = events
        self._send = send
        self._ended = ended
        self._pacing: dict[Observation, None] = {}  # whose NON waits for its time, in order
        self._slots: list[float] = []  # until when the last NONs count as under way

    @property
    def under_way(self) -> int:
        """How many CONs are not acknowledged, or wait for their turn."""
        return sum(isinstance(one, Notification) for one in self._outgoing.open.values())

    def notify(self, observation: Observation, held: Held, push: int, now: float) -> PushResult | None:
        """Send it if it may go out now, else keep it in place of what waited before.

        What ends the observation is a CON whatever is asked for: nothing would follow a NON that is lost.

        Returns:
            What became of it; None: `push` will be reported.
        """
        last = ends(held.response)
        if last and observation.granted and not observation.over:
            self._ended(observation)  # at once: nothing that comes now takes its place
        if not observation.granted or observation.under_way is not None:
            return self._hold(observation, held)
        confirmable = last or (observation.confirmable if held.confirmable is None else held.confirmable)
        if not confirmable:
            if now < self._due(observation, now):
                self._pacing[observation] = None
                return self._hold(observation, held)
            confirmable = observation.unsure(self._settings.confirm_every, now)
        self._transmit(observation, held.response, confirmable, push, now)
        return None if confirmable else PushResult.DELIVERED

    def first(self, observation: Observation, response: Response, now: float) -> None:
        """The registration's answer as a message of its own."""
        held = observation.waiting
        self._transmit(observation, response, observation.confirmable, 0, now)
        observation.waiting = held
        self.follow(observation, now)

    def follow(self, observation: Observation, now: float) -> None:
        """What was on its way is over: what waited goes out."""
        held, observation.waiting = observation.waiting, None
        if held is not None:
            self.notify(observation, held, 0, now)

    def _hold(self, observation: Observation, held: Held) -> PushResult:
        if observation.waiting is not None:
            self._counters["superseded"] += 1
        observation.waiting = held
        return PushResult.QUEUED

    def _transmit(self, observation: Observation, response: Response, confirmable: bool, push: int, now: float) -> None:
        observation.waiting = None
        self._pacing.pop(observation, None)
        mid = self._outgoing.next_mid()
        if confirmable:
            observation.under_way = Notification(observation, mid, response, push, now)
            self._send(self._outgoing.send(observation.under_way, now))
            return
        pace = self._outgoing.round_trip
        observation.quiet = now + (NON_PACE if pace is None else pace)
        self._slots = [until for until in self._slots if until > now] + [observation.quiet]
        observation.unconfirmed += 1
        observation.mids = (*observation.mids[1 - RECENT :], mid)
        self._send([observation.compose(Type.NON, mid, response, now)])

    # --- What becomes of a CON --------------------------------------------------------------------------------------

    def settled(self, notification: Notification, acknowledged: bool, now: float) -> None:
        """It was acknowledged; else it was reset (the device is not interested), or given up (it is gone)."""
        observation = notification.observation
        observation.under_way = None
        self._report(notification.push, PushResult.DELIVERED if acknowledged else PushResult.GONE)
        if acknowledged:
            observation.confirmed, observation.unconfirmed = now, 0
            self.follow(observation, now)
        elif not observation.over:
            self._ended(observation)

    def superseded(self, notification: Notification) -> None:
        """A newer state took its place: whoever pushed the older one hears that something will arrive."""
        self._report(notification.push, PushResult.QUEUED)
        notification.push = 0

    def drop(self, observation: Observation, now: float) -> None:
        """It is over, and nothing more is sent for it."""
        observation.waiting = None
        notification, observation.under_way = observation.under_way, None
        if notification is not None:
            self._report(notification.push, PushResult.GONE)
            self._send(self._outgoing.drop(notification, now))

    def forget(self, observation: Observation) -> None:
        """It is over; what ends it may be under way."""
        self._pacing.pop(observation, None)

    def _report(self, push: int, result: PushResult) -> None:
        if push:
            self._events.append(Pushed(push, result))

    # --- The pace of NONs -------------------------------------------------------------------------------------------

    def _due(self, observation: Observation, now: float) -> float:
        """When a NON may go out: as many are under way to the peer at a time as CONs may be (§4.5.1)."""
        under_way = [until for until in self._slots if until > now]
        free = -inf if len(under_way) < self._settings.nstart else min(under_way)
        return max(observation.quiet, free)

    def next_timer(self) -> float:
        """When the first of those that wait may go out."""
        return min((self._due(observation, -inf) for observation in self._pacing), default=inf)

    def handle_timer(self, now: float) -> None:
        """Send those that may go out, in the order in which they came."""
        for observation in [one for one in self._pacing if self._due(one, now) <= now]:
            self.follow(observation, now)
