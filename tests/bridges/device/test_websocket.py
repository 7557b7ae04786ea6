"""The client's side of a WebSocket, against the bridge's."""

import pytest
from websockets.frames import Frame, Opcode

from thinbridge.device.base import Exchange, Result
from thinbridge.device.websocket import OverWebSocket
from thinbridge.shells.websocket import Terms, WebSocketLayer


class Lines(Exchange):
    """Says hello, and waits for a line."""

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.heard = b""

    def start(self, now: float) -> None:
        self.out.append(b"hello at %d\n" % now)

    def receive(self, data: bytes, now: float) -> None:
        self.heard += data
        if b"\n" in self.heard:
            self.out.append(b"bye\n")
            self.result = Result(True, "line", None, self.heard)

    def data_to_send(self) -> list[bytes]:
        out, self.out = self.out, []
        return out

    def next_timer(self) -> float:
        return 7.0

    def handle_timer(self, now: float) -> None:
        self.out.append(b"again\n")

    def end(self, closed: bool) -> None:
        self.result = self.result or Result(False, f"end, closed {closed}")


def begun(path: str = "/lines", subprotocols: tuple[str, ...] = ("lines",)) -> tuple[OverWebSocket, WebSocketLayer]:
    there = OverWebSocket(Lines(), f"ws://[::1]:8083{path}", subprotocols)
    there.start(1.0)
    return there, WebSocketLayer(Terms("/lines", ("lines",)))


def carry(there: OverWebSocket, here: WebSocketLayer, now: float = 2.0) -> bytes:
    """What the bridge hears, until nobody says more."""
    heard = b""
    while True:
        said = b"".join(there.data_to_send())
        heard += here.receive(said)
        answer = here.data_to_send()
        if answer:
            there.receive(answer, now)
        elif not said:
            return heard


def test_an_exchange_passes_and_says_goodbye() -> None:
    there, here = begun()
    assert there.next_timer() is None
    there.handle_timer(1.5)  # too early
    assert carry(there, here) == b"hello at 2\n"
    assert there.next_timer() == 7.0
    there.handle_timer(7.0)
    assert carry(there, here) == b"again\n"
    there.receive(Frame(Opcode.BINARY, b"li", fin=False).serialize(mask=False), 8.0)
    there.receive(Frame(Opcode.PING, b"").serialize(mask=False), 8.0)
    assert there.result is None
    there.receive(Frame(Opcode.CONT, b"ne\n").serialize(mask=False), 8.0)
    assert there.result == Result(True, "line", None, b"line\n")
    assert carry(there, here) == b"bye\n"
    assert here.over
    assert not here.fault


def test_why_there_is_no_websocket() -> None:
    there, here = begun("/elsewhere")
    carry(there, here)
    assert there.result == Result(False, "no WebSocket: HTTP 404 Not Found")
    there, here = begun(subprotocols=("other",))
    carry(there, here)
    assert there.result == Result(False, "no WebSocket: HTTP 400 Bad Request")
    there, _ = begun()
    there.receive(b"SSH-2.0\r\n", 2.0)
    assert there.result is not None
    assert there.result.code.startswith("no WebSocket: ")  # the library's words, which are others in each version


def test_a_bridge_that_closes_says_why() -> None:
    there, here = begun()
    carry(there, here)
    here.close()
    there.receive(here.data_to_send(), 3.0)
    assert there.result == Result(False, "closed 1000 (OK)")


@pytest.mark.parametrize("closed", [True, False])
def test_the_end_is_the_exchanges_to_judge(closed: bool) -> None:
    there, _ = begun()
    there.end(closed)
    assert there.result == Result(False, f"end, closed {closed}")
    there.end(closed)
    assert there.result == Result(False, f"end, closed {closed}")
