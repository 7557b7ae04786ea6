"""What one peer observes (RFC 7641, the server's side): which relations there are, how they begin and how they end.

A registration is a request like any other, and its answer the function's; the relation begins if that grants it. From
then on the states of what it observes come from a push to the registration's `replyto`, from `CoAP.publish`, or from
asking the function again. `session` calls it for whatever concerns an observation, and `notifier` sends.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Final

from thinbridge import contract
from thinbridge.protocols.base import NO_ATTRIBUTES, Event, Inbound, Outbound, Outcome, PushResult, Reply
from thinbridge.protocols.coap.codec import Message, compose
from thinbridge.protocols.coap.codes import NOT_ACCEPTABLE, Type
from thinbridge.protocols.coap.notifier import Notifier
from thinbridge.protocols.coap.observation import CONFIRM_WITHIN, GRANTS, Held, Observation, ends
from thinbridge.protocols.coap.observers import Observers
from thinbridge.protocols.coap.outgoing import Outgoing
from thinbridge.protocols.coap.request import DEREGISTER, Request, Response
from thinbridge.protocols.coap.response import BUSY, respond

if TYPE_CHECKING:
    from thinbridge.protocols.coap import CoAPSession, CoAPSettings

CONFIRMABLE: Final = {"true": True, "false": False}
"""What `coapconfirmable` says; anything else: as the observation has it."""

OTHER_FORMAT: Final[Response] = (NOT_ACCEPTABLE, (), b"the Content-Format changed")
"""What ends an observation whose states come in another format than the first (RFC 7641 §4.2)."""


class Observations:
    """The relations of one session.

    Args:
        session: whose they are.
        outgoing: its CONs.
        observers: the list for the whole endpoint.
        settings: of the endpoint.
        counters: of the endpoint.
        events: where the session's events are collected.
        send: sends datagrams to the peer.
        number: draws the number of an exchange.
    """

    __slots__ = (
        *("_asked", "_by_target", "_by_token", "_counters", "_events", "_notifier", "_number", "_observers"),
        *("_outgoing", "_send", "_session", "_settings"),
    )

    def __init__(
        self,
        session: "CoAPSession",
        outgoing: Outgoing,
        observers: Observers,
        settings: "CoAPSettings",
        counters: Counter[str],
        events: list[Event],
        send: Callable[[Sequence[bytes]], None],
        number: Callable[[], int],
    ) -> None:
        self._session = session
        self._outgoing = outgoing
        self._observers = observers
        self._settings = settings
        self._counters = counters
        self._events = events
        self._send = send
        self._number = number
        self._notifier = Notifier(outgoing, settings, counters, events, send, self._remove)
        self._by_token: dict[bytes, Observation] = {}  # that are granted
        self._asked: dict[int, Observation] = {}  # by exchange: that wait for the function's word
        self._by_target: dict[int, Observation] = {}  # by what pushes name: a registration, and where it was asked last

    def __len__(self) -> int:
        return len(self._by_token) + len(self._asked)

    @property
    def under_way(self) -> int:
        """How many notifications are not acknowledged."""
        return self._notifier.under_way

    # --- From the device ----------------------------------------------------------------------------------------------

    def asked(self, exchange: int, message: Message, request: Request, body: bytes, now: float) -> bool:
        """A GET or FETCH with Observe.

        Returns:
            Whether it is delivered as what it asks for. If not, as where there is no room, it is only a GET (§4.1).
        """
        known = self._by_token.get(message.token)
        if request.observe == DEREGISTER:
            self._cancel(message.token, now)
            return True
        if request.block2 is not None and request.block2.num:
            return False  # a later block is what is asked for: it has no notifications (RFC 7959 §2.6)
        if known is None and (len(self) >= self._settings.observations or self._observers.full):
            self._counters["observations_full"] += 1
            return False
        observation = Observation(self._session, self._notifier, exchange, message, request, body, now)
        self._asked[exchange] = self._by_target[exchange] = observation
        self._observers.add(observation)
        return True

    def _cancel(self, token: bytes, now: float) -> None:
        """The device wants it no more (§3.6), nor one that the function has yet to grant."""
        known = self._by_token.get(token)
        if known is not None:
            self._end(known, now)
        for exchange in [exchange for exchange, one in self._asked.items() if one.token == token]:
            self.forget(exchange)

    def reset(self, mid: int, now: float) -> bool:
        """A RST; whether it was for a NON of an observation, which is over then (§3.6)."""
        for observation in self._by_token.values():
            if mid in observation.mids:
                self._counters["reset"] += 1
                self._end(observation, now)
                return True
        return False

    # --- The registration's answer ------------------------------------------------------------------------------------

    def decide(self, exchange: int, reply: Reply, response: Response, now: float) -> Observation | None:
        """The registration is answered: the relation begins if that grants it, else there is none."""
        observation = self._asked.pop(exchange, None)
        if observation is None:
            return None
        old = self._by_token.get(observation.token)
        if old is not None:  # §4.1: a registration with the same token replaces; a response without Observe ends
            observation.sequence = old.sequence
            self._end(old, now)
        if ends(response) or reply.attributes.get("coapobserve") not in GRANTS:
            if observation.waiting is not None:
                self._counters["push_refused"] += 1
            self._remove(observation)
            return None
        self._by_token[observation.token] = observation
        observation.granted = True
        observation.in_format(response)
        observation.steer(reply, response, self._settings.refresh_pause, now)
        return observation

    def forget(self, exchange: int) -> None:
        """There is no answer, or none that the device hears."""
        observation = self._asked.pop(exchange, None)
        if observation is not None:
            self._remove(observation)

    def first(self, observation: Observation, response: Response, now: float) -> None:
        """The registration's answer as a message of its own."""
        self._notifier.first(observation, response, now)

    def follow(self, observation: Observation, now: float) -> None:
        """The registration's answer is on its way: what came before it may go out now."""
        self._notifier.follow(observation, now)

    # --- States -------------------------------------------------------------------------------------------------------

    def push(self, target: int, outbound: Outbound, push: int, now: float) -> PushResult | None:
        """Something for one observation; what became of it, None if that is to be reported."""
        observation = self._by_target.get(target)
        if observation is None:
            return PushResult.REFUSED
        return self.update(observation, as_reply(outbound), self._observers.turn(), push, now)

    def answered(self, exchange: int, reply: Reply, now: float) -> bool:
        """The function was asked again, and this is what came of it; False: nobody asked."""
        observation = self._by_target.get(exchange)
        if observation is None or not observation.waits or observation.asked != exchange:
            return False
        if reply.outcome is Outcome.PENDING:
            return True
        observation.waits = False
        if reply.outcome in (Outcome.ACCEPTED, Outcome.REFUSED) or reply.status == 404:
            self.update(observation, reply, observation.since, 0, now)
        else:  # the state is unknown, not gone: what the device has goes stale, and the next answer may come
            self._counters["refresh_failed"] += 1
            observation.asks = now + max(observation.age, reply.retry_after or 0.0, self._settings.refresh_pause)
        return True

    def update(self, observation: Observation, reply: Reply, turn: int, push: int, now: float) -> PushResult | None:
        """A state of what is observed; older than the one before, it is nothing new."""
        if turn < observation.turn:
            self._counters["superseded"] += 1
            return PushResult.QUEUED
        observation.turn = turn
        request = observation.request
        response = observation.in_format(respond(request, observation.formatted(reply), self._counters))
        if response is None:
            self._counters["format_changed"] += 1
            response = OTHER_FORMAT
        observation.steer(reply, response, self._settings.refresh_pause, now)
        response = self._session.transfers.fitted(request, response, now)
        held = Held(response, CONFIRMABLE.get(reply.attributes.get("coapconfirmable", "")))
        return self._notifier.notify(observation, held, push, now)

    # --- Time ---------------------------------------------------------------------------------------------------------

    def next_timer(self) -> float:
        """The first of: a NON that may go out, a function to be asked."""
        when = self._notifier.next_timer()
        for observation in self._by_token.values():
            if observation.asks < when and _idle(observation):
                when = observation.asks
        return when

    def handle_timer(self, now: float, draining: bool) -> None:
        """Send what waited for its time; ask functions again."""
        self._notifier.handle_timer(now)
        for observation in self._by_token.values():
            if observation.asks <= now and _idle(observation):
                self._ask(observation, now, draining)

    def _ask(self, observation: Observation, now: float, draining: bool) -> None:
        """Report the registration once more, as another message."""
        if draining:
            observation.asks = inf
            return
        if not observation.refresh and now < observation.confirmed + CONFIRM_WITHIN:  # it has confirmed since
            observation.asks = observation.confirmed + CONFIRM_WITHIN
            return
        self._by_target.pop(observation.asked, None)
        observation.asked = exchange = self._number()
        self._by_target[exchange] = observation
        observation.since = self._observers.turn()
        observation.waits = True
        request = observation.request
        self._events.append(
            Inbound(
                exchange,
                contract.COAP_REQUEST,
                request.subject,
                {**request.attributes, "coapobserve": "refresh"},
                request.content_type,
                observation.payload,
            )
        )

    # --- Ends ---------------------------------------------------------------------------------------------------------

    def _end(self, observation: Observation, now: float) -> None:
        """It is over, and nothing more is sent for it."""
        self._remove(observation)
        self._notifier.drop(observation, now)

    def _remove(self, observation: Observation) -> None:
        """It is no relation any more; what ends it may be under way."""
        observation.over = True
        self._observers.discard(observation)
        if self._by_token.get(observation.token) is observation:
            del self._by_token[observation.token]
        del self._by_target[observation.exchange]
        self._by_target.pop(observation.asked, None)
        self._notifier.forget(observation)

    def close(self) -> None:
        """End all, and say so: a device that hears it may register with another replica at once (§4.2)."""
        code, options, payload = BUSY
        for observation in list(self._by_token.values()):
            self._send([compose(Type.NON, code, self._outgoing.next_mid(), observation.token, options, payload)])
            self._remove(observation)
        for observation in self._asked.values():
            self._remove(observation)
        self._asked.clear()


def as_reply(outbound: Outbound) -> Reply:
    """What was posted, as the answer that a GET would get now."""
    attributes, is_event = outbound.attributes, outbound.is_event
    event = attributes if is_event else NO_ATTRIBUTES
    return Reply(
        Outcome.ACCEPTED, 200, outbound.content_type, outbound.data, attributes, is_event=is_event, event=event
    )


def _idle(observation: Observation) -> bool:
    """Whether the function may be asked: it is not being asked, and the device has acknowledged what it was told."""
    return not observation.waits and observation.under_way is None
