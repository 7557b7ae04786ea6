"""What people would write: aiocoap, or asyncio for plain UDP, and aiohttp. `bench.py` runs `script.py CASE SINK_URL`.

On asyncio's own loop, aiocoap's usual home. It acknowledges after the sink has answered, and neither retries nor
dead-letters.
"""

import asyncio
import socket
import sys
from typing import Any, cast

import aiocoap
import aiohttp
from aiocoap import resource


class Forward(resource.Resource, resource.PathCapable):  # type: ignore[misc]  # aiocoap has no types
    """Every path; the sink's body is the payload of the answer."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        super().__init__()
        self._http, self._url = http, url

    async def render(self, request: aiocoap.Message) -> aiocoap.Message:
        async with self._http.post(self._url, data=request.payload) as answer:
            code = aiocoap.CHANGED if answer.ok else aiocoap.BAD_GATEWAY
            return aiocoap.Message(code=code, payload=await answer.read())


async def coap(http: aiohttp.ClientSession, url: str, port: int) -> None:
    """A server of aiocoap's."""
    await aiocoap.Context.create_server_context(Forward(http, url), bind=("127.0.0.1", port), transports=["udp6"])


class Datagrams(asyncio.DatagramProtocol):
    """A task per datagram."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http, self._url = http, url
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        task = asyncio.create_task(self._forward(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, data: bytes, addr: Any) -> None:
        async with self._http.post(self._url, data=data) as answer:
            self._transport.sendto(await answer.read(), addr)


async def udp(http: aiohttp.ClientSession, url: str, port: int) -> None:
    """An asyncio datagram endpoint."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Datagrams(http, url), ("127.0.0.1", port))


def free_port() -> int:
    """A port of our own choice: aiocoap can't be asked which one it was given."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def main(case: str, url: str) -> None:
    """Serve until the end of the process; says on stderr where."""
    port = free_port()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        await {"coap": coap, "udp": udp}[case](http, url, port)
        print(f"listens on {case}://127.0.0.1:{port}", file=sys.stderr, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
