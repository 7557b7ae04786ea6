"""`load.c` for machines without a C compiler: the same arguments, lines and rounds, in Python on uvloop.

It costs about as much as a bridge does, so that messages per second say little; CPU per message of the bridge is
still right, since the bridge has a core of its own. It is too busy to sleep, so `spin` means nothing to it.
"""

import asyncio
import json
import sys
import time
from typing import Any, NamedTuple, cast

import httptools
import uvloop

PATIENCE = 2.0
"""Seconds until a message counts as lost."""


class Shape(NamedTuple):
    """How many devices there are, how many messages each has in flight, of how many bytes."""

    devices: int
    window: int
    size: int


SHAPES = {"coap": Shape(64, 1, 32), "mqtt": Shape(16, 4, 64), "udp": Shape(64, 1, 64)}


class Lane:
    """Keeps one message in flight, which begins with the lane and its number."""

    device: Any

    def __init__(self, field: "Field", place: int) -> None:
        self._field, self.place = field, place
        self.number = self.accepted = 0
        self.open = False

    def send(self) -> None:
        self.number += 1
        self.message = b"%04x%08x" % (self.place, self.number)
        self.message = self.message.ljust(self._field.shape.size, b"x")
        self.sent, self.open = time.monotonic(), True
        self._field.unanswered += 1
        self.device.send(self)

    def answered(self, right: bool = True) -> None:
        field = self._field
        if right:
            field.early += self.accepted != self.number
            field.latencies.append(time.monotonic() - self.sent)
        else:
            field.wrong += 1
        self.close()

    def close(self) -> None:
        self.open = False
        self._field.unanswered -= 1
        if self._field.sending:
            self.send()


