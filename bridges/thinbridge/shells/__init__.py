"""All the sockets of listeners: thin shells around sans-IO protocols.

`shell` does an owner's duties of `protocols.base`, its `timers` ring for sessions; `datagram` and `stream` add their
kind of socket to it, `pktinfo` is a UDP socket on all addresses.
"""

from thinbridge.protocols.base import Transport
from thinbridge.shells.datagram import DatagramShell
from thinbridge.shells.shell import Shell
from thinbridge.shells.stream import StreamShell

__all__ = ["SHELLS", "DatagramShell", "Shell", "StreamShell"]

SHELLS: dict[Transport, type[Shell]] = {Transport.DATAGRAM: DatagramShell, Transport.STREAM: StreamShell}
"""Which shell carries a transport."""
