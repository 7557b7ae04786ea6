"""PUBACKs that may never have arrived, so that what a device then sends again keeps its event's `id`.

A PUBACK frees its packet identifier, and what comes with it then is a new message, which is delivered (MQTT-4.3.2-5;
3.1.1: MQTT-4.3.2-2). But where the connection was lost with the PUBACK, the device sends the same message again, with
DUP, over the next one: whoever gets both should see that they are one. `inbound.Window` has one of these per Session.
"""

from struct import Struct
from typing import Final

from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.exchanges import Exchange

KEPT: Final = 32
"""Of a Session: more than clients have on their way at once (20, usually), in half a kB."""

NUMBER: Final = 6
"""Bytes of the number of a use, at the end of its key."""

_ENTRY: Final = Struct(f"!Hq{NUMBER}s")
"""Packet identifier, digest of topic and payload, number of the use."""
_PACK: Final = _ENTRY.pack
_KEPT_BYTES: Final = KEPT * _ENTRY.size


class Unheard:
    """The last PUBACKs of a Session, and the PUBRECs that said no, which free the identifier as well (MQTT-4.3.3-9)."""

    __slots__ = ("_before", "_here")

    def __init__(self) -> None:
        self._here = bytearray()  # of this connection: they arrive, as long as it lives
        self._before = bytearray()  # of those that were lost

    def add(self, exchange: Exchange) -> None:
        """A packet identifier was freed by what is sent now."""
        here = self._here
        here += _PACK(exchange.packet_id, exchange.digest, exchange.key[-NUMBER:])
        if len(here) > 2 * _KEPT_BYTES:  # not each time: it is called for every message
            del here[:-_KEPT_BYTES]

    def disconnect(self) -> None:
        """The connection was lost, and perhaps some of them with it."""
        self._before = (self._before + self._here)[-_KEPT_BYTES:]
        self._here = bytearray()

    def take(self, publish: Publish, digest: int) -> bytes | None:
        """The number of the use that a PUBLISH repeats, once; None: it is a new message, or might be.

        A device that uses the same identifiers again at once could mean another message of the same content: there, two
        ids for one message are better than one id for two.
        """
        if not publish.dup or not self._before:
            return None
        entries = list(_ENTRY.iter_unpack(self._before))
        if len({packet_id for packet_id, _, _ in entries}) < len(entries):
            return None
        for at, (packet_id, known, number) in enumerate(entries):
            if packet_id == publish.packet_id and known == digest:
                del self._before[at * _ENTRY.size : (at + 1) * _ENTRY.size]
                return bytes(number)
        return None
