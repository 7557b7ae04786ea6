"""Proof of a peer's address without state: the Echo option (RFC 9175 §2).

Until a peer has sent back what only its address was sent, its requests get 4.01 and nothing is kept for it. So a forged
source costs its owner no more than three times what the forger sent.
"""

import hmac
from hashlib import blake2b
from typing import Final

from thinbridge.protocols.base import Address, Entropy
from thinbridge.protocols.coap.codec import Message, compose
from thinbridge.protocols.coap.codes import UNAUTHORIZED, Option, Type

WINDOW: Final = 60.0
"""Seconds; an Echo value is good for the window that it was made in, and for the next: a lossy link's round trips."""

LENGTH: Final = 6
"""Bytes of an Echo value: with 4 of header and 2 of option head the 4.01 is 12 long, three times the shortest request.
48 bits to guess, blind, within two minutes."""


class Echo:
    """Makes and checks Echo values.

    Args:
        entropy: where the key comes from.
    """

    def __init__(self, entropy: Entropy) -> None:
        self._key = entropy(32)

    def challenge(self, request: Message, peer: Address, now: float) -> bytes:
        """4.01 with an Echo value, for a request of an address that nothing has proven."""
        kind = Type.ACK if request.type == Type.CON else Type.NON
        option = (Option.ECHO, self._value(peer, int(now // WINDOW)))
        return compose(kind, UNAUTHORIZED, request.mid, request.token, [option])

    def proves(self, request: Message, peer: Address, now: float) -> bool:
        """Whether the request carries a value that only its address was sent."""
        value = request.get(Option.ECHO)
        if value is None:
            return False
        window = int(now // WINDOW)
        return any(hmac.compare_digest(value, self._value(peer, one)) for one in (window, window - 1))

    def _value(self, peer: Address, window: int) -> bytes:
        text = f"{window} {peer[0]} {peer[1]}".encode()
        return blake2b(text, key=self._key, digest_size=LENGTH).digest()
