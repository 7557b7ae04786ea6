"""THE interface: what a device protocol is to everything else. Read `udp.py` next, the smallest implementation.

A protocol core is sans-IO. Bytes, the path they came by and the time go in; events and bytes come out. No socket,
clock, task or random source inside: `now` is an argument (monotonic seconds), chance is the `entropy` callable that the
constructor is given. So a core is tested in virtual time, over a terrible network, from a seed.

    Scheme     what a URL scheme stands for: a Protocol, or an Adapter
    Protocol   one per endpoint: what sessions share, and which session a datagram belongs to
    Adapter    makes an endpoint that a library drives (`thinbridge.adapters`)
    Session    one device's conversation; a UDP 4-tuple, an MQTT Session that outlives its connections, a transfer
    Endpoint   what the bridge sees: a shell (`thinbridge.shells`) around a Protocol, or an adapter's

After *any* call into a session its owner does the same things, in this order: take `next_event()` until None, send
`data_to_send()`, look at `paused`, `closed` and `next_timer()`. Nothing a device sends may raise out of a core.

Over 400 lines because it is one file on purpose: all that a stranger's protocol must know, half of it docstrings.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_network
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple

Address = tuple[Any, ...]
"""A socket address as the kernel gives it: (host, port) or (host, port, flow info, scope id)."""


def peer_text(address: Address) -> str:
    """An address as URLs have it: `192.0.2.7:5683`, `[2001:db8::7]:5683`; for `peer`, and for people.

    An IPv4 address that came to an IPv6 socket is one all the same. The same link-local address may be another device
    on another link: it has its zone.
    """
    host, port = address[:2]
    if ":" not in host:
        return f"{host}:{port}"
    if host.startswith("::ffff:") and "." in host:
        return f"{host[7:]}:{port}"
    zone = f"%{address[3]}" if len(address) > 3 and address[3] and "%" not in host else ""
    return f"[{host}{zone}]:{port}"


Entropy = Callable[[int], bytes]
"""n → n random bytes: `os.urandom` in a bridge, a seeded generator in a test."""

NO_ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType({})

LISTENER: Final = 0
"""`Path.socket` of a datagram listener's own socket."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the security layer says is there; only a proven one is ever made."""

    kind: str
    """`x509`, `psk`, `rpk` or `user`."""
    name: str
    """The name within the kind; `authid` is `<kind>:<name>`."""


class Path(NamedTuple):
    """Where bytes come from and go to. Hashable; a tuple, since one is made per datagram."""

    peer: Address
    """The device's address."""
    local: Address = ()
    """Our address that it spoke to: what it hears comes from there. Where it spoke to a group, or the system does not
    say, the one that the listener is bound to."""
    socket: int = LISTENER
    """Which socket of the endpoint. A stream: the connection's number. Datagrams: 0 is the listener's own; any other
    number names one that the shell opens when something is first sent by it and closes with the session (TFTP)."""
    multicast: bool = False
    """It came to a multicast or broadcast address: no error replies, no state that lasts."""
    verified: bool = False
    """The peer's address is proven (a handshake, a stream, a trusted network): the 3× rule does not apply."""
    identity: Identity | None = None
    """Who is there, as the security layer below has proven."""


class Transport(Enum):
    """What a protocol runs over."""

    DATAGRAM = "udp"
    STREAM = "tcp"


@dataclass(frozen=True, slots=True)
class EventType:
    """One CloudEvents type that a protocol emits; shown by `thinbridge protocols list`."""

    type: str
    """Reverse-DNS name, such as `dev.thinbridge.udp.datagram`."""
    description: str
    """One line."""
    attributes: tuple[str, ...] = ()
    """The protocol's own extension attributes."""


# --- What a session reports (next_event) -----------------------------------------------------------------------


