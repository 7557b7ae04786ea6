"""An MQTT 3.1.1 device with a ledger, written against the specification and not against our codec.

It keeps a window of QoS 1 or 2 messages in flight, reconnects when the connection is cut, and then sends again, in the
old order, what was not acknowledged (MQTT-4.4.0-1): PUBLISH with DUP until PUBACK or PUBREC, PUBREL until PUBCOMP.
"""

import asyncio
import struct
from collections.abc import Callable
from contextlib import suppress

PUBACK, PUBREC, PUBCOMP = 0x40, 0x50, 0x70


class Publisher:
    """Publishes `count` messages, each with a payload of its own.

    Args:
        client_id: also the payloads' prefix.
        port: where it connects, on loopback.
        count: how many messages.
        qos: 1 or 2.
        window: how many may wait for their last acknowledgement.
        accepted: whether the sink has a payload already: nothing may be acknowledged before.
    """

    def __init__(
        self,
        client_id: str,
        port: int,
        count: int,
        qos: int = 1,
        window: int = 10,
        accepted: Callable[[bytes], bool] = lambda payload: True,
    ) -> None:
        self.client_id = client_id
        self.acknowledged: set[bytes] = set()
        """By PUBACK or PUBREC: the bridge has them, the device forgets them."""
        self.phantom: set[bytes] = set()
        """Of these, what the sink did not have at that moment."""
        self.sent: set[bytes] = set()
        self.repeated: set[bytes] = set()
        """Sent again, with DUP: a broker takes that for another message."""
        self.connections = 0
        self._port = port
        self._todo = [f"{client_id}:{number}".encode() for number in reversed(range(count))]
        self._qos = qos
        self._window = window
        self._accepted = accepted
        self._open: dict[int, bytes] = {}  # PUBLISH was sent
        self._released: dict[int, bytes] = {}  # PUBREL was sent
        self._next = 1

    @property
    def _busy(self) -> bool:
        return bool(self._todo or self._open or self._released)

    async def run(self) -> None:
        """Until everything is acknowledged."""
        while self._busy:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._connection()
            await asyncio.sleep(0.05)  # a device waits before it dials again

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            client_id = self.client_id.encode()
            body = b"\x00\x04MQTT\x04\x00\x00\x3c" + struct.pack("!H", len(client_id)) + client_id  # clean session 0
            writer.write(bytes([0x10, len(body)]) + body)
            kind, connack = await self._packet(reader)
            assert (kind, connack[1]) == (0x20, 0), (kind, connack)
            self.connections += 1
            for packet_id in self._released:
                self._release(writer, packet_id)
            self.repeated.update(self._open.values())
            for packet_id, payload in self._open.items():
                self._publish(writer, packet_id, payload, dup=True)
            while self._busy:
                self._fill(writer)
                self._hear(writer, *await self._packet(reader))
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _fill(self, writer: asyncio.StreamWriter) -> None:
        while self._todo and len(self._open) + len(self._released) < self._window:
            packet_id, self._next = self._next, self._next % 65535 + 1
            self._open[packet_id] = self._todo.pop()
            self.sent.add(self._open[packet_id])
            self._publish(writer, packet_id, self._open[packet_id], dup=False)

    def _hear(self, writer: asyncio.StreamWriter, kind: int, body: bytes) -> None:
        """An acknowledgement; one of a message that is not open any more is of a resend."""
        (packet_id,) = struct.unpack("!H", body)
        assert kind in {1: (PUBACK,), 2: (PUBREC, PUBCOMP)}[self._qos], kind
        if kind == PUBCOMP:
            self._released.pop(packet_id, None)
            return
        if (payload := self._open.pop(packet_id, None)) is not None:
            self.acknowledged.add(payload)
            if not self._accepted(payload):
                self.phantom.add(payload)
            if self._qos == 2:
                self._released[packet_id] = payload
        if kind == PUBREC:
            self._release(writer, packet_id)

    def _publish(self, writer: asyncio.StreamWriter, packet_id: int, payload: bytes, *, dup: bool) -> None:
        body = b"\x00\x08readings" + struct.pack("!H", packet_id) + payload
        writer.write(bytes([0x30 | self._qos << 1 | dup << 3, len(body)]) + body)

    @staticmethod
    def _release(writer: asyncio.StreamWriter, packet_id: int) -> None:
        writer.write(b"\x62\x02" + struct.pack("!H", packet_id))

    @staticmethod
    async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
        kind, length = await reader.readexactly(2)  # nothing that it is sent has more than 127 bytes
        return kind, await reader.readexactly(length)
