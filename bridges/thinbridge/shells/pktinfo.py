"""The socket of a UDP listener on all addresses: it knows where each datagram was sent to, and answers from there.

A response comes from the address that its request was sent to (RFC 7252 §5.3.2, as every protocol over UDP has it): a
client that is connected to one of ours hears no other. Such a socket's own name does not say which one that is, but the
kernel does, beside each datagram (IP_PKTINFO, ip(7); RFC 3542 §6). `recvmsg` carries that, uvloop's transports do not.

`datagram.py` makes one where it is `needed`, a transport of the loop elsewhere: on a concrete address, and on systems
that say these things in other words than Linux. There the kernel chooses the source, and a group's datagram looks like
any other.
"""

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from thinbridge.protocols.base import LISTENER, Address, Path

IP_PKTINFO, IP_MULTICAST_ALL, IPV6_MULTICAST_ALL = 8, 49, 29  # <linux/in.h>, <linux/in6.h>

INFO4 = struct.Struct("=i4s4s")
"""`struct in_pktinfo`: the interface, our address there, the address that the datagram was sent to."""
INFO6 = struct.Struct("=16si")
"""`struct in6_pktinfo`: the address that the datagram was sent to, or is sent from; the interface."""
ROOM = socket.CMSG_SPACE(INFO4.size) + socket.CMSG_SPACE(INFO6.size)
"""Bytes; a socket for both families is told both of an IPv4 datagram."""

DATAGRAM = 65535
"""Bytes; UDP's length field says no more (RFC 768), so that none is ever cut off."""
BURST = 32
"""Datagrams that are read before the loop does something else; libuv does so too."""
ADDRESSES = 1024
"""How many of our own addresses, and interfaces, are remembered as Python has them."""

Ancillary = list[tuple[int, int, bytes]]


def needed(bound: Address) -> bool:
    """Whether a socket bound to it can't tell from its own name where a datagram was sent to."""
    address = ip_address(bound[0])
    return sys.platform == "linux" and (address.is_unspecified or address.is_multicast)


class AnyAddress:
    """A bound socket that needs it.

    Args:
        sock: the socket; its owner closes it, after this.
        received: called with each datagram: data, peer, where it was sent to, `LISTENER`, whether that is a group.
        failed: called when the kernel would not send or receive.
    """

    def __init__(
        self,
        sock: socket.socket,
        received: Callable[[bytes, Address, Address, int, bool], None],
        failed: Callable[[], None],
    ) -> None:
        self._sock, self._received, self._failed = sock, received, failed
        self._bound: Address = sock.getsockname()
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)  # of an IPv6 socket too: its IPv4 datagrams
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        if ip_address(self._bound[0]).is_unspecified:
            self._no_groups_of_others()

    def _no_groups_of_others(self) -> None:
        """Linux gives a wildcard all groups that any program of the machine has joined, unless told not to."""
        with contextlib.suppress(OSError):  # unknown before Linux 4.20; such a datagram is still known by its address
            self._sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
            if self._sock.family == socket.AF_INET6:
                self._sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0)

    def start(self) -> None:
        """Read, also what waits since the socket was bound."""
        asyncio.get_running_loop().add_reader(self._sock, self._read)

    def close(self) -> None:
        """Read no more."""
        asyncio.get_running_loop().remove_reader(self._sock)

    def _read(self) -> None:
        recvmsg, received, bound = self._sock.recvmsg, self._received, self._bound
        for _ in range(BURST):
            try:
                data, ancillary, _, peer = recvmsg(DATAGRAM, ROOM)
            except BlockingIOError:
                return
            except OSError:  # no memory; of ICMP errors Linux tells connected sockets only
                self._failed()
                return
            local, group = destination(ancillary[-1][2] if ancillary else b"", bound)
            received(data, peer, local, LISTENER, group)

    def sendto(self, data: bytes, path: Path) -> None:
        """Send a datagram from the address that the device spoke to. One that the kernel does not take is lost."""
        try:
            self._sock.sendmsg((data,), source(path.local), 0, path.peer)
        except OSError:  # no room, no route, no such address any more
            self._failed()


@lru_cache(ADDRESSES)
def destination(info: bytes, bound: Address) -> tuple[Address, bool]:
    """Where a datagram was sent to, and whether that is a group.

    A group (multicast, broadcast) is no address of ours, and no answer comes from it (RFC 1122 §3.2.1.3) but from what
    the kernel chooses: the address that the socket is bound to stands for that.

    Args:
        info: `struct in_pktinfo` or `struct in6_pktinfo`; empty: the kernel did not say.
        bound: the socket's own name, with the port.
    """
    interface = 0
    if len(info) == INFO4.size:
        _, ours, sent_to = INFO4.unpack(info)
        address: IPv4Address | IPv6Address = IPv4Address(sent_to)
        group = address.is_multicast or sent_to == b"\xff" * 4 or ours not in (sent_to, bytes(4))  # 0: it did not say
    elif len(info) == INFO6.size:
        sent_to, interface = INFO6.unpack(info)
        address = IPv6Address(sent_to)
        group = address.is_multicast
    else:
        return bound, False
    if group:
        return bound, True
    if len(bound) == 2:
        return (str(address), bound[1]), False
    host = str(address) if address.version == 6 else f"::ffff:{address}"
    return (host, bound[1], 0, interface if address.is_link_local else 0), False


@lru_cache(ADDRESSES)
def source(local: Address) -> Ancillary:
    """What has the kernel send from an address of ours; nothing: it chooses."""
    if not local or ip_address(local[0]).is_unspecified or ip_address(local[0]).is_multicast:
        return []
    if len(local) == 2:
        return [(socket.IPPROTO_IP, IP_PKTINFO, INFO4.pack(0, socket.inet_aton(local[0]), bytes(4)))]
    info = INFO6.pack(socket.inet_pton(socket.AF_INET6, local[0]), local[3])
    return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)]
