"""CoAP over UDP under OSCORE (RFC 8613): requests are opened before our core sees them, and what it answers is sealed.

Below the core, so that the message layer is the one that plain CoAP has: acknowledgements, repeats, separate responses.
A protected request is opened once; a repeat of it is given to the core as what it was, and an answer that is sent again
is the same bytes again: nothing is encrypted twice. Driven by a datagram shell.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiocoap import Message as Protected
from aiocoap import oscore
from aiocoap.numbers import Code

from thinbridge.adapters.coap.handshake import PATH, Handshakes
from thinbridge.adapters.coap.keys import Keys, Peer
from thinbridge.adapters.coap.recent import Recent
from thinbridge.errors import DecodeError
from thinbridge.protocols.base import Identity, Path, Sent, Stateless
from thinbridge.protocols.coap import CoAP
from thinbridge.protocols.coap.codec import Message, compose, decode, encode
from thinbridge.protocols.coap.codes import BAD_OPTION, BAD_REQUEST, EMPTY, POST, UNAUTHORIZED, Option, Type
from thinbridge.protocols.coap.overload import Rate
from thinbridge.protocols.coap.request import Refused, Response, TurnedAway
from thinbridge.protocols.coap.session import CoAPSession

if TYPE_CHECKING:
    from thinbridge.adapters.coap import OscoreSettings

OSCORE: Final = 9
OUTER: Final = frozenset((Option.URI_HOST, Option.URI_PORT, Option.PROXY_URI, Option.PROXY_SCHEME, Option.HOP_LIMIT))
"""Options that a device can't protect, since proxies act on them (RFC 8613 §4.1): they are read where they stand."""

OPENED: Final = 16 << 20
"""Bytes of requests that were opened and are known again when they are repeated, of all devices together: 20,000 of the
usual size."""
SEALED: Final = 32 << 20
"""Bytes of responses that are said again as they were, of all devices together; past it they are sealed anew, under a
number of their own."""
HANDSHAKE_RATE, HANDSHAKE_BURST = 25.0, 50
"""Messages of EDHOC a second, and at once, of all devices together: each takes 4 ms, and anybody can send them. More
get 4.29 with Max-Age."""
AWAITED: Final = 65_536
"""Messages of ours whose ACK or RST is known to be for a session; those come in the clear."""


REPLAYED: Final[Response] = (UNAUTHORIZED, ((Option.MAX_AGE, b""),), b"Replay detected")
"""RFC 8613 §7.4."""

LONGEST_IV: Final = 5
"""Bytes of a Partial IV."""

Where = tuple[Hashable, Hashable, int]
"""Peer, our address, Message ID."""


class Bound(NamedTuple):
    """What the answers to a request are bound to."""

    peer: Peer
    request: Any
    """aiocoap's `RequestIdentifiers`."""


class Opened(NamedTuple):
    """A request that was under protection."""

    digest: int
    """Of the datagram that it came in."""
    key: Hashable
    """Its session's."""
    data: bytes
    """The request as if it had come plainly."""
    token: bytes
    identity: Identity
    bound: Bound
    repeated: bool = False
    """It came before: the message layer may say again what it heard, and nothing else may become of it."""


