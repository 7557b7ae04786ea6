"""What goes to a device: packet identifiers, the window of its PUBACKs, resends, and the queue while it is away.

One `Outbox` per MQTT Session. A push is reported once: DELIVERED at the device's PUBACK (QoS 0: when it is sent),
QUEUED when it has to wait for the device to come back, else why not.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from thinbridge import contract
from thinbridge.protocols.base import PushResult
from thinbridge.protocols.mqtt import codec, properties, reasons, topics
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.properties import Properties

_MAX_TEXT: Final = 8192
"""Characters of a text that goes to a device: MQTT's strings end at 65,535 bytes (§1.5.4)."""

PAIR: Final = 160
"""Bytes of a User Property beside its text, about: a tuple and two strings."""


@dataclass(slots=True)
class Message(Publish):
    """A message to a device; 3.1.1 leaves its properties out."""

    push: int = 0
    """The push to report on; 0: a reply, or reported already."""
    size: int = 0
    """Bytes that it holds while it waits, about; 0: it does not."""


def size_of(message: Message) -> int:
    """Bytes that a message holds, about, with its properties: a payload may be the least of it."""
    size = 256 + len(message.topic) + len(message.data)
    values = message.properties
    if values:
        size += len(values.get(properties.CONTENT_TYPE, "")) + len(values.get(properties.CORRELATION_DATA, b""))
        for name, value in values.get(properties.USER, ()):
            size += PAIR + len(name) + len(value)
    return size


_STEERING = frozenset((*contract.REPLY_ATTRIBUTES, "etag", "maxage", "location"))
"""Attributes that say how to answer, not what: they stay here."""


def properties_of(content_type: str | None, attributes: Mapping[str, str], correlation: bytes | None) -> Properties:
    """What MQTT 5 carries beside the payload; an event's attributes as the CloudEvents MQTT binding §3.1.3 has them.

    What a function sent is as foreign as what a device sends: values that MQTT can't carry are left out.
    """
    values: dict[int, Any] = {}
    if content_type and len(content_type) <= _MAX_TEXT and topics.is_clean(content_type):
        values[properties.CONTENT_TYPE] = content_type
    if correlation is not None:
        values[properties.CORRELATION_DATA] = correlation  # MQTT 5 §3.3.2.3.6: as it came
    users = [
        (name, value)
        for name, value in attributes.items()
        if name not in _STEERING and len(value) <= _MAX_TEXT and topics.is_clean(value)
    ]
    if users:
        values[properties.USER] = users[: properties.MAX_USER]
    return values


Results = list[tuple[int, PushResult]]


class Outbox:
    """The messages to one device.

    Args:
        limit: how many may wait.
        limit_bytes: bytes of them.
        window: how many may wait for the device's PUBACK, if its Receive Maximum is not smaller.
        counters: what became of messages that did not arrive.
    """

    def __init__(self, limit: int, limit_bytes: int, window: int, counters: Counter[str]) -> None:
        self._limit, self._limit_bytes, self._window = limit, limit_bytes, window
        self._counters = counters
        self._queue: deque[Message] = deque()
        self._inflight: dict[int, Message] = {}
        self._bytes = 0
        self._last_id = 0
        self._connected = False
        self._v5 = False
        self._receive_maximum = window
        self._max_packet = 0
        self.results: Results = []
        """Outcomes of pushes; the session takes and clears them."""

    def attach(self, v5: bool, receive_maximum: int, max_packet: int) -> None:
        """A connection is there: what it has not acknowledged goes first, in order, with DUP (MQTT-4.4.0-1)."""
        self._connected, self._v5 = True, v5
        self._receive_maximum = min(receive_maximum, self._window)
        self._max_packet = max_packet
        for message in self._inflight.values():
            message.dup = True
        self._queue.extendleft(reversed(self._inflight.values()))
        self._inflight.clear()

    def detach(self) -> None:
        """The connection is gone; what it has not acknowledged waits for the next one."""
        self._connected = False
        for message in (*self._inflight.values(), *self._queue):
            self._report(message, PushResult.QUEUED)

    def end(self) -> None:
        """The Session ends; nothing more is sent."""
        for message in (*self._inflight.values(), *self._queue):
            self._report(message, PushResult.GONE)
        self._inflight.clear()
        self._queue.clear()
        self._bytes = 0

    def add(self, message: Message) -> Sequence[bytes]:
        """A new message; the packets to send now. Its outcome, now or later, is in `results`."""
        if not message.qos:
            return self._send_qos0(message)
        size = size_of(message)
        if len(self._queue) + len(self._inflight) >= self._limit or self._bytes + size > self._limit_bytes:
            self._report(message, PushResult.BUSY)
            return ()
        message.size = size
        self._bytes += size
        self._queue.append(message)
        if self._connected:
            return self.pump()
        self._report(message, PushResult.QUEUED)
        return ()

    def _send_qos0(self, message: Message) -> Sequence[bytes]:
        if not self._connected:
            self._report(message, PushResult.BUSY)  # a QoS 0 message does not wait for its device (§4.3.1)
            return ()
        packet = self._encoded(message)
        if packet is None:
            return ()
        self._report(message, PushResult.DELIVERED)
        return (packet,)

    def pump(self) -> Sequence[bytes]:
        """The packets that the device's window takes now (MQTT-3.3.4-9)."""
        packets: list[bytes] = []
        while self._queue and len(self._inflight) < self._receive_maximum:
            message = self._queue.popleft()
            if not message.packet_id:
                message.packet_id = self._next_id()
            packet = self._encoded(message)
            if packet is None:
                self._bytes -= message.size
                continue
            self._inflight[message.packet_id] = message
            packets.append(packet)
        return packets

    def acknowledged(self, packet_id: int, reason: int) -> bool:
        """The device's PUBACK; False: nothing waits for it."""
        message = self._inflight.pop(packet_id, None)
        if message is None:
            return False
        self._bytes -= message.size
        self._report(message, PushResult.DELIVERED if reason < reasons.FAILURE else PushResult.REFUSED)
        return True

    def _encoded(self, message: Message) -> bytes | None:
        packet = codec.encode_publish(message, self._v5)
        if len(packet) <= self._max_packet:
            return packet
        self._report(message, PushResult.TOO_LARGE)  # MQTT-3.1.2-24
        return None

    def _next_id(self) -> int:
        """An identifier that nothing unacknowledged has (MQTT-2.2.1-4); resends stand in front and are in flight."""
        while True:
            self._last_id = self._last_id % 0xFFFF + 1
            if self._last_id not in self._inflight:
                return self._last_id

    def _report(self, message: Message, result: PushResult) -> None:
        if result not in (PushResult.DELIVERED, PushResult.QUEUED):
            self._counters[f"outbound_{result.name.lower()}"] += 1
        if message.push:
            self.results.append((message.push, result))
            message.push = 0
