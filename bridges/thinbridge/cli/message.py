"""A device's message from the words of `thinbridge send`, and how it is sent; `dev --demo` sends the same way."""

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from thinbridge import registry
from thinbridge.cli.client import talk
from thinbridge.device.base import Exchange, Result
from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Protocol, Scheme

USAGE: Final = "write it as coap://host/path?query, mqtt://host/topic or udp://host:port"


@dataclass(frozen=True, slots=True)
class Message:
    """What a device says, and where."""

    url: str
    data: bytes | None = None
    """None: no payload was given, which makes a CoAP request a GET."""
    method: str | None = None
    content_type: str | None = None
    qos: int = 1
    response_topic: str | None = None
    """None: one of its own."""
    version: str = "5"
    """Of MQTT."""
    confirmable: bool = True
    grace: float | None = None
    """Seconds to wait for an answer after MQTT's PUBACK; None: until the timeout."""
    ca: str | None = None
    """PEM file of the authorities to trust for TLS; None: the system's."""
    certificate: str | None = None
    """PEM file of the device's own certificate."""
    key: str | None = None
    """PEM file of its key; None: it is in `certificate`, too."""
    ws_path: str | None = None
    """The path of the WebSocket; None: the protocol's own."""
    stay: float | None = None
    """Seconds to observe (CoAP); None: it asks once."""
    tell: Callable[[Result], None] = lambda _: None
    """Hears each state of what it observes."""

    def check(self) -> None:
        """Find out what can't be sent, before anything is.

        Raises:
            SettingsError: the URL, or a word that its protocol does not have.
        """
        parts = self._parts()
        self._exchange(parts, 0.0)
        self._trust(parts)

    def send(self, timeout: float) -> Result | None:
        """Be the device, once. Blocks.

        Returns:
            How it ended; None: no answer within `timeout` seconds.

        Raises:
            OSError: nothing listens there.
            SettingsError: as `check`.
        """
        parts = self._parts()
        protocol, _, port = carrier(parts.scheme)
        exchange, tls = self._exchange(parts, timeout), self._trust(parts)
        if self.stay is not None:  # it knows itself when it has waited for long enough, at both ends of its stay
            timeout += self.stay + timeout
        return talk(exchange, protocol.transport, parts.hostname or "", parts.port or port, timeout, tls)

    def _parts(self) -> SplitResult:
        try:
            parts = urlsplit(self.url)
            usable = carrier(parts.scheme)[0].name in DEVICES and bool(parts.hostname) and parts.port != 0
        except (ValueError, SettingsError):
            usable = False
        if not usable or parts.username is not None:
            raise SettingsError("URL", self.url, _fix(self.url))
        return parts

    def _exchange(self, parts: SplitResult, patience: float) -> Exchange:
        protocol, by, _ = carrier(parts.scheme)
        exchange = DEVICES[protocol.name](self, parts, patience)
        return exchange if by not in ("ws", "wss") else _over_websocket(exchange, protocol, parts, self.ws_path)

    def _trust(self, parts: SplitResult) -> ssl.SSLContext | None:
        """Whom to trust, and as whom to appear; None without TLS."""
        if carrier(parts.scheme)[1] not in ("tls", "wss"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise SettingsError("--ca", self.ca, f"give a PEM file of certificates: {_reason(error)}") from error
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key)
            except OSError as error:
                fix = f"give the PEM files of a certificate and of its key: {_reason(error)}"
                raise SettingsError("--cert", self.certificate, fix) from error
        return context


def carrier(scheme: str) -> tuple[type[Scheme], str, int]:
    """The protocol of a scheme, what carries it there, and the default port.

    Raises:
        SettingsError: no such scheme is installed.
    """
    protocol = registry.find(scheme)
    return protocol, *registry.schemes(protocol)[scheme]


def _over_websocket(exchange: Exchange, protocol: type[Scheme], parts: SplitResult, path: str | None) -> Exchange:
    from thinbridge.device.websocket import OverWebSocket

    assert issubclass(protocol, Protocol), "no other has carriers"
    url = f"ws://{parts.netloc}{path or protocol.carriers.path}"
    return OverWebSocket(exchange, url, protocol.carriers.subprotocols)


def _reason(error: OSError) -> str:
    return error.strerror or "no PEM" if not isinstance(error, ssl.SSLError) else error.reason or "no PEM"


def _fix(url: str) -> str:
    from thinbridge.settings.listen import SECURE  # only here: the settings take their time to import

    return SECURE.get(url.partition(":")[0].lower(), USAGE)


