"""What a listener's connections come by: from its settings to the layers of each of them."""

from collections.abc import Sequence
from typing import Final

from thinbridge.protocols.base import Protocol
from thinbridge.settings.stream import StreamSettings
from thinbridge.shells.certificates import Certificates
from thinbridge.shells.layers import TCP, TLS, WS, WSS, Layer, Stack
from thinbridge.shells.tls import TLSLayer
from thinbridge.shells.websocket import Terms, WebSocketLayer

HTTP: Final = "http/1.1"
"""What a WebSocket over TLS is to ALPN (RFC 7301)."""


class Entrance:
    """The way in of one listener.

    Args:
        settings: what connections may come by.
        protocol: what they carry.
    """

    def __init__(self, settings: StreamSettings, protocol: Protocol) -> None:
        carriers = protocol.carriers
        self.settings = settings
        self.scheme = _scheme(protocol, settings.accept)
        """Of the listener's URL."""
        self._alpn = (*carriers.alpn, *((HTTP,) if WSS in settings.accept else ()))
        self._terms = Terms(
            settings.ws_path or carriers.path,
            carriers.subprotocols,
            settings.ws_origins,
            settings.ws_message,
            carriers.messages,
        )
        self._counters = protocol.counters
        self._certificates: Certificates | None = None

    def open(self) -> None:
        """Read the certificates.

        Raises:
            SettingsError: they can't be used.
        """
        one = self.settings
        if one.secure:
            self._certificates = Certificates(
                one.tls_certificate, one.tls_key, one.tls_client_ca, self._alpn, self._counters
            )

    def stack(self, now: float) -> Stack | None:
        """The layers of a new connection; None: nothing lies between."""
        if self.settings.accept == (TCP,):
            return None
        return Stack(self.settings.accept, {TLS: lambda: self._tls(now), WS: lambda: WebSocketLayer(self._terms)})

    def _tls(self, now: float) -> Layer:
        assert self._certificates is not None, "open() comes first"
        return TLSLayer(self._certificates.context(now), self.settings.tls_name)


def _scheme(protocol: Protocol, accept: Sequence[str]) -> str:
    """The one that says what is accepted; where that is several, the protocol's name."""
    found = (scheme for scheme, (carrier, _) in protocol.carriers.schemes.items() if (carrier,) == accept)
    return next(found, protocol.name)
