"""A socket as paho reads and writes it, with a buffer each way.

paho takes a system call for each byte of a packet's head and for each acknowledgement; from here it has them from
memory, and the socket is read and written once a turn of the loop. What TLS and WebSocket have already taken from the
socket, so that no `select` would tell of it, is found the same way (libraries do stall there).
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

READ: Final = 16_384
"""Bytes of one read: a TLS record; at a hundred bytes a message, more than a window."""

UNSENT: Final = 1 << 20
"""Bytes that may wait for the broker to read; past it paho keeps what comes."""


class Socket(Protocol):
    """TCP, TLS or a WebSocket."""

    def recv(self, buffer_size: int, /) -> bytes:
        """Read."""

    def send(self, buffer: bytes | bytearray, /) -> int:
        """Write."""

    def close(self) -> None:
        """End."""

    def fileno(self) -> int:
        """For the loop."""

    def setblocking(self, flag: bool, /) -> None:
        """Whether calls wait."""


class Wire:
    """One connection's socket. Until `attach`, a thread dials by it; then it belongs to the loop.

    Args:
        socket: connected.
    """

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._in = bytearray()
        self._at = 0
        self._out = bytearray()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flushing = self._writing = self._reading = False
        self._closed = False
        self.ended = False
        """The broker has closed it, or it broke."""

    # --- what paho calls ----------------------------------------------------------------------------------------

    def recv(self, buffer_size: int) -> bytes:
        """From memory."""
        end = min(self._at + buffer_size, len(self._in))
        if end == self._at:
            if self.ended:
                return b""
            raise BlockingIOError
        data = bytes(self._in[self._at : end])
        self._at = end
        if end == len(self._in):
            self._in.clear()
            self._at = 0
        return data

    def send(self, buffer: bytes | bytearray) -> int:
        """Into memory; the thread that dials, directly."""
        if self._loop is None:
            return self._socket.send(buffer)
        if self.ended:
            raise ConnectionResetError
        if len(self._out) > UNSENT:
            raise BlockingIOError
        self._out += buffer
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        return len(buffer)

    def close(self) -> None:
        """Send what is left, as far as the kernel takes it, and end."""
        if self._closed:
            return
        self._closed = True
        if self._loop is not None:
            self.pause()
            if self._writing:
                self._loop.remove_writer(self._number)
            with suppress(OSError):
                if self._out and not self.ended:
                    self._socket.send(self._out)
        with suppress(OSError):
            self._socket.close()

    def fileno(self) -> int:
        """For whoever asks."""
        return self._socket.fileno()

    def setblocking(self, flag: bool) -> None:
        """Once, when it is connected."""
        self._socket.setblocking(flag)

    # --- what the link calls ------------------------------------------------------------------------------------

    def attach(self, loop: asyncio.AbstractEventLoop, ready: Callable[[], None]) -> None:
        """It is the loop's from now on; `ready` is called when there is something to read, or it has ended."""
        self._loop, self._ready = loop, ready
        self._number = self._socket.fileno()
        self.resume()

    @property
    def unread(self) -> bool:
        """Whether paho has something to read: bytes, or the end."""
        return bool(self._in) or self.ended

    @property
    def unsent(self) -> bool:
        """Whether something waits for the broker to read."""
        return bool(self._out)

    def pause(self) -> None:
        """Stop reading."""
        if self._reading and self._loop is not None:
            self._reading = False
            self._loop.remove_reader(self._number)

    def resume(self) -> None:
        """Go on reading, with what is here already first."""
        if self._reading or self._closed or self._loop is None:
            return
        self._reading = True
        self._loop.add_reader(self._number, self._readable)
        self._loop.call_soon(self._readable)

    def _readable(self) -> None:
        """Read as long as there is more above the socket than it tells of, one record or frame at a time."""
        more = True
        while more and self._reading:
            if len(self._in) - self._at < READ:  # what a pause left unread comes first, and is not added to
                self._fill()
            more = not self.ended and self._pending()
            self._ready()

    def _fill(self) -> None:
        try:
            data = self._socket.recv(READ)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            data = b""
        self._in += data
        self.ended = not data

    def _pending(self) -> bool:
        pending: Callable[[], int] | None = getattr(self._socket, "pending", None)
        return pending is not None and pending() > 0

    def _flush(self) -> None:
        self._flushing = False
        if self._closed or not self._out:
            return
        assert self._loop is not None
        try:
            sent = self._socket.send(self._out)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            sent = 0
        except OSError:
            self.ended = True
            self._in.clear()  # unread: the broker sends it again
            self._at = 0
            self._loop.call_soon(self._ready)
            return
        if len(self._out) > UNSENT >= len(self._out) - sent:
            self._loop.call_soon(self._ready)  # there is room again
        del self._out[:sent]
        if bool(self._out) != self._writing:
            self._writing = bool(self._out)
            if self._writing:
                self._loop.add_writer(self._number, self._flush)
            else:
                self._loop.remove_writer(self._number)
