"""One CoAP peer: the message layer of RFC 7252 §4 on the server's side, and the requests that are open.

A request is reported once. Its answer goes out piggybacked if it comes within `ack_delay`, else the device gets its
empty ACK and, later, one separate response that is retransmitted until it is acknowledged. Made by `CoAP.open`.

Over 400 lines because it is one state machine; what can stand alone does: `memory`, `outgoing`, `transfers`,
`observations`.
"""

from collections.abc import Hashable, Sequence
from math import inf
from typing import TYPE_CHECKING, Final

from thinbridge import contract
from thinbridge.errors import DecodeError
from thinbridge.protocols.base import (
    Event,
    Inbound,
    Outbound,
    Outcome,
    Path,
    Pushed,
    PushResult,
    Reply,
    Sent,
    Session,
    peer_text,
)
from thinbridge.protocols.coap import cloudevents, discovery
from thinbridge.protocols.coap.blockwise import digest_of
from thinbridge.protocols.coap.codec import Message, OptionValue, compose, decode, empty, from_uint, rejection
from thinbridge.protocols.coap.codes import BAD_OPTION, BARE, CONTINUE, EMPTY, FETCH, GATEWAY_TIMEOUT, Option, Type
from thinbridge.protocols.coap.memory import EXCHANGE_LIFETIME, LIFETIMES, Entry, Memory
from thinbridge.protocols.coap.observation import Observation
from thinbridge.protocols.coap.observations import Observations
from thinbridge.protocols.coap.outgoing import Outgoing, Transmission
from thinbridge.protocols.coap.representations import part_of
from thinbridge.protocols.coap.request import Refused, Request, Response, TurnedAway, read
from thinbridge.protocols.coap.response import BUSY, respond
from thinbridge.protocols.coap.transfers import Transfers
from thinbridge.protocols.coap.uploads import too_large

if TYPE_CHECKING:
    from thinbridge.protocols.coap import CoAP


READ_ONCE: Final = 256
"""Bytes before a request's payload up to which its reading is kept for the next one: devices' requests have tens, and a
session keeps it for as long as it lives. An elective option of 65,000 bytes is legal, and of no use to anybody."""


OVERHEAD: Final = 10
"""Bytes that Block1 and Size1 take of a request, at most."""


