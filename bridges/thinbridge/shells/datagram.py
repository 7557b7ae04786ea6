"""The shell of datagram protocols: one UDP socket, and fresh ports for sessions that ask for one (TFTP).

`bridge.py` makes one per `udp`, `coap`, … listener. A socket on one address is a transport of the loop, one on all
addresses is `pktinfo`'s. On Linux the kernel's own drops are counted as `kernel_dropped`.
"""

import asyncio
import socket
import struct
import sys
from collections.abc import Hashable, Mapping
from typing import cast

from thinbridge.errors import ListenError, SettingsError
from thinbridge.protocols.base import LISTENER, Address, OnEvent, Path, Session, Stateless
from thinbridge.shells.groups import join
from thinbridge.shells.pktinfo import AnyAddress, needed
from thinbridge.shells.shell import Shell, bind, local_address

RECEIVE_BUFFER = 4 << 20
"""Bytes asked of the kernel: a burst waits there instead of being dropped (the kernel may grant less)."""

SO_MEMINFO, _DROPS = 55, 8  # <asm-generic/socket.h>, SK_MEMINFO_DROPS of <linux/sock_diag.h>


class DatagramShell(Shell):
    """An endpoint of a datagram protocol."""

    _listener: "_OneAddress | AnyAddress"
    _task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Bind the port."""
        self._loop = asyncio.get_running_loop()
        self._sock = bind(socket.SOCK_DGRAM, self.url, self.host, self.port)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._local = local_address(self._sock)
        self.port = self._local[1]
        if needed(self._local):
            self._listener = AnyAddress(self._sock, self.received, self.failed)
        else:
            self._listener = _OneAddress(self, self._sock, LISTENER)
        try:
            self._join()
        except SettingsError:
            self._sock.close()
            raise
        self._by_key: dict[Hashable, Session] = {}
        self._keys: dict[Session, Hashable] = {}
        self._fresh: dict[int, _OneAddress] = {}
        self._of_session: dict[Session, set[int]] = {}

    def _join(self) -> None:
        """Hear the protocol's groups."""
        for group in self.core.groups:
            if not isinstance(self._listener, AnyAddress):
                raise SettingsError("groups", group, "listen on 0.0.0.0 or [::]: an address of its own hears no group")
            join(self._sock, group)

    def serve(self, on_event: OnEvent) -> None:
        """Start to read."""
        self._on_event = on_event
        self._task = self._listener.start()

    @property
    def counters(self) -> Mapping[str, int]:
        """The protocol's counters, and what the kernel dropped before we could read it."""
        if sys.platform == "linux" and self._sock.fileno() >= 0:
            info = self._sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * (_DROPS + 1))
            if len(info) == 4 * (_DROPS + 1):
                self.core.counters["kernel_dropped"] = struct.unpack_from("I", info, 4 * _DROPS)[0]
        return self.core.counters

    # --- In ---------------------------------------------------------------------------------------------------

    def received(self, data: bytes, peer: Address, local: Address, number: int, multicast: bool = False) -> None:
        """A datagram came."""
        now = self._loop.time()
        path = Path(peer, local, number, multicast, self._trusts(peer[0]))
        key = self.core.locate(data, path, now)
        if key is None:
            return
        session = self._by_key.get(key)
        if session is not None:
            self._idle.pop(session, None)  # silent no longer
        else:
            if type(key) is Stateless:
                self._send(None, key.data, path)
                return
            session = self._admit(key, data, path, now)
            if session is None:
                return
        session.receive(data, path, now)
        self._service(session, now)

    def _admit(self, key: Hashable, data: bytes, path: Path, now: float) -> Session | None:
        """A session for a new peer, if there is room."""
        if self.core.draining:
            self.core.counters["draining"] += 1
        elif len(self._live) >= self.limits.sessions and not self._evict(now):
            self.core.counters["sessions_full"] += 1
        else:
            session = self.core.open(key, path, now)
            self._keys[session], self._by_key[key] = key, session
            self._adopt(session)
            return session
        full = self.core.full(data, path, now)
        if full is not None:
            self._send(None, full.data, path)
        return None

    def _forget(self, session: Session) -> None:
        key = self._keys.pop(session, None)
        if self._by_key.get(key) is session:
            del self._by_key[key]
        for number in self._of_session.pop(session, ()):
            self._close_fresh(number)
        super()._forget(session)

    # --- Out --------------------------------------------------------------------------------------------------

    def _send(self, session: Session | None, data: bytes | None, path: Path) -> None:
        if path.socket == LISTENER:
            if data:
                self._listener.sendto(data, path)
            return
        if data is None:
            self._close_fresh(path.socket)
            return
        port = self._fresh.get(path.socket) or self._open_fresh(session, path)
        if port is not None:
            port.sendto(data, path)

    def _open_fresh(self, session: Session | None, path: Path) -> "_OneAddress | None":
        """A port of its own for a session, at the address that its device spoke to; without one the datagram is lost,
        as on any bad network."""
        if session is None:
            return None
        host, _, *zone = path.local or self._local
        try:
            sock = bind(socket.SOCK_DGRAM, self.url, f"{host}%{zone[1]}" if any(zone) else host, 0)
        except ListenError:  # no port, no file descriptor
            self.core.counters["no_fresh_port"] += 1
            return None
        port = self._fresh[path.socket] = _OneAddress(self, sock, path.socket)
        port.start()
        self._of_session.setdefault(session, set()).add(path.socket)
        return port

    def _close_fresh(self, number: int) -> None:
        port = self._fresh.pop(number, None)
        if port is not None:
            port.close()

    def failed(self) -> None:
        """The kernel would not send, or an ICMP error came: protocols have timers for that, delivery goes on."""
        self.core.counters["send_failed"] += 1

    async def _close_sockets(self) -> None:
        if self._task is not None:
            await self._task
        for port in self._fresh.values():
            port.close()
        self._fresh.clear()
        self._listener.close()
        await asyncio.sleep(0)  # a transport closes its socket in the loop's next turn
        self._sock.close()


class _OneAddress(asyncio.DatagramProtocol):
    """A socket on one address, by a transport of the loop: the listener's, or a fresh port of one session.

    What is sent before it is up waits, which takes one turn of the loop. What asyncio hands over as a transport is no
    `DatagramTransport` by type: never check for it.
    """

    _transport: asyncio.DatagramTransport | None = None
    _task: asyncio.Task[None] | None = None

    def __init__(self, shell: DatagramShell, sock: socket.socket, number: int) -> None:
        self._shell, self._sock, self._number = shell, sock, number
        self._local = local_address(sock)
        self._waiting: list[tuple[bytes, Path]] = []

    def start(self) -> asyncio.Task[None]:
        """Read, also what waits since the socket was bound."""
        self._task = asyncio.get_running_loop().create_task(self._start())
        return self._task

    async def _start(self) -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=self._sock)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        for data, path in self._waiting:
            self._transport.sendto(data, path.peer)
        self._waiting.clear()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._shell.received(data, addr, self._local, self._number)

    def error_received(self, exc: Exception) -> None:
        self._shell.failed()

    def sendto(self, data: bytes, path: Path) -> None:
        """Send a datagram."""
        if self._transport is None:
            self._waiting.append((data, path))
        else:
            self._transport.sendto(data, path.peer)

    def close(self) -> None:
        """Close the socket, once what waits is sent."""
        if self._transport is not None:
            self._transport.close()
        elif self._task is not None and not self._task.done():
            self._task.add_done_callback(lambda _: self.close())
