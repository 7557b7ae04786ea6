"""An MQTT 3.1.1 device with a ledger, written against the specification and not against our codec.

It keeps a window of QoS 1 messages in flight, reconnects when the connection is cut, and repeats with DUP what was not
acknowledged, as MQTT-4.4.0-1 has it.
"""

import asyncio
import struct
from contextlib import suppress


class Publisher:
    """Publishes `count` messages, each with a payload of its own.

    Args:
        client_id: also the payloads' prefix.
        port: the bridge's, on loopback.
        count: how many messages.
        window: how many may wait for their PUBACK.
    """

    def __init__(self, client_id: str, port: int, count: int, window: int = 10) -> None:
        self.client_id = client_id
        self.acknowledged: set[bytes] = set()
        self._port = port
        self._todo = [f"{client_id}:{number}".encode() for number in reversed(range(count))]
        self._window = window
        self._open: dict[int, bytes] = {}
        self._next = 1

    async def run(self) -> None:
        """Until everything is acknowledged."""
        while self._todo or self._open:
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
            for packet_id, payload in self._open.items():
                self._publish(writer, packet_id, payload, dup=True)
            while self._todo or self._open:
                while self._todo and len(self._open) < self._window:
                    packet_id, self._next = self._next, self._next % 65535 + 1
                    self._open[packet_id] = self._todo.pop()
                    self._publish(writer, packet_id, self._open[packet_id], dup=False)
                kind, body = await self._packet(reader)
                assert kind == 0x40, kind
                self.acknowledged.add(self._open.pop(struct.unpack("!H", body)[0]))
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    @staticmethod
    def _publish(writer: asyncio.StreamWriter, packet_id: int, payload: bytes, *, dup: bool) -> None:
        body = b"\x00\x08readings" + struct.pack("!H", packet_id) + payload
        writer.write(bytes([0x32 | dup << 3, len(body)]) + body)

    @staticmethod
    async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
        kind, length = await reader.readexactly(2)  # nothing that it is sent has more than 127 bytes
        return kind, await reader.readexactly(length)
