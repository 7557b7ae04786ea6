"""Keys of any listener of a stream protocol: what its connections come by, and who may connect.

`thinbridge.shells.stream` reads them. `mqtts://…` is short for `mqtt://…?accept=tls`, and so on (`Carriers`).
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator

from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Protocol, Scheme, Transport

Carrier = Literal["tcp", "tls", "ws", "wss"]


def is_stream(protocol: type[Scheme]) -> bool:
    """Whether a listener of it has these keys: a shell carries it, and no library."""
    return issubclass(protocol, Protocol) and protocol.transport is Transport.STREAM


def _words(value: object) -> object:
    """`tcp,tls` is short for a list, in a URL."""
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        return value
    return [part for word in words for part in word.split(",") if part]


@dataclass(frozen=True)
class StreamSettings:
    """Keys of a listener of a stream protocol, beside the protocol's own."""

    accept: Annotated[tuple[Carrier, ...], BeforeValidator(_words)] = ("tcp",)
    """What connections may come by: `tcp`, `tls`, `ws` (WebSocket), `wss` (WebSocket over TLS). Where it is more than
    one, their first bytes tell."""
    tls_certificate: str = ""
    """File, PEM: the certificate, then its chain. Files, since certificates rotate: those of new connections are read
    again when they have changed."""
    tls_key: str = ""
    """File, PEM: its private key, without a passphrase; empty: it is in `tls_certificate`, too."""
    tls_client_ca: str = ""
    """File, PEM: the authorities whose devices may connect; empty: devices need no certificate. With it, a device that
    comes by TLS without one is refused: half a check is none."""
    tls_name: Literal["cn", "dns", "uri"] = "cn"
    """Which name in a device's certificate is the device's: the subject's common name, as LwM2M (§5.2.9), mosquitto and
    most device authorities have it, or its only DNS name or URI (SPIFFE) among the alternative ones. There must be
    exactly one: what could be two devices is refused."""
    ws_path: str = ""
    """The path of a WebSocket's URL; empty: the protocol's own, for MQTT `/mqtt`, as its clients expect it."""
    ws_origins: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    """Web pages that may connect, as `https://host`; empty: all. It binds browsers only: other clients say what they
    like, and are let in without a word of it."""
    ws_message: int = 262_400
    """Bytes of a WebSocket message: a packet of 256 KiB with its header, which clients send as one. Less than a
    whole one is kept for a minute at most, and 64 MiB of all connections together."""
    handshake_timeout: float = 10.0
    """Seconds for all that comes before the protocol's own first byte (TLS, the WebSocket's request): two on a slow
    radio, and enough for some lost packets; a byte a second is cut."""
    handshakes: int = 2048
    """Connections that are not through that at a time. Past it, the one goes that has taken longest, if that is over a
    second, else the newcomer. Each takes 50 kB (TLS), so 100 MB; one address has no more than
    `limits.connections_per_address` of them."""

    def __post_init__(self) -> None:
        """Check what belongs together."""
        if not self.accept:
            raise SettingsError("accept", "(none)", "use tcp, tls, ws, wss, or several of them")
        if self.secure and not self.tls_certificate:
            raise SettingsError("tls_certificate", "(none)", "name the PEM file of a certificate: TLS needs one")
        if self.ws_path and not self.ws_path.startswith("/"):
            raise SettingsError("ws_path", self.ws_path, "begin with /, such as /mqtt")
        for key in ("tls_certificate", "tls_client_ca"):
            if getattr(self, key) and not self.secure:
                raise SettingsError(key, getattr(self, key), "accept tls or wss, or leave it out: nothing here uses it")

    @property
    def secure(self) -> bool:
        """Whether TLS is among what is accepted."""
        return not {"tls", "wss"}.isdisjoint(self.accept)
