"""What goes to a device: packet identifiers, the window of its acknowledgements, resends, the queue while it is away.

One `Outbox` per MQTT Session. A push is reported once: DELIVERED at the device's PUBACK or PUBCOMP (QoS 0: when it is
sent), QUEUED when it has to wait for the device to come back, else why not.
"""

from collections import Counter, deque
from typing import Final

from thinbridge.protocols.base import Event, Pushed, PushResult
from thinbridge.protocols.mqtt import codec, reasons, wire
from thinbridge.protocols.mqtt.connection import Connection
from thinbridge.protocols.mqtt.message import Message, Publication

_COUNTERS: Final = {
    PushResult.BUSY: "outbound_busy",
    PushResult.TOO_LARGE: "outbound_too_large",
    PushResult.REFUSED: "outbound_refused",
    PushResult.GONE: "outbound_gone",
}


class Outbox:
    """The messages to one device: the sender's part of QoS 0, 1 and 2 (3.1.1: MQTT-4.3.2-1, MQTT-4.3.3-1).

    Args:
        limit: how many may wait.
        octets: bytes of them.
        window: how many may wait for the device's acknowledgement, if its Receive Maximum is not smaller.
        counters: what became of messages that did not arrive.
        events: where the outcomes of pushes are reported.
    """

    __slots__ = (
        "_connection", "_counters", "_events", "_last_id", "_limit", "_max_octets", "_octets", "_published", "_queue",
        "_released", "_window",
    )  # fmt: skip

    def __init__(self, limit: int, octets: int, window: int, counters: Counter[str], events: deque[Event]) -> None:
        self._limit, self._max_octets, self._window = limit, octets, window
        self._counters, self._events = counters, events
        self._queue: deque[Message] = deque()  # in order, whatever the topic: MQTT-4.6.0-5, MQTT-4.6.0-6
        self._published: dict[int, Message] = {}  # no PUBACK or PUBREC yet
        self._released: dict[int, Message] = {}  # QoS 2: PUBREL was sent, no PUBCOMP yet (MQTT-4.3.3-5)
        self._octets = 0
        self._last_id = 0
        self._connection: Connection | None = None

    def attach(self, connection: Connection, now: float) -> None:
        """A connection is there: what it has not acknowledged goes first, in order (MQTT-4.4.0-1, MQTT-4.6.0-1)."""
        self._connection = connection
        for packet_id in self._released:
            connection.acknowledge(codec.PUBREL, packet_id, reasons.SUCCESS)  # not the PUBLISH: MQTT-4.3.3-6
        for message in self._published.values():
            message.dup = True  # MQTT-3.3.1-1; the identifier stays: 3.1.1: MQTT-2.3.1-3
        self._queue.extendleft(reversed(self._published.values()))
        self._published.clear()
        self.pump(now)

    def detach(self) -> None:
        """The connection is gone; what it has not acknowledged waits for the next one."""
        self._connection = None
        for message in (*self._released.values(), *self._published.values(), *self._queue):
            self._report(message, PushResult.QUEUED)

    def end(self) -> None:
        """The Session ends; nothing more is sent."""
        self._connection = None
        for message in (*self._released.values(), *self._published.values(), *self._queue):
            self._report(message, PushResult.GONE)
        self._released.clear()
        self._published.clear()
        self._queue.clear()
        self._octets = 0

    def __bool__(self) -> bool:
        return bool(self._queue or self._published or self._released)

    def fits(self, publication: Publication, now: float, qos: int = 1) -> bool:
        """Whether there is room for it; what has expired makes some. QoS 0 waits in the socket's buffer only."""
        if not qos:
            return publication.size <= self._max_octets
        if self._has_room(publication.size):
            return True
        self._expire(now)
        return self._has_room(publication.size)

    def _has_room(self, size: int) -> bool:
        waiting = len(self._queue) + len(self._published) + len(self._released)
        return waiting < self._limit and self._octets + size <= self._max_octets

    def add(self, message: Message, size: int, now: float) -> None:
        """A new message that `fits`, of a size; its outcome is reported now or later."""
        if not message.qos:
            self._send_qos0(message, now)
            return
        message.size = size
        self._octets += size
        self._queue.append(message)  # connected or not: MQTT-3.1.2-5 of 3.1.1
        if self._connection is None:
            self._report(message, PushResult.QUEUED)
        else:
            self.pump(now)

    def refuse(self, message: Message, size: int) -> None:
        """A new message that does not: not now, or never."""
        self._report(message, PushResult.BUSY if size <= self._max_octets else PushResult.TOO_LARGE)

    def _send_qos0(self, message: Message, now: float) -> None:
        if self._connection is None:
            self._report(message, PushResult.BUSY)  # a QoS 0 message does not wait for its device (§4.3.1)
        else:
            sent = self._connection.publish(message, now)  # once, so with DUP 0: MQTT-4.3.1-1
            self._report(message, PushResult.DELIVERED if sent else PushResult.TOO_LARGE)

    def pump(self, now: float) -> None:
        """Send what the device's window takes now (MQTT-3.3.4-9, MQTT-4.9.0-2).

        Only what is in this queue waits for that (MQTT-3.3.4-10, MQTT-4.9.0-3).
        """
        connection = self._connection
        if connection is None:
            return
        window = min(connection.receive_maximum, self._window)  # MQTT-4.9.0-1
        while self._queue and len(self._published) + len(self._released) < window:
            message = self._queue.popleft()
            if self._expired(message, now):
                continue
            if not message.packet_id:
                message.packet_id = self._next_id()
            if connection.publish(message, now):  # the first time with DUP 0: MQTT-4.3.2-2, MQTT-4.3.3-2
                self._published[message.packet_id] = message
            else:
                self._done(message, PushResult.TOO_LARGE)  # as if it were sent: MQTT-3.1.2-25

    def _expired(self, message: Message, now: float) -> bool:
        """Nobody needs it any more; one that was sent before goes on (MQTT-3.3.2-5, MQTT-4.3.3-7, MQTT-4.3.3-13)."""
        if message.expires is None or now < message.expires or message.dup:
            return False
        self._done(message, PushResult.GONE, "outbound_expired")
        return True

    def _expire(self, now: float) -> None:
        self._queue = deque(message for message in self._queue if not self._expired(message, now))

    # --- what the device says -------------------------------------------------------------------------------------

    def acknowledged(self, kind: int, packet_id: int, reason: int, now: float) -> None:
        """A PUBACK, PUBREC or PUBCOMP of the device.

        Raises:
            DecodeError: it is not the one that the message is waiting for.
        """
        if kind == codec.PUBCOMP:
            self._completed(packet_id)
        elif kind == codec.PUBREC:
            self._received(packet_id, reason)
        else:
            message = self._take(packet_id, 1)
            if message is not None:
                self._done(message, _verdict(reason))
        self.pump(now)

    def _received(self, packet_id: int, reason: int) -> None:
        """PUBREC: to one that says yes PUBREL follows (MQTT-4.3.3-4), said again or of something unknown as well."""
        assert self._connection is not None
        message = self._released.pop(packet_id, None) or self._take(packet_id, 2)
        if reason >= reasons.FAILURE:
            if message is not None:
                self._done(message, PushResult.REFUSED)  # it is over, and never sent again: MQTT-4.4.0-2
        elif message is None:
            self._connection.acknowledge(codec.PUBREL, packet_id, reasons.PACKET_ID_UNKNOWN)
        else:
            self._released[packet_id] = message  # at once, so in the order of the PUBRECs: MQTT-4.6.0-4
            self._connection.acknowledge(codec.PUBREL, packet_id, reasons.SUCCESS)

    def _completed(self, packet_id: int) -> None:
        message = self._released.pop(packet_id, None)
        if message is not None:
            self._done(message, PushResult.DELIVERED)
        elif packet_id in self._published:
            raise wire.protocol_error()  # it has heard no PUBREL
        else:
            self._counters["ack_unknown"] += 1

    def _take(self, packet_id: int, qos: int) -> Message | None:
        """The message that waits for this acknowledgement; None, and counted: none does."""
        message = self._published.get(packet_id)
        if message is None:
            self._counters["ack_unknown"] += 1
            return None
        if message.qos != qos:
            raise wire.protocol_error()  # MQTT-4.3.2-3, MQTT-4.3.3-3: that is not how it is acknowledged
        del self._published[packet_id]
        return message

    # --- bookkeeping ----------------------------------------------------------------------------------------------

    def _next_id(self) -> int:
        """An identifier that nothing unacknowledged has; resends come first.

        MQTT-2.2.1-4, MQTT-4.3.2-1, MQTT-4.3.3-1; 3.1.1: MQTT-2.3.1-4.
        """
        while True:
            self._last_id = self._last_id % 0xFFFF + 1
            if self._last_id not in self._published and self._last_id not in self._released:
                return self._last_id

    def _done(self, message: Message, result: PushResult, counter: str | None = None) -> None:
        self._octets -= message.size
        self._report(message, result, counter)

    def _report(self, message: Message, result: PushResult, counter: str | None = None) -> None:
        counter = counter or _COUNTERS.get(result)
        if counter is not None:
            self._counters[counter] += 1
        if message.push:
            self._events.append(Pushed(message.push, result))
            message.push = 0


def _verdict(reason: int) -> PushResult:
    return PushResult.DELIVERED if reason < reasons.FAILURE else PushResult.REFUSED
