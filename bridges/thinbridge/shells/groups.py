"""Joins multicast groups, for a datagram listener whose protocol asks for some (`Protocol.groups`).

On all interfaces but where a zone says one, as `%eth0`: which interfaces there are is looked up once, at the start.
"""

import os
import socket
import struct
from ipaddress import IPv6Address, ip_address
from typing import Final

from thinbridge.errors import SettingsError

MEMBER4: Final = struct.Struct("=4s4si")
"""`struct ip_mreqn` (ip(7)): the group, no address, the interface."""
MEMBER6: Final = struct.Struct("=16si")
"""`struct ipv6_mreq` (RFC 3493 §5.2): the group, the interface."""


def join(sock: socket.socket, group: str) -> None:
    """Hear a group.

    Args:
        sock: bound to all addresses.
        group: `224.0.1.187`, `ff02::fd`, `ff02::fd%eth0`.

    Raises:
        SettingsError: no interface can, or the socket speaks IPv4 only.
    """
    host, _, zone = group.partition("%")
    address = ip_address(host)
    if address.version == 6 and sock.family != socket.AF_INET6:
        raise SettingsError("groups", group, "listen on [::] to hear an IPv6 group")
    problem = f"no interface {zone}"
    for index, name in socket.if_nameindex():
        if zone in ("", name, str(index)):
            try:
                _join(sock, address.packed, index, isinstance(address, IPv6Address))
                problem = ""
            except OSError as error:  # this one has no multicast, or not of this family
                problem = problem and os.strerror(error.errno or 0)
    if problem:
        raise SettingsError("groups", group, f"it can't be joined: {problem}")


def _join(sock: socket.socket, group: bytes, interface: int, v6: bool) -> None:
    if v6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, MEMBER6.pack(group, interface))
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, MEMBER4.pack(group, bytes(4), interface))
