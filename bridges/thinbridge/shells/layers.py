"""What lies between a connection's bytes and its protocol: TLS, WebSocket, both, or neither. Sans-IO.

`connection` has a `Stack` for each connection: bytes of the wire go in, the protocol's come out, and the other way
round. Where a listener accepts several carriers on one port, the first bytes that a device says tell them apart.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Final

from thinbridge.protocols.base import Identity

TCP: Final = "tcp"
TLS: Final = "tls"
WS: Final = "ws"
WSS: Final = "wss"

SIGNS: Final = {TLS: b"\x16\x03", WS: b"GET "}
"""How they begin: the record of a ClientHello (RFC 8446 §5.1), the request for an upgrade (RFC 6455 §4.1). A protocol
whose own messages may begin so, or whose server speaks first, wants a port of its own."""

UNKNOWN: Final = "carrier_unknown"
"""The fault of a connection that begins like nothing that is accepted."""


class Layer(ABC):
    """One layer of one connection. After *any* call, take `data_to_send()`, and look at `over`. Never raises."""

    open: bool = False
    """True: the handshake is done; what is carried may flow."""
    over: bool = False
    """True: nothing more will come; the connection is to be closed after what is left was sent."""
    fault: str = ""
    """Why it is over, as a counter's name; empty where the device ended it as it should."""
    partial: int = 0
    """Bytes that are kept until the rest of what they begin has come."""
    identity: Identity | None = None
    """Who is there, as the handshake has proven."""

    @abstractmethod
    def receive(self, data: bytes) -> bytes:
        """Bytes from below; what they carry."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Carry something; only when `open`."""

    @abstractmethod
    def close(self) -> None:
        """Say goodbye, if the layer can."""

    @abstractmethod
    def data_to_send(self) -> bytes:
        """What goes down, once."""


class Stack:
    """The layers of one connection.

    Args:
        accept: the carriers that may come: `tcp`, `tls`, `ws`, `wss`.
        makers: how a `tls` and a `ws` layer are made.
    """

    def __init__(self, accept: Collection[str], makers: Mapping[str, Callable[[], Layer]]) -> None:
        self.ready = False
        """True: the protocol may be spoken to."""
        self._makers = makers
        self._layers: list[Layer] = []
        self._next = _kinds(accept)
        self._inside_tls = tuple(kind for kind, carrier in ((TCP, TLS), (WS, WSS)) if carrier in accept)
        self._first = b""  # what is not known yet
        self._unknown = False
        self._settle(b"")

    def receive(self, data: bytes) -> bytes:
        """Bytes of the wire; what of them is the protocol's."""
        for layer in self._layers:
            data = layer.receive(data)
        return data if self.ready else self._settle(data)

    def _settle(self, data: bytes) -> bytes:
        """Add the layers that the first bytes ask for, as far as they have come."""
        while not (self.ready or self.over) and all(layer.open for layer in self._layers):
            self._first += data
            kind = self._kind()
            if kind is None:
                return b""
            data, self._first = self._first, b""
            if kind == TCP:
                self.ready = True
            else:
                self._next = self._inside_tls if kind == TLS else (TCP,)
                layer = self._makers[kind]()
                self._layers.append(layer)
                data = layer.receive(data) if data else b""
        return data

    def _kind(self) -> str | None:
        """What comes next; None: that can't be said yet, or is none of those that are accepted."""
        signs = {kind: sign for kind, sign in SIGNS.items() if kind in self._next}
        for kind, sign in signs.items():
            if self._first.startswith(sign):
                return kind
        if any(sign.startswith(self._first) for sign in signs.values()):
            return None
        self._unknown = TCP not in self._next
        return None if self._unknown else TCP

    @property
    def bare(self) -> bool:
        """Nothing lies between: the bytes of the wire are the protocol's."""
        return self.ready and not self._layers

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self._unknown or any(layer.over for layer in self._layers)

    @property
    def fault(self) -> str:
        """Why it is over, as a counter's name; empty where the device ended it as it should."""
        return UNKNOWN if self._unknown else next((layer.fault for layer in self._layers if layer.fault), "")

    @property
    def partial(self) -> int:
        """Bytes that are kept until the rest of what they begin has come."""
        return sum(layer.partial for layer in self._layers)

    @property
    def identity(self) -> Identity | None:
        """Who is there, as a layer has proven."""
        return next((layer.identity for layer in self._layers if layer.identity is not None), None)

    def send(self, data: bytes) -> None:
        """Carry what the protocol says."""
        self._layers[-1].send(data)

    def data_to_send(self) -> bytes:
        """Bytes for the wire, once."""
        return self._down(closing=False)

    def close(self) -> bytes:
        """Every layer says goodbye, the uppermost first; the last bytes for the wire."""
        return self._down(closing=True)

    def _down(self, closing: bool) -> bytes:
        data = b""
        for layer in reversed(self._layers):
            if data:
                layer.send(data)
            if closing:
                layer.close()
            data = layer.data_to_send()
        return data


def _kinds(accept: Collection[str]) -> tuple[str, ...]:
    """What a connection may begin with."""
    tls = (TLS,) if TLS in accept or WSS in accept else ()
    return (*tls, *(kind for kind in (WS, TCP) if kind in accept))
