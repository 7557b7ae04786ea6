"""One CoAP peer: the message layer of RFC 7252 §4 on the server's side, and the requests that are open.

A request is reported once. Its answer goes out piggybacked if it comes within `ack_delay`, else the device gets its
empty ACK and, later, one separate response that is retransmitted until it is acknowledged. Made by `CoAP.open`.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

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
)
from thinbridge.protocols.coap.codec import Message, OptionValue, decode, empty, encode, header
from thinbridge.protocols.coap.codes import EMPTY, REQUEST_ENTITY_TOO_LARGE, SERVICE_UNAVAILABLE, Option, Type
from thinbridge.protocols.coap.memory import EXCHANGE_LIFETIME, Entry
from thinbridge.protocols.coap.outgoing import Outgoing
from thinbridge.protocols.coap.request import Refused, Request, read
from thinbridge.protocols.coap.response import Response, respond, unavailable

if TYPE_CHECKING:
    from thinbridge.protocols.coap import CoAP


class CoAPSession(Session):
    """A peer's address and port."""

    def __init__(self, protocol: "CoAP", key: Hashable, path: Path, now: float) -> None:
        self._key = key
        self.id = protocol.session_id()
        self.identity = path.identity
        self.peer = f"{path.peer[0]}:{path.peer[1]}" if ":" not in path.peer[0] else f"[{path.peer[0]}]:{path.peer[1]}"
        self._protocol = protocol
        self._settings = protocol.settings
        self._who = (f"{path.identity.kind}:{path.identity.name}" if path.identity else self.peer).encode()
        self._opened = now
        self._exchanges = 0
        self._open: dict[int, Entry] = {}
        self._by_mid: dict[int, Entry] = {}  # in order of arrival
        self._stored: deque[Entry] = deque()  # with a reply, in order of answer
        self._unacknowledged: deque[tuple[float, Entry]] = deque()  # when their empty ACK is due
        self._outgoing = Outgoing(protocol.entropy, protocol.counters, self._settings.nstart)
        self._pushes = 0
        self._draining = False
        self._events: deque[Event] = deque()
        self._out: list[Sent] = []

    # --- From the device --------------------------------------------------------------------------------------

    def receive(self, data: bytes, path: Path, now: float) -> None:
        """One datagram."""
        try:
            message = decode(data)
        except DecodeError as error:
            self._malformed(data, error, path)
            return
        kind = message.type
        if 0 < message.code < 32 and (kind is Type.CON or kind is Type.NON):
            self._request(message, data, path, now)
        elif kind is Type.ACK or kind is Type.RST:  # for a separate response of ours; others are ignored (§4.2)
            if message.code == EMPTY:
                self._out += self._outgoing.acknowledged(message.mid, kind, now)
                self._see_busy()
        elif kind is Type.CON:  # a ping (§4.3), a response that nobody asked for, a reserved class (§4.2)
            self._protocol.counters["ping" if message.code == EMPTY else "unexpected"] += 1
            self._out.append((empty(Type.RST, message.mid), path))
        else:
            self._protocol.counters["unexpected"] += 1

    def _malformed(self, data: bytes, error: DecodeError, path: Path) -> None:
        """A CON is rejected by RST, all else is silence (RFC 7252 §4.2, §4.3)."""
        self._protocol.counters[f"malformed_{error.reason}"] += 1
        head = header(data)
        if head is not None and head[0] is Type.CON:
            self._out.append((empty(Type.RST, head[1]), path))

    def _request(self, message: Message, data: bytes, path: Path, now: float) -> None:
        digest = hash(data)
        known = self._by_mid.get(message.mid)
        if known is not None:
            if known.digest == digest and now < known.expires:
                self._repeated(known, path)
                return
            self.forget(known)
        try:
            request = self._read(message, data)
        except Refused as refused:
            self._protocol.counters[refused.counter] += 1
            self._refuse(message, (refused.code, [], refused.reason.encode()), path)
            return
        self._exchanges += 1
        entry = Entry(self, self._exchanges, message, request, digest, path, now)
        self._remember(entry)
        self._open[entry.exchange] = entry
        self.busy = True
        if message.type is Type.CON:
            self._unacknowledged.append((now + self._settings.ack_delay, entry))
        self._events.append(
            Inbound(
                entry.exchange,
                contract.COAP_REQUEST,
                request.subject,
                request.attributes,
                request.content_type,
                message.payload,
                self._who + b" " + data[1:],  # all that a retransmission repeats
                EXCHANGE_LIFETIME,
            )
        )

    def _read(self, message: Message, data: bytes) -> Request:
        """The request, if there is room for it.

        Raises:
            Refused: with 4.13 or 5.03, or as `read` says.
        """
        if len(data) > self._settings.max_message:
            raise Refused(REQUEST_ENTITY_TOO_LARGE, f"at most {self._settings.max_message} bytes", "too_large")
        if self._draining:
            raise Refused(SERVICE_UNAVAILABLE, "", "draining")
        if len(self._open) >= self._settings.open_exchanges:
            raise Refused(SERVICE_UNAVAILABLE, "", "exchanges_full")
        return read(message, self.peer)

    def _refuse(self, message: Message, response: Response, path: Path) -> None:
        """Answer at once and remember nothing: the same request gets the same answer again."""
        code, options, payload = response
        if code == SERVICE_UNAVAILABLE:
            code, options, payload = unavailable(1)
        kind, mid = (Type.ACK, message.mid) if message.type is Type.CON else (Type.NON, self._outgoing.fresh_mid())
        self._out.append((encode(Message(kind, code, mid, message.token, options, payload)), path))

    def _repeated(self, entry: Entry, path: Path) -> None:
        """A repeat hears what the first one heard (§4.5); a NON's is ignored."""
        self._protocol.counters["repeated"] += 1
        if entry.type is Type.NON:
            return
        if entry.reply is not None:
            self._out.append((entry.reply, path))
        elif entry.acknowledged or not entry.answered:
            self._acknowledge(entry)

    def _acknowledge(self, entry: Entry) -> None:
        """The empty ACK: we have it, and work on it (§5.2.2)."""
        entry.acknowledged = True
        self._out.append((empty(Type.ACK, entry.mid), entry.path))

    # --- From the bridge --------------------------------------------------------------------------------------

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        """Send the response: piggybacked while there is time, else separate."""
        entry = self._open.get(exchange)
        if entry is None or entry.request is None:
            return False
        if reply.outcome is Outcome.PENDING:
            return True  # stays open: the answer follows by `replyto`
        del self._open[exchange]
        request, entry.request, entry.answered = entry.request, None, True
        code, options, payload = respond(request, reply, self._settings.max_payload)
        if request.block1 is not None:
            options = sorted([*options, (int(Option.BLOCK1), request.block1)], key=lambda option: option[0])
        if request.no_response >> ((code >> 5) - 1) & 1:  # RFC 7967 §2.1: its class is not wanted
            self._suppress(entry)
        else:
            self._respond(entry, code, options, payload, now)
        self._see_busy()
        return True

    def _respond(self, entry: Entry, code: int, options: list[OptionValue], payload: bytes, now: float) -> None:
        if entry.type is Type.NON:  # §5.2.3: a NON is answered by a NON
            message = Message(Type.NON, code, self._outgoing.fresh_mid(), entry.token, options, payload)
            self._out.append((encode(message), entry.path))
        elif not entry.acknowledged:
            entry.acknowledged = True
            data = encode(Message(Type.ACK, code, entry.mid, entry.token, options, payload))
            self._store(entry, data)
            self._out.append((data, entry.path))
        else:
            message = Message(Type.CON, code, self._outgoing.fresh_mid(), entry.token, options, payload)
            self._out += self._outgoing.send(message.mid, encode(message), entry.path, now)

    def _suppress(self, entry: Entry) -> None:
        """No response is wanted; a CON still gets its ACK."""
        self._protocol.counters["no_response"] += 1
        if entry.type is Type.CON and not entry.acknowledged:
            self._acknowledge(entry)

    def push(self, target: int | None, outbound: Outbound, now: float) -> int:
        """CoAP devices hear of nothing that they did not ask for: `REFUSED`, until they can observe."""
        self._pushes += 1
        self._protocol.counters["push_refused"] += 1
        self._events.append(Pushed(self._pushes, PushResult.REFUSED))
        return self._pushes

    def close(self, reason: str, now: float) -> None:
        """Forget everything; the device finds out by its own timers."""
        for entry in list(self._by_mid.values()):
            self.forget(entry)
        self._open.clear()
        self._over()

    def drain(self, now: float) -> None:
        """New requests get 5.03 with Max-Age 1; repeats and what is open go on."""
        self._draining = True

    # --- What is remembered -------------------------------------------------------------------------------------

    def _remember(self, entry: Entry) -> None:
        if len(self._by_mid) >= self._settings.remembered:
            oldest = next((one for one in self._by_mid.values() if one.answered), None)
            if oldest is not None:
                self._protocol.counters["forgotten"] += 1
                self.forget(oldest)
        self._by_mid[entry.mid] = entry
        for oldest in self._protocol.memory.add(entry):
            self._protocol.counters["forgotten"] += 1
            oldest.session.forget(oldest)

    def _store(self, entry: Entry, reply: bytes) -> None:
        self._protocol.memory.store(entry, reply)
        self._stored.append(entry)
        if len(self._stored) > self._settings.replies:
            self._protocol.memory.release(self._stored.popleft())

    def forget(self, entry: Entry) -> None:
        """Let go of an entry: its key and its reply."""
        if self._by_mid.get(entry.mid) is entry:
            del self._by_mid[entry.mid]
        self._protocol.memory.forget(entry)

    def _see_busy(self) -> None:
        self.unsettled = bool(self._outgoing)
        self.busy = bool(self._open) or self.unsettled

    # --- The owner's side ---------------------------------------------------------------------------------------

    def next_event(self) -> Event | None:
        """Requests, and the outcomes of pushes."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> Sequence[Sent]:
        """Datagrams."""
        if not self._out:
            return ()
        out, self._out = self._out, []
        return out

    def next_timer(self) -> float:
        """The first of: an empty ACK that is due, a retransmission, the end of what is remembered."""
        waiting = self._unacknowledged
        while waiting and waiting[0][1].acknowledged:
            waiting.popleft()
        when = self._end()
        if waiting and waiting[0][0] < when:
            when = waiting[0][0]
        if self._outgoing and (due := self._outgoing.due()) < when:
            when = due
        return when

    def _end(self) -> float:
        """When the oldest memory ends; a session that never had one lasts as long."""
        for entry in self._by_mid.values():
            return entry.expires
        return self._opened + EXCHANGE_LIFETIME

    def handle_timer(self, now: float) -> None:
        """Acknowledge, retransmit, forget; a session without memory is over."""
        waiting = self._unacknowledged
        while waiting and waiting[0][0] <= now:
            _, entry = waiting.popleft()
            if not entry.acknowledged:
                self._acknowledge(entry)
        self._out += self._outgoing.handle_timer(now)
        while self._by_mid and self._end() <= now:
            entry = next(iter(self._by_mid.values()))
            self.forget(entry)
            if self._open.pop(entry.exchange, None) is not None:
                self._protocol.counters["expired"] += 1  # nobody answered it
        while self._stored and self._stored[0].expires <= now:
            self._stored.popleft()
        self._see_busy()
        if not self._by_mid and not self.busy and now >= self._opened + EXCHANGE_LIFETIME:
            self._over()

    def _over(self) -> None:
        self._protocol.proven.discard(self._key)
        self.closed = True
