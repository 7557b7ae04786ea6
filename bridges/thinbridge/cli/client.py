"""The sockets of a device: drive a `thinbridge.device` exchange to its end. Blocking: a device does one thing."""

import socket
import ssl
import time
from typing import Final

from thinbridge.device.base import Exchange, Result
from thinbridge.protocols.base import Transport

CHUNK: Final = 65536
"""Bytes read at once: more than any datagram has."""
KINDS: Final = {Transport.DATAGRAM: socket.SOCK_DGRAM, Transport.STREAM: socket.SOCK_STREAM}


def talk(
    exchange: Exchange, transport: Transport, host: str, port: int, timeout: float, tls: ssl.SSLContext | None = None
) -> Result | None:
    """Have the exchange with a bridge.

    Args:
        exchange: fresh, not yet started.
        transport: what its protocol runs over.
        host: name or address of the bridge.
        port: its port.
        timeout: seconds until the device gives up.
        tls: whom the device trusts; None: it speaks without TLS.

    Returns:
        How it ended; None: no answer in time, or before the connection was closed, and no other word either.

    Raises:
        OSError: the bridge can't be reached: nothing listens there, no such host, not the one that is trusted.
    """
    kind = KINDS[transport]
    family, _, _, _, address = socket.getaddrinfo(host, port, type=kind)[0]
    with socket.socket(family, kind) as sock:
        sock.settimeout(timeout)
        sock.connect(address)
        if tls is None:
            _converse(exchange, sock, time.monotonic() + timeout)
            return exchange.result
        with tls.wrap_socket(sock, server_hostname=host) as secure:
            _converse(exchange, secure, time.monotonic() + timeout)
    return exchange.result


def _converse(exchange: Exchange, sock: socket.socket, end: float) -> None:
    exchange.start(time.monotonic())
    while True:
        _say(exchange, sock)
        if exchange.result is not None:
            return
        now = time.monotonic()
        if now >= end:
            exchange.end(closed=False)
            _say(exchange, sock)
            return
        due = exchange.next_timer()
        sock.settimeout(max(0.001, min(end, end if due is None else due) - now))
        try:
            data = sock.recv(CHUNK)
        except TimeoutError:
            exchange.handle_timer(time.monotonic())
            continue
        if not data and sock.type is socket.SOCK_STREAM:
            exchange.end(closed=True)
            return
        exchange.receive(data, time.monotonic())


def _say(exchange: Exchange, sock: socket.socket) -> None:
    for data in exchange.data_to_send():
        sock.sendall(data)
