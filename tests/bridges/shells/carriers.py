"""The device's side of what connections come by, sans-IO: TLS, WebSocket, both, or neither."""

import ssl

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from thinbridge.shells.layers import Stack


class Device:
    """Speaks to a `Stack`.

    Args:
        carrier: `tcp`, `tls`, `ws` or `wss`.
        context: the client's side of TLS.
        url: of the WebSocket.
        subprotocols: that it offers.
    """

    def __init__(
        self,
        carrier: str,
        context: ssl.SSLContext | None = None,
        url: str = "ws://bridge/mqtt",
        subprotocols: tuple[str, ...] = ("mqtt",),
    ) -> None:
        self.heard = b""
        self.failed = False
        """TLS came to nothing; what it has to say of it is still sent."""
        self.websocket: ClientProtocol | None = None
        self.tls: ssl.SSLObject | None = None
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._raw: list[bytes] = []
        self._waiting: list[bytes] = []  # for the WebSocket to open
        if carrier in ("tls", "wss"):
            assert context is not None
            self.tls = context.wrap_bio(self._in, self._out, server_hostname="bridge")
        if carrier in ("ws", "wss"):
            self.websocket = ClientProtocol(parse_uri(url), subprotocols=[*map(Subprotocol, subprotocols)])
            self.websocket.send_request(self.websocket.connect())

    def say(self, *messages: bytes) -> None:
        """Have messages carried, each in a frame of its own if there are frames."""
        self._waiting += messages

    def take(self, data: bytes) -> None:
        """Bytes of the wire."""
        if self.tls is not None:
            self._in.write(data)
            data = self._decrypted(self.tls)
        if self.websocket is None:
            self.heard += data
        elif data:
            self.websocket.receive_data(data)
            for event in self.websocket.events_received():
                if isinstance(event, Frame) and event.opcode is Opcode.BINARY:
                    self.heard += event.data

    def _decrypted(self, tls: ssl.SSLObject) -> bytes:
        data = b""
        try:
            while more := tls.read():
                data += more
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self.failed = True
        return data

    def give(self) -> bytes:
        """Bytes for the wire."""
        if self.websocket is None:
            self._raw, self._waiting = self._raw + self._waiting, []
        else:
            if self.websocket.state.name == "OPEN":
                for message in self._waiting:
                    self.websocket.send_binary(message)
                self._waiting = []
            self._raw += self.websocket.data_to_send()
        if self.tls is None:
            data, self._raw = b"".join(self._raw), []
            return data
        try:
            self.tls.do_handshake()
            while self._raw:
                self.tls.write(self._raw.pop(0)) if self._raw[0] else self._raw.pop(0)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self.failed = True
        return self._out.read()


def converse(device: Device, stack: Stack, *sizes: int) -> bytes:
    """Carry bytes both ways until nobody says more; what the stack's protocol heard.

    Args:
        device: one side.
        stack: the other.
        sizes: of the pieces in which the device's bytes arrive, over and over; none: as they are sent.
    """
    heard, number = b"", 0
    while True:
        data = device.give()
        moved = bool(data)
        while data:
            size = sizes[number % len(sizes)] if sizes else len(data)
            heard += stack.receive(data[:size])
            data, number = data[size:], number + 1
        if back := stack.data_to_send():
            device.take(back)
        elif not moved:
            return heard
