"""An MQTT Session (§4.1): what a device publishes, what it hears, over one connection after another.

Made or found by `MQTT.enter` for a CONNECT; the stream shell services it from the `Handover` on. It keeps its `id`, its
open exchanges, its subscriptions and what waits for the device until it expires. Over 400 lines because it is one
state machine: a connection's beginning and end touch everything in it.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thinbridge import contract
from thinbridge.errors import DecodeError
from thinbridge.protocols.base import (
    Decision,
    Event,
    Inbound,
    Opened,
    Outbound,
    Outcome,
    Path,
    Pushed,
    PushResult,
    Reply,
    Sent,
    Session,
    Woke,
    peer_text,
)
from thinbridge.protocols.mqtt import cloudevents, codec, outbound, properties, reasons, topics, wire
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.connect import Connect, encode_connack
from thinbridge.protocols.mqtt.connection import Connection
from thinbridge.protocols.mqtt.exchanges import OPEN, WITHHELD, Exchange, Exchanges
from thinbridge.protocols.mqtt.inbound import Window
from thinbridge.protocols.mqtt.outbound import Message, Outbox
from thinbridge.protocols.mqtt.properties import Properties
from thinbridge.protocols.mqtt.topics import Subscription, Subscriptions

if TYPE_CHECKING:
    from thinbridge.protocols.mqtt import MQTT


@dataclass(frozen=True, slots=True)
class Will:
    """What is reported if the device is lost (§3.1.2.5)."""

    topic: str
    message: cloudevents.Message
    qos: int
    delay: float
    """Seconds after the loss; a device that is back by then was not lost (MQTT 5 §3.1.3.2.2)."""


class MQTTSession(Session):
    """One device's Session."""

    def __init__(self, protocol: "MQTT", connect: Connect, decision: Decision, path: Path) -> None:
        settings = protocol.settings
        self.id = protocol.session_id()
        self.identity = decision.identity or path.identity
        name = self.identity.name if self.identity is not None else None
        self.device = decision.device or name or connect.username or connect.client_id
        self._protocol = protocol
        self._client_id = connect.client_id
        self._key = bytes.fromhex(self.id)
        self._connection: Connection | None = None
        self._draining = False
        self._will: Will | None = None
        self._will_due: float | None = None  # while offline
        self._expiry = 0.0  # seconds that it outlives a connection
        self._expires: float | None = None  # while offline
        self._subscriptions = Subscriptions(settings.subscriptions)
        self._window = Window(settings.window)
        self._outbox = Outbox(
            settings.outbound_queue, settings.outbound_bytes, settings.outbound_window, protocol.counters
        )
        self._exchanges = Exchanges(settings.replies, settings.replies_bytes, protocol.counters)
        self._pushes = 0
        self._events: deque[Event] = deque((Opened(),))
        self._chunks: list[bytes] = []  # for the connection
        self._out: list[Sent] = []
        self._handlers = {
            codec.PUBACK: self._on_puback,
            codec.SUBSCRIBE: self._on_subscribe,
            codec.UNSUBSCRIBE: self._on_unsubscribe,
            codec.PINGREQ: self._on_ping,
            codec.DISCONNECT: self._on_disconnect,
        }
        protocol.sessions[connect.client_id] = self

    # --- connections ---------------------------------------------------------------------------------------------

    def attach(
        self, connect: Connect, will: Will | None, path: Path, present: bool, assigned: bool, now: float
    ) -> None:
        """A connection for it, whose CONNECT was accepted; an older one hears that it was taken over."""
        if self._connection is not None:
            self._protocol.counters["taken_over"] += 1
            self._hang_up(reasons.TAKEN_OVER)  # MQTT-3.1.4-3
            self._lose(now, resumed=True)
        settings, values = self._protocol.settings, connect.properties
        self._protocol.offline.pop(self._client_id, None)
        self.peer = peer_text(path.peer)
        wanted = values.get(properties.SESSION_EXPIRY, 0) if connect.v5 else (not connect.clean) * 0xFFFFFFFF
        self._expiry = float(min(wanted, settings.session_expiry))
        keep_alive = connect.keep_alive
        if connect.v5:
            keep_alive = min(keep_alive or settings.keep_alive, settings.keep_alive)
        framer = wire.Framer(settings.max_packet)
        self._connection = Connection(path, connect.v5, keep_alive, framer, settings.topic_aliases, now)
        self._will, self._will_due, self._expires = will, None, None
        self.busy = True
        self._pace()
        announced = self._announce(connect, assigned, keep_alive) if connect.v5 else properties.NONE
        self._chunks.append(encode_connack(reasons.SUCCESS, present, connect.v5, announced))
        self._outbox.attach(
            connect.v5,
            values.get(properties.RECEIVE_MAXIMUM, 0xFFFF),
            values.get(properties.MAXIMUM_PACKET_SIZE, wire.MAX_REMAINING + 5),
        )
        self._send(self._outbox.pump())

    def _announce(self, connect: Connect, assigned: bool, keep_alive: int) -> Properties:
        """What this server does differently from what MQTT 5 §3.2.2.3 takes for granted."""
        settings = self._protocol.settings
        values: dict[int, object] = {
            properties.RECEIVE_MAXIMUM: settings.window,
            properties.MAXIMUM_QOS: 1,
            properties.MAXIMUM_PACKET_SIZE: settings.max_packet,
            properties.TOPIC_ALIAS_MAXIMUM: settings.topic_aliases,
            properties.SUBSCRIPTION_IDS_AVAILABLE: 0,
            properties.SHARED_AVAILABLE: 0,
        }
        if self._expiry != connect.properties.get(properties.SESSION_EXPIRY, 0):
            values[properties.SESSION_EXPIRY] = int(self._expiry)
        if assigned:
            values[properties.ASSIGNED_CLIENT_ID] = connect.client_id  # MQTT-3.2.2-16
        if keep_alive != connect.keep_alive:
            values[properties.SERVER_KEEP_ALIVE] = keep_alive  # MQTT-3.2.2-21
        return values

    def _hang_up(self, reason: int | None) -> None:
        """Close the connection, saying why where MQTT has words for it; `_lose` or `_end` follows."""
        assert self._connection is not None
        if reason is not None and self._connection.v5:
            self._chunks.append(codec.encode_disconnect(reason, True))
        self._flush()
        self._out.append((None, self._connection.path))

    def _lose(self, now: float, *, resumed: bool = False) -> None:
        """The connection is gone; the Session stays for as long as was agreed (MQTT 5 §3.1.2.11.2)."""
        self._connection = None
        self._chunks.clear()
        for exchange in self._window.disconnect():
            self._exchanges.end(exchange)
        self.paused = False
        will = self._will
        if will is not None and (not will.delay or not (resumed or self._expiry)):
            self._report_will()
        if resumed:
            return
        if not self._expiry:
            self._end(now)
            return
        self._outbox.detach()
        self._report_pushes()
        self._expires = now + self._expiry
        if self._will is not None:
            self._will_due = now + self._will.delay
        self._protocol.offline[self._client_id] = self
        self._settle()
        overflow = self._protocol.overflow()
        if overflow is not None:
            self._protocol.counters["offline_evicted"] += 1
            overflow.close("offline_sessions", now)
            if overflow is not self:
                self._events.append(Woke(overflow))

    def _end(self, now: float) -> None:
        """The Session is over: nothing of it is remembered."""
        if self._will is not None:
            self._report_will()  # MQTT-3.1.2-8: at the latest when the Session ends
        self._outbox.end()
        self._report_pushes()
        if self._protocol.sessions.get(self._client_id) is self:
            del self._protocol.sessions[self._client_id]
        self._protocol.offline.pop(self._client_id, None)
        self._connection = None
        self._chunks.clear()
        self._exchanges.clear()
        self._expires = None
        self.paused = self.busy = False
        self.closed = True

    def _report_will(self) -> None:
        """The device was lost: its will becomes an event."""
        will, self._will, self._will_due = self._will, None, None
        assert will is not None
        message = will.message
        self._events.append(
            Inbound(
                self._exchanges.number(),
                contract.MQTT_WILL,
                will.topic,
                message.attributes,
                message.content_type,
                message.data,
                at_least_once=will.qos > 0,
                wants_reply=False,
                expires=message.expires,
                event=message.event,
            )
        )

    def replaced(self, now: float) -> None:
        """A clean start under its client identifier ends it (MQTT-3.1.2-4)."""
        if self._connection is not None:
            self._protocol.counters["taken_over"] += 1
            self._hang_up(reasons.TAKEN_OVER)
        self._end(now)

    def eof(self, path: Path, now: float) -> None:
        """The connection broke without a DISCONNECT."""
        if self._connection is not None and path == self._connection.path:
            self._lose(now)

    def close(self, reason: str, now: float) -> None:
        """The bridge ends it; it was not the device that failed, so there is no will."""
        if self._connection is not None:
            self._hang_up(reasons.SHUTTING_DOWN)
        self._will = None
        self._end(now)

    def drain(self, now: float) -> None:
        """No new messages; the last PUBACK is followed by DISCONNECT 0x8B."""
        self._draining = True
        self._settle()
        self._drained(now)

    def _drained(self, now: float) -> None:
        if self._draining and not self.closed and not self._exchanges.unanswered:
            self.close("drain", now)

    def _fail(self, reason: int, counter: str, now: float) -> None:
        """The connection can't go on."""
        self._protocol.counters[counter] += 1
        self._hang_up(reason)
        self._lose(now)

    def _settle(self) -> None:
        self.busy = self._connection is not None or bool(self._exchanges) or self._will is not None

    # --- from the device -----------------------------------------------------------------------------------------

    def receive(self, data: bytes, path: Path, now: float) -> None:
        """Bytes of its connection."""
        connection = self._connection
        if connection is None or path != connection.path:
            return  # of a connection that was taken over
        try:
            for first, body in connection.feed(data, now):
                kind = first >> 4
                if kind == codec.PUBLISH:
                    self._on_publish(connection, first, body)
                else:
                    handler = self._handlers.get(kind)
                    if handler is None:
                        raise wire.protocol_error()  # CONNECT again (MQTT-3.1.0-2), QoS 2, what servers send, AUTH
                    handler(connection, first, body, now)
                if self._connection is not connection:
                    return
            if connection.error is not None:
                raise connection.error
        except DecodeError as error:
            self._fail(error.code, error.reason, now)

    def _on_publish(self, connection: Connection, first: int, body: bytes) -> None:
        publish = codec.decode_publish(first, body, connection.v5)
        topic = connection.topic(publish)
        if publish.qos == 2:
            raise DecodeError("qos2", reasons.QOS_NOT_SUPPORTED)  # MQTT 5 §3.2.2.3.4
        if self._draining:
            self._protocol.counters["draining"] += 1
            return  # withheld: the device keeps it for the next connection
        if publish.qos:
            self._receive_qos1(connection, publish, topic, len(body))
        elif self._exchanges.qos0 < self._protocol.settings.qos0_open:
            self._receive_qos0(connection, publish, topic, len(body))
        else:
            self._protocol.counters["qos0_dropped"] += 1

    def _receive_qos0(self, connection: Connection, publish: Publish, topic: str, size: int) -> None:
        try:
            message = self._read(connection, publish)
        except DecodeError as refusal:
            self._protocol.counters[refusal.reason] += 1
            return
        exchange = self._begin(Exchange(0), message, size)
        self._events.append(_inbound(exchange, topic, message))

    def _receive_qos1(self, connection: Connection, publish: Publish, topic: str, size: int) -> None:
        """A new message, a resend of one that is open (absorbed), or of one that was not accepted (tried again)."""
        window = self._window
        digest = hash((topic, publish.data))
        used = window.find(publish.packet_id, publish.dup, digest)
        if used is not None and used.here:
            self._protocol.counters["duplicates"] += 1
            return
        if connection.v5 and window.full():
            raise DecodeError("receive_maximum", reasons.RECEIVE_MAXIMUM)
        if used is not None and not self._withholds(connection, used):
            self._protocol.counters["duplicates"] += 1
            self._arrived(connection, used, None)
            return
        try:
            message = self._read(connection, publish)
        except DecodeError as refusal:
            self._protocol.counters[refusal.reason] += 1
            exchange = Exchange(1)  # without a digest: looked at anew on another connection, which may be 3.1.1
            exchange.packet_id, exchange.reason = publish.packet_id, refusal.code
            self._arrived(connection, exchange, None)
            return
        exchange = self._begin(used or Exchange(1), message, size)
        if used is None:
            exchange.packet_id, exchange.digest = publish.packet_id, digest
            exchange.key = self._key + publish.packet_id.to_bytes(2) + exchange.number.to_bytes(6)
        else:
            used.tried = True
        self._arrived(connection, exchange, _inbound(exchange, topic, message))

    def _arrived(self, connection: Connection, exchange: Exchange, inbound: Inbound | None) -> None:
        inbound = self._window.add(exchange, inbound)
        if inbound is not None:
            self._events.append(inbound)
        else:
            self._acknowledge(connection)

    def _begin(self, exchange: Exchange, message: cloudevents.Message, size: int) -> Exchange:
        self._exchanges.begin(exchange, message.response, message.correlation, size)
        self._pace()
        return exchange

    def _pace(self) -> None:
        """Read on, or not: the window is wider than clients' own, so it is bytes that count."""
        self.paused = self._exchanges.held > self._protocol.settings.held

    def _read(self, connection: Connection, publish: Publish) -> cloudevents.Message:
        if publish.properties:
            return cloudevents.read(publish)
        if self._protocol.settings.structured_311 and not connection.v5:
            return cloudevents.structured_or_plain(publish)
        return cloudevents.plain(publish)

    def _on_puback(self, connection: Connection, first: int, body: bytes, now: float) -> None:
        packet_id, reason = codec.decode_puback(body, connection.v5)
        if not self._outbox.acknowledged(packet_id, reason):
            self._protocol.counters["puback_unknown"] += 1
        self._send(self._outbox.pump())
        self._report_pushes()

    def _on_subscribe(self, connection: Connection, first: int, body: bytes, now: float) -> None:
        packet_id, values, filters = codec.decode_subscribe(first, body, connection.v5)
        if properties.SUBSCRIPTION_ID in values:
            raise DecodeError("subscription_id", reasons.NO_SUBSCRIPTION_IDS)  # announced: MQTT 5 §3.2.2.3.12
        codes = [self._subscribe(text, options) for text, options in filters]
        self._chunks.append(codec.encode_suback(codec.SUBACK, packet_id, codes, connection.v5))

    def _subscribe(self, text: str, options: int) -> int:
        """The code of one filter (MQTT 5 §3.9.3); there are no retained values to send, and no other publishers."""
        if text.startswith("$share/"):
            return reasons.NO_SHARED_SUBSCRIPTIONS
        if text.startswith("$") or not topics.is_filter(text):
            return reasons.FILTER_INVALID
        granted = min(options & 3, reasons.GRANTED_QOS_1)
        if self._subscriptions.add(text, Subscription(granted, options & 0x08 != 0)):
            return granted
        self._protocol.counters["subscriptions_full"] += 1
        return reasons.QUOTA

    def _on_unsubscribe(self, connection: Connection, first: int, body: bytes, now: float) -> None:
        packet_id, filters = codec.decode_unsubscribe(first, body, connection.v5)
        codes = [reasons.SUCCESS if self._subscriptions.remove(text) else reasons.NO_SUBSCRIPTION for text in filters]
        self._chunks.append(codec.encode_suback(codec.UNSUBACK, packet_id, codes, connection.v5))

    def _on_ping(self, connection: Connection, first: int, body: bytes, now: float) -> None:
        self._chunks.append(codec.PONG)  # MQTT-3.12.4-1

    def _on_disconnect(self, connection: Connection, first: int, body: bytes, now: float) -> None:
        reason, values = codec.decode_disconnect(first, body, connection.v5)
        expiry = values.get(properties.SESSION_EXPIRY)
        if expiry is not None:
            if expiry and not self._expiry:
                raise wire.protocol_error()  # MQTT-3.14.2-2
            self._expiry = float(min(expiry, self._protocol.settings.session_expiry))
        if reason == reasons.SUCCESS:
            self._will = None  # MQTT-3.14.4-3
        self._hang_up(None)
        self._lose(now)

    # --- answers -------------------------------------------------------------------------------------------------

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        """The PUBACK, then what the function answered, to the Response Topic or its `mqtttopic`."""
        found = self._exchanges.find(exchange)
        if found is None:
            return False
        outcome = reply.outcome
        if outcome is Outcome.PENDING:
            self._exchanges.wait(found)
        else:
            self._exchanges.end(found)
            if outcome is not Outcome.ACCEPTED:
                self._protocol.counters[f"not_{outcome.name.lower()}"] += 1
        if found.qos and found.reason == OPEN:
            self._decide(found, reply, now)
        if outcome is Outcome.ACCEPTED and (reply.data or reply.is_event):
            self._reply(found, reply)
        if self._connection is None:
            self._settle()
        elif self.paused:
            self._pace()
        if self._draining:
            self._drained(now)
        return True

    def _decide(self, exchange: Exchange, reply: Reply, now: float) -> None:
        """What its PUBACK says, or that it gets none (then the connection ends: MQTT has no other way to say so)."""
        connection, outcome = self._connection, reply.outcome
        if outcome in (Outcome.ACCEPTED, Outcome.PENDING):
            exchange.reason = reasons.SUCCESS
        else:
            exchange.reason = reasons.refused(reply.status) if outcome is Outcome.REFUSED else WITHHELD
        if connection is None:
            return
        if exchange.reason == reasons.SUCCESS or not self._withholds(connection, exchange):
            self._acknowledge(connection)
        elif exchange.here:
            self._fail(reasons.SHUTTING_DOWN if self._draining else reasons.QUOTA, "withheld", now)

    def _withholds(self, connection: Connection, exchange: Exchange) -> bool:
        """Whether it gets no PUBACK on this connection; the device's next resend is tried again.

        3.1.1 has no PUBACK that says no; the listener says what to do instead. A refusal may have come while the device
        was away, so it is the connection that is asked for the PUBACK, not the one that the message came by.
        """
        if exchange.reason >= reasons.FAILURE:
            return not connection.v5 and self._protocol.settings.on_refused == "close"
        return exchange.reason == WITHHELD

    def _acknowledge(self, connection: Connection) -> None:
        """Send the PUBACKs that are due; let in what waited for room."""
        window = self._window
        acks = window.acknowledge(connection.v5)
        while acks:
            self._chunks.append(acks)
            while (inbound := window.admit()) is not None:
                self._events.append(inbound)
            acks = window.acknowledge(connection.v5)

    def _reply(self, exchange: Exchange, reply: Reply) -> None:
        attributes = reply.attributes if reply.is_event else {}
        self._publish(exchange, exchange.qos, attributes, reply.content_type, reply.data, 0)

    def push(self, target: int | None, outbound: Outbound, now: float) -> int:
        """A PUBLISH to the event's `mqtttopic`, or to the Response Topic of the exchange that was posted to."""
        self._pushes += 1
        if self.closed:
            self._events.append(Pushed(self._pushes, PushResult.GONE))
            return self._pushes
        exchange = self._exchanges.target(target)
        attributes = outbound.attributes if outbound.is_event else {}
        result = self._publish(exchange, 1, attributes, outbound.content_type, outbound.data, self._pushes)
        if result is not None:
            self._events.append(Pushed(self._pushes, result))
        self._report_pushes()
        return self._pushes

    def _publish(
        self,
        exchange: Exchange | None,
        qos: int,
        attributes: Mapping[str, str],
        content_type: str | None,
        data: bytes,
        push: int,
    ) -> PushResult | None:
        """Send it where a subscription of this Session matches; why not, or None: the outbox reports."""
        topic, correlation = attributes.get("mqtttopic"), None
        if topic is None and exchange is not None:
            topic, correlation = exchange.response, exchange.correlation
        if topic is None:
            return PushResult.REFUSED  # it does not say where, and nobody asked
        subscription = self._subscriptions.match(topic) if _may_publish(topic) else None
        if subscription is None:
            self._protocol.counters["not_subscribed"] += 1
            return PushResult.REFUSED
        wanted = attributes.get("mqttqos")
        message = Message(
            topic,
            data,
            min(subscription.qos, qos if wanted is None else wanted != "0"),
            subscription.retain_as_published and attributes.get("mqttretain") == "true",
            properties=outbound.properties_of(content_type, attributes, correlation),
            push=push,
        )
        self._send(self._outbox.add(message))
        return None

    # --- to the shell --------------------------------------------------------------------------------------------

    def _send(self, packets: Sequence[bytes]) -> None:
        self._chunks.extend(packets)

    def _report_pushes(self) -> None:
        outbox = self._outbox
        for push, result in outbox.results:
            self._events.append(Pushed(push, result))
        outbox.results.clear()

    def next_event(self) -> Event | None:
        """Messages, the outcomes of pushes, the will, Sessions that have something to say."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> Sequence[Sent]:
        """Packets to the device, joined; None closes a connection."""
        self._flush()
        out, self._out = self._out, []
        return out

    def _flush(self) -> None:
        if self._chunks and self._connection is not None:
            self._out.append((b"".join(self._chunks), self._connection.path))
            self._chunks.clear()

    def next_timer(self) -> float | None:
        """The next of: keep-alive, a slow packet; the will, the end."""
        due = None
        if self._connection is not None:
            due = self._connection.next_timer(self._protocol.settings.packet_timeout)
        elif self._expires is not None:
            due = self._expires if self._will_due is None else min(self._expires, self._will_due)
        return due

    def handle_timer(self, now: float) -> None:
        """Whichever is due."""
        if self._connection is not None:
            if self.paused:
                self._connection.excuse(now)
            overdue = self._connection.overdue(now, self._protocol.settings.packet_timeout)
            if overdue is not None:
                self._fail(overdue.code, overdue.reason, now)
            return
        if self._will_due is not None and now >= self._will_due:
            self._report_will()
        if self._expires is not None and now >= self._expires:
            self._protocol.counters["sessions_expired"] += 1
            self._end(now)
            return
        self._settle()


def _may_publish(topic: str) -> bool:
    """A topic that a function named: a name, and not the server's own (§4.7.2)."""
    return not topic.startswith("$") and topics.is_name(topic)


def _inbound(exchange: Exchange, topic: str, message: cloudevents.Message) -> Inbound:
    return Inbound(
        exchange.number,
        contract.MQTT_MESSAGE,
        topic,
        message.attributes,
        message.content_type,
        message.data,
        exchange.key or None,
        0.0,
        exchange.qos > 0,
        exchange.response is not None,
        message.expires,
        message.event,
    )
