"""One HTTP/1.1 connection to a sink: a request out, its answer in, then the next one. Parsed by httptools (llhttp).

Made by `pool`, used by `handle`. Everything that comes in is untrusted: bounded, and any deviation from HTTP ends the
connection, since whatever followed might be read as the answer to someone else's request.
"""

import asyncio
from typing import Protocol, cast

import httptools

from thinbridge.delivery.retry import Failure
from thinbridge.delivery.room import SHORT, Room
from thinbridge.delivery.terms import DeliveryLimits

Headers = list[tuple[bytes, bytes]]


class Client(Protocol):
    """Who waits for the answer. Exactly one of `answered` and `failed` is called per request, unless abandoned."""

    def answering(self) -> None:
        """The answer has begun, or goes on after it was held, and is not complete."""

    def held(self) -> None:
        """The answer is long, and waits for its turn to be read: not its function's fault."""

    def answered(self, status: int, headers: Headers, body: bytes) -> None:
        """The answer is complete; header names are in lower case."""

    def failed(self, failure: Failure) -> None:
        """There will be none: `STALE`, `LOST`, `MALFORMED` or `TOO_LARGE`."""


class Owner(Protocol):
    """Where connections come from and go back to."""

    limits: DeliveryLimits
    """What an answer may take."""
    room: Room
    """Where long answers have their turns."""

    def release(self, connection: "Connection") -> None:
        """It can take another request."""

    def drop(self, connection: "Connection") -> None:
        """It is closed or about to be; may be called twice."""


class _Stop(Exception):
    """Leaves a parser callback, which stops the parser: the answer overdoes it."""


class Connection(asyncio.Protocol):
    """One connection, one request at a time; never pipelined.

    Args:
        owner: its pool.
        gone: done when the socket is closed.
    """

    __slots__ = (
        "_body", "_bound", "_claimed", "_complete", "_fields", "_headers", "_keep", "_length", "_limits", "_owner",
        "_parser", "_received", "_reused", "_size", "_status", "_transport", "client", "gone", "resting",
    )  # fmt: skip

    def __init__(self, owner: Owner, gone: asyncio.Future[None]) -> None:
        self._owner, self.gone = owner, gone
        self._parser = httptools.HttpResponseParser(self)
        self.client: Client | None = None
        self.resting = False
        """Nobody has used it since the pool's last sweep; the pool's own note."""
        self._reused = False
        self._claimed = False  # it has, or waits for, room for its answer
        self._body = bytearray()

    def request(self, data: bytes, client: Client) -> None:
        """Send a request. The connection must be free."""
        self.client = client
        self._limits = self._owner.limits
        self._fields: Headers = []
        self._headers: Headers | None = None  # None until they are complete
        self._size = self._received = 0
        self._length: int | None = None  # until it is known
        self._bound = self._limits.head
        self._complete = False
        self._transport.write(data)

    @property
    def closing(self) -> bool:
        """It can't take a request any more."""
        return self._transport.is_closing()

    def abandon(self) -> None:
        """Nobody waits any more: close at once, tell nobody."""
        self.client = None
        self._close()

    def _close(self) -> None:
        self._release()
        self._owner.drop(self)
        self._transport.abort()

    # --- asyncio.Protocol ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected, TLS done."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """A piece of the answer; on a free connection, nothing that we asked for."""
        if self.client is None:
            self._close()
            return
        first, self._received = not self._received, self._received + len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                overdone = isinstance(error, httptools.HttpParserCallbackError)
                self._fail(Failure.TOO_LARGE if overdone else Failure.MALFORMED)
                return
            self._keep = False  # it is only what follows a complete answer
        if self._complete:
            self._finish()
        elif self._received > self._bound:
            self._fail(Failure.TOO_LARGE)
        elif not self._claimed and max(self._size, self._length or 0) > SHORT:
            self._claim()
        elif first:
            self.client.answering()

    def _claim(self) -> None:
        """The answer is long: read on when there is room for it. One that names no length may become the longest."""
        assert self.client is not None
        self._claimed = True
        if self._owner.room.claim(self, self._length or self._limits.body):
            self.client.answering()
        else:
            self._transport.pause_reading()
            self.client.held()

    def granted(self) -> None:
        """There is room."""
        assert self.client is not None
        self._transport.resume_reading()
        self.client.answering()

    def _release(self) -> None:
        if self._claimed:
            self._claimed = False
            self._owner.room.release(self)

    def eof_received(self) -> None:
        """The sink closes; an answer without a length ends here (RFC 9112 §6.3)."""
        if self.client is None:
            self._close()
        elif self._headers is not None and _ends_with_connection(self._headers):
            self._keep = False
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed, by whomever."""
        client, self.client = self.client, None
        self.gone.set_result(None)
        self._release()
        if client is not None:  # before its place is given away: it may want a new connection there
            client.failed(Failure.STALE if self._reused and not self._received else Failure.LOST)
        self._owner.drop(self)

    # --- httptools -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Once per answer; again after a complete one: an answer that nobody asked for."""
        if self._complete:
            raise _Stop

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which is read and forgotten."""
        if self._headers is None:
            self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Weigh them."""
        fields, limits = self._fields, self._limits
        if len(fields) > limits.headers or (
            self._received > limits.head and sum(len(name) + len(value) for name, value in fields) > limits.head
        ):
            raise _Stop
        self._fields = []
        self._status = self._parser.get_status_code()
        if self._status >= 200:  # an interim answer is ignored (RFC 9110 §15.2), and what it takes is counted on
            self._headers = fields
            self._length = _length(fields)
            if self._length is not None and self._length > limits.body:
                raise _Stop
            self._bound = limits.head + 2 * limits.body  # framing of chunks counts, too, or it could go on for ever

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._size += len(data)
        if self._size > self._limits.body:
            raise _Stop
        self._body += data  # in place: as many objects as there may be chunks take ten times as much

    def on_message_complete(self) -> None:
        """An answer, or an interim one."""
        if self._headers is not None:
            self._complete = True
            self._keep = self._parser.should_keep_alive()

    # --- ends ----------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        client, self.client = self.client, None
        assert client is not None
        assert self._headers is not None
        status, headers, body = self._status, self._headers, bytes(self._body)
        self._body = bytearray()  # a free connection keeps nothing of it
        self._release()
        if self._keep and not self._transport.get_write_buffer_size():  # an early answer leaves half a request behind
            self._reused = True
            self._owner.release(self)
        else:
            self._close()
        client.answered(status, headers, body)

    def _fail(self, failure: Failure) -> None:
        client, self.client = self.client, None
        assert client is not None
        self._close()
        client.failed(failure)


def _length(headers: Headers) -> int | None:
    """Content-Length, which the parser has checked."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return None


def _ends_with_connection(headers: Headers) -> bool:
    return not any(name in (b"content-length", b"transfer-encoding") for name, _ in headers)
