"""What the broker has sent under one client id and waits for, and the order of the acknowledgements. Pure.

One `Window` per client id; it outlives connections. A packet identifier is *used* from its PUBLISH until its PUBACK
(MQTT-4.3.2-2); a use is one message, however often the broker sends it. Each use is tagged with the generation of the
connection that brought it last: only that connection gets its PUBACK, since on the next one the same identifier may be
another message's.
"""

from collections import Counter, OrderedDict, deque
from typing import Final

from thinbridge.protocols.base import Inbound
from thinbridge.protocols.mqtt.exchanges import OPEN, OVERHEAD, Exchange

REMEMBERED: Final = 8192
"""Uses that are remembered after their PUBACK, which may be lost with its connection, or in the broker's crash; and
about so many that the broker has not had it for, and never sends again: they may have expired there. A broker that
writes down once a second forgets thousands of acknowledgements when it is killed. 200 bytes each."""

NEVER: Final = -1
"""The generation of a use that no connection waits for."""


class Use(Exchange):
    """One use of a packet identifier; QoS 0 has none, and is only counted."""

    __slots__ = ("generation", "inbound", "octets", "tries")

    def __init__(self, qos: int, octets: int) -> None:
        super().__init__(qos)
        self.generation = NEVER
        self.octets = octets + OVERHEAD
        """Bytes that it holds until it is decided, about."""
        self.inbound: Inbound | None = None
        """What was reported, until it is decided: the delivery may give it up, then it is reported again."""
        self.tries = 0
        """How often the delivery has given it up."""


class Window:
    """The messages of one client id.

    Args:
        limit: how many may be open before reading pauses.
        octets: bytes of them.
        salt: random bytes of this client id and process: events' ids are made from them.
        counters: what came twice.
    """

    def __init__(self, limit: int, octets: int, salt: bytes, counters: Counter[str]) -> None:
        self.limit, self.octets = limit, octets
        self.generation = 0
        self.open = 0
        """How many are not decided."""
        self.held = 0
        """Bytes of those."""
        self._salt, self._counters = salt, counters
        self._number = 0
        self._uses: dict[int, Use] = {}
        self._acks: deque[Use] = deque()
        self._acked: OrderedDict[int, tuple[int, bytes]] = OrderedDict()  # digest, key
        self._recycles = False  # the broker gives identifiers again at once: what came back can't be told from new

    @property
    def full(self) -> bool:
        """Reading pauses: too many, or too much, waits for the sink or for an earlier one's PUBACK."""
        return max(self.open, len(self._acks)) >= self.limit or self.held >= self.octets

    @property
    def unacknowledged(self) -> int:
        """How many wait for their PUBACK on this connection."""
        return len(self._acks)

    def connected(self, present: bool) -> None:
        """A new connection; `present`: the broker still has the session, and sends what is not acknowledged again."""
        self.generation += 1
        if not present:
            self._uses.clear()
            self._acked.clear()
        for packet_id, use in list(self._uses.items()):  # what the broker has dropped, it does not send again
            if len(self._uses) > REMEMBERED and use.reason != OPEN:
                del self._uses[packet_id]

    def arrived(self, packet_id: int, dup: bool, digest: int, octets: int) -> Use | None:
        """A QoS 1 PUBLISH on this connection, in this order; None: it repeats one, whose PUBACK may be due now."""
        known = self._uses.get(packet_id)
        if known is not None and dup and known.digest == digest:
            self._counters["duplicates"] += 1
            if known.generation != self.generation:
                known.generation = self.generation
                self._acks.append(known)
            return None
        use = self.counted(1, octets)
        use.packet_id, use.digest, use.generation = packet_id, digest, self.generation
        use.key = self._key(packet_id, dup, digest)
        self._uses[packet_id] = use
        self._acks.append(use)
        return use

    def counted(self, qos: int, octets: int) -> Use:
        """A message that waits for the sink."""
        use = Use(qos, octets)
        self.open += 1
        self.held += use.octets
        return use

    def _key(self, packet_id: int, dup: bool, digest: int) -> bytes:
        """What the event's id is made from: the same for a message that comes again after its PUBACK was lost.

        That can be known only of a broker that goes through the identifiers in turn, as most do. One that gives the
        same again soon is noticed by its first new message: from then on, what comes again has a new id.
        """
        acked = self._acked.pop(packet_id, None)
        if acked is not None:
            if not dup:
                self._recycles = True
                self._acked.clear()
            elif acked[0] == digest:
                self._counters["duplicates"] += 1
                return acked[1]
        self._number += 1
        return self._salt + self._number.to_bytes(8)

    def decided(self, use: Use, reason: int) -> None:
        """It has been accepted, or refused by the function: its PUBACK may go, in its turn."""
        use.reason = reason
        use.inbound = None
        self.open -= 1
        self.held -= use.octets

    def disconnected(self) -> None:
        """The connection is gone: nothing that it brought is acknowledged on another, unless it comes again there."""
        self._acks.clear()

    def acknowledge(self) -> list[Use]:
        """The messages whose PUBACK is due, in the order in which they came (MQTT-4.6.0-2); only while connected."""
        due: list[Use] = []
        acks = self._acks
        while acks and acks[0].reason >= 0:
            use = acks.popleft()
            if self._uses.get(use.packet_id) is use:
                del self._uses[use.packet_id]
            due.append(use)
            self._remember(use)
        return due

    def _remember(self, use: Use) -> None:
        if self._recycles:
            return
        self._acked[use.packet_id] = use.digest, use.key
        if len(self._acked) > REMEMBERED:
            self._acked.popitem(last=False)
