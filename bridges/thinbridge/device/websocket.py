"""The client's side of a WebSocket (RFC 6455): an exchange of a stream protocol, carried in binary messages."""

from collections.abc import Sequence

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from thinbridge.device.base import Exchange, Result


class OverWebSocket(Exchange):
    """Opens a WebSocket, then has the exchange through it.

    Args:
        exchange: what is carried.
        url: `ws://host/path`, also over TLS: that lies below.
        subprotocols: names of what is carried, to offer.
    """

    def __init__(self, exchange: Exchange, url: str, subprotocols: Sequence[str]) -> None:
        self._exchange = exchange
        self._core = ClientProtocol(parse_uri(url), subprotocols=[*map(Subprotocol, subprotocols)])
        self._begun = False

    def start(self, now: float) -> None:
        """The request."""
        self._core.send_request(self._core.connect())

    def receive(self, data: bytes, now: float) -> None:
        """The answer to the request, then frames."""
        self._core.receive_data(data)
        events = self._core.events_received()
        if self._core.state is State.OPEN and not self._begun:
            self._begun = True
            self._exchange.start(now)
        for event in events:
            if isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.CONT):
                self._exchange.receive(bytes(event.data), now)
        self.result = self._exchange.result or self._failure()

    def _failure(self) -> Result | None:
        """Why it came to nothing."""
        if self._core.handshake_exc is not None:
            return Result(False, f"no WebSocket: {_why(self._core.handshake_exc)}")
        close = self._core.close_rcvd
        return None if close is None else Result(False, f"closed {close}")

    def data_to_send(self) -> list[bytes]:
        """Frames."""
        if self._begun and self._core.state is State.OPEN:
            for data in self._exchange.data_to_send():
                self._core.send_binary(data)
            if self.result is not None:
                self._core.send_close(CloseCode.NORMAL_CLOSURE)
        return [data for data in self._core.data_to_send() if data]  # b"" would be the end of the stream

    def next_timer(self) -> float | None:
        """The exchange's own."""
        return self._exchange.next_timer() if self._begun else None

    def handle_timer(self, now: float) -> None:
        """Time has come for the exchange."""
        if self._begun:
            self._exchange.handle_timer(now)
            self.result = self._exchange.result

    def end(self, closed: bool) -> None:
        """Nothing will come any more."""
        self._exchange.end(closed)
        self.result = self.result or self._exchange.result


def _why(error: Exception) -> str:
    """The status, where the server has one."""
    if isinstance(error, InvalidStatus):
        return f"HTTP {error.response.status_code} {error.response.reason_phrase}"
    return str(error)
