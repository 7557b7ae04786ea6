"""WebSocket (RFC 6455) as a layer, on the sans-IO core of `websockets`: binary messages carry a stream of bytes.

Where one message ends and the next begins means nothing to the protocol (MQTT-6.0.0-2). No extension is offered:
compression would take tens of kB for each connection, and make much of little.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, cast

from websockets.exceptions import PayloadTooBig
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Event
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from thinbridge.shells.layers import Layer

HEAD: Final = 8192
"""Bytes of the request that opens it: nobody is authenticated yet. A proxy's headers fit, and cookies."""
END: Final = b"\r\n\r\n"

BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

SILENT: Final = logging.Logger("websocket", logging.CRITICAL + 1)
"""The core has a line for every connection; here, what ends one early is a counter."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a listener asks of who opens a WebSocket."""

    path: str
    """Of its URL; the query is nobody's business."""
    subprotocols: tuple[str, ...] = ()
    """Names of what is carried, the best first; one must be offered (MQTT-6.0.0-3). Empty: none is asked for."""
    origins: tuple[str, ...] = ()
    """Of the web pages that may; empty: all. What is no browser says no Origin, or any that it likes."""
    message: int = 1 << 18
    """Bytes of a message."""
    whole: bool = False
    """Hand on messages, each with its length before it, instead of the stream that they carry."""


LENGTH: Final = 4
"""Bytes of a length."""


class WebSocketLayer(Layer):
    """The server's side of one connection."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._head = b""
        self._message = bytearray()  # of whose frames the last is still to come
        self._said: list[bytes] = []
        self._core = ServerProtocol(
            origins=[*map(Origin, terms.origins), None] if terms.origins else None,
            subprotocols=[*map(Subprotocol, terms.subprotocols)],
            max_size=terms.message,
            logger=SILENT,
        )

    def receive(self, data: bytes) -> bytes:
        """The request, then frames."""
        if not self.open:
            data = self._greet(data)
        if self.over or not data:
            return b""
        self._core.receive_data(data)
        carried = self._carried(self._core.events_received())
        self.partial = len(self._core.reader.buffer) + len(self._message)
        if self._core.close_expected():  # the device said so, or the core did
            self._end(_fault(self._core))
        return carried

    def _greet(self, data: bytes) -> bytes:
        """Collect the request, and answer it; what came behind it."""
        self._head += data
        head, end, rest = self._head.partition(END)
        self.partial = len(head)
        if len(head) > HEAD:
            self._refuse(TOO_LARGE)
        elif not end:
            return b""
        elif not head.isascii():  # the core would raise where it repeats what it refuses
            self._refuse(BAD_REQUEST)
        else:
            self._core.receive_data(head + end)
            self._answer(self._core.events_received())
        self._head = b""
        self.partial = 0
        return rest

    def _answer(self, events: Sequence[Event]) -> None:
        if not events:  # no request of HTTP/1.1
            self._refuse(BAD_REQUEST)
            return
        request = cast("Request", events[0])
        if request.path.partition("?")[0] == self._terms.path:
            response = self._core.accept(request)
        else:
            response = self._core.reject(HTTPStatus.NOT_FOUND, f"The WebSocket is at {self._terms.path}\n")
        self._core.send_response(response)
        self.open = response.status_code == HTTPStatus.SWITCHING_PROTOCOLS
        if not self.open:
            self._end("websocket_refused")

    def _refuse(self, answer: bytes) -> None:
        self._said.append(answer)
        self._end("websocket_refused")

    def _carried(self, events: Sequence[Event]) -> bytes:
        """The data of frames, as far as they are of binary messages (MQTT-6.0.0-1)."""
        carried: list[bytes] = []
        for frame in cast("Sequence[Frame]", events):
            if frame.opcode is Opcode.TEXT:
                self._core.fail(CloseCode.UNSUPPORTED_DATA, "binary messages only")
                self._end("websocket_text")
                break
            if frame.opcode in (Opcode.BINARY, Opcode.CONT):
                carried.append(self._whole(frame) if self._terms.whole else bytes(frame.data))
        return b"".join(carried)

    def _whole(self, frame: Frame) -> bytes:
        """The message that ends with a frame, and its length before it."""
        self._message += frame.data
        if not frame.fin:
            return b""
        message, self._message = self._message, bytearray()
        return len(message).to_bytes(LENGTH) + message

    def _end(self, fault: str) -> None:
        self.over, self.fault = True, self.fault or fault
        self.partial = 0

    def send(self, data: bytes) -> None:
        """A binary message."""
        if not self.over:
            self._core.send_binary(data)

    def close(self) -> None:
        """A Close frame; its answer is not waited for, since the connection ends here anyway."""
        if self.open and not self.over:
            self._core.send_close(CloseCode.NORMAL_CLOSURE)
            self._end("")

    def data_to_send(self) -> bytes:
        """The answer to the request, then frames."""
        said, self._said = self._said, []
        return b"".join((*self._core.data_to_send(), *said))


def _fault(core: ServerProtocol) -> str:
    """Which of the counters the end of a connection belongs to; none if the device said Close."""
    if core.parser_exc is None:
        return ""
    return "websocket_too_large" if isinstance(core.parser_exc, PayloadTooBig) else "websocket_invalid"
