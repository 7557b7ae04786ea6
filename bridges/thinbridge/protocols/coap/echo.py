"""Proof of a peer's address without state: the Echo option (RFC 9175 §2).

Until a peer has sent back what only its address was sent, its requests get 4.01 and nothing is kept for it. So a forged
source costs its owner no more than three times what the forger sent.
"""

import hmac
from hashlib import blake2b
from typing import Final

from thinbridge.protocols.base import Address, Entropy
from thinbridge.protocols.coap.codec import Message, compose
from thinbridge.protocols.coap.codes import FETCH, GET, UNAUTHORIZED, Option, Type
from thinbridge.protocols.coap.request import Refused, Response

WINDOW: Final = 60.0
"""Seconds; an Echo value is good for the window that it was made in, and for the next: a lossy link's round trips."""

SAFE: Final = frozenset((GET, FETCH))
"""Methods that change nothing (RFC 7252 §5.1, RFC 8132 §2): delivered late, they do no harm."""

LENGTH: Final = 6
"""Bytes of an Echo value: with 4 of header and 2 of option head the 4.01 is 12 long, three times the shortest request.
48 bits to guess, blind, within two minutes."""


class Echo:
    """Makes and checks Echo values.

    Args:
        entropy: where the key comes from.
        freshness: seconds that the request may be old that a value comes with; 0: any age, it only proves addresses.
    """

    def __init__(self, entropy: Entropy, freshness: float = 0.0) -> None:
        self._key = entropy(32)
        self._window = freshness / 2 or WINDOW  # the one before counts, too

    def challenge(self, request: Message, peer: Address, now: float) -> bytes:
        """4.01 with an Echo value, for a request of an address that nothing has proven."""
        kind = Type.ACK if request.type == Type.CON else Type.NON
        code, options, payload = self._response(peer, now)
        return compose(kind, code, request.mid, request.token, options, payload)

    def check(self, request: Message, peer: Address, now: float) -> None:
        """See that a request that changes something was made just now (RFC 9175 §2.3).

        Raises:
            Refused: 4.01 with an Echo value: its device is to send it again with that.
        """
        if request.code not in SAFE and not self.proves(request, peer, now):
            raise Refused(self._response(peer, now), "stale")

    def _response(self, peer: Address, now: float) -> Response:
        return UNAUTHORIZED, [(Option.ECHO, self._value(peer, int(now // self._window)))], b""

    def proves(self, request: Message, peer: Address, now: float) -> bool:
        """Whether the request carries a value that only its address was sent."""
        value = request.get(Option.ECHO)
        if value is None:
            return False
        window = int(now // self._window)
        return any(hmac.compare_digest(value, self._value(peer, one)) for one in (window, window - 1))

    def _value(self, peer: Address, window: int) -> bytes:
        text = f"{window} {peer}".encode()  # with its zone: the same link-local address is another on another link
        return blake2b(text, key=self._key, digest_size=LENGTH).digest()
