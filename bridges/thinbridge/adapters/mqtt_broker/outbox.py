"""What functions send to the broker: bounded while it is away, and told once what became of it. Pure.

paho resends what the broker has not acknowledged (MQTT-4.4.0-1); what it is not given yet waits here.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from thinbridge.adapters.mqtt_broker.messages import octets_of
from thinbridge.protocols.base import PushResult
from thinbridge.protocols.mqtt import reasons
from thinbridge.protocols.mqtt.message import Publication

WINDOW: Final = 20
"""QoS 1 messages that may wait for the broker's acknowledgement, if its Receive Maximum is not smaller."""

Done = Callable[[PushResult], None]


class Publisher(Protocol):
    """The connection that publishes."""

    @property
    def connected(self) -> bool:
        """The broker takes something now."""

    @property
    def max_packet(self) -> int:
        """Bytes of a packet that it takes; 0: any."""

    @property
    def receive_maximum(self) -> int:
        """QoS 1 messages that it lets wait for its acknowledgement."""

    def publish(self, message: Publication) -> int:
        """Hand it to paho; its packet identifier."""


@dataclass(slots=True)
class Item:
    """A message that waits."""

    message: Publication
    size: int
    done: Done | None
    """None: nobody asks, or has been told."""

    def tell(self, result: PushResult) -> None:
        """Say what became of it, once."""
        done, self.done = self.done, None
        if done is not None:
            done(result)


class Outbox:
    """The messages of one endpoint to its broker.

    Args:
        publisher: by which connection.
        limit: how many may wait.
        octets: bytes of them.
        counters: what became of those that did not arrive.
    """

    def __init__(self, publisher: Publisher, limit: int, octets: int, counters: Counter[str]) -> None:
        self._publisher, self._limit, self._octets, self._counters = publisher, limit, octets, counters
        self._waiting: deque[Item] = deque()
        self._sent: dict[int, Item] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sent)

    def add(self, message: Publication, done: Done | None, now: float) -> None:
        """A new message; `done` is told what became of it, now or later."""
        item = Item(message, message.size, done)
        publisher = self._publisher
        if publisher.max_packet and octets_of(message) > publisher.max_packet:
            self._refuse(item, PushResult.TOO_LARGE)
        elif len(self) >= self._limit or self._bytes + item.size > self._octets:
            self._refuse(item, PushResult.BUSY)
        elif not message.qos and not publisher.connected:
            self._refuse(item, PushResult.BUSY)  # a QoS 0 message does not wait
        else:
            self._bytes += item.size
            self._waiting.append(item)
            self.pump(now)
            if not publisher.connected:
                item.tell(PushResult.QUEUED)

    def pump(self, now: float) -> None:
        """Hand over what the broker takes now; what nobody needs any more goes."""
        publisher = self._publisher
        window = min(WINDOW, publisher.receive_maximum)
        while self._waiting and publisher.connected and len(self._sent) < window:
            item = self._waiting.popleft()
            if item.message.expires is not None and item.message.expires <= now:
                self._bytes -= item.size
                self._counters["outbound_expired"] += 1
                item.tell(PushResult.GONE)
                continue
            self._sent[publisher.publish(item.message)] = item

    def published(self, packet_id: int, reason: int, now: float) -> None:
        """The broker's acknowledgement; with QoS 0, that it was written."""
        item = self._sent.pop(packet_id, None)
        if item is None:
            return
        self._bytes -= item.size
        if reason >= reasons.FAILURE:
            self._refuse(item, PushResult.REFUSED)
        else:
            item.tell(PushResult.DELIVERED)
        self.pump(now)

    def down(self) -> None:
        """The connection is gone: what is here waits for the next; QoS 0, which may have been lost, does not."""
        for packet_id, item in list(self._sent.items()):
            if not item.message.qos:
                del self._sent[packet_id]
                self._bytes -= item.size
                self._refuse(item, PushResult.BUSY)
        for item in (*self._sent.values(), *self._waiting):
            item.tell(PushResult.QUEUED)

    def close(self) -> None:
        """Nothing more is sent."""
        for item in (*self._sent.values(), *self._waiting):
            self._refuse(item, PushResult.GONE)
        self._waiting.clear()
        self._sent.clear()

    def _refuse(self, item: Item, result: PushResult) -> None:
        self._counters[f"outbound_{result.name.lower()}"] += 1
        item.tell(result)
