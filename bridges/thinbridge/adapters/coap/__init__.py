"""CoAP over TCP, TLS and WebSocket (RFC 8323), and under OSCORE (RFC 8613) and EDHOC (RFC 9528), on aiocoap.

    framing.py      one message as a datagram, a frame of a stream, a WebSocket message
    signalling.py   what is said of the connection itself: aiocoap's
    bert.py         runs of blocks
    stream.py       one connection
    keys.py         OSCORE contexts, EDHOC credentials
    handshake.py    EDHOC
    oscore.py       what is under protection, and our core below it
    recent.py       what was seen lately
    shell.py        a datagram shell that has keys

What a request becomes, and what its answer, is `protocols.coap`'s alone. Found through the registry.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Adapter, Carriers, Endpoint, Entropy, Limits, Path, Transport
from thinbridge.protocols.coap import CoAP, CoAPSession, CoAPSettings

__all__ = ["CoAPOscore", "CoAPTCP", "OscoreSettings", "StreamSettings"]


@dataclass(frozen=True)
class StreamSettings(CoAPSettings):
    """Keys of a `coap+tcp://` listener: those of `coap://`, where what loss asks for has no meaning, and these."""

    LONGEST: ClassVar[int] = 1 << 30
    """Bytes of a payload; what RFC 8323 §3.2 can say is more."""

    max_message: int = 262_144
    """Bytes of a message (Max-Message-Size, RFC 8323 §5.3.1): events above 256 KiB do not pass most sinks. More goes in
    blocks; a device that sends a longer message has its connection aborted."""
    max_payload: int = 1 << 20
    """Bytes of a response's payload, as far as the device takes them: the most that a function's answer has. A device
    that takes less gets blocks."""
    csm_timeout: float = 5.0
    """Seconds from the connection to the CSM that every device begins with: silent connections must not pile up."""
    message_timeout: float = 60.0
    """Seconds for a message that has begun: 256 KiB pass at 4.4 kB/s, a byte a second does not."""
    keep_alive: float = 300.0
    """Seconds of silence after which a device is asked for a sign of life (Ping): a NAT forgets an idle connection
    within minutes, and nobody is told."""
    pong_timeout: float = 60.0
    """Seconds for that; then the connection is closed, and its observations with it."""


class CoAPTCP(CoAP):
    """CoAP over connections: TCP, TLS, WebSocket."""

    name: ClassVar[str] = "coap+tcp"
    transport = Transport.STREAM
    carriers = Carriers(  # RFC 8323 §8
        {"coaps+tcp": ("tls", 5684), "coap+ws": ("ws", 80), "coaps+ws": ("wss", 443)},
        alpn=("coap",),
        subprotocols=("coap",),
        path="/.well-known/coap",
        messages=True,
    )
    Settings = StreamSettings
    settings: StreamSettings

    def __init__(self, settings: StreamSettings, entropy: Entropy, name: str = "") -> None:
        super().__init__(settings, entropy, name)
        from thinbridge.adapters.coap import stream  # not before a listener wants it: aiocoap takes a while

        self._session = stream.StreamSession

    def open(self, key: Hashable, path: Path, now: float) -> CoAPSession:
        """A session for a connection."""
        return self._session(self, path, now)


@dataclass(frozen=True)
class OscoreSettings(CoAPSettings):
    """Keys of a `coap+oscore://` listener: those of `coap://`, and where keys are."""

    contexts: str = ""
    """A directory. Each directory in it is the OSCORE context of the device of that name: `settings.json` as aiocoap
    has it, and, written by the bridge, how far its numbers are used. No other process, no replica, may use it."""
    edhoc: str = ""
    """A directory for EDHOC: `key`, the bridge's private key; `credential`, its public one; `peers/<device>`, those of
    devices; all as `aiocoap-keygen` makes them."""


class CoAPOscore(Adapter):
    """CoAP over UDP under OSCORE."""

    name: ClassVar[str] = "coap+oscore"
    transport = Transport.DATAGRAM
    port = 5683
    event_types = CoAP.event_types
    Settings = OscoreSettings
    settings: OscoreSettings

    def endpoint_at(self, host: str, port: int, limits: Limits) -> Endpoint:
        """See `Adapter`."""
        try:
            from thinbridge.adapters.coap import oscore, shell
        except ModuleNotFoundError as error:  # an extra: Lakers has no wheels for some machines
            fix = f"no module {error.name}: pip install 'thinbridge[oscore]'"
            raise SettingsError("listen", self.name, fix) from None
        core = oscore.OscoreCoAP(self.settings, self.entropy, self.endpoint)
        core.counters = self.counters
        return shell.OscoreShell(core, self.endpoint, host, port, limits)
