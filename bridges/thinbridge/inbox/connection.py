"""One connection of the inbox: uvicorn's HTTP protocol on httptools, with the bounds that uvicorn leaves to a proxy.

Measured with uvicorn 0.54: a head may be of any size, a head or a body may take for ever, requests may be pipelined
without end, a peer that takes no answer keeps its connection, and each malformed request is a log line. So here: bytes
and time per request are limited, connections are limited and the one silent for longest makes room, a pipelined
request ends the connection after the answer before it (RFC 9112 §9.3.2 leaves that to us), and nothing is logged.
"""

import asyncio
from collections import Counter
from email.utils import formatdate
from logging import CRITICAL, Logger
from typing import Final, cast

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from thinbridge.inbox.app import InboxLimits

SILENT: Final = Logger("uvicorn", CRITICAL + 1)
"""Everything that uvicorn would say is about what a peer did: that is counted."""

REFUSALS: Final = {
    400: (b"Bad Request", "malformed"),
    408: (b"Request Timeout", "too_slow"),
    431: (b"Request Header Fields Too Large", "head_too_large"),
    503: (b"Service Unavailable", "connections_full"),
}
"""Status → its phrase, and the counter's name."""


class Floor(ServerState):
    """What the connections of one inbox share.

    Args:
        limits: see there.
        counters: gets what was turned away, by a fixed name.
    """

    def __init__(self, limits: InboxLimits, counters: Counter[str]) -> None:
        super().__init__()
        self.limits = limits
        self.counters = counters
        self.silent: dict[Connection, None] = {}
        """Those that owe us bytes, the one silent for longest first."""
        self.empty = asyncio.Event()

    async def clear(self) -> None:
        """Close all connections, those that work on an answer within the grace."""
        self.empty.clear()
        for connection in list(self.connections):
            connection.shutdown()
        grace = asyncio.get_running_loop().call_later(self.limits.grace, self._abort)
        if self.connections:
            await self.empty.wait()
        grace.cancel()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def _abort(self) -> None:
        for connection in list(self.connections):
            connection.transport.abort()


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, bounded.

    Args:
        config: uvicorn's.
        floor: what the connections of this inbox share.
    """

    def __init__(self, config: Config, floor: Floor) -> None:
        super().__init__(config, floor, {})
        self.logger = SILENT
        self.access_log = False
        self._floor = floor
        self._limits = floor.limits
        self._deadline: asyncio.TimerHandle | None = None
        self._raw = 0  # bytes since the last complete request
        self._head = 0  # bytes of this request's URL, names and values, trailers too
        self._in_head = True
        self._refusal = 400

    # --- The connection -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A place for it: free, or taken from the one that has owed us a request for longest."""
        super().connection_made(cast("asyncio.Transport", transport))
        floor = self._floor
        if len(floor.connections) > self._limits.connections:
            if not floor.silent:
                self._refuse(503)
                return
            oldest = next(iter(floor.silent))
            del floor.silent[oldest]
            floor.counters["evicted"] += 1
            oldest.transport.abort()
        floor.silent[self] = None
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing stays behind, timers neither: uvicorn leaves one after a reset."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._disarm()
        self._floor.silent.pop(self, None)
        if not self._floor.connections:
            self._floor.empty.set()

    def timeout_keep_alive_handler(self) -> None:
        """Silent between requests: `close` would wait for a peer that takes no answer."""
        self.transport.abort()

    def _arm(self) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(self._limits.request, self._expired)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expired(self) -> None:
        """The time for a request, or for taking an answer, is over."""
        self._deadline = None
        if self._raw and not self.transport.is_closing():
            self._refuse(408)
        else:
            self.transport.abort()

    # --- Bytes --------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes, counted; the clock of a request starts with its first one."""
        if self._busy():
            self._answer_and_close()
            return
        if self._deadline is None:
            self._arm()
        self._raw += len(data)
        super().data_received(data)
        limit = self._limits.head if self._in_head else self._limits.head + 4 * self._limits.body  # chunks of a byte
        if self._raw > limit and not self.transport.is_closing():
            self._refuse(431 if self._in_head else 400)

    def _busy(self) -> bool:
        """A whole request is here, and its answer is not complete."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    def _answer_and_close(self) -> None:
        """Bytes came before their turn: the answer goes out, then the connection ends; nothing is read meanwhile."""
        self.cycle.keep_alive = False
        self.flow.pause_reading()

    def send_400_response(self, msg: str) -> None:
        """The parser, or a callback below, refuses."""
        if self._busy():
            self._answer_and_close()
        else:
            self._refuse(self._refusal)

    def _refuse(self, status: int) -> None:
        """Say why, and close; without a word if this request has its answer already."""
        phrase, counter = REFUSALS[status]
        self._floor.counters[counter] += 1
        if not self._in_head:
            if self.cycle.response_started:
                self.transport.abort()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ndate: %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s\n"
            % (status, phrase, formatdate(usegmt=True).encode(), len(phrase) + 1, phrase.lower())
        )
        self.transport.close()
        self._arm()

    # --- The parser's callbacks; what they raise ends in `send_400_response` -----------------------------------------

    def on_message_begin(self) -> None:
        """A request in the bytes behind another one that is not answered yet is not looked at."""
        if self._busy():
            raise ValueError("pipelined")
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Part of the URL."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        self._count(len(name) + len(value) + 4)  # b": " and b"\r\n"
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > self._limits.head:
            self._refusal = 431
            raise ValueError("head too large")

    def on_headers_complete(self) -> None:
        """The head is here. After an Upgrade or CONNECT llhttp reads no body, so it would be taken for empty."""
        if self.parser.should_upgrade():
            raise ValueError("HTTP/1.1 only")
        super().on_headers_complete()
        self._in_head = False

    def on_message_complete(self) -> None:
        """The request is here: from now on the app's own time limit holds."""
        super().on_message_complete()
        self._raw = self._head = 0
        self._in_head = True
        self._disarm()
        if self.cycle.response_complete:  # refused before its end, the rest is read: idle again
            self.timeout_keep_alive_task = self.loop.call_later(self._limits.idle, self.timeout_keep_alive_handler)
        else:
            self._floor.silent.pop(self, None)

    def on_response_complete(self) -> None:
        """The answer is written: the peer must take it, and may ask again."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._arm()
        else:
            self._floor.silent[self] = None
