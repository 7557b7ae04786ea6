"""The shell of stream protocols: one TCP listener; a connection is a path, and belongs to one session at a time.

`bridge.py` makes one per `mqtt` listener. A connection's first session may hand it to another (`Handover`): a device
that comes back is the session it was before.
"""

import asyncio
import itertools
import socket
from collections import Counter
from typing import cast

from thinbridge.protocols.base import Handover, OnEvent, Path, Session
from thinbridge.shells.shell import Shell, bind, local_address

BACKLOG = 1024
"""Connections that may wait for `accept`; a whole site's devices reconnect at once after an outage."""


class StreamShell(Shell):
    """An endpoint of a stream protocol."""

    _server: asyncio.Server | None = None
    _task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Bind the port."""
        self._loop = asyncio.get_running_loop()
        self._sock = bind(socket.SOCK_STREAM, self.url, self.host, self.port)
        self._sock.listen(BACKLOG)  # only now is a taken port an error; who connects waits for `serve`
        self.port = local_address(self._sock)[1]
        self._numbers = itertools.count(1)
        self._by_path: dict[int, _Connection] = {}
        self._current: dict[Session, _Connection] = {}
        self._by_address: Counter[str] = Counter()

    def serve(self, on_event: OnEvent) -> None:
        """Start to accept."""
        self._on_event = on_event
        self._task = self._loop.create_task(self._start())

    async def _start(self) -> None:
        self._server = await self._loop.create_server(lambda: _Connection(self), sock=self._sock, backlog=BACKLOG)

    def drain(self) -> None:
        """No new connections; devices that are there are told as the protocol can."""
        if self._server is not None:
            self._server.close()
        super().drain()

    # --- In ---------------------------------------------------------------------------------------------------

    def connected(self, connection: "_Connection") -> None:
        """A device connected."""
        host, now = connection.peer[0], self._loop.time()
        counters = self.core.counters
        if len(self._live) >= self.limits.sessions and not self._evict(now):
            counters["sessions_full"] += 1
        elif self._by_address[host] >= self.limits.connections_per_address:
            counters["address_full"] += 1
        else:
            number = next(self._numbers)
            connection.path = Path(connection.peer, connection.local, number, False, True)
            self._by_address[host] += 1
            self._by_path[number] = connection
            session = self.core.open(connection.path, connection.path, now)
            self._adopt(session)
            self._join(connection, session)
            self._service(session, now)
            return
        connection.transport.abort()

    def received(self, connection: "_Connection", data: bytes) -> None:
        """Bytes came."""
        session = connection.session
        if session is not None:
            now = self._loop.time()
            self._idle.pop(session, None)  # silent no longer
            session.receive(data, connection.path, now)
            self._service(session, now)

    def disconnected(self, connection: "_Connection") -> None:
        """A connection is gone: closed by the device, reset, or by us."""
        session, connection.session = connection.session, None
        if self._by_path.pop(connection.path.socket, None) is None:
            return  # it was refused
        host = connection.peer[0]
        self._by_address[host] -= 1
        if not self._by_address[host]:
            del self._by_address[host]
        if session is None:
            return
        if self._current.get(session) is connection:
            del self._current[session]
        now = self._loop.time()
        session.eof(connection.path, now)
        self._service(session, now)

    def _join(self, connection: "_Connection", session: Session) -> None:
        connection.session = session
        self._current[session] = connection

    def _hand_over(self, session: Session, event: Handover, now: float) -> None:
        connection = self._by_path.get(event.path.socket)
        self._adopt(event.session)
        if connection is None:  # it went in the meantime
            event.session.eof(event.path, now)
        else:
            self._current.pop(session, None)
            self._join(connection, event.session)
            if event.rest:
                event.session.receive(event.rest, event.path, now)
        self._service(event.session, now)

    def _flow(self, session: Session) -> None:
        connection = self._current.get(session)
        if connection is not None and connection.paused is not session.paused:
            connection.pause(session.paused)

    def _forget(self, session: Session) -> None:
        connection = self._current.pop(session, None)
        if connection is not None and connection.session is session:
            connection.session = None
            connection.transport.close()
        super()._forget(session)

    # --- Out --------------------------------------------------------------------------------------------------

    def _send(self, session: Session | None, data: bytes | None, path: Path) -> None:
        connection = self._by_path.get(path.socket)
        if connection is None:
            return
        if data is None:
            connection.session = None  # what it still sends is nobody's
            connection.transport.close()
        else:
            connection.transport.write(data)

    def too_slow(self, connection: "_Connection") -> None:
        """A device does not read what it is sent: the connection ends, the session keeps what it must."""
        self.core.counters["slow_reader"] += 1
        connection.transport.abort()

    async def _close_sockets(self) -> None:
        if self._task is not None:
            await self._task
        if self._server is not None:
            self._server.close()
        for connection in list(self._by_path.values()):
            connection.transport.close()
        await asyncio.sleep(0)
        self._sock.close()


class _Connection(asyncio.Protocol):
    """Joins one TCP connection to the shell."""

    transport: asyncio.Transport
    path: Path = Path(())

    def __init__(self, shell: StreamShell) -> None:
        self._shell = shell
        self.session: Session | None = None
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by type
        self.peer = transport.get_extra_info("peername") or ("", 0)
        self.local = transport.get_extra_info("sockname") or ()  # the listener's own may be a wildcard
        self.transport.set_write_buffer_limits(high=self._shell.limits.write_buffer)
        self._shell.connected(self)

    def data_received(self, data: bytes) -> None:
        self._shell.received(self, data)

    def eof_received(self) -> None:
        """The device has said all: the transport closes, `connection_lost` follows."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._shell.disconnected(self)

    def pause_writing(self) -> None:
        self._shell.too_slow(self)

    def pause(self, paused: bool) -> None:
        """Stop or go on reading."""
        self.paused = paused
        if paused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()