class Field:
    """All lanes, and what is counted in a round."""

    def __init__(self, case: str) -> None:
        self.case, self.shape = case, SHAPES[case]
        self.lanes = [Lane(self, place) for place in range(self.shape.devices * self.shape.window)]
        self.unanswered = 0
        self.reset()

    def reset(self) -> None:
        self.sending = True
        self.posts = self.lost = self.wrong = self.early = self.repeated = 0
        self.latencies: list[float] = []

    async def run(self, port: int, seconds: float) -> dict[str, float]:
        """One round; devices connect at the first."""
        if not hasattr(self.lanes[0], "device"):
            await self._connect(port)
        self.reset()
        start, used = time.monotonic(), time.process_time()
        for lane in self.lanes:
            lane.send()
        while self.unanswered:
            await asyncio.sleep(0.02)
            self.sending = time.monotonic() - start < seconds
            self._give_up_old(time.monotonic() - PATIENCE)
        return self._result(time.monotonic() - start, time.process_time() - used)

    async def _connect(self, port: int) -> None:
        window = self.shape.window
        for number in range(self.shape.devices):
            lanes = self.lanes[number * window : (number + 1) * window]
            device = await self._device(lanes, port, number)
            for lane in lanes:
                lane.device = device

    async def _device(self, lanes: list["Lane"], port: int, number: int) -> "UDP | MQTT":
        loop = asyncio.get_running_loop()
        if self.case == "mqtt":
            _, stream = await loop.create_connection(lambda: MQTT(self, lanes), "127.0.0.1", port)
            await stream.connect(number)
            return stream
        kind = CoAP if self.case == "coap" else UDP
        _, device = await loop.create_datagram_endpoint(lambda: kind(self, lanes), remote_addr=("127.0.0.1", port))
        return device

    def _give_up_old(self, before: float) -> None:
        for lane in self.lanes:
            if lane.open and lane.sent < before:
                self.lost += 1
                lane.close()

    def _result(self, seconds: float, cpu: float) -> dict[str, float]:
        times = sorted(self.latencies) or [0.0]
        return {
            "messages": len(self.latencies),
            "seconds": seconds,
            "p50": times[len(times) // 2],
            "p99": times[len(times) * 99 // 100],
            "lost": self.lost,
            "wrong": self.wrong,
            "early": self.early,
            "repeated": self.repeated,
            "posts": self.posts,
            "cpu": cpu,
        }


class UDP(asyncio.DatagramProtocol):
    """A device with one lane."""

    def __init__(self, field: Field, lanes: list[Lane]) -> None:
        self._field, self._lane = field, lanes[0]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def send(self, lane: Lane) -> None:
        self._transport.sendto(lane.message)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._lane.open and data == self._lane.message:
            self._lane.answered()
        else:
            self._field.wrong += 1


class CoAP(UDP):
    """CON POST /bench/t; token and message ID are the message's number."""

    def send(self, lane: Lane) -> None:
        token = lane.number.to_bytes(4)
        self._transport.sendto(b"\x44\x02" + token[2:] + token + b"\xb5bench\x01t\xff" + lane.message)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        lane, kind = self._lane, data[0] >> 4 & 3
        if kind == 0:  # a separate response: acknowledge it
            self._transport.sendto(b"\x60\x00" + data[2:4])
        if data[1] == 0:  # an empty ACK: the response follows
            return
        token = lane.number.to_bytes(4)
        if not lane.open or data[4:8] != token or data[0] & 15 != 4:
            self._field.wrong += 1
        else:
            right = data[1] >> 5 == 2 and data.endswith(b"\xff" + lane.message)
            lane.answered(right and (kind != 2 or data[2:4] == token[2:]))


class MQTT(asyncio.Protocol):
    """PUBLISH with QoS 1 to bench/t; the packet identifier tells the lane, and is not used again soon."""

    def __init__(self, field: Field, lanes: list[Lane]) -> None:
        self._field, self._lanes = field, lanes
        self._rest = b""
        self._connected = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    async def connect(self, number: int) -> None:
        self._transport.write(b"\x10\x12\0\4MQTT\4\2\0\0\0\6bench%c" % (97 + number))
        await asyncio.wait_for(self._connected, 5)

    def _id(self, lane: Lane) -> int:
        window = len(self._lanes)
        return 1 + lane.place % window + window * (lane.number % 4096)

    def send(self, lane: Lane) -> None:
        self._transport.write(b"\x32\x4b\0\7bench/t" + self._id(lane).to_bytes(2) + lane.message)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        while len(data) >= 4:
            packet, data = data[:4], data[4:]
            if packet == b"\x20\x02\0\0" and not self._connected.done():
                self._connected.set_result(None)
            else:
                self._acknowledged(packet)
        self._rest = data

    def _acknowledged(self, packet: bytes) -> None:
        number = int.from_bytes(packet[2:])
        lane = self._lanes[(number - 1) % len(self._lanes)]
        if packet[:2] == b"\x40\x02" and lane.open and self._id(lane) == number:
            lane.answered()
        else:
            self._field.wrong += 1


class Sink(asyncio.Protocol):
    """One connection of the bridge's HTTP client."""

    def __init__(self, field: Field) -> None:
        self._field = field
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        field = self._field
        field.posts += 1
        try:
            lane, number = field.lanes[int(body[:4], 16)], int(body[4:12], 16)
        except (ValueError, IndexError):
            field.wrong += 1
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            return
        field.repeated += lane.accepted >= number
        lane.accepted = number
        if field.case == "mqtt":
            self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: %d\r\n\r\n" % len(
                body
            )
            self._transport.write(head + body)


def main(case: str) -> None:
    """The sink's port, then a line of JSON for each line of input."""
    field = Field(case)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop = runner.get_loop()
        server = runner.run(_listen(loop, field))
        print(server.sockets[0].getsockname()[1], flush=True)
        for line in sys.stdin:
            port, seconds = line.split()
            print(json.dumps(runner.run(field.run(int(port), float(seconds)))), flush=True)


async def _listen(loop: asyncio.AbstractEventLoop, field: Field) -> asyncio.Server:
    return await loop.create_server(lambda: Sink(field), "127.0.0.1", 0)


if __name__ == "__main__":
    main(sys.argv[1])
