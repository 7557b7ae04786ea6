"""The cache of forwarded requests (RFC 7252 §5.6): what CoAP servers said, for as long as it is fresh. Pure.

`forward` asks it before it asks a server, and tells it what the server said. All CoAP sinks of a bridge share it. It is
bounded by entries and by bytes; the one goes that was not asked for for longest.
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from thinbridge.delivery.coap import Call, Response, max_age
from thinbridge.delivery.terms import DeliveryLimits
from thinbridge.protocols.coap.codec import OptionValue, compose, uint
from thinbridge.protocols.coap.codes import BAD_GATEWAY, CONTENT, VALID, Option

HOP_BY_HOP: Final = frozenset((Option.OBSERVE, Option.BLOCK1, Option.BLOCK2, Option.SIZE1, Option.SIZE2))
"""Options that speak of one message, not of the representation."""

OVERHEAD: Final = 500
"""Bytes that an entry takes beside its payload and options, about."""

Place = tuple[str, bytes]
"""A sink, and a resource of its: path and query."""


class Key(NamedTuple):
    """What a request asks for."""

    place: Place
    rest: bytes
    """A hash of everything else that the answer may depend on."""


class Stored:
    """A response that is kept."""

    __slots__ = ("fresh_until", "response", "size")

    def __init__(self, response: Response, now: float) -> None:
        self.response = response
        self.fresh_until = now + max_age(response)
        self.size = OVERHEAD + len(response.payload) + sum(len(value) for _, value in response.options)

    @property
    def etag(self) -> bytes | None:
        """By which its server knows it."""
        return self.response.get(Option.ETAG)

    def at(self, now: float) -> Response:
        """The response as it is said now: Max-Age is what is left of it (RFC 7252 §5.6.1)."""
        left = max(0, int(self.fresh_until - now))
        return self.response._replace(options=_with(self.response.options, Option.MAX_AGE, uint(left)))


class Cache:
    """Responses of CoAP servers.

    Args:
        limits: how many, and how large together.
        counters: gets `cache_hits`, `cache_validated`, `cache_stored`, `cache_evicted`.
    """

    def __init__(self, limits: DeliveryLimits, counters: Counter[str]) -> None:
        self._limits = limits
        self._counters = counters
        self._stored: OrderedDict[Key, Stored] = OrderedDict()
        self._of_place: dict[Place, set[Key]] = {}
        self.octets = 0

    def __len__(self) -> int:
        return len(self._stored)

    def find(self, key: Key) -> Stored | None:
        """What is kept for a request, fresh or not."""
        stored = self._stored.get(key)
        if stored is not None:
            self._stored.move_to_end(key)
        return stored

    def fresh(self, key: Key, now: float) -> Response | None:
        """What can be said without asking the server (§5.6.1)."""
        stored = self.find(key)
        if stored is None or now >= stored.fresh_until:
            return None
        self._counters["cache_hits"] += 1
        return stored.at(now)

    def heard(self, key: Key, asked: Stored | None, response: Response, now: float) -> Response:
        """The server answered a request whose answer may be kept; what its device hears.

        Args:
            key: of the request.
            asked: what the server was asked to validate.
            response: what it said.
            now: monotonic seconds.
        """
        if response.code == VALID:
            if asked is None or asked.etag != response.get(Option.ETAG):
                return Response(BAD_GATEWAY)  # it says "you have it", and we don't
            self._counters["cache_validated"] += 1
            response = _updated(asked.response, response)
        response = response._replace(options=[one for one in response.options if one[0] not in HOP_BY_HOP])
        kept = response.code == CONTENT or response.get(Option.MAX_AGE) is not None  # an error that says how long
        self._forget(key)
        if kept and (max_age(response) or response.get(Option.ETAG) is not None):
            self._store(key, Stored(response, now))
        return response

    def changed(self, place: Place) -> None:
        """Something was done to a resource: what is kept of it counts no more (§5.9.1)."""
        for key in list(self._of_place.get(place, ())):
            self._forget(key)

    def _store(self, key: Key, stored: Stored) -> None:
        if stored.size > self._limits.cache_bytes:
            return
        self._stored[key] = stored
        self._of_place.setdefault(key.place, set()).add(key)
        self.octets += stored.size
        self._counters["cache_stored"] += 1
        while len(self._stored) > self._limits.cache_entries or self.octets > self._limits.cache_bytes:
            self._forget(next(iter(self._stored)))
            self._counters["cache_evicted"] += 1

    def _forget(self, key: Key) -> None:
        stored = self._stored.pop(key, None)
        if stored is None:
            return
        self.octets -= stored.size
        keys = self._of_place[key.place]
        keys.discard(key)
        if not keys:
            del self._of_place[key.place]


def key(sink: str, call: Call) -> Key:
    """What a request asks for (§5.6): its method, and its options but for those that say they don't matter.

    ETag is the cache's own business, Hop-Limit the way's.
    """
    where = [one for one in call.options if one[0] in (Option.URI_PATH, Option.URI_QUERY)]
    others = [one for one in call.options if one[0] & 0x1F != 0x1C and one[0] not in (Option.ETAG, Option.HOP_LIMIT)]
    said = compose(0, call.code, 0, b"", others, call.payload)
    return Key((sink, compose(0, 0, 0, b"", where)), blake2b(said, digest_size=16).digest())


def _updated(old: Response, valid: Response) -> Response:
    """§5.6.2: the options of the 2.03 replace those of the same numbers; without Max-Age it is fresh for 60 s."""
    replaced = {Option.MAX_AGE, *(number for number, _ in valid.options)}
    options = [one for one in old.options if one[0] not in replaced]
    return old._replace(options=_ordered([*options, *valid.options]))


def _with(options: Sequence[OptionValue], number: int, value: bytes) -> list[OptionValue]:
    return _ordered([*(one for one in options if one[0] != number), (number, value)])


def _ordered(options: list[OptionValue]) -> list[OptionValue]:
    return sorted(options, key=lambda option: option[0])
