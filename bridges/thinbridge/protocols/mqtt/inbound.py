"""The QoS 1 window: which messages of a device are open, and the order in which their PUBACKs go out.

One per MQTT Session; it outlives connections, since a device sends again what was not acknowledged (MQTT-4.4.0-1).
A packet identifier is *used* from its PUBLISH until its PUBACK is sent (MQTT-4.3.2-2); one use is one `Inbound`.
"""

from collections import deque

from thinbridge.errors import DecodeError
from thinbridge.protocols.base import Inbound
from thinbridge.protocols.mqtt import codec, reasons
from thinbridge.protocols.mqtt.exchanges import WITHHELD, Exchange


class Window:
    """The open QoS 1 messages of a Session.

    Args:
        limit: how many may wait for their PUBACK on one connection.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._uses: dict[int, Exchange] = {}
        self._acks: deque[Exchange] = deque()
        self._waiting: deque[tuple[Exchange, Inbound | None]] = deque()

    def find(self, packet_id: int, dup: bool, digest: int) -> Exchange | None:
        """The use that a PUBLISH repeats; None: it is a new message.

        Raises:
            DecodeError: the identifier is in use on this connection, and this is another message (MQTT-2.2.1-3).
        """
        use = self._uses.get(packet_id)
        if use is None:
            return None
        if use.here and not dup:
            raise DecodeError("packet_id_in_use", reasons.PROTOCOL_ERROR)
        return use if use.here or (dup and use.digest == digest) else None

    def full(self) -> bool:
        """More are unacknowledged than a MQTT 5 client was allowed (MQTT-3.3.4-7)."""
        return len(self._acks) >= self.limit

    def add(self, exchange: Exchange, inbound: Inbound | None) -> Inbound | None:
        """A message has arrived on this connection, in this order; what is to be delivered now."""
        exchange.here = True
        self._uses[exchange.packet_id] = exchange
        if len(self._acks) < self.limit and not self._waiting:
            self._acks.append(exchange)
            return inbound
        self._waiting.append((exchange, inbound))
        return None

    def acknowledge(self, v5: bool) -> bytes:
        """The PUBACKs that are due, in the order in which the messages came (MQTT-4.6.0-2)."""
        acks = self._acks
        out = b""
        while acks and acks[0].reason >= 0:
            exchange = acks.popleft()
            del self._uses[exchange.packet_id]
            out += codec.encode_puback(exchange.packet_id, exchange.reason, v5)
        return out

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
        self._waiting.clear()
        self._acks.clear()
        for exchange in self._uses.values():
            exchange.here = False
        while len(self._uses) > self.limit:
            forgotten.append(self._uses.pop(next(iter(self._uses))))
        return forgotten
