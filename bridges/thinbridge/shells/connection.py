"""One TCP connection of a stream shell: what its layers make of its bytes, and how long they may take for it."""

import asyncio
from typing import TYPE_CHECKING, Final, cast

from thinbridge.protocols.base import Path, Session
from thinbridge.shells.layers import Stack

if TYPE_CHECKING:
    from thinbridge.shells.stream import StreamShell

MESSAGE_TIMEOUT: Final = 60.0
"""Seconds for what must arrive whole, a WebSocket message: 256 KiB pass at 4.4 kB/s, a byte a second does not."""

UNREAD: Final = 60.0
"""Seconds for a device to read what is over `Limits.write_buffer`: 1 MiB passes at 18 kB/s."""
UNREAD_MOST: Final = 4
"""How many times `Limits.write_buffer` may wait for it meanwhile: four of the largest answers that it has asked for."""

LINGER: Final = 10.0
"""Seconds for a device to take the last that is said to it: then the connection is reset."""


class Connection(asyncio.Protocol):
    """Joins one TCP connection to the shell.

    Args:
        shell: whose it is.
        stack: what lies between; None: nothing.
    """

    transport: asyncio.Transport
    path = Path(())

    def __init__(self, shell: "StreamShell", stack: Stack | None) -> None:
        self.session: Session | None = None
        self.paused = False
        self.partial = 0
        """Bytes that its layers keep until the rest has come."""
        self._shell = shell
        self._stack = stack
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None  # more waits for it than should

    @property
    def ready(self) -> bool:
        """Whether its protocol may be spoken to: the handshakes are over."""
        return self._stack is None or self._stack.ready

    # --- In ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A device has connected."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by type
        self.peer = transport.get_extra_info("peername") or ("", 0)
        self.local = transport.get_extra_info("sockname") or ()  # the listener's own may be a wildcard
        self.transport.set_write_buffer_limits(high=self._shell.limits.write_buffer)
        if not self.ready:
            self._watch(self._shell.settings.handshake_timeout)
        self._shell.connected(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of the wire."""
        if self._stack is None:
            self._shell.received(self, data)
        else:
            self._unwrap(self._stack, data)

    def _unwrap(self, stack: Stack, data: bytes) -> None:
        greeted = stack.ready
        data = stack.receive(data)
        self._write(stack.data_to_send())
        if stack.ready and not greeted:
            self._greeted(stack)
        if data:
            self._shell.received(self, data)
        if self.transport.is_closing():
            return  # the session has ended it
        if stack.over:
            self.end(stack.fault)
        elif stack.ready:
            self._keep(stack.partial, bool(data))

    def _greeted(self, stack: Stack) -> None:
        """The handshakes are over: a session begins."""
        self._watch(None)
        self.path = self.path._replace(identity=stack.identity)
        if stack.bare:
            self._stack = None
        self._shell.greeted(self)

    def _keep(self, partial: int, moved: bool) -> None:
        """Bound what waits for its rest, in time and in bytes."""
        if not partial:
            self._watch(None)
        elif moved or not self.partial:
            self._watch(MESSAGE_TIMEOUT)
        if not self._shell.keep(self, partial):
            self.end("messages_held")

    def _watch(self, seconds: float | None) -> None:
        """What has begun must be whole in so many seconds; None: nothing has."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self._late)

    def _late(self) -> None:
        if self.transport.is_closing():
            self.transport.abort()
        else:
            self.end("message_timeout" if self.ready else "handshake_timeout")

    def end(self, fault: str) -> None:
        """Nothing more will come of it; what was written is sent."""
        if fault:
            self._shell.core.counters[fault] += 1
        self.close()

    def eof_received(self) -> None:
        """The device has said all: the transport closes, `connection_lost` follows."""

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._watch(None)
        self.resume_writing()
        self._shell.disconnected(self)

    # --- Out --------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send what the protocol says."""
        if self._stack is not None:
            self._stack.send(data)
            data = self._stack.data_to_send()
        self._write(data)

    def _write(self, data: bytes) -> None:
        if data and not self.transport.is_closing():
            self.transport.write(data)
            most = UNREAD_MOST * self._shell.limits.write_buffer
            if self._unread is not None and self.transport.get_write_buffer_size() > most:
                self._shell.too_slow(self)

    def close(self) -> None:
        """Close it, after what was written was sent; each layer says goodbye."""
        if self._stack is not None:
            self._write(self._stack.close())
        self.transport.close()
        self._watch(LINGER)

    def pause_writing(self) -> None:
        """More waits for the device than should: it gets some time to read, where not too many need that."""
        if self._shell.patient(self):
            self._unread = asyncio.get_running_loop().call_later(UNREAD, self._shell.too_slow, self)
        else:
            self._shell.too_slow(self)

    def resume_writing(self) -> None:
        """It reads."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
            self._shell.caught_up(self)

    def pause(self, paused: bool) -> None:
        """Stop or go on reading."""
        self.paused = paused
        if paused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()
