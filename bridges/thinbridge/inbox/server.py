"""The inbox as a server in the bridge's own loop: binds, starts, stops. `bridge` owns it.

Of uvicorn it takes the HTTP protocol (`inbox.connection`), not its `Server`: that one wants the signals, wakes up ten
times a second and stops in steps of a tenth.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from uvicorn import Config

from thinbridge.errors import ListenError
from thinbridge.inbox.app import App, Gate, InboxLimits
from thinbridge.inbox.connection import Connection, Floor
from thinbridge.inbox.guard import Guard

BACKLOG = 1024
"""Connections that the kernel may hold for us (it caps it at `net.core.somaxconn`): one too many costs its client the
second until it sends its SYN again."""


class Inbox(Collector):
    """The HTTP side of one bridge.

    Args:
        host: address or name to bind.
        port: 0: any that is free.
        gate: the way to sessions and health: the bridge.
        metrics: what `/metrics` shows.
        limits: see there.
        token_file: where the token lies that publishing takes; None: none, on loopback it takes none.
    """

    def __init__(
        self,
        host: str,
        port: int,
        gate: Gate,
        metrics: CollectorRegistry,
        limits: InboxLimits | None = None,
        token_file: str | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        """What was turned away, by a fixed name."""
        self._metrics = metrics
        self._host, self._port = host, port
        self._limits = limits or InboxLimits()
        self._floor = Floor(self._limits, self.counters)
        self._guard = Guard(host, token_file)
        self._app = App(gate, metrics, self._limits, self.counters, self._guard)
        self._config = Config(
            self._app,
            interface="asgi3",
            http=Connection,
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=int(self._limits.idle),
        )
        self._server: asyncio.Server | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """Where it is reached, with the port it was really given; empty before `start`."""
        return self._url

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._floor.connections)

    @property
    def limits(self) -> InboxLimits:
        """What is taken; others hold from the next request, what a connection may send from the next connection."""
        return self._app.limits

    @limits.setter
    def limits(self, limits: InboxLimits) -> None:
        self._app.limits = self._floor.limits = limits

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            ListenError: the port is taken, or the address is not ours; nothing is left open.
            SettingsError: there is no token where one should be.
        """
        self._guard.check()
        loop = asyncio.get_running_loop()
        listener = await _bind(self._host, self._port)
        host, port = listener.getsockname()[:2]
        self._url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._server = await loop.create_server(
            lambda: Connection(self._config, self._floor), sock=listener, backlog=BACKLOG
        )
        self._metrics.register(self)

    def collect(self) -> Iterator[Metric]:
        """The inbox's own metrics, part of `/metrics` while it runs."""
        yield GaugeMetricFamily(
            "thinbridge_inbox_connections", "Open connections of the inbox.", value=self.connections
        )
        refused = CounterMetricFamily(
            "thinbridge_inbox_refused", "What the inbox turned away before it was a push.", labels=["reason"]
        )
        for reason, count in self.counters.items():
            refused.add_metric([reason], count)
        yield refused

    async def stop(self) -> None:
        """Free the port, finish the answers that are under way, close the connections; harmless when not started."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        self._metrics.unregister(self)
        await self._floor.clear()
        await server.wait_closed()


async def _bind(host: str, port: int) -> socket.socket:
    """A listening socket."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, proto, _, address = found[0]
        # With its protocol number, which `socket.create_server` leaves out: asyncio turns Nagle's algorithm off only
        # for a socket that has it, and an answer in two writes would take 40 ms.
        listener = socket.socket(family, kind, proto)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:  # UnicodeError: a host name that no DNS can have
        reason = getattr(error, "strerror", None) or str(error)
        raise ListenError("http.listen", f"{host}:{port}", f"{reason}; use another address or port (0: any)") from error
    return listener