class CoAPSession(Session):
    """A peer's address and port."""

    def __init__(self, protocol: "CoAP", key: Hashable, path: Path, now: float) -> None:
        self._key = key
        self.id = protocol.session_id()
        self.identity = path.identity
        self.peer = peer_text(path.peer)
        self._protocol = protocol
        self._counters = protocol.counters
        self._settings = protocol.settings
        self._path = path
        who = f"{path.identity.kind}:{path.identity.name}" if path.identity else self.peer
        self._who = f"{len(who)} {who} ".encode()
        self._exchanges = 0
        self._open: dict[int, Entry] = {}  # requests that wait for their answers, in order of arrival
        self._memory = Memory(protocol.shared, self._settings.remembered, self._settings.replies, protocol.counters)
        self._outgoing = Outgoing(protocol.entropy, protocol.counters, self._settings.nstart)
        self._charge = protocol.rate.charge
        self._paid = 0.0
        """Until when its messages are paid for, by the endpoint's `rate`."""
        self._observations: Observations | None = None  # until it asks to observe
        self.transfers = Transfers(protocol)
        self._sweep = now + EXCHANGE_LIFETIME
        """When to look for what can be forgotten: the memory's oldest, or the session."""
        self._asked: tuple[int, Sequence[OptionValue]] = EMPTY, ()
        self._reading: Request  # of what was asked last
        self._pushes = 0
        self._draining = False
        self._events: list[Event] = []
        self._out: list[Sent] = []

    # --- From the device --------------------------------------------------------------------------------------

    def receive(self, data: bytes, path: Path, now: float) -> None:
        """One datagram."""
        self._path = path  # answers go where the device was heard last
        try:
            message = decode(data)
        except DecodeError as error:
            self._counters[f"malformed_{error.reason}"] += 1
            reset = rejection(data)
            if reset is not None:
                self._send(reset)
            return
        kind = message.type
        if 0 < message.code < 32 and kind <= Type.NON:
            self._request(message, data, now)
        elif kind >= Type.ACK and message.code == EMPTY:  # for a separate response, or a notification, of ours
            self._acknowledged(message.mid, kind, now)
        elif kind == Type.CON:  # a ping (§4.3), a response that nobody asked for, a reserved class (§4.2)
            self._counters["ping" if message.code == EMPTY else "unexpected"] += 1
            self._send(empty(Type.RST, message.mid))
        else:
            self._counters["unexpected"] += 1

    def _acknowledged(self, mid: int, kind: int, now: float) -> None:
        observations = self._observations
        if kind == Type.ACK or observations is None or not observations.reset(mid, now):
            self._send_all(self._outgoing.acknowledged(mid, kind, now))
        self._see_busy()

    def _request(self, message: Message, data: bytes, now: float) -> None:
        digest = hash(data)
        known = self._memory.known(message.mid, digest, now)
        if known is not None:
            self._repeated(known)
            return
        challenge = self._protocol.held_back(message, data, self._path, now)
        if challenge is not None:
            self._send(challenge)
            return
        response = self.transfers.later(message, now)
        if response is not None:
            self._reply(message, response)  # a repeat is served as the first one was: nothing to remember
            return
        try:
            request = self._read(message, data, now)
            known_here = request.subject == discovery.PATH and discovery.asked(request, self._protocol.resources)
            if request.block1 is None or not request.block1.more:
                self._admit(now)
            body = self.transfers.body(message, request, now)
            event = cloudevents.read(request, body) if request.carries and isinstance(body, bytes) else None
        except Refused as refused:
            reply = self._refuse(message, refused)
            # When a copy of it comes there may be room, and its device was told 5.03; or another body may be open. A
            # copy of a NON is ignored (§4.5).
            if message.type == Type.NON or isinstance(refused, TurnedAway) or message.get(Option.BLOCK1) is not None:
                self._memory.note(Entry(0, message, None, digest, now, 0.0), reply)
            return
        if isinstance(body, tuple):
            self._memory.note(Entry(0, message, None, digest, now, 0.0), self._reply(message, body))
            return
        if message.code in BARE:
            body = b""
        elif message.code == FETCH:
            request = request.asking(body)
        exchange = self._next_exchange()
        if request.observe is not None:
            request = self._observe(exchange, message, request, body, now)
        entry = self._open[exchange] = Entry(exchange, message, request, digest, now, self._settings.ack_delay)
        self._memory.add(entry)
        self.busy = True
        if known_here:
            arguments = message.all(Option.URI_QUERY)
            self.answer(exchange, discovery.answer(self._protocol.resources, arguments, request.attributes), now)
        else:
            self._report(message, request, body, data, event)

    def _next_exchange(self) -> int:
        self._exchanges += 1
        return self._exchanges

    def _observe(self, exchange: int, message: Message, request: Request, body: bytes, now: float) -> Request:
        """A request with Observe; without it, if there is no room for an observation (RFC 7641 §4.1)."""
        if self._observations is None:
            self._observations = Observations(
                self,
                self._outgoing,
                self._protocol.observers,
                self._settings,
                self._counters,
                self._events,
                self._send_all,
                self._next_exchange,
            )
        asked = self._observations.asked(exchange, message, request, body, now)
        return request if asked else request.without_observe()

    def _admit(self, now: float) -> None:
        """See that one more may be delivered.

        Raises:
            Refused: with 4.29 or 5.03.
        """
        if self._full():
            raise TurnedAway(BUSY, "exchanges_full")
        self._paid = self._charge(self._paid, now)

    def _full(self) -> bool:
        """An answer that is not acknowledged counts: it is kept, too. Notifications have a limit of their own."""
        limit, kept = self._settings.open_exchanges, len(self._open) + len(self._outgoing.open)
        if kept >= limit and self._observations is not None:
            kept -= self._observations.under_way
        return kept >= limit

    def _report(
        self, message: Message, request: Request, body: bytes, data: bytes, event: cloudevents.Event | None
    ) -> None:
        key = self._who + data  # a retransmission is the same, byte for byte (§4.2)
        if request.block1 is not None and request.block1.num:
            key += digest_of(body)  # the last blocks of two bodies may be the same
        inbound = Inbound(
            self._exchanges,
            contract.COAP_REQUEST,
            request.subject,
            request.attributes,
            request.content_type,
            body,
            key,
            LIFETIMES[message.type],
        )
        if event is not None:  # of the device's own
            inbound = inbound._replace(content_type=event.content_type, data=event.data, event=event.attributes)
        self._events.append(inbound)

    def _read(self, message: Message, data: bytes, now: float) -> Request:
        """What the request says.

        Raises:
            Refused: with 4.01, 4.13 or 5.03, or as `read` says.
        """
        settings = self._settings
        if len(data) > settings.max_message:  # in blocks there would be more room (RFC 7959 §2.9.3)
            room = settings.max_message - (len(data) - len(message.payload)) - OVERHEAD
            raise too_large(settings.max_upload, self.transfers.hints(room))
        if self._draining:
            raise TurnedAway(BUSY, "draining")
        if settings.freshness:
            self._protocol.echo.check(message, self._path.peer, now)
        asked = message.code, message.options
        if asked == self._asked:  # most devices ask for the same again and again
            return self._reading
        request = read(message, self.peer, settings.event_format)
        if len(data) - len(message.payload) <= READ_ONCE:
            self._asked, self._reading = asked, request
        return request

    def _refuse(self, message: Message, refused: Refused) -> bytes:
        """Answer at once; what was said. A CON that can't be processed needs no memory for its repeats: each is refused
        as the first one was."""
        self._counters[refused.counter] += 1
        if isinstance(refused, TurnedAway) and message.type == Type.NON:
            return b""
        return self._reply(message, refused.response)

    def _reply(self, message: Message, response: Response) -> bytes:
        """Answer at once, and say with what."""
        reply = self._composed(message, response)
        if reply:
            self._send(reply)
        return reply

    def _composed(self, message: Message, response: Response) -> bytes:
        code, options, payload = response
        no_response = message.get(Option.NO_RESPONSE)
        if code == BAD_OPTION and message.type == Type.NON:
            return empty(Type.RST, message.mid)  # §5.4.1: rejected, not answered
        if no_response is not None and code != CONTINUE and _unwanted(code, from_uint(no_response)):
            return empty(Type.ACK, message.mid) if message.type == Type.CON else b""
        if message.type == Type.CON:
            return compose(Type.ACK, code, message.mid, message.token, options, payload)
        return compose(Type.NON, code, self._outgoing.next_mid(), message.token, options, payload)

    def _repeated(self, entry: Entry) -> None:
        """A repeat hears what the first one heard (§4.5); a NON's is ignored."""
        self._counters["repeated"] += 1
        if entry.type == Type.NON:
            return
        if entry.reply:
            self._send(entry.reply)
        elif entry.reply is None:
            self._acknowledge(entry)
        else:  # it was answered, and we don't know any more with what
            self._send(compose(Type.ACK, GATEWAY_TIMEOUT, entry.mid, entry.token))

    def _acknowledge(self, entry: Entry) -> None:
        """The empty ACK: we have it, and work on it (§5.2.2)."""
        entry.acknowledged = True
        self._send(empty(Type.ACK, entry.mid))

    # --- From the bridge --------------------------------------------------------------------------------------

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        """Send the response: piggybacked while there is time, else separate."""
        if exchange not in self._open:
            answered = self._observations is not None and self._observations.answered(exchange, reply, now)
            self._see_busy()
            return answered
        if reply.outcome is Outcome.PENDING:
            return True  # and it stays open: the answer follows by `replyto`
        entry = self._open.pop(exchange)
        request = entry.request
        assert request is not None, "what is open has its request"
        response = respond(request, reply, self._counters)
        if request.no_response and _unwanted(response[0], request.no_response):
            self._suppress(entry)
        else:
            response = self.transfers.fitted(request, response, now, part_of(reply))
            if self._observations is None:
                self._respond(entry, response, now)
            else:
                self._respond_observing(self._observations, entry, reply, response, now)
        entry.request = None
        self._see_busy()
        return True

    def _respond_observing(
        self, observations: Observations, entry: Entry, reply: Reply, response: Response, now: float
    ) -> None:
        """Respond, perhaps as the first notification of an observation (RFC 7641 §4.1)."""
        observation = observations.decide(entry.exchange, reply, response, now)
        if observation is None:
            self._respond(entry, response, now)
        elif entry.acknowledged:
            observations.first(observation, response, now)
        else:
            self._respond(entry, observation.numbered(response, now), now)
            observations.follow(observation, now)

    def _respond(self, entry: Entry, response: Response, now: float) -> None:
        code, options, payload = response
        if not entry.acknowledged:
            entry.acknowledged = True
            data = compose(Type.ACK, code, entry.mid, entry.token, options, payload)
            self._memory.store(entry, data)
            self._send(data)
            return
        mid = self._outgoing.next_mid()
        data = compose(entry.type, code, mid, entry.token, options, payload)  # §5.2.3: a NON is answered by a NON
        if entry.type == Type.CON:
            self._send_all(self._outgoing.send(Transmission(mid, data), now))
        else:
            self._send(data)

    def _suppress(self, entry: Entry) -> None:
        """No response is wanted; a CON still gets its ACK (RFC 7967 §2.1)."""
        self._counters["no_response"] += 1
        if self._observations is not None:
            self._observations.forget(entry.exchange)  # nothing would notify it
        if not entry.acknowledged:
            self._acknowledge(entry)

    def push(self, target: int | None, outbound: Outbound, now: float) -> int:
        """Notify the observation that `target` registered; devices hear of nothing that they did not ask for."""
        self._pushes += 1
        result: PushResult | None = PushResult.REFUSED
        if self._observations is not None and target is not None:
            result = self._observations.push(target, outbound, self._pushes, now)
        if result is PushResult.REFUSED:
            self._counters["push_refused"] += 1
        if result is not None:
            self._events.append(Pushed(self._pushes, result))
        self._see_busy()
        return self._pushes

    def notify(self, observation: Observation, reply: Reply, turn: int, now: float) -> None:
        """Something was published that this peer observes; `Observers` calls it."""
        assert self._observations is not None
        self._observations.update(observation, reply, turn, 0, now)
        self._see_busy()

    def close(self, reason: str, now: float) -> None:
        """Forget everything; a device that observes is told so, others find out by their own timers."""
        if self._observations is not None:
            self._observations.close()
        self._open.clear()
        self._end()

    def drain(self, now: float) -> None:
        """New requests get 5.03 with Max-Age 1; repeats and what is open go on."""
        self._draining = True

    # --- The owner's side ---------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        self._out.append((data, self._path))

    def _send_all(self, datagrams: Sequence[bytes]) -> None:
        self._out += [(data, self._path) for data in datagrams]

    def _see_busy(self) -> None:
        self.unsettled = bool(self._outgoing.open)
        self.busy = self.unsettled or bool(self._open) or bool(self._observations)

    def next_event(self) -> Event | None:
        """Requests, and the outcomes of pushes."""
        return self._events.pop(0) if self._events else None

    def data_to_send(self) -> Sequence[Sent]:
        """Datagrams."""
        if not self._out:
            return ()
        out, self._out = self._out, []
        return out

    def next_timer(self) -> float:
        """The first of: an empty ACK that is due, a retransmission, what observations wait for, the next sweep."""
        when = self._sweep
        for entry in self._open.values():
            if not entry.acknowledged:
                if entry.due < when:
                    when = entry.due
                break
        if self._outgoing.open and (due := self._outgoing.due()) < when:
            when = due
        if self._observations and (due := self._observations.next_timer()) < when:
            when = due
        if self.transfers.used and (due := self.transfers.due()) < when:
            when = due
        return when

    def handle_timer(self, now: float) -> None:
        """Acknowledge, retransmit, forget; a session without memory is over."""
        for entry in self._open.values():
            if not entry.acknowledged and entry.due <= now:
                self._acknowledge(entry)
        self._send_all(self._outgoing.handle_timer(now))
        if self._observations:
            self._observations.handle_timer(now, self._draining)
        self.transfers.expire(now)
        if self._sweep <= now:
            self._forget(now)
        self._see_busy()

    def _forget(self, now: float) -> None:
        for entry in self._memory.expire(now):
            del self._open[entry.exchange]
            self._counters["expired"] += 1  # nobody answered it
            if self._observations is not None:
                self._observations.forget(entry.exchange)
        due = self._memory.due()
        if due is None:
            waits = self._outgoing.open or self._observations
            due = min(self.transfers.due(), now + EXCHANGE_LIFETIME if waits else inf)
        if due < inf:
            self._sweep = due  # what is not acknowledged is given up before that
        else:
            self._nothing_left(now)

    def _nothing_left(self, now: float) -> None:
        """Nothing is remembered of the peer: the session is over."""
        self._end()

    def _end(self) -> None:
        self._memory.clear()
        self.transfers.clear()
        self._protocol.proven.discard(self._key)
        self.closed = True


def _unwanted(code: int, classes: int) -> bool:
    """Whether a device has said by No-Response that it does not want such a response (RFC 7967 §2.1)."""
    return bool(classes >> (code >> 5) - 1 & 1)