def topic(url: str, parts: SplitResult) -> str:
    """The topic that an MQTT URL names.

    Raises:
        SettingsError: none, one with wildcards, or a query or fragment, which would be lost without a word.
    """
    name = unquote(parts.path.removeprefix("/"))
    if not name or set(name) & set("+#") or set(url) & set("?#"):
        raise SettingsError("URL", url, "name a topic without wildcards, ? as %3F: mqtt://host/sensors/7")
    return name


def refuse_path(url: str, parts: SplitResult) -> None:
    """UDP has host and port only.

    Raises:
        SettingsError: there is more.
    """
    if parts.path.strip("/") or set(url) & set("?#"):
        raise SettingsError("URL", url, f"UDP has no paths; write it as udp://{parts.netloc}")


def _coap(message: Message, parts: SplitResult, patience: float) -> Exchange:
    """One request: GET, or POST if there is something to send; or an observation."""
    from thinbridge.device.coap import Request
    from thinbridge.device.observer import Observer
    from thinbridge.protocols.coap.codes import METHODS
    from thinbridge.protocols.coap.content_formats import content_format

    method = message.method or ("GET" if message.data is None else "POST")
    if "#" in message.url:  # RFC 7252 §6.4: no fragment
        raise SettingsError("URL", message.url, "leave out the fragment; a # in a path is %23")
    if method.upper() not in map(str.upper, METHODS.values()):
        raise SettingsError("--method", method, f"use one of {', '.join(METHODS.values())}")
    if message.content_type is not None and content_format(message.content_type) is None:
        raise SettingsError("--type", message.content_type, "CoAP has no number for it; use one like application/json")
    target, data = f"{parts.path}?{parts.query}" if parts.query else parts.path, message.data or b""
    how: Any = {"entropy": os.urandom, "content_type": message.content_type, "confirmable": message.confirmable}
    if message.stay is None:
        return Request(method, target, data, **how)
    if method.upper() not in ("GET", "FETCH"):
        raise SettingsError("--observe", method, "observe by GET or FETCH")
    return Observer(method, target, data, stay=message.stay, patience=patience, tell=message.tell, **how)


def _connected(message: Message, parts: SplitResult, patience: float) -> Exchange:
    """The same through a connection."""
    from thinbridge.device.connected import Connected

    exchange = _coap(replace(message, confirmable=False), parts, patience)
    return Connected(exchange, lengths=carrier(parts.scheme)[1] in ("tcp", "tls"))


def _mqtt(message: Message, parts: SplitResult, patience: float) -> Exchange:
    """Request and response over MQTT 5; 3.1.1 has no Response Topic, so its device hears the PUBACK only."""
    from thinbridge.device.mqtt import Request
    from thinbridge.protocols.mqtt.connect import V5, V311

    versions = {"5": V5, "3.1.1": V311}
    if message.version not in versions:
        raise SettingsError("--mqtt-version", message.version, "use 5 or 3.1.1")
    if message.version != "5" and message.response_topic:
        raise SettingsError("--response-topic", message.response_topic, "use it with MQTT 5 only")
    if message.version != "5" and message.content_type:
        raise SettingsError("--type", message.content_type, "use it with MQTT 5 only")
    if set(message.response_topic or "") & set("+#"):
        raise SettingsError("--response-topic", message.response_topic, "name a topic without wildcards")
    client_id = f"send-{os.urandom(6).hex()}"
    v5 = message.version == "5"
    return Request(
        topic(message.url, parts),
        message.data or b"",
        qos=message.qos,
        version=versions[message.version],
        content_type=message.content_type,
        response_topic=(message.response_topic or f"answers/{client_id}") if v5 else None,
        client_id=client_id,
        correlated=not message.response_topic,  # who publishes to a topic that somebody named may know no request
        grace=message.grace,
    )


def _udp(message: Message, parts: SplitResult, patience: float) -> Exchange:
    from thinbridge.device.udp import Datagram

    refuse_path(message.url, parts)
    if not message.data:
        raise SettingsError("--data", "(none)", "say what to send: an empty datagram is no message")
    return Datagram(message.data)


DEVICES: Final[dict[str, Callable[[Message, SplitResult, float], Exchange]]] = {
    "coap": _coap,
    "coap+tcp": _connected,
    "mqtt": _mqtt,
    "udp": _udp,
}
"""The device side of each scheme that `send` speaks; the last argument is how long it may wait."""
