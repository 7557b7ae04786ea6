"""All the sockets of listeners: thin shells around sans-IO protocols.

`shell` does an owner's duties of `protocols.base`, its `timers` ring for sessions; `datagram` and `stream` add their
kind of socket to it.

    pktinfo         a UDP socket on all addresses
    connection      one TCP connection
    entrance        from a listener's settings to what lies between its connections and its protocol:
    layers          which layers, as settings and a connection's first bytes have it
    tls, websocket  they
    certificates    read again when they are replaced
"""

from thinbridge.shells.datagram import DatagramShell
from thinbridge.shells.shell import Shell
from thinbridge.shells.stream import StreamShell

__all__ = ["DatagramShell", "Shell", "StreamShell"]