class OscoreCoAP(CoAP):
    """A listener that takes protected requests only, and EDHOC."""

    name = "coap+oscore"
    settings: "OscoreSettings"
    keys: Keys
    """Set before anything is heard."""

    def unlock(self) -> None:
        """Take the keys from where the settings say.

        Raises:
            SettingsError: they can't be used.
        """
        self.keys = Keys(self.settings.contexts, self.settings.edhoc)
        self._handshakes = Handshakes(self.keys)
        self._handshake_rate = Rate(HANDSHAKE_RATE, HANDSHAKE_BURST)
        self._handshakes_paid = 0.0
        self.live: set[Hashable] = set()
        """Keys of sessions."""
        self.sealed: Recent[bytes] = Recent(SEALED)
        """Responses, by session and what they say."""
        self._opened: Recent[Opened] = Recent(OPENED)
        self._awaited: dict[Where, Hashable] = {}
        self.heard: Opened | None = None
        """What `locate` has opened, for the session that it named."""

    def locate(self, data: bytes, path: Path, now: float) -> Hashable | Stateless | None:
        """A session is an address and a context."""
        self.heard = None
        if path.multicast:
            return super().locate(data, path, now)
        if len(data) == 4 and data[0] >> 4 & 3 >= Type.ACK and data[1] == EMPTY:
            key = self._awaited.get(_where(path, data[2] << 8 | data[3]))
            if key in self.live:
                return key
            self.counters["unexpected"] += 1
            return None
        message = self._request(data)
        if not isinstance(message, Message):
            return message
        known = self._opened.get(_where(path, message.mid))
        if known is not None and known.digest == hash(data) and known.key in self.live:
            self.heard = known._replace(repeated=True)
            return known.key
        if message.get(OSCORE) is None:
            return self._plain(message, data, path, now)
        return self._open(message, data, path)

    def _plain(self, message: Message, data: bytes, path: Path, now: float) -> Stateless | None:
        """EDHOC; anything else is refused."""
        named = tuple(value.decode("latin-1") for number, value in message.options if number == Option.URI_PATH)
        if named != PATH or self.keys.own is None or message.code != POST:
            return self._refuse(message, (UNAUTHORIZED, [], b"OSCORE only"), "unprotected")
        strange = [number for number, _ in message.options if number & 1 and number not in (3, 7, Option.URI_PATH)]
        if strange:
            return self._refuse(message, (BAD_OPTION, [], b"critical option %d" % strange[0]), "bad_option")
        try:
            self._handshakes_paid = self._handshake_rate.charge(self._handshakes_paid, now)
        except TurnedAway as busy:
            return self._refuse(message, busy.response, "edhoc_busy")
        answer = self._handshakes.hear(data)
        self.counters["edhoc" if answer.code.is_successful() else "edhoc_refused"] += 1
        sealed = _datagram(answer, Type.ACK if message.type == Type.CON else Type.NON, message.mid, message.token)
        if len(sealed) > 3 * len(data) and not path.verified:  # RFC 7252 §11.3
            return self._refuse(message, (UNAUTHORIZED, [], b""), "edhoc_too_large")
        return Stateless(sealed)

    def _open(self, message: Message, data: bytes, path: Path) -> Hashable | Stateless | None:
        """RFC 8613 §8.2."""
        try:
            value, *others = message.all(OSCORE)
            if others or (value and value[0] & 7 > LONGEST_IV):  # §6.1: reserved; RFC 7252 §5.4.5: it is there once
                raise ValueError("no OSCORE message")
            protected = Protected.decode(data)
            peer = self.keys.find(oscore.verify_start(protected))
        except Exception:  # what aiocoap's parts raise; nothing was believed yet
            return self._refuse(message, (BAD_OPTION, [], b"no OSCORE message"), "oscore_malformed")
        if peer is None:
            return self._refuse(message, (UNAUTHORIZED, [], b"Security context not found"), "oscore_unknown")
        try:
            plain, request = peer.context.unprotect(protected)
        except oscore.ReplayErrorWithEcho as error:  # what was seen is not known: an Echo finds out (Appendix B.1.2)
            self.counters["oscore_challenged"] += 1
            kind = Type.ACK if message.type == Type.CON else Type.NON
            return Stateless(_datagram(error.to_message(), kind, message.mid, message.token))
        except oscore.ReplayError:
            return self._refuse(message, REPLAYED, "oscore_replayed")
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # as above, and EDHOC's message 3 may be in it: a panic in Lakers is no Exception
            return self._refuse(message, (BAD_REQUEST, [], b"Decryption failed"), "oscore_undecipherable")
        key = path.peer, path.local, peer.number
        try:
            inner = _inner(message, plain, bytes(request.partial_iv))
        except DecodeError:  # who has keys may say anything
            return self._refuse(message, (BAD_REQUEST, [], b"no request within"), "oscore_malformed")
        self.heard = Opened(hash(data), key, inner, message.token, self.keys.proven(peer), Bound(peer, request))
        self._opened.keep(_where(path, message.mid), self.heard, len(inner))
        return key

    def awaits(self, path: Path, mid: int, key: Hashable) -> None:
        """A message of ours was sent whose ACK or RST is for the session of `key`."""
        self._awaited[_where(path, mid)] = key
        if len(self._awaited) > AWAITED:
            del self._awaited[next(iter(self._awaited))]

    def _refuse(self, message: Message, response: Response, counter: str) -> Stateless | None:
        """Answer a CON in the clear; a NON hears nothing."""
        self.counters[counter] += 1
        if message.type != Type.CON:
            return None
        code, options, payload = response
        return Stateless(compose(Type.ACK, code, message.mid, message.token, options, payload))

    def open(self, key: Hashable, path: Path, now: float) -> "OscoreSession":
        """A session for a device that has just proven who it is."""
        assert self.heard is not None, "`locate` has opened what it is for"
        proven = path._replace(verified=True, identity=self.heard.identity)
        self.live.add(key)
        return OscoreSession(self, key, proven, now)


