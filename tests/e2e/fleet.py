"""Devices with a ledger, for faults: each sends a message a second, repeats what was not acknowledged as its protocol
has it, and writes down when it was. Written against the specifications, not against our codecs.

What a device gave up (a CON that nobody answered, RFC 7252 §4.8.2) it sends again as a new message, as an application
would: nothing is taken off its list before it was acknowledged.
"""

import asyncio
import random
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

PERIOD = 1.0
"""Seconds between a device's messages."""


class Device:
    """What the two kinds have in common: the payloads, and the ledger.

    Args:
        name: the payloads' prefix.
        host: where the bridge is.
        port: its port.
    """

    def __init__(self, name: str, host: str, port: int) -> None:
        self.name = name
        self.sent: list[str] = []
        self.acknowledged: dict[str, float] = {}
        self._address = host, port
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`, and then until everything is acknowledged."""
        raise NotImplementedError

    def stop(self) -> None:
        """Send nothing new."""
        self._stopping.set()

    def interruption(self) -> float:
        """The longest time without an acknowledgement, beyond the period; seconds."""
        times = sorted(self.acknowledged.values())
        return max((after - before - PERIOD for before, after in pairwise(times)), default=float("inf"))

    def _new(self) -> str:
        self.sent.append(f"{self.name}:{len(self.sent)}")
        return self.sent[-1]

    def _heard(self, payload: str) -> None:
        self.acknowledged.setdefault(payload, time.monotonic())

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), PERIOD)


ACK_TIMEOUT, MAX_RETRANSMIT = 2.0, 4  # RFC 7252 §4.8
SEPARATE = 30.0
"""Seconds that a device waits for a separate response after an empty ACK, until it sends a new request."""
CON, ACK, RST = 0, 2, 3
ECHO = 252  # RFC 9175 §2.2


class Confirmable(Device, asyncio.DatagramProtocol):
    """A CoAP device: one CON POST at a time, from one port."""

    def __init__(self, name: str, host: str, port: int) -> None:
        super().__init__(name, host, port)
        self.gave_up = 0
        self._mid = random.Random(name).randrange(65536)
        self._echo = b""
        self._heard_of: asyncio.Queue[tuple[int, int, int, bytes]] = asyncio.Queue()
        self._transport: asyncio.DatagramTransport

    async def run(self) -> None:
        """One message after the other."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, remote_addr=self._address)
        try:
            while not self._stopping.is_set():
                payload = self._new()
                while not await self._request(payload):
                    self.gave_up += 1
                self._heard(payload)
                await self._pause()
        finally:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Note type, code, Message ID and the rest of what came; acknowledge a separate response, each copy."""
        kind, code, mid = data[0] >> 4 & 3, data[1], int.from_bytes(data[2:4], "big")
        if kind == CON:
            self._transport.sendto(struct.pack("!BBH", 0x40 | ACK << 4, 0, mid))
        self._heard_of.put_nowait((kind, code, mid, data[4:]))

    def error_received(self, exc: Exception) -> None:
        """ICMP says that nobody is there: so says the missing answer."""

    async def _request(self, payload: str) -> bool:
        """Whether the message was acknowledged: a response of class 2."""
        self._mid = (self._mid + 1) % 65536
        token = struct.pack("!H", self._mid)
        path = b"\xb8readings"  # Uri-Path, 8 bytes
        echo = b""
        if self._echo:  # delta 252 - 11 = 13 + 228
            echo = bytes([0xD0 | len(self._echo), ECHO - 11 - 13]) + self._echo
        request = struct.pack("!BBH", 0x42, 2, self._mid) + token + path + echo + b"\xff" + payload.encode()
        wait = ACK_TIMEOUT * 1.25
        for _ in range(MAX_RETRANSMIT + 1):
            self._transport.sendto(request)
            end = time.monotonic() + wait
            wait *= 2
            while (remaining := end - time.monotonic()) > 0:
                try:
                    kind, code, mid, rest = await asyncio.wait_for(self._heard_of.get(), remaining)
                except TimeoutError:
                    break
                if kind in (ACK, RST) and code == 0 and mid == self._mid:
                    if kind == RST:
                        return False
                    end = max(end, time.monotonic() + SEPARATE)
                    wait = 0  # an ACK ends the retransmissions
                elif code and rest[:2] == token:
                    return await self._answered(code, rest[2:])
            if not wait:
                return False
        return False

    async def _answered(self, code: int, rest: bytes) -> bool:
        if code == 0x81 and rest[:1] and rest[0] >> 4 == 13:  # 4.01 with Echo as its first option
            self._echo = rest[2 : 2 + (rest[0] & 15)]
        elif code >> 5 != 2:
            await self._pause()  # 5.03 says Max-Age 1 or more
        return code >> 5 == 2


class Publisher(Device):
    """An MQTT 3.1.1 device: QoS 1, Clean Session 0; repeats with DUP over its next connection (MQTT-4.4.0-1)."""

    def __init__(self, name: str, host: str, port: int) -> None:
        super().__init__(name, host, port)
        self.connections = 0
        self._open: dict[int, str] = {}
        self._next = 1

    async def run(self) -> None:
        """Connection after connection."""
        while not self._stopping.is_set() or self._open:
            with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                await self._connection()
            await asyncio.sleep(0.1)  # a device waits before it dials again

    async def _connection(self) -> None:
        self.connections += 1
        reader, writer = await asyncio.wait_for(asyncio.open_connection(*self._address), 3)
        try:
            client_id = self.name.encode()
            body = b"\x00\x04MQTT\x04\x00\x00\x3c" + struct.pack("!H", len(client_id)) + client_id
            writer.write(bytes([0x10, len(body)]) + body)
            kind, connack = await asyncio.wait_for(self._packet(reader), 5)
            if (kind, connack[1]) != (0x20, 0):  # 3: it drains
                return
            for packet_id, payload in self._open.items():
                self._publish(writer, packet_id, payload, dup=True)
            publishing = asyncio.create_task(self._publish_all(writer))
            try:
                while not self._stopping.is_set() or self._open:
                    await self._puback(reader)
            finally:
                publishing.cancel()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _puback(self, reader: asyncio.StreamReader) -> None:
        """One PUBACK; silence for longer than a bridge may take ends the connection, as a keep-alive would."""
        kind, body = await asyncio.wait_for(self._packet(reader), 15 if self._open else 2 * PERIOD + 15)
        assert kind == 0x40, kind
        self._heard(self._open.pop(struct.unpack("!H", body)[0]))

    async def _publish_all(self, writer: asyncio.StreamWriter) -> None:
        while not self._stopping.is_set():
            packet_id, self._next = self._next, self._next % 65535 + 1
            self._open[packet_id] = self._new()
            self._publish(writer, packet_id, self._open[packet_id], dup=False)
            await self._pause()

    @staticmethod
    def _publish(writer: asyncio.StreamWriter, packet_id: int, payload: str, *, dup: bool) -> None:
        body = b"\x00\x08readings" + struct.pack("!H", packet_id) + payload.encode()
        writer.write(bytes([0x32 | dup << 3, len(body)]) + body)

    @staticmethod
    async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
        kind, length = await reader.readexactly(2)  # nothing that it is sent has more than 127 bytes
        return kind, await reader.readexactly(length)


class Fleet:
    """Devices that run together."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self.devices = devices
        self._running = [asyncio.create_task(device.run()) for device in devices]

    async def stop(self) -> None:
        """Let each have everything acknowledged that it sent."""
        for device in self.devices:
            device.stop()
        async with asyncio.timeout(120):
            await asyncio.gather(*self._running)

    def acknowledged(self) -> set[str]:
        """What all of them were told to be done."""
        return {payload for device in self.devices for payload in device.acknowledged}

    def interruptions(self, kind: type[Device]) -> list[float]:
        """The longest interruption of each device of a kind, sorted."""
        return sorted(device.interruption() for device in self.devices if isinstance(device, kind))