class Inbound(NamedTuple):
    """A message from a device, to be delivered exactly as often as it is reported: once.

    A tuple, as `Path` and `Reply` are: one is made per message, and a frozen dataclass takes four times as long.
    """

    exchange: int
    """The session's number for it; `answer` gives it back. Never reused within a session."""
    type: str
    """The CloudEvents type."""
    subject: str | None
    """CoAP path, MQTT topic, endpoint name; already free of controls and bytes that are no UTF-8."""
    attributes: Mapping[str, str]
    """The protocol's own extension attributes."""
    content_type: str | None
    """Media type of `data`, None where the protocol names none."""
    data: bytes
    """The payload, never altered."""
    repeat_key: bytes | None = None
    """Equal for the same message, different for any other: its event `id` is made from it. None: a new id."""
    repeat_window: float = 0.0
    """Seconds of wall clock after which `repeat_key` may name another message; 0: never."""
    at_least_once: bool = False
    """True: the device keeps the message until it is answered (MQTT QoS 1), so delivery tries for the route's
    `retry_for`. False: the device waits until `replyby`, so delivery does too."""
    wants_reply: bool = True
    """False: nobody waits for the answer's data (MQTT without a Response Topic); its outcome still matters."""
    expires: float | None = None
    """Seconds for which the message itself says that it matters (MQTT Message Expiry): `expirytime`."""
    event: Mapping[str, str] | None = None
    """CloudEvents attributes that the device set itself: they win, but for the names that the contract owns."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The session is established; `device` and `identity` are final. Sessions that never say so are still valid."""


@dataclass(frozen=True, slots=True)
class Authorize:
    """The session asks whether it may go on; it waits for `authorized` and keeps no more than it must meanwhile."""

    action: str
    """`connect`, `publish` or `subscribe`."""
    subject: str = ""
    """What it is about: a client id, a topic, a filter."""
    username: str | None = None
    """The name the device gave, unproven."""
    password: bytes | None = field(default=None, repr=False)
    """The secret the device gave."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to `Authorize`."""

    allowed: bool
    identity: Identity | None = None
    """Who it is, if the answer was proven."""
    device: str | None = None
    """`deviceid`, if the credentials name one."""


class PushResult(Enum):
    """What became of a push; the inbox answers with its value."""

    DELIVERED = 200
    """The device acknowledged it, or, where the protocol has no acknowledgement, the kernel took it."""
    QUEUED = 202
    """It will be sent when the device can take it."""
    REFUSED = 422
    """This device can't be sent that: no subscription, no observation, no such target."""
    TOO_LARGE = 413
    """Larger than the device, or the limit, takes."""
    BUSY = 503
    """The session's queue is full; try again."""
    GONE = 410
    """The session ended first."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """The outcome of one `push`; each push has exactly one."""

    push: int
    """What `push` returned."""
    result: PushResult


@dataclass(frozen=True, slots=True)
class Handover:
    """The path that was just heard belongs to another session from now on; give it `rest` at once.

    A stream's first session is only a greeting: an MQTT CONNECT decides which Session the connection is for.
    """

    session: "Session"
    path: Path
    rest: bytes = b""


@dataclass(frozen=True, slots=True)
class Woke:
    """Another session of this protocol has something to say (takeover): service it too."""

    session: "Session"


@dataclass(frozen=True, slots=True)
class Closed:
    """The session is over and its owner has forgotten it: the last event, which owners make, never sessions."""


Event = Inbound | Opened | Authorize | Pushed | Handover | Woke


# --- What a session is told ------------------------------------------------------------------------------------


class Outcome(Enum):
    """What became of a delivery, in the terms that every protocol has an answer for."""

    ACCEPTED = "accepted"
    """The sink, or the dead-letter sink, said 2xx: only now may a device be told that it is done."""
    PENDING = "pending"
    """The sink said 202 in mode `later`: accepted, the answer follows by `replyto`."""
    REFUSED = "refused"
    """The function saw the message and refuses it: 4xx, `status` says which."""
    OVERLOADED = "overloaded"
    """Not accepted, and the function never saw it: 5.03 + Max-Age, nothing acknowledged."""
    UNKNOWN = "unknown"
    """Not accepted in time; the function may have seen it: 5.04, nothing acknowledged."""
    BAD_GATEWAY = "bad gateway"
    """The sink's answer can't be used: 401, 403, 3xx, over a limit: 5.02, nothing acknowledged."""


class Reply(NamedTuple):
    """What the function answered, free of HTTP. A tuple: see `Inbound`."""

    outcome: Outcome
    status: int = 0
    """The HTTP status, 0 where there was none."""
    content_type: str | None = None
    data: bytes = b""
    attributes: Mapping[str, str] = NO_ATTRIBUTES
    """Extension attributes of a reply event (`coapcode`, `mqtttopic`, …), and of HTTP's own `etag` (opaque tag
    without quotes), `maxage` (seconds), `location` (path), `contentrange`. What steers is the function's word, or the
    route's."""
    is_event: bool = False
    """It came as a CloudEvent: it may steer. A bare body answers only who asked."""
    retry_after: float | None = None
    """Seconds after which it is worth another try; None: the protocol's default."""
    event: Mapping[str, str] = NO_ATTRIBUTES
    """All attributes of a reply event, `id` and `source` among them: for a device that is sent the event itself."""


