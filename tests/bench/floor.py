"""The floor: the least that Python can do between devices and a sink, on the same loop as the bridge. No bridge at all.

A raw socket and a raw httptools client: no deduplication, no limits, no retries, no event. The device is answered when
the sink has answered, whatever it said. What a bridge costs over this is what being a bridge costs. `bench.py` runs
`floor.py CASE SINK_URL`.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import uvloop

Done = Callable[[bytes], None]


class Client(asyncio.Protocol):
    """A keep-alive connection to the sink, one request at a time."""

    def __init__(self, free: list["Client"]) -> None:
        self._free = free
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def post(self, request: bytes, done: Done) -> None:
        self._done, self._body = done, b""
        self._transport.write(request)

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        self._free.append(self)
        self._done(self._body)


class Sink:
    """The connections; the last one used is the next."""

    def __init__(self, url: str) -> None:
        self._host, _, port = urlsplit(url).netloc.partition(":")
        self._port = int(port)
        self._free: list[Client] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._head = f"POST / HTTP/1.1\r\nhost: {self._host}:{self._port}\r\ncontent-length: ".encode()

    def post(self, body: bytes, done: Done) -> None:
        request = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
        if self._free:
            self._free.pop().post(request, done)
        else:
            task = asyncio.ensure_future(self._connect(request, done))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, request: bytes, done: Done) -> None:
        _, client = await asyncio.get_running_loop().create_connection(
            lambda: Client(self._free), self._host, self._port
        )
        client.post(request, done)


class Datagrams(asyncio.DatagramProtocol):
    """Plain UDP: the body goes back to the sender."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._sink.post(data, lambda body: self._transport.sendto(body, addr))


class CoAP(Datagrams):
    """A confirmable request is answered in its ACK, 2.04 (RFC 7252 §5.2.1)."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        token = 4 + (data[0] & 15)
        head = bytes((0x60 | data[0] & 15, 0x44)) + data[2:token] + b"\xff"
        self._sink.post(payload(data, token), lambda body: self._transport.sendto(head + body, addr))


def payload(data: bytes, at: int) -> bytes:
    """What follows the options, which are walked but not kept (RFC 7252 §3.1); lengths over 12 are none of ours."""
    while data[at] != 0xFF:
        at += 1 + (data[at] & 15)
    return data[at + 1 :]


class MQTT(asyncio.Protocol):
    """CONNECT and PUBLISH with QoS 1, PUBACK in the order of the sink's answers; a packet is shorter than 128 bytes."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at, size = 0, len(data)
        while size - at >= 2 and size - at >= 2 + data[at + 1]:
            end = at + 2 + data[at + 1]
            self._packet(data[at], data[at + 2 : end])
            at = end
        self._rest = data[at:]

    def _packet(self, first: int, packet: bytes) -> None:
        if first >> 4 == 1:
            self._transport.write(b"\x20\x02\0\0")
        elif first >> 4 == 3:
            topic = 2 + (packet[0] << 8 | packet[1])
            ack = b"\x40\x02" + packet[topic : topic + 2]
            self._sink.post(packet[topic + 2 :], lambda _: self._transport.write(ack))


async def main(case: str, url: str) -> None:
    """Serve until the end of the process; says on stderr where."""
    loop, sink = asyncio.get_running_loop(), Sink(url)
    if case == "mqtt":
        server = await loop.create_server(lambda: MQTT(sink), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
    else:
        kind = {"coap": CoAP, "udp": Datagrams}[case]
        transport, _ = await loop.create_datagram_endpoint(lambda: kind(sink), ("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
    print(f"listens on {case}://127.0.0.1:{port}", file=sys.stderr, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
