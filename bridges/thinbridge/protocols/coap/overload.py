"""How much one device may ask for: a rate for each peer (RFC 8516), and a share of the sessions for each address.

`CoAP` holds one of each per endpoint; its sessions ask.
"""

from collections import Counter
from collections.abc import Hashable
from ipaddress import ip_address
from math import ceil
from typing import Final

from thinbridge.protocols.base import Address
from thinbridge.protocols.coap.codec import uint
from thinbridge.protocols.coap.codes import TOO_MANY_REQUESTS, Option
from thinbridge.protocols.coap.memory import EXCHANGE_LIFETIME
from thinbridge.protocols.coap.request import TurnedAway

NETWORK: Final = 64
"""Bits of an IPv6 address that say whose it is: whoever has one address of a link has all of them (RFC 4291 §2.5.4)."""


class Rate:
    """Messages a second that each peer may have delivered. Of a peer one number is kept: until when it has paid.

    Args:
        rate: messages a second; 0: as many as it likes.
        burst: how many may come at once; 0: as many as the rate gives in the lifetime of a Message ID.
    """

    __slots__ = ("_interval", "_slack")

    def __init__(self, rate: float, burst: int) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._slack = (max(1, burst or int(rate * EXCHANGE_LIFETIME)) + 0.5) * self._interval

    def charge(self, paid: float, now: float) -> float:
        """Let a message pass.

        Args:
            paid: until when the peer has paid.
            now: monotonic seconds.

        Returns:
            Until when it has paid with this message.

        Raises:
            TurnedAway: 4.29 with Max-Age: when the next one may pass.
        """
        paid = (paid if paid > now else now) + self._interval
        wait = paid - now - self._slack
        if wait > 0:
            raise TurnedAway((TOO_MANY_REQUESTS, [(Option.MAX_AGE, uint(ceil(wait)))], b""), "rate")
        return paid


class Proven:
    """The live sessions whose address an Echo has proven, and how many of them each address has.

    Args:
        limit: how many an address may have.
    """

    def __init__(self, limit: int) -> None:
        self.keys: dict[Hashable, str] = {}
        """Each session's key, and whose its address is."""
        self._limit = limit
        self._shares: Counter[str] = Counter()

    def full(self, peer: Address) -> bool:
        """Whether an address has its share."""
        return self._shares[_owner(peer)] >= self._limit

    def add(self, key: Hashable, peer: Address) -> None:
        """A session begins."""
        owner = self.keys[key] = _owner(peer)
        self._shares[owner] += 1

    def discard(self, key: Hashable) -> None:
        """A session ends; one whose address was trusted is not in here."""
        owner = self.keys.pop(key, None)
        if owner is not None:
            self._shares[owner] -= 1
            if not self._shares[owner]:
                del self._shares[owner]


def _owner(peer: Address) -> str:
    """Whose an address is: an IPv4 address, or the network of an IPv6 one."""
    host = str(peer[0]).partition("%")[0]
    if ":" not in host:
        return host
    address = ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped) if mapped else str(int(address) >> 128 - NETWORK)