@dataclass(frozen=True, slots=True)
class Outbound:
    """Something for a device that did not ask for it now."""

    content_type: str | None = None
    data: bytes = b""
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Extension attributes of the event that was posted: `mqtttopic`, `mqttqos`, …"""
    is_event: bool = False


Sent = tuple[bytes | None, Path]
"""Bytes for a path, in order; None: close that path (a stream's connection, a fresh port)."""


class Session(ABC):
    """One device's conversation, sans-IO."""

    id: str
    """`sessionid`: random, no capability."""
    device: str | None = None
    """`deviceid`: the name that the device goes by."""
    identity: Identity | None = None
    """Who it is, if proven."""
    peer: str = ""
    """The device's address as text, for `peer` and for people."""
    paused: bool = False
    """True: the owner stops reading from its path until it is False again (streams)."""
    closed: bool = False
    """True: nothing more will come; the owner forgets it after sending what is left."""
    busy: bool = False
    """True: forgetting it would break a promise (an open exchange, an observation, a device that is connected). When
    the limit of sessions is reached, the owner evicts the one silent for longest among those that are not busy."""
    unsettled: bool = False
    """True: the device has yet to acknowledge an answer, which is repeated until it does; a drain waits for that."""

    @abstractmethod
    def receive(self, data: bytes, path: Path, now: float) -> None:
        """Take bytes from a device. Never raises."""

    def eof(self, path: Path, now: float) -> None:
        """The path is gone: closed by the peer, reset, or too slow to be written to."""

    @abstractmethod
    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        """Answer an exchange; False, and nothing is sent, if it is not open (answered, expired, never there)."""

    def push(self, target: int | None, outbound: Outbound, now: float) -> int:
        """Send something unasked; a `Pushed` event with the number returned here says what became of it.

        Args:
            target: the exchange whose `replyto` was posted to (its observation, its Response Topic), None if none.
            outbound: what to send.
            now: monotonic seconds.

        Returns:
            A number that this session has not used yet; 0: it can't be pushed to, and no event follows.
        """
        return 0

    def authorized(self, decision: Decision, now: float) -> None:
        """The answer to the oldest `Authorize` that is open."""

    @abstractmethod
    def close(self, reason: str, now: float) -> None:
        """End it now, telling the device if the protocol can; afterwards `closed` is True."""

    def drain(self, now: float) -> None:
        """Take no new work; answer what is open. New messages get the protocol's refusal, or none."""

    @abstractmethod
    def next_event(self) -> Event | None:
        """The next thing to report, oldest first; None when there is nothing."""

    @abstractmethod
    def data_to_send(self) -> Sequence[Sent]:
        """What to send, each once. The sequence belongs to the caller."""

    def next_timer(self) -> float | None:
        """When `handle_timer` is due, in the time of `now`; None: never."""
        return None

    def handle_timer(self, now: float) -> None:
        """Time has come; calling it early is harmless."""


@dataclass(frozen=True, slots=True)
class Stateless:
    """An answer of `locate` that needs no session: bytes to send (none: silence)."""

    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that an endpoint offers, for protocols in which devices can ask what there is (RFC 6690)."""

    subject: str
    """As events have it."""
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    """What is said of it: `rt`, `if`, `ct`, `obs`, `title`, `sz`."""


class Scheme:
    """What a URL scheme stands for, and what the bridge's settings, its CRD and its documents ask of that.

    Args:
        settings: an instance of the class's own `Settings`.
        entropy: where chance comes from.
        name: the endpoint's name; the `subject` of protocols that have none of their own.
    """

    name: ClassVar[str]
    """The URL scheme and the entry point's name."""
    transport: ClassVar[Transport]
    port: ClassVar[int]
    """The default port."""
    listens: ClassVar[bool] = True
    """False: its URL says whom to call (a broker); it binds no port."""
    event_types: ClassVar[tuple[EventType, ...]]
    Settings: ClassVar[type]
    """A frozen dataclass, every field with a default and the reason for it; keys of a `listen` entry."""

    def __init__(self, settings: Any, entropy: Entropy, name: str = "") -> None:
        self.settings = settings
        self.entropy = entropy
        self.endpoint = name or self.name
        self.counters: Counter[str] = Counter()
        """What was dropped, refused or evicted, by a fixed name; exported as metrics."""

    def session_id(self) -> str:
        """128 random bits as text."""
        return self.entropy(16).hex()


@dataclass(frozen=True, slots=True)
class Carriers:
    """How a stream protocol is carried where it is not TCP alone; its shell's to read, its sessions notice nothing."""

    schemes: Mapping[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    """More URL schemes, each an entry point of the same class: what carries it there, `tls`, `ws` (WebSocket) or `wss`
    (WebSocket over TLS), and the default port."""
    alpn: tuple[str, ...] = ()
    """Its names within TLS (RFC 7301), the best first."""
    subprotocols: tuple[str, ...] = ()
    """Its names within a WebSocket (RFC 6455 §1.9), the best first; none: clients need not say one."""
    path: str = "/"
    """The path of a WebSocket's URL, unless the listener says another."""
    messages: bool = False
    """True: a WebSocket message is a message of its own (RFC 8323 §4), and comes with its length before it, in four
    bytes. False: it is some bytes of the stream (MQTT-6.0.0-2)."""


class Protocol(Scheme, ABC):
    """One protocol on one endpoint, sans-IO: what its sessions share."""

    carriers: ClassVar[Carriers] = Carriers()
    """Streams: what may carry it."""

    def __init__(self, settings: Any, entropy: Entropy, name: str = "") -> None:
        super().__init__(settings, entropy, name)
        self.draining = False
        """Set at SIGTERM: `locate` opens nothing new."""
        self.resources: Sequence[Resource] = ()
        """What the bridge's routes offer here; set anew when they are read again."""

    @property
    def groups(self) -> Sequence[str]:
        """Multicast groups that a datagram owner joins when it binds: `224.0.1.187`, `ff02::fd%eth0`."""
        return ()

    @abstractmethod
    def open(self, key: Hashable, path: Path, now: float) -> Session:
        """A new session. A stream's `key` is its path. Its random `id` comes from `session_id()`."""

    def locate(self, data: bytes, path: Path, now: float) -> Hashable | Stateless | None:
        """Whose datagram is this? A session's key (the owner opens what it does not know), a `Stateless` answer, or
        None: drop it. Never raises; streams don't ask."""
        return path

    def full(self, data: bytes, path: Path, now: float) -> Stateless | None:
        """What a new peer hears when the limit of sessions is reached and none can be evicted."""
        return None

    def publish(self, subject: str, outbound: Outbound, now: float) -> Iterable[Session]:
        """Send to everyone who listens to `subject`, one after another.

        Returns:
            The sessions, each as soon as it has something to say. It may be lazy: the owner goes through it in parts,
            so that thousands of them hold up nobody else.
        """
        return ()


# --- What the bridge sees --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """What one endpoint may hold."""

    sessions: int = 100_000
    """Live sessions: 2.7 kB each of UDP, 4.7 kB of CoAP with a request remembered, the directory's part included. When
    there are so many, the one that is silent for longest and not busy is evicted."""
    connections_per_address: int = 512
    """Open connections from one address (streams). A gateway or a NAT is one address, and may carry hundreds."""
    write_buffer: int = 1 << 20
    """Bytes that may wait for a device that reads slowly; past it, it has a minute for them; past four times as many
    its connection is reset."""
    trusted: tuple[IPv4Network | IPv6Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    """Networks in which an address is taken as proven: nobody can spoof loopback."""


OnEvent = Callable[["Endpoint", Session, Inbound | Opened | Authorize | Closed], None]
"""Called for every event, on the loop, once; must not block and never raises. Never a task per message."""


class Endpoint(ABC):
    """One protocol on one port, or one broker connection: the bridge's view of it."""

    name: str
    """Unique within the bridge; the metric label."""
    url: str
    """What it is reached by, with the port it was really given."""
    limits: Limits
    """What it may hold; set anew when the settings are read again."""
    protocol: str
    """The protocol's name."""

    @abstractmethod
    async def open(self) -> None:
        """Bind. Bad settings and taken ports fail here, as `SettingsError`, before anything is served."""

    @abstractmethod
    def serve(self, on_event: OnEvent) -> None:
        """Start to read; events go to the callback."""

    @abstractmethod
    def answer(self, session: Session, exchange: int, reply: Reply) -> bool:
        """`Session.answer`, and what it has to say is sent."""

    @abstractmethod
    def push(
        self, session: Session, target: int | None, outbound: Outbound, done: Callable[[PushResult], None]
    ) -> None:
        """`Session.push`, and what it has to say is sent; `done` is called once with the outcome, maybe at once."""

    def authorized(self, session: Session, decision: Decision) -> None:
        """`Session.authorized`, and what it has to say is sent."""

    def offer(self, resources: Sequence[Resource]) -> None:
        """What devices may ask for by name; said at the start, and whenever routes are read again."""

    @abstractmethod
    def drain(self) -> None:
        """Take no new work; what is open goes on."""

    @abstractmethod
    async def close(self) -> None:
        """End every session, telling devices where the protocol can; free the port."""

    async def publish(self, subject: str, outbound: Outbound) -> int:
        """`Protocol.publish`, and what its sessions have to say is sent; how many of them there were."""
        return 0

    @property
    @abstractmethod
    def sessions(self) -> int:
        """How many are live."""

    def health(self) -> Mapping[str, Any]:
        """What more there is to say in `/health/ready`: the state of what it calls, such as a broker."""
        return {}

    @property
    def settled(self) -> bool:
        """Whether every answer that needs an acknowledgement has it."""
        return True

    @property
    @abstractmethod
    def counters(self) -> Mapping[str, int]:
        """What was dropped, refused or evicted so far, by a fixed name."""


class Adapter(Scheme, ABC):
    """A scheme whose endpoint a library drives: what it does of a session's duties, the library does not."""

    @abstractmethod
    def endpoint_at(self, host: str, port: int, limits: Limits) -> Endpoint:
        """The endpoint at an address; it counts into this object's `counters`. Called once, nothing is opened yet."""
