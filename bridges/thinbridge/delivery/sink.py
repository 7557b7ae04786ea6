"""A destination, parsed once: where to connect, the head that every request to it begins with, and how it fares.

Made by `Delivery` at the first event for it. The head holds nothing that a device sent: a POST's target is always one
that the operator configured.
"""

import ssl
from collections.abc import Callable
from enum import Enum
from functools import cached_property
from typing import Final
from urllib.parse import quote, urlsplit

from thinbridge import __version__
from thinbridge.delivery.token import Token
from thinbridge.routes import Destination

_URL: Final = "!#$%&'()*+,/:;=?@[]~"
"""What a URL may hold beside letters, digits and `-._` (RFC 3986 §2.2), and the `%` of what is encoded already."""


PORTS: Final = {"http": 80, "https": 443, "coap": 5683, "coap+tcp": 5683}
"""The schemes that there are, and their ports."""


class Sink:
    """Somewhere that events are POSTed to.

    Args:
        destination: its URL, of one of `PORTS` and validated by the settings, and the authorities to trust.
        notice: told what changes with it; must not raise.
        namespace: where in a cluster we are, a DNS label; None: in none.
    """

    def __init__(self, destination: Destination, notice: "Notice | None" = None, namespace: str | None = None) -> None:
        url = urlsplit(destination.uri)
        host = (url.hostname or "").encode("idna").decode() if not (url.hostname or "").isascii() else url.hostname
        self.scheme = url.scheme
        self.secure = url.scheme == "https"
        self.host = host or ""
        self.port = url.port or PORTS[url.scheme]
        authority = f"[{self.host}]" if ":" in self.host else self.host
        if url.port is not None:
            authority += f":{url.port}"
        path = quote(url.path or "/", _URL)
        self.url = f"{url.scheme}://{authority}{path}"
        """Without user, query and fragment: safe to show."""
        self.authority = authority
        """Host, and port if it is said."""
        self.target = path + (f"?{quote(url.query, _URL)}" if url.query else "")
        """Path and query, percent-encoded."""
        self.head = (
            f"POST {self.target} HTTP/1.1\r\n"
            f"host: {authority}\r\n"
            f"user-agent: thinbridge/{__version__}\r\n"
            "accept: */*\r\n"
            "accept-encoding: identity\r\n"  # the bridge never decompresses
            "prefer: reply\r\n"  # Knative: the sender will use a reply event
        )
        if namespace is not None:
            self.head += f"kn-namespace: {namespace}\r\n"  # as Knative's own sources tell where an event comes from
        self.failing_since: float | None = None
        """Unix time since when no attempt had an answer to build on; None: it is well, or not tried yet."""
        self.error: str | None = None
        """Why, as a fixed phrase; never bytes of the sink."""
        self.token = Token(destination.token_file) if destination.token_file else None
        """What proves to it who we are."""
        self._ca_certs = destination.ca_certs
        self._notice = notice
        self._held_up: dict[object, float] = {}  # deliveries, and the unix time that each began at

    @cached_property
    def tls(self) -> ssl.SSLContext | None:
        """Verifies name and chain, by the system's authorities and the destination's own; None for http.

        Raises:
            ssl.SSLError: `ca_certs` is no PEM.
        """
        if not self.secure:
            return None
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        if self._ca_certs:
            context.load_verify_locations(cadata=self._ca_certs)
        return context

    def well(self) -> None:
        """It answered."""
        self.failing_since = self.error = None
        self._tell(Change.WELL)

    def failing(self, error: str, clock: float) -> None:
        """It did not, at this unix time."""
        self.error = error
        if self.failing_since is None:
            self.failing_since = clock
            self._tell(Change.FAILS)

    @property
    def held_up(self) -> int:
        """Messages that are tried again and again, and hold up what their devices wait for behind them."""
        return len(self._held_up)

    @property
    def held_up_since(self) -> float | None:
        """Unix time at which the first of them was first tried."""
        return min(self._held_up.values(), default=None)

    def hold_up(self, delivery: object, since: float) -> bool:
        """A delivery takes long; whether that is news."""
        if delivery in self._held_up:
            return False
        self._held_up[delivery] = since
        if len(self._held_up) == 1:
            self._tell(Change.HOLDS_UP)
        return True

    def let_go(self, delivery: object) -> None:
        """A delivery is over."""
        if self._held_up.pop(delivery, None) is not None and not self._held_up:
            self._tell(Change.LETS_GO)

    def _tell(self, change: "Change") -> None:
        if self._notice is not None:
            self._notice(self, change)


class Change(Enum):
    """What may change with a sink; the values are for people."""

    FAILS = "fails"
    WELL = "answers again"
    HOLDS_UP = "holds up messages that it keeps refusing"
    LETS_GO = "holds up no messages any more"


Notice = Callable[[Sink, Change], None]
"""Told about a sink when something changes."""
