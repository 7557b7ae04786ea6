"""A WebSocket as a socket: MQTT 5 §6, on the sans-IO core of `websockets`.

paho has one of its own, whose answers to a server's pings are unmasked, so that servers by the book hang up (RFC 6455
§5.1), and which unmasks byte by byte.
"""

import logging
from contextlib import suppress
from typing import Final

from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from thinbridge.adapters.mqtt_broker.wire import READ, Socket

MAX_FRAME: Final = 16 << 20
"""Bytes of one message; where it ends means nothing to MQTT (MQTT-6.0.0-2), and brokers put many packets into one."""

DATA: Final = (Opcode.BINARY, Opcode.CONT)

SILENT: Final = logging.Logger("websocket", logging.CRITICAL + 1)
"""The core has a line for every connection; here, the link says what there is to say."""


class WebSocket:
    """The client's side of one connection.

    Args:
        socket: connected, TLS or not; the handshake waits for it.
        url: `ws://host:port/path`, or `wss://…`.

    Raises:
        ConnectionError: there is no WebSocket for MQTT.
    """

    def __init__(self, socket: Socket, url: str) -> None:
        self._socket = socket
        self._core = ClientProtocol(
            parse_uri(url), subprotocols=[Subprotocol("mqtt")], max_size=MAX_FRAME, logger=SILENT
        )
        self._out = bytearray()
        self._framed = 0  # bytes of ours that are in `_out`
        self._in: list[bytes] = []
        self._greet()

    def _greet(self) -> None:
        core = self._core
        core.send_request(core.connect())
        self._socket.send(b"".join(core.data_to_send()))
        while core.state is State.CONNECTING and core.handshake_exc is None:
            data = self._socket.recv(READ)
            if data:
                core.receive_data(data)
            else:
                core.receive_eof()
        if core.handshake_exc is not None or core.subprotocol != "mqtt":  # MQTT-6.0.0-3
            raise ConnectionError("there is no WebSocket for MQTT")
        self._take()
        self._flush()

    def recv(self, buffer_size: int) -> bytes:
        """What has come in binary messages; pings are answered."""
        if not self._in:
            data = self._socket.recv(buffer_size)
            if not data:
                return b""
            self._core.receive_data(data)
            self._take()
            with suppress(BlockingIOError):
                self._flush()
            if self._core.state is not State.OPEN and not self._in:
                return b""
        if not self._in:
            raise BlockingIOError
        data, self._in = b"".join(self._in), []
        return data

    def _take(self) -> None:
        for event in self._core.events_received():
            if isinstance(event, Frame) and event.opcode in DATA:
                self._in.append(bytes(event.data))
        self._out += b"".join(self._core.data_to_send())

    def send(self, buffer: bytes | bytearray) -> int:
        """As one message; 0: call again with the same, and perhaps more, when the socket takes more."""
        if not self._framed:
            if self._core.state is not State.OPEN:
                raise ConnectionResetError
            self._core.send_binary(bytes(buffer))
            self._out += b"".join(self._core.data_to_send())
            self._framed = len(buffer)
        self._flush()
        if self._out:
            return 0
        sent, self._framed = self._framed, 0
        return sent

    def _flush(self) -> None:
        if self._out:
            del self._out[: self._socket.send(self._out)]

    def close(self) -> None:
        """Say so, as far as the kernel takes it, and end."""
        with suppress(OSError):
            if self._core.state is State.OPEN:
                self._core.send_close(CloseCode.NORMAL_CLOSURE)
                self._out += b"".join(self._core.data_to_send())
                self._flush()
        self._socket.close()

    def fileno(self) -> int:
        """For the loop."""
        return self._socket.fileno()

    def setblocking(self, flag: bool) -> None:
        """Whether calls wait."""
        self._socket.setblocking(flag)

    def pending(self) -> int:
        """Bytes that TLS has taken from the socket already."""
        pending = getattr(self._socket, "pending", None)
        return int(pending()) if pending is not None else 0