class OscoreSession(CoAPSession):
    """A device's address and security context."""

    def __init__(self, protocol: OscoreCoAP, key: Hashable, path: Path, now: float) -> None:
        super().__init__(protocol, key, path, now)
        assert path.identity is not None
        self.device = path.identity.name
        self._core = protocol
        self._proven = path
        self._again = False  # what is being read came before
        self._requests: OrderedDict[bytes, Bound] = OrderedDict()  # by token
        self._observed: OrderedDict[bytes, Bound] = OrderedDict()  # those that have notifications

    def receive(self, data: bytes, path: Path, now: float) -> None:
        """One datagram: what `locate` has opened, or an ACK."""
        heard = self._core.heard
        self._again = heard is not None and heard.repeated
        if heard is not None:
            data = heard.data
            self._requests[heard.token] = heard.bound
            self._requests.move_to_end(heard.token)
            _trim(self._requests, self._core.settings.remembered)
        super().receive(data, path._replace(verified=True, identity=self._proven.identity), now)

    def _admit(self, now: float) -> None:
        """Nothing is delivered twice: what the message layer has forgotten is no repeat any more, but a replay."""
        if self._again:
            raise Refused(REPLAYED, "oscore_replayed")
        super()._admit(now)

    def data_to_send(self) -> Sequence[Sent]:
        """Datagrams, sealed."""
        sent = []
        for data, path in super().data_to_send():
            assert data is not None, "the core closes no paths"
            sealed = self._seal(data)
            if sealed:
                sent.append((sealed, path))
        return sent

    def _seal(self, data: bytes) -> bytes:
        """A datagram of the core's under protection; empty: it can't be."""
        if data[1] == EMPTY:
            return data
        message = decode(data)
        bound = self._requests.get(message.token) or self._observed.get(message.token)
        if bound is None:
            self._core.counters["oscore_unbound"] += 1
            return b""
        # What has a Message ID of ours is never said again of another request; what has the device's own may be.
        key = self._key, data, bytes(bound.request.partial_iv) if message.type == Type.ACK else b""
        sealed = self._core.sealed.get(key)
        if sealed is None:
            try:
                sealed = _sealed(message, bound)
            except (OSError, oscore.ContextUnavailable):  # a full disk; or all numbers are used
                self._core.counters["oscore_unsealed"] += 1
                return b""
            self._core.sealed.keep(key, sealed, len(data) + len(sealed))
            if message.get(Option.OBSERVE) is not None:
                self._observed[message.token] = bound
                _trim(self._observed, self._core.settings.observations)
            if message.type != Type.ACK:
                self._core.awaits(self._path, message.mid, self._key)
        return sealed

    def _end(self) -> None:
        self._core.live.discard(self._key)
        super()._end()


def _trim(kept: "OrderedDict[bytes, Bound]", limit: int) -> None:
    if len(kept) > limit:
        kept.popitem(last=False)


def _where(path: Path, mid: int) -> Where:
    return path.peer, path.local, mid


def _inner(message: Message, plain: Protected, number: bytes) -> bytes:
    """What was under protection as a datagram, with what could not be, and its number: no other request is equal.

    By its Partial IV a device that has started anew is told from one that repeats itself; the core takes no notice.
    """
    inner = decode(bytes((message.type << 4 | 1 << 6, int(plain.code), 0, 0)) + plain.opt.encode() + _payload(plain))
    options = [
        *inner.options,
        *(option for option in message.options if option[0] in OUTER),
        (Option.PARTIAL_IV, number),
    ]
    options.sort(key=lambda option: option[0])
    return encode(Message(message.type, inner.code, message.mid, message.token, options, inner.payload))


def _sealed(message: Message, bound: Bound) -> bytes:
    """A response under protection (RFC 8613 §8.3)."""
    options = encode(Message(0, 0, 0, b"", message.options))[4:]
    plain = Protected(code=Code(message.code), payload=message.payload)
    plain.opt.decode(options)
    observe = message.get(Option.OBSERVE)
    if observe is not None:
        plain.opt.observe = 0  # §4.1.3.5.2: within, it is empty
    sealed, _ = bound.peer.context.context_for_response().protect(plain, bound.request)
    if observe is not None:
        sealed.opt.observe = int.from_bytes(observe, "big")
    return _datagram(sealed, message.type, message.mid, message.token)


def _datagram(message: Protected, kind: int, mid: int, token: bytes) -> bytes:
    """A message of aiocoap's with a head of ours."""
    head = bytes((1 << 6 | kind << 4 | len(token), int(message.code), mid >> 8, mid & 255))
    return bytes(head + token + message.opt.encode() + _payload(message))


def _payload(message: Protected) -> bytes:
    return b"\xff" + bytes(message.payload) if message.payload else b""
