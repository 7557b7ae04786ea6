"""The shell of stream protocols: one TCP listener; a connection is a path, and belongs to one session at a time.

`assembly` makes one per `mqtt` listener. What a `connection` says passes its `layers` first (TLS, WebSocket). Its first
session may hand it to another (`Handover`): a device that comes back is the session it was before.
"""

import asyncio
import itertools
import socket
from collections import Counter
from typing import Final

from thinbridge.protocols.base import Handover, Limits, OnEvent, Path, Protocol, Session
from thinbridge.settings.stream import StreamSettings
from thinbridge.shells.connection import Connection
from thinbridge.shells.entrance import Entrance
from thinbridge.shells.shell import Shell, bind, local_address

BACKLOG = 1024
"""Connections that may wait for `accept`; a whole site's devices reconnect at once after an outage."""

SLOW: Final = 1.0
"""Seconds of a handshake after which it gives way to a newcomer, where there are too many: a fleet that comes back at
once is through by then, and who holds connections open does not keep others out."""

MAX_PARTIAL: Final = 64 << 20
"""Bytes that all connections of a listener together may keep until the rest of a WebSocket message has come; whoever
begins one more is cut. Devices send theirs in one go, so few are ever under way."""


MAX_UNREAD: Final = 64
"""Connections that may have more waiting for their devices than `Limits.write_buffer`, for a while: who has asked for
some large things at once by a slow link reads all the time. One more is reset at once, so who never reads takes no more
memory than that."""


class StreamShell(Shell):
    """An endpoint of a stream protocol.

    Args:
        protocol: the sans-IO core.
        name: the endpoint's name.
        host: address to bind.
        port: port to bind; 0: any.
        limits: what it may hold.
        settings: what connections come by; plain TCP, unless given.
    """

    _server: asyncio.Server | None = None
    _task: asyncio.Task[None] | None = None

    def __init__(
        self,
        protocol: Protocol,
        name: str,
        host: str,
        port: int,
        limits: Limits | None = None,
        settings: StreamSettings | None = None,
    ) -> None:
        super().__init__(protocol, name, host, port, limits)
        self.settings = settings or StreamSettings()
        self._entrance = Entrance(self.settings, protocol)
        self._greeting: dict[Connection, float] = {}  # their handshakes are not over, the longest-waiting first
        self._partial = 0  # bytes that their layers keep
        self._unread: set[Connection] = set()  # more waits for their devices than should

    @property
    def url(self) -> str:  # type: ignore[override]
        """As `Shell` has it, with the scheme that says what connections come by."""
        return super().url.replace(self.protocol, self._entrance.scheme, 1)

    async def open(self) -> None:
        """Read the certificates, bind the port."""
        self._loop = asyncio.get_running_loop()
        self._entrance.open()
        self._sock = bind(socket.SOCK_STREAM, self.url, self.host, self.port)
        self._sock.listen(BACKLOG)  # only now is a taken port an error; who connects waits for `serve`
        self.port = local_address(self._sock)[1]
        self._numbers = itertools.count(1)
        self._by_path: dict[int, Connection] = {}
        self._current: dict[Session, Connection] = {}
        self._by_address: Counter[str] = Counter()

    def serve(self, on_event: OnEvent) -> None:
        """Start to accept."""
        self._on_event = on_event
        self._task = self._loop.create_task(self._start())

    async def _start(self) -> None:
        self._server = await self._loop.create_server(self._accept, sock=self._sock, backlog=BACKLOG)

    def _accept(self) -> Connection:
        return Connection(self, self._entrance.stack(self._loop.time()))

    def drain(self) -> None:
        """No new connections; devices that are there are told as the protocol can."""
        if self._server is not None:
            self._server.close()
        super().drain()

    # --- In ---------------------------------------------------------------------------------------------------

    def connected(self, connection: Connection) -> None:
        """A device connected."""
        host, counters = connection.peer[0], self.core.counters
        if not self._room():
            counters["sessions_full"] += 1
        elif self._by_address[host] >= self.limits.connections_per_address:
            counters["address_full"] += 1
        elif len(self._greeting) >= self.settings.handshakes and not self._hurry():
            counters["handshakes_full"] += 1
        else:
            number = next(self._numbers)
            connection.path = Path(connection.peer, connection.local, number, False, True)
            self._by_address[host] += 1
            self._by_path[number] = connection
            if connection.ready:
                self._begin(connection)
            else:
                self._greeting[connection] = self._loop.time()
            return
        connection.transport.abort()

    def _room(self) -> bool:
        return len(self._live) < self.limits.sessions or self._evict(self._loop.time())

    def _hurry(self) -> bool:
        """Make room among the handshakes: who is slow gives way, and nobody who is not."""
        slowest, since = next(iter(self._greeting.items()))
        if self._loop.time() - since < SLOW:
            return False
        del self._greeting[slowest]
        slowest.end("handshakes_full")
        return True

    def greeted(self, connection: Connection) -> None:
        """Its handshakes are over."""
        self._greeting.pop(connection, None)
        if self._room():
            self._begin(connection)
        else:
            self.core.counters["sessions_full"] += 1
            connection.close()

    def _begin(self, connection: Connection) -> None:
        now = self._loop.time()
        session = self.core.open(connection.path, connection.path, now)
        self._adopt(session)
        self._join(connection, session)
        self._service(session, now)

    def keep(self, connection: Connection, partial: int) -> bool:
        """Note how many bytes its layers keep; False: all of them together are too many."""
        self._partial += partial - connection.partial
        connection.partial = partial
        return self._partial <= MAX_PARTIAL or not partial

    def received(self, connection: Connection, data: bytes) -> None:
        """Bytes came."""
        session = connection.session
        if session is not None:
            now = self._loop.time()
            self._idle.pop(session, None)  # silent no longer
            session.receive(data, connection.path, now)
            self._service(session, now)

    def disconnected(self, connection: Connection) -> None:
        """A connection is gone: closed by the device, reset, or by us."""
        session, connection.session = connection.session, None
        self._greeting.pop(connection, None)
        self.keep(connection, 0)
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

    def _join(self, connection: Connection, session: Session) -> None:
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
            connection.close()
        super()._forget(session)

    # --- Out --------------------------------------------------------------------------------------------------

    def _send(self, session: Session | None, data: bytes | None, path: Path) -> None:
        connection = self._by_path.get(path.socket)
        if connection is None:
            return
        if data is None:
            connection.session = None  # what it still sends is nobody's
            connection.close()
        else:
            connection.write(data)

    def patient(self, connection: Connection) -> bool:
        """Whether a device that has more to read than it should gets time for that."""
        if len(self._unread) >= MAX_UNREAD:
            return False
        self._unread.add(connection)
        return True

    def caught_up(self, connection: Connection) -> None:
        """It has read, or is gone."""
        self._unread.discard(connection)

    def too_slow(self, connection: Connection) -> None:
        """A device does not read what it is sent: the connection ends, the session keeps what it must."""
        self.core.counters["slow_reader"] += 1
        connection.transport.abort()

    async def _close_sockets(self) -> None:
        if self._task is not None:
            await self._task
        if self._server is not None:
            self._server.close()
        for connection in list(self._by_path.values()):
            connection.close()
        await asyncio.sleep(0)
        self._sock.close()
