"""An MQTT Session (§4.1): one device, over one connection after another.

Made or found by `MQTT.enter` for a CONNECT; the stream shell services it from the `Handover` on. This module is its
life: connections that come and go, the will, the end. What the device publishes is `uplink`, what it hears `downlink`;
both outlive connections, as the Session does.

Over 400 lines because it is one state machine; what can stand alone does.
"""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from thinbridge.errors import DecodeError
from thinbridge.protocols.base import (
    Decision,
    Event,
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
from thinbridge.protocols.mqtt import codec, grants, message, presence, properties, reasons, wire
from thinbridge.protocols.mqtt.connect import Connect
from thinbridge.protocols.mqtt.connection import Connection
from thinbridge.protocols.mqtt.downlink import Downlink
from thinbridge.protocols.mqtt.exchanges import Exchange
from thinbridge.protocols.mqtt.uplink import Uplink
from thinbridge.protocols.mqtt.wills import Will

if TYPE_CHECKING:
    from thinbridge.protocols.mqtt import MQTT

UNRELEASED = 5.0
"""Seconds that a drain waits for PUBRELs: a device that is sent away between PUBREC and PUBREL may publish again."""


PIECE = 16_384
"""Bytes that are read before a look whether there is room for what they hold: some 2,000 of the shortest messages."""


def device_of(connect: Connect, decision: Decision, path: Path) -> str:
    """The name that a device goes by: what its credentials say, else what it says itself."""
    identity = decision.identity or path.identity
    name = identity.name if identity is not None else None
    return decision.device or name or connect.username or connect.client_id


class MQTTSession(Session):
    """One device's Session."""

    device: str

    def __init__(self, protocol: "MQTT", connect: Connect, decision: Decision, path: Path) -> None:
        self.id = protocol.session_id()
        self.identity = decision.identity or path.identity
        self.device = device_of(connect, decision, path)
        self.client_id = connect.client_id
        self._protocol = protocol
        self._connection: Connection | None = None
        self._backlog = b""  # received, and not read before there is room
        self._drained_at: float | None = None
        self._will: Will | None = None
        self._will_due: float | None = None  # while offline
        self._expiry = 0.0  # seconds that it outlives a connection
        self._expires: float | None = None  # while offline
        self._pushes = 0
        self._events: deque[Event] = deque((Opened(),))
        self._out: list[Sent] = []
        allowed = protocol.allowed(self.device, connect.client_id)
        self._uplink = Uplink(protocol, bytes.fromhex(self.id), allowed.publish, self._events)
        self._downlink = Downlink(protocol, self, allowed.subscribe, self._events)
        protocol.sessions[connect.client_id] = self

    @property
    def connected(self) -> bool:
        """It has a connection now."""
        return self._connection is not None

    @property
    def resumable(self) -> bool:
        """Another connection may go on with it: it does not end with the one that it has (MQTT 5 §3.1.2.11.2, §3.1.4;
        3.1.1: MQTT-3.1.2-6)."""
        return self._connection is None or self._expiry > 0

    # --- connections ---------------------------------------------------------------------------------------------

    def attach(
        self, connect: Connect, will: Will | None, path: Path, present: bool, assigned: bool, now: float
    ) -> None:
        """A connection for it, whose CONNECT was accepted; an older one hears that it was taken over."""
        if self._connection is not None:
            self._protocol.counters["taken_over"] += 1
            self._hang_up(reasons.TAKEN_OVER, "taken_over")  # MQTT-3.1.4-3; 3.1.1: MQTT-3.1.4-2
            self._lose("taken_over", now, resumed=True)
        self._protocol.offline.pop(self.client_id, None)
        self.peer = peer_text(path.peer)
        granted = grants.grant(connect, self._protocol.settings)
        self._expiry = granted.session_expiry
        connection = self._connection = granted.connection(path, now)
        self._will, self._will_due, self._expires = will, None, None
        self._settle()
        self._events.append(presence.opened(self._uplink.exchanges.number(), connect, present))
        if connection.send(
            grants.connack(granted, present, assigned, self.device)
        ):  # first, and once: MQTT-3.2.0-1, MQTT-3.2.0-2
            self._downlink.attach(connection, now)
        else:
            self._fail(None, "connack_too_large", now)  # MQTT-3.1.2-24 leaves nothing to say

    def _hang_up(self, reason: int | None, counter: str = "") -> None:
        """Close the connection (MQTT-3.14.4-2), saying why where MQTT has words for it, and nothing after that.

        `_lose` or `_end` follows, so that nothing can (MQTT-3.14.4-1).
        """
        assert self._connection is not None
        if reason is not None:
            self._connection.goodbye(reason, reasons.text(counter))
        self._flush()
        self._out.append((None, self._connection.path))

    def _lose(self, why: str, now: float, *, resumed: bool = False) -> None:
        """The connection is gone; the Session stays for as long as was agreed (MQTT-3.1.2-23, MQTT-4.1.0-2)."""
        assert self._connection is not None
        self._events.append(presence.closed(self._uplink.exchanges.number(), why, self._connection.v5))
        self._connection = None
        self._backlog = b""
        self._uplink.detach()
        self.paused = False
        will = self._will
        if will is not None and not (will.delay and self._expiry):  # none without one: MQTT-3.1.2-12 of 3.1.1
            self._report_will()
        if resumed:
            return
        if not self._expiry:
            self._end(now)
            return
        self._downlink.detach()
        self._expires = now + self._expiry
        if self._will is not None:
            self._will_due = now + self._will.delay
        self._protocol.offline[self.client_id] = self
        self._settle()
        overflow = self._protocol.overflow()
        if overflow is not None:
            self._protocol.counters["offline_evicted"] += 1
            overflow._end(now)
            if overflow is not self:
                self._events.append(Woke(overflow))

    def _end(self, now: float) -> None:
        """The Session is over: nothing of it is remembered (MQTT-3.1.2-4; 3.1.1: MQTT-3.1.2-6)."""
        if self._will is not None:
            self._report_will()  # MQTT-3.1.2-8: at the latest when the Session ends
        self._downlink.end()
        self._uplink.exchanges.clear()
        if self._protocol.sessions.get(self.client_id) is self:
            del self._protocol.sessions[self.client_id]
        self._protocol.offline.pop(self.client_id, None)
        self._connection = None
        self._expires = None
        self.paused = self.busy = False
        self.closed = True

    def _report_will(self) -> None:
        """The device was lost: its will becomes an event, once (MQTT-3.1.2-10)."""
        will, self._will, self._will_due = self._will, None, None
        assert will is not None
        self._events.append(will.inbound(self._uplink.exchanges.number()))

    def replaced(self, now: float) -> None:
        """Another Session begins under its client identifier: this one ends (MQTT-3.1.2-4)."""
        self._stop("taken_over", reasons.TAKEN_OVER, now)

    def eof(self, path: Path, now: float) -> None:
        """The connection broke without a DISCONNECT."""
        if self._connection is not None and path == self._connection.path:
            self._lose("lost", now)

    def close(self, reason: str, now: float) -> None:
        """The bridge ends it; it was not the device that failed, so there is no will."""
        self._will = None
        self._stop(reason, reasons.SHUTTING_DOWN, now)

    def _stop(self, why: str, reason: int, now: float) -> None:
        """End it, whether it is connected or not."""
        if self._connection is not None:
            if reason == reasons.TAKEN_OVER:
                self._protocol.counters[why] += 1
            self._hang_up(reason, why)
            self._expiry = 0.0
            self._lose(why, now)
        else:
            self._end(now)

    def drain(self, now: float) -> None:
        """No new messages; the last acknowledgement is followed by DISCONNECT 0x8B."""
        self._drained_at = now + UNRELEASED
        self._uplink.draining = True
        self._settle()
        self._drained(now)

    def _drained(self, now: float) -> None:
        if self._drained_at is None or self.closed or self._uplink.exchanges.unanswered:
            return
        waits = self._connection is not None and self._uplink.unreleased
        if not waits or now >= self._drained_at:
            self.close("drain", now)

    def _fail(self, reason: int | None, counter: str, now: float) -> None:
        """The connection can't go on (MQTT-4.13.1-1; 3.1.1: MQTT-4.8.0-1)."""
        self._protocol.counters[counter] += 1
        self._hang_up(reason, counter)
        self._lose(counter, now)

    def _settle(self) -> None:
        uplink = self._uplink
        self.busy = (
            self._connection is not None or bool(uplink.exchanges) or uplink.unreleased or self._will is not None
        )
        self.paused = self._connection is not None and uplink.crowded

    # --- from the device -----------------------------------------------------------------------------------------

    def receive(self, data: bytes, path: Path, now: float) -> None:
        """Bytes of its connection."""
        connection = self._connection
        if connection is None or path != connection.path:
            return  # of a connection that was taken over
        if self._backlog:
            self._backlog += data
            return
        try:
            for at in range(0, len(data), PIECE):
                if at and self._uplink.crowded:
                    self._backlog = data[at:]
                    break
                self._read(connection, data[at : at + PIECE], now)
                if self._connection is not connection:
                    return
        except DecodeError as error:
            self._fail(error.code, error.reason, now)
        else:
            self._downlink.catch_up(now)
            self.paused = self._uplink.crowded

    def _read(self, connection: Connection, data: bytes, now: float) -> None:
        """Packet by packet.

        Raises:
            DecodeError: the connection can't go on.
        """
        for first, body in connection.feed(data, now):
            if first >> 4 == codec.PUBLISH:
                self._uplink.publish(connection, first, body)
            else:
                self._control(connection, first, body, now)
                if self._connection is not connection:
                    return
        if connection.error is not None:
            raise connection.error

    def _read_on(self, connection: Connection, now: float) -> None:
        """There may be room again; what was received already comes first."""
        self.paused = self._uplink.crowded
        if self._backlog and not self.paused:
            data, self._backlog = self._backlog, b""
            self.receive(data, connection.path, now)

    def _control(self, connection: Connection, first: int, body: bytes, now: float) -> None:
        """Any packet but PUBLISH."""
        codec.check_flags(first)
        kind = first >> 4
        if kind in (codec.PUBACK, codec.PUBREC, codec.PUBCOMP):
            self._downlink.acknowledged(connection, kind, body, now)
        elif kind == codec.PUBREL:
            self._uplink.release(connection, body)
            self._drained(now)
        elif kind == codec.SUBSCRIBE:
            self._downlink.subscribe(connection, body)
        elif kind == codec.UNSUBSCRIBE:
            self._downlink.unsubscribe(connection, body)
        elif kind == codec.PINGREQ and not body:
            connection.send(codec.PONG)  # MQTT-3.12.4-1
        elif kind == codec.DISCONNECT:
            self._on_disconnect(connection, body, now)
        elif kind == codec.PINGREQ:
            raise wire.malformed()
        else:  # CONNECT again (MQTT-3.1.0-2), what servers send, AUTH without a method (MQTT-4.12.0-7), type 0
            raise wire.protocol_error()

    def _on_disconnect(self, connection: Connection, body: bytes, now: float) -> None:
        reason, values = codec.decode_disconnect(body, connection.v5)
        if reason not in reasons.OF_GOODBYE:
            raise wire.protocol_error()  # MQTT-3.14.2-1
        expiry = values.get(properties.SESSION_EXPIRY)
        if expiry is not None:
            if expiry and not self._expiry:
                raise wire.protocol_error()  # MQTT 5 §3.14.2.2.2
            self._expiry = float(min(expiry, self._protocol.settings.session_expiry))
        if reason == reasons.SUCCESS:
            self._will = None  # MQTT-3.14.4-3
        self._hang_up(None)  # whatever follows is not read: MQTT-3.14.4-2 of 3.1.1
        self._lose("disconnect" if reason == reasons.SUCCESS else f"disconnect_0x{reason:02x}", now)

    # --- answers and pushes --------------------------------------------------------------------------------------

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        """The PUBACK or PUBREC, then what the function answered, to the Response Topic or its `mqtttopic`."""
        try:
            found = self._uplink.answer(self._connection, exchange, reply)
        except DecodeError as error:
            self._fail(reasons.SHUTTING_DOWN if self._uplink.draining else error.code, error.reason, now)
            self._drained(now)
            return True
        if found is None:
            return False
        if reply.outcome is Outcome.ACCEPTED and (reply.data or reply.is_event):
            outbound = Outbound(reply.content_type, reply.data, dict(reply.attributes), reply.is_event)
            self._publish(found, outbound, found.qos, now)
        if self._connection is None:
            self._settle()
        elif self.paused:
            self._read_on(self._connection, now)
        if self._drained_at is not None:
            self._drained(now)
        return True

    def push(self, target: int | None, outbound: Outbound, now: float) -> int:
        """A PUBLISH to the event's `mqtttopic`, or to the Response Topic of the exchange that was posted to."""
        self._pushes += 1
        if self.closed:
            result: PushResult | None = PushResult.GONE
        else:
            exchange = self._uplink.exchanges.target(target)
            result = self._publish(exchange, outbound, 1, now, self._pushes)
        if result is not None:
            self._events.append(Pushed(self._pushes, result))
        return self._pushes

    def _publish(
        self, exchange: Exchange | None, outbound: Outbound, qos: int, now: float, push: int = 0
    ) -> PushResult | None:
        """Send it, if it says where; what became of it, None: that is reported."""
        attributes = outbound.attributes
        topic, correlation = attributes.get("mqtttopic"), None
        if topic is None and exchange is not None:
            topic, correlation = exchange.response, exchange.correlation
        if topic is None:
            return PushResult.REFUSED  # it does not say where, and nobody asked
        sent = message.publication(topic, outbound.content_type, outbound.data, attributes, now, qos, correlation)
        return self._downlink.send(sent, now, push)

    def hear(self, publication: message.Publication, now: float) -> bool:
        """What is published to everyone who listens; whether this one hears it."""
        return self._downlink.hear(publication, now)

    # --- to the shell --------------------------------------------------------------------------------------------

    def next_event(self) -> Event | None:
        """Messages, the outcomes of pushes, the will, Sessions that have something to say."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> Sequence[Sent]:
        """Packets to the device, joined; None closes a connection."""
        self._flush()
        out, self._out = self._out, []
        return out

    def _flush(self) -> None:
        if self._connection is not None and (data := self._connection.take()):
            self._out.append((data, self._connection.path))

    def next_timer(self) -> float | None:
        """The next of: keep-alive, a slow packet, the end of a drain; the will, the end."""
        if self._connection is not None:
            due = self._connection.next_timer(self._protocol.settings.packet_timeout)
            late = self._drained_at
        else:
            due, late = self._expires, self._will_due
        if due is None or late is None:
            return late if due is None else due
        return min(due, late)

    def handle_timer(self, now: float) -> None:
        """Whichever is due."""
        if self._connection is not None:
            self._drained(now)
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
        if not self.closed:
            self._settle()
