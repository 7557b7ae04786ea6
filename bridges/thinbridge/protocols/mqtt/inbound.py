"""The window: which QoS 1 and 2 messages of a device are open, and the order in which their acknowledgements go out.

One per MQTT Session; it outlives connections, since a device sends again what was not acknowledged (MQTT-4.4.0-1). A
packet identifier is *used* from its PUBLISH until its PUBACK or PUBREC is sent (MQTT-4.3.2-5; 3.1.1: MQTT-4.3.2-2); one
use is one `Inbound`. At QoS 2 it is *received* from then on until PUBREL frees it, and heard no second time meanwhile
(MQTT-4.3.3-10; 3.1.1: MQTT-4.3.3-2).
"""

from collections import deque

from thinbridge.errors import DecodeError
from thinbridge.protocols.base import Inbound
from thinbridge.protocols.mqtt import codec, reasons, wire
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.connection import Connection
from thinbridge.protocols.mqtt.exchanges import WITHHELD, Exchange
from thinbridge.protocols.mqtt.unheard import Unheard


class Identifiers:
    """A set of packet identifiers, as the bits of a number: all 65,535 of them take 8 kB."""

    __slots__ = ("_bits",)

    def __init__(self) -> None:
        self._bits = 0

    def __contains__(self, packet_id: int) -> bool:
        return self._bits >> packet_id & 1 == 1

    def __len__(self) -> int:
        return self._bits.bit_count()

    def __bool__(self) -> bool:
        return self._bits != 0

    def add(self, packet_id: int) -> None:
        """It is in the set from now on."""
        self._bits |= 1 << packet_id

    def discard(self, packet_id: int) -> None:
        """It is not any more."""
        self._bits &= ~(1 << packet_id)

    def clear(self) -> None:
        """None is."""
        self._bits = 0


class Window:
    """The open messages of a Session.

    Args:
        limit: how many may wait for their acknowledgement on one connection.
    """

    __slots__ = ("_acks", "_received_here", "_uses", "_waiting", "limit", "received", "unheard")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.received = Identifiers()
        """QoS 2: PUBREC was sent, PUBREL has not come."""
        self._received_here = Identifiers()  # by this connection: they count against its Receive Maximum
        self.unheard = Unheard()
        self._uses: dict[int, Exchange] = {}
        self._acks: deque[Exchange] = deque()
        self._waiting: deque[tuple[Exchange, Inbound | None]] = deque()

    def find(self, publish: Publish, digest: int) -> Exchange | None:
        """The use that a PUBLISH repeats; None: it is a new message.

        A device that resends sets DUP (MQTT-3.3.1-1); at QoS 2 the identifier alone has to be enough (MQTT-4.3.3-10).

        Raises:
            DecodeError: the identifier is in use on this connection, and this is another message (MQTT-2.2.1-3; 3.1.1:
                MQTT-2.3.1-2).
        """
        use = self._uses.get(publish.packet_id)
        if use is None:
            return None
        same = use.digest == digest or (use.here and not use.digest)
        if same and use.qos == publish.qos and (publish.dup or use.qos == 2):
            return use
        if use.here:
            raise DecodeError("packet_id_in_use", reasons.PROTOCOL_ERROR)
        return None

    def full(self) -> bool:
        """More are unacknowledged than a MQTT 5 client was allowed (MQTT-3.3.4-7)."""
        waiting = len(self._acks)
        if self._received_here:
            waiting += len(self._received_here)
        return waiting >= self.limit

    def add(self, exchange: Exchange, inbound: Inbound | None) -> Inbound | None:
        """A message has arrived on this connection, in this order; what is to be delivered now."""
        exchange.here = True
        self._uses[exchange.packet_id] = exchange
        if len(self._acks) < self.limit and not self._waiting:
            self._acks.append(exchange)
            return inbound
        self._waiting.append((exchange, inbound))
        return None

    def acknowledge(self, connection: Connection) -> bool:
        """Send the PUBACKs and PUBRECs that are due, in the order in which the messages came (MQTT-4.6.0-2,
        MQTT-4.6.0-3).

        Returns:
            Whether messages wait for room, and there is some now: `admit` them.
        """
        acks = self._acks
        while acks and acks[0].reason >= 0:
            exchange = acks.popleft()
            packet_id, reason = exchange.packet_id, exchange.reason
            del self._uses[packet_id]
            if exchange.qos == 2 and (reason < reasons.FAILURE or not connection.v5):
                self.received.add(packet_id)
                self._received_here.add(packet_id)
            else:
                self.unheard.add(exchange)  # it is free again: MQTT-4.3.2-5, MQTT-4.3.3-9
            packet = codec.PUBACK if exchange.qos == 1 else codec.PUBREC
            connection.acknowledge(packet, packet_id, reason, exchange.text)
        return bool(self._waiting) and len(acks) < self.limit

    def release(self, packet_id: int) -> bool:
        """PUBREL: the identifier is free (MQTT-4.3.3-12); False: there was nothing to release.

        Raises:
            DecodeError: its PUBREC was not sent yet.
        """
        if packet_id not in self.received:
            use = self._uses.get(packet_id)
            if use is not None and use.here:
                raise wire.protocol_error()
            return False
        self.received.discard(packet_id)
        self._received_here.discard(packet_id)
        return True

    def admit(self) -> Inbound | None:
        """The next message that has waited for room, to be delivered now. Call until None, `acknowledge` between."""
        while self._waiting and len(self._acks) < self.limit:
            exchange, inbound = self._waiting.popleft()
            self._acks.append(exchange)
            if inbound is not None:
                return inbound
        return None

    def disconnect(self) -> list[Exchange]:
        """The connection is gone; the exchanges that are forgotten: never delivered, or older than the window."""
        forgotten: list[Exchange] = []
        for exchange, inbound in self._waiting:
            if inbound is not None:
                forgotten.append(exchange)
                if exchange.tried:
                    exchange.reason = WITHHELD
                else:
                    del self._uses[exchange.packet_id]
        self.unheard.disconnect()
        self._waiting.clear()
        self._acks.clear()
        self._received_here.clear()
        for exchange in self._uses.values():
            exchange.here = False
        excess = max(0, len(self._uses) - self.limit)
        # the oldest, but QoS 1 first: what has no PUBREC yet must be known again (MQTT-4.3.3-10; 3.1.1: MQTT-4.3.3-2)
        oldest = sorted(self._uses.values(), key=lambda use: use.qos)[:excess]
        return forgotten + [self._uses.pop(exchange.packet_id) for exchange in oldest]
