"""CoAP over UDP (RFC 7252), the server's side, sans-IO.

    codes.py             the numbers of the registries
    content_formats.py   media types by number, as IANA has them
    codec.py             messages as bytes
    unknown.py           options that nobody here knows, as an attribute
    request.py           what a request says → the event's attributes
    response.py          a reply → code, options, payload
    blockwise.py         one block of a body (RFC 7959)
    uploads.py           bodies of requests, until they are complete
    representations.py   responses in blocks, kept while devices fetch them
    cloudevents.py       a CloudEvent that a device sends itself
    discovery.py         what there is: /.well-known/core (RFC 6690)
    transfers.py         both of one peer
    memory.py            what is remembered, so that a repeat is not delivered again
    outgoing.py          CONs until they are acknowledged
    observers.py         who observes what, over all sessions (RFC 7641)
    observations.py      what one peer observes
    observation.py       one of these: a registration, and what became of it
    notifier.py          how notifications get to the peer
    echo.py              proof of an address without state, and of freshness (RFC 9175)
    overload.py          how much one device may ask for
    groups.py            requests by multicast
    session.py           one peer: the message layer

Found through the registry; driven by `thinbridge.shells.datagram`.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from thinbridge import contract
from thinbridge.errors import DecodeError, SettingsError
from thinbridge.protocols.base import (
    Entropy,
    EventType,
    Outbound,
    Path,
    Protocol,
    Session,
    Stateless,
    Transport,
)
from thinbridge.protocols.coap.codec import Message, compose, decode, empty, rejection
from thinbridge.protocols.coap.codes import EMPTY, Type
from thinbridge.protocols.coap.echo import Echo
from thinbridge.protocols.coap.groups import GroupSession, heard, is_group
from thinbridge.protocols.coap.memory import NON_LIFETIME, Shared
from thinbridge.protocols.coap.observations import as_reply
from thinbridge.protocols.coap.observers import Observers
from thinbridge.protocols.coap.overload import Proven, Rate
from thinbridge.protocols.coap.representations import Representations
from thinbridge.protocols.coap.response import BUSY
from thinbridge.protocols.coap.session import CoAPSession
from thinbridge.protocols.coap.uploads import Room

__all__ = ["CoAP", "CoAPSession", "CoAPSettings"]


CHALLENGED = 4096
"""How many challenged requests are known again, of all strangers together: a copy that the network held back is rare,
and comes within seconds."""


MAY_BE_0 = ("rate", "event_format")
"""Settings of which 0 means that there is none."""


@dataclass(frozen=True)
class CoAPSettings:
    """Keys of a `coap://` listener."""

    LONGEST: ClassVar[int] = 65_000
    """Bytes of a payload that fit into a datagram (65,507) beside a head, a token and options."""

    ack_delay: float = 1.0
    """Seconds that a CON may wait for its answer before its empty ACK. A device repeats after 2 s at the earliest (RFC
    7252 §4.8), which leaves as much for the network; an answer within it saves both sides a message."""
    max_payload: int = 1024
    """Bytes of a response's payload, 16 at least: what RFC 7252 §4.6 assumes to cross every network in one datagram. A
    longer one goes in blocks of the largest size within it, and requests are asked for such blocks, too."""
    max_message: int = 65507
    """Bytes of a request: all that fits into a datagram. More than RFC 7252 §4.6 assumes (1152), since what has arrived
    has crossed the network already; a longer one gets 4.13."""
    open_exchanges: int = 64
    """Requests of one peer that may wait for their answers, or whose separate response is not acknowledged yet; more
    get 5.03. A gateway for many devices is one peer."""
    nstart: int = 4
    """Separate responses of one peer that may be unacknowledged at a time (RFC 7252 §4.7 says 1): a peer that asks for
    several at once can take several, and one that is lost does not hold up the others for its 2 s."""
    remembered: int = 512
    """Requests of one peer that are remembered, so that a repeat is not delivered again: one every half second. Those
    that got 5.03 for lack of room go first, then the oldest that is answered."""
    replies: int = 64
    """Responses of one peer that are kept for repeats: more than it can have open."""
    remembered_in_all: int = 500_000
    """Requests that are remembered of all peers together: 2,000 a second for their 247 s, about 320 bytes each. Past
    it each peer forgets its own oldest for a new one."""
    replies_in_all: int = 64 << 20
    """Bytes of responses kept for repeats, of all peers together. Past it each peer keeps its last one only."""
    max_upload: int = 1 << 20
    """Bytes of a request's body that comes in blocks; a longer one gets 4.13. Logs and pictures of devices fit; sinks
    that take an event of a megabyte are common, of ten they are not."""
    uploads: int = 4
    """Bodies of one peer that are incomplete at a time; the one that is silent for longest makes room for another. A
    device sends one, a gateway some side by side."""
    uploads_in_all: int = 64 << 20
    """Bytes of incomplete bodies, of all peers together, with what Size1 says is still to come. One that finds no room
    gets 5.03 with Max-Age at its first block. 64 of the largest, or thousands of what devices usually send."""
    downloads: int = 8
    """Responses in blocks of one peer that are known at a time; of the one that was not asked for for longest, the
    function is asked anew when a ninth comes."""
    downloads_in_all: int = 64 << 20
    """Bytes of responses that are fetched in blocks, of all peers together, equal ones once: some firmware images. Past
    it the one goes that was not asked for for longest, and the function is asked anew for its later blocks."""
    transfer_idle: float = 247.0
    """Seconds of silence after which a transfer is forgotten: when the last block's message is (RFC 7252 §4.8.2)."""
    rate: float = 265.0
    """Messages a second of one peer that are delivered; more get 4.29 with Max-Age, NONs nothing. 65,536 Message IDs in
    247 s: a device that sends faster uses one again too early (RFC 7252 §4.4). 0: as many as it sends."""
    burst: int = 0
    """Messages of one peer that may come at once; 0: as many as `rate` gives in 247 s, all its Message IDs."""
    peers_per_address: int = 8192
    """Sessions of one address that an Echo has proven; more get 5.03. A NAT with a thousand devices, each with a new
    port every half minute, while the old ones are remembered for their 247 s. Of IPv6 each /64 counts as one."""
    freshness: float = 0.0
    """Seconds that a request which changes something may have been on its way: it comes with an Echo value that was
    given so recently, else it gets 4.01 with a new one (RFC 9175 §2.3). 0: of any age, since that costs a round trip,
    and many clients don't know Echo. At most 145: as long as a copy of any request is recognised."""
    observations: int = 64
    """Observations of one peer; a registration past it is answered without Observe (RFC 7641 §4.1). A gateway for many
    devices is one peer."""
    observations_in_all: int = 50_000
    """Observations of all peers together, 1.7 kB each. A session is kept for as long as it has one, so they stay
    below half of `limits.sessions`: however many observe, there is room for others."""
    confirm_every: int = 10
    """Each n-th notification is a CON where others are NONs: a device that has gone hears nine more, and not one a day
    for ever (RFC 7641 §4.5 asks for one CON in 24 h, which is kept beside it)."""
    refresh_pause: float = 1.0
    """Seconds between two askings of the function for one observation, at least: each may start a pod, whatever the
    Max-Age of the last answer says."""
    event_format: int = 65001
    """The Content-Format that stands for `application/cloudevents+json`: IANA has none for it, so one of those for
    experiments (RFC 7252 §12.3), which can't be anybody's by registration. 0: none does."""
    groups: tuple[str, ...] = ()
    """Multicast groups to hear, such as All CoAP Nodes: `224.0.1.187`, `ff02::fd`, `ff05::fd` (RFC 7252 §12.8), on all
    interfaces, or one, as `ff02::fd%eth0`. None, since one forged request has every member answer."""
    leisure: float = 5.0
    """Seconds within which the answer to a request to a group is sent, at a random time: every member sends one
    (DEFAULT_LEISURE, RFC 7252 §8.2)."""

    def __post_init__(self) -> None:
        """Check that there is room for something."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str | tuple):  # of no number
                continue
            if value < 0 or (value == 0 and field.default and field.name not in MAY_BE_0):
                raise SettingsError(field.name, value, "a number above 0")
        if self.event_format > 65535:
            raise SettingsError("event_format", self.event_format, "a Content-Format, up to 65535, or 0")
        if self.max_payload < 16:
            raise SettingsError("max_payload", self.max_payload, "16 or more: the smallest block (RFC 7959 §2.2)")
        if self.max_payload > self.LONGEST:
            raise SettingsError("max_payload", self.max_payload, f"{self.LONGEST} or less: what fits into a message")
        for group in self.groups:
            if not is_group(group):
                raise SettingsError("groups", group, "a multicast address, such as 224.0.1.187 or ff02::fd%eth0")
        for key, seconds in (("freshness", self.freshness), ("leisure", self.leisure)):
            if seconds > NON_LIFETIME:
                raise SettingsError(key, seconds, f"at most {NON_LIFETIME:g} seconds")


class CoAP(Protocol):
    """Requests in, responses out."""

    name: ClassVar[str] = "coap"
    transport = Transport.DATAGRAM
    port = 5683
    event_types = (
        EventType(contract.COAP_REQUEST, "a request from a device", (contract.PEER, *contract.COAP_ATTRIBUTES)),
    )
    Settings = CoAPSettings
    settings: CoAPSettings

    def __init__(self, settings: CoAPSettings, entropy: Entropy, name: str = "") -> None:
        super().__init__(settings, entropy, name)
        self.shared = Shared(settings.remembered_in_all, settings.replies_in_all)
        self.room = Room(settings.uploads_in_all, entropy, self.counters)
        self.representations = Representations(settings.downloads_in_all, self.counters)
        self.observers = Observers(settings.observations_in_all)
        self.rate = Rate(settings.rate, settings.burst)
        self.echo = Echo(entropy, settings.freshness)
        self._challenged: dict[tuple[Hashable, int], None] = {}  # in order; hashes of datagrams, nothing else of them
        self.proven = Proven(settings.peers_per_address)

    def locate(self, data: bytes, path: Path, now: float) -> Hashable | Stateless | None:
        """A session is the peer's address and port, at the address that it spoke to, once its address is proven."""
        if path.multicast:
            return self._member(data, path, now)
        key = path.peer, path.local
        if path.verified or key in self.proven.keys:
            return key
        return self._stranger(data, path, now, key)

    @property
    def groups(self) -> Sequence[str]:
        """Those of the settings."""
        return self.settings.groups

    def _member(self, data: bytes, path: Path, now: float) -> Hashable | None:
        """Who spoke to a group is heard if its address is proven; else there is silence: a challenge is an error."""
        message = heard(data) if self.groups else None
        key = path.peer, path.local, path.multicast
        if message is not None and (
            path.verified or key in self.proven.keys or self.echo.proves(message, path.peer, now)
        ):
            return key
        self.counters["multicast"] += 1
        return None

    def _stranger(self, data: bytes, path: Path, now: float, key: Hashable) -> Hashable | Stateless | None:
        """Nothing is kept for an unproven address, and no answer is longer than three times what it sent."""
        message = self._request(data)
        if not isinstance(message, Message):
            return message
        if self.echo.proves(message, path.peer, now):
            if not self.proven.full(path.peer):
                return key
            self.counters["address_full"] += 1
            return self.full(data, path, now)
        self._challenged[key, hash(data)] = None
        if len(self._challenged) > CHALLENGED:
            del self._challenged[next(iter(self._challenged))]
        return Stateless(self._challenge(message, path, now))

    def _challenge(self, message: Message, path: Path, now: float) -> bytes:
        self.counters["challenged"] += 1
        return self.echo.challenge(message, path.peer, now)

    def held_back(self, message: Message, data: bytes, path: Path, now: float) -> bytes | None:
        """What a request of a proven peer hears that is only a late copy of one that was challenged; None: it is not.

        Its device has sent it anew with its Echo by then: delivering the copy as well would be delivering it twice.
        """
        if path.verified or ((path.peer, path.local), hash(data)) not in self._challenged:
            return None
        return self._challenge(message, path, now)

    def full(self, data: bytes, path: Path, now: float) -> Stateless | None:
        """5.03 for a CON for which there is no session: no room, or the bridge is about to end. A NON hears nothing."""
        message = None if path.multicast else self._request(data)
        if not isinstance(message, Message):
            return message
        if message.type == Type.NON:
            return None
        code, options, payload = BUSY
        return Stateless(compose(Type.ACK, code, message.mid, message.token, options, payload))

    def _request(self, data: bytes) -> Message | Stateless | None:
        """The request in a datagram that has no session; else the RST that it gets (RFC 7252 §4.2, §4.3), or None."""
        try:
            message = decode(data)
        except DecodeError as error:
            self.counters[f"malformed_{error.reason}"] += 1
            reset = rejection(data)
            return None if reset is None else Stateless(reset)
        if 0 < message.code < 32 and message.type <= Type.NON:
            return message
        ping = message.code == EMPTY and message.type == Type.CON
        self.counters["ping" if ping else "unexpected"] += 1
        return Stateless(empty(Type.RST, message.mid)) if message.type == Type.CON else None

    def open(self, key: Hashable, path: Path, now: float) -> CoAPSession:
        """A session for a peer that is new."""
        if not path.verified:
            self.proven.add(key, path.peer)  # `locate` lets nobody else come here
        return (GroupSession if path.multicast else CoAPSession)(self, key, path, now)

    def publish(self, subject: str, outbound: Outbound, now: float) -> Iterator[Session]:
        """Notify every observer of a subject; an event with an error in `coapcode` ends what it reaches."""
        return self.observers.publish(subject, as_reply(outbound), now)
