"""The sockets of a device, against plain sockets that play the bridge."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from thinbridge.cli.client import talk
from thinbridge.device.base import Exchange, Result
from thinbridge.device.udp import Datagram
from thinbridge.protocols.base import Transport


@contextmanager
def bridge(kind: socket.SocketKind, play: Callable[[socket.socket], None]) -> Iterator[int]:
    with socket.socket(type=kind) as sock:
        sock.settimeout(10)
        sock.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            sock.listen()
        thread = threading.Thread(target=play, args=(sock,))
        thread.start()
        yield sock.getsockname()[1]
        thread.join()


class Lines(Exchange):
    """Says hello, again every 20 ms, until it has heard a line; then says bye."""

    def __init__(self) -> None:
        self._out = [b"hello\n"]
        self._heard = b""
        self._due = 0.0

    def start(self, now: float) -> None:
        self._due = now + 0.02

    def receive(self, data: bytes, now: float) -> None:
        self._heard += data
        if b"\n" in self._heard:
            self._out.append(b"bye\n")
            self.result = Result(True, "line", None, self._heard)

    def data_to_send(self) -> list[bytes]:
        out, self._out = self._out, []
        return out

    def next_timer(self) -> float:
        return self._due

    def handle_timer(self, now: float) -> None:
        self._due = now + 0.02
        self._out.append(b"again\n")


def test_a_stream_is_read_to_its_end_with_timers_and_a_last_word() -> None:
    said: list[bytes] = []

    def play(sock: socket.socket) -> None:
        connection, _ = sock.accept()
        with connection, connection.makefile("rb") as lines:
            said.extend([lines.readline(), lines.readline()])
            connection.sendall(b"to ")
            connection.sendall(b"you\n")
            said.extend(lines)

    with bridge(socket.SOCK_STREAM, play) as port:
        assert talk(Lines(), Transport.STREAM, "127.0.0.1", port, 10) == Result(True, "line", None, b"to you\n")
    assert said[:2] == [b"hello\n", b"again\n"]
    assert said[-1] == b"bye\n"


def test_a_connection_that_is_closed_first_is_no_answer() -> None:
    def play(sock: socket.socket) -> None:
        sock.accept()[0].close()

    with bridge(socket.SOCK_STREAM, play) as port:
        try:
            assert talk(Lines(), Transport.STREAM, "127.0.0.1", port, 10) is None
        except ConnectionError:
            pass  # what was sent into it came back as a reset


class Bounds(Lines):
    """Knows how it was ended."""

    def end(self, closed: bool) -> None:
        self.result = Result(False, "closed" if closed else "time is up")
        self._out = [b"last\n"]


def test_an_exchange_hears_that_the_connection_was_closed() -> None:
    def play(sock: socket.socket) -> None:
        connection, _ = sock.accept()
        with connection, connection.makefile("rb") as lines:
            lines.readline()
            connection.shutdown(socket.SHUT_WR)
            lines.read()

    with bridge(socket.SOCK_STREAM, play) as port:
        assert talk(Bounds(), Transport.STREAM, "127.0.0.1", port, 10) == Result(False, "closed")


def test_an_exchange_hears_that_time_is_up_and_has_the_last_word() -> None:
    said: list[bytes] = []

    def play(sock: socket.socket) -> None:
        connection, _ = sock.accept()
        with connection, connection.makefile("rb") as lines:
            said.extend(lines)

    with bridge(socket.SOCK_STREAM, play) as port:
        assert talk(Bounds(), Transport.STREAM, "127.0.0.1", port, 0.1) == Result(False, "time is up")
    assert said[-1] == b"last\n"


def test_an_empty_datagram_is_an_answer_too() -> None:
    def play(sock: socket.socket) -> None:
        data, peer = sock.recvfrom(100)
        assert data == b"hi"
        sock.sendto(b"", peer)

    with bridge(socket.SOCK_DGRAM, play) as port:
        assert talk(Datagram(b"hi"), Transport.DATAGRAM, "127.0.0.1", port, 10) == Result(True, "reply")


def test_nobody_answers_in_time() -> None:
    with bridge(socket.SOCK_DGRAM, lambda sock: None) as port:
        start = time.monotonic()
        assert talk(Datagram(b"hi"), Transport.DATAGRAM, "127.0.0.1", port, 0.1) is None
        assert 0.1 <= time.monotonic() - start < 5


@pytest.mark.parametrize("transport", list(Transport))
def test_nobody_listens(transport: Transport) -> None:
    with socket.socket(type=socket.SOCK_DGRAM if transport is Transport.DATAGRAM else socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        talk(Datagram(b"hi"), transport, "127.0.0.1", port, 5)
