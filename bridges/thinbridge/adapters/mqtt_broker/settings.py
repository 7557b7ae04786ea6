"""The keys of an `mqtt+broker://` listener, checked as far as no file and no broker is needed for it. Pure."""

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from thinbridge.errors import SettingsError
from thinbridge.protocols.mqtt import topics

SHARE: Final = "$share/"
"""How a shared subscription's filter begins (MQTT 5 §4.8.2); brokers take it from 3.1.1 clients, too."""

DEVICE: Final = "{deviceid}"
"""The level of a `device_topics` template that is the device's name."""

VERSIONS: Final = ("5", "3.1.1")

MAX_REPLICAS: Final = 256
"""Client ids of a pool at most: each replica looks at all of them."""


@dataclass(frozen=True)
class BrokerSettings:
    """Keys of an `mqtt+broker://` or `mqtts+broker://` listener."""

    subscribe: tuple[str, ...] = ()
    """Topic filters, at least one: what is published there becomes events. In a URL the key repeats."""
    share: str = ""
    """Name of a shared subscription: replicas with the same name share the messages. `$share/<name>/<filter>` in
    `subscribe` says the same; either all filters are shared or none."""
    qos: int = 1
    """0: at most once. 1: the broker keeps each message until the sink has accepted it. There is no 2: an
    acknowledgement that waits for the sink can't be had with it, so a QoS 2 publisher's message comes as QoS 1."""
    client_id: str = ""
    """Under this name the broker keeps what is not acknowledged, so it must stay the same and be nobody else's; with
    `share` it is the beginning of the replicas' names. Unless given, it is made of `subscribe` and `share`."""
    version: str = "5"
    """`5` or `3.1.1`, as the broker speaks; 5 has answers, content types and user properties."""
    session_expiry: int = 86_400
    """Seconds that the broker keeps the session while no bridge is there: longer than the longest outage, a day. MQTT
    3.1.1 has no such time: the broker's own setting holds."""
    keep_alive: int = 30
    """Seconds without a packet after which either end asks whether the other is there; half as much again, and a dead
    connection is noticed."""
    connect_timeout: float = 5.0
    """Seconds for each step of a connection: the socket with its TLS, CONNACK, SUBACK."""
    username: str = ""
    """The bridge's user name at the broker."""
    password: str = field(default="", repr=False)
    """Its password; a file keeps it out of process lists and manifests."""
    password_file: str = ""
    """A file with the password, or a token in its place; read again for each connection, since tokens end."""
    tls_ca: str = ""
    """PEM file of the authorities that the broker's certificate is checked against, read again for each connection; the
    system's unless given."""
    tls_certificate: str = ""
    """PEM file of the bridge's own certificate, for brokers that ask for one; read again for each connection."""
    tls_key: str = ""
    """PEM file of its private key; empty: it is in `tls_certificate`, too."""
    websocket: str = ""
    """Path of the broker's WebSocket, such as `/mqtt`; empty: plain TCP or TLS."""
    window: int = 64
    """Messages of one connection that may wait for the sink. Past it, reading pauses. It is told to the broker (Receive
    Maximum), which may not keep to it."""
    held: int = 1_048_576
    """Bytes of them, properties included, before reading pauses: a full window of 16 kB messages."""
    max_packet: int = 262_144
    """Bytes of a packet (MQTT 5): the broker discards what is larger, for this subscriber. Events above 256 KiB do not
    pass most sinks."""
    publish: tuple[str, ...] = ("#",)
    """Filters of the topics that answers and pushes may go to, Response Topics included: whoever publishes a request
    chooses that. `$…` topics are the broker's own and never allowed."""
    outbound_queue: int = 1000
    """Answers and pushes that wait for the broker's acknowledgement, or for the broker; more are refused (BUSY)."""
    outbound_bytes: int = 1_048_576
    """Bytes of them, properties included."""
    device_topics: tuple[str, ...] = ()
    """Templates such as `devices/{deviceid}/up`: which level of a topic is the device's name. The first that matches
    gives `deviceid`, and the device a session of its own; it is what the topic says, not proven."""
    structured_311: bool = False
    """Read payloads as CloudEvents in JSON where the broker speaks 3.1.1, which has no content type."""
    replies: int = 64
    """Exchanges of a session whose Response Topic is remembered, after their answer or until one comes in mode `later`;
    over it the oldest is forgotten."""
    replies_bytes: int = 8192
    """Bytes of their Response Topics and Correlation Data."""
    replicas: int = 16
    """Client ids that replicas with `share` take from; more replicas than that wait for one. Those that are never used
    cost nothing."""
    replica: str = "any"
    """Which of them this one takes: `any`, `hostname` (the number at its end, in a StatefulSet), or a number."""
    adopt_after: float = 10.0
    """Seconds after which another replica takes over the client id of one that is gone, with all that the broker keeps
    under it. A pod that is replaced is back within seconds."""
    presence: str = ""
    """Topics below this one tell replicas of each other, retained: `thinbridge/<client_id>` unless given. The bridge's
    user needs the right to read and write `<presence>/#`."""

    def __post_init__(self) -> None:
        """Check what no broker is needed for."""
        if not self.subscribe:
            raise SettingsError("subscribe", "(none)", "say which topics: subscribe=devices/%2B/up, in a file a list")
        for text in self.subscribe:
            if not topics.is_filter(_bare(text)) or text == SHARE:
                raise SettingsError("subscribe", text, "use a topic filter, such as devices/+/up or site/#")
        self._check_share()
        self._check_session()
        self._check_secrets()
        for key, texts in (("publish", self.publish), ("device_topics", self.device_topics)):
            for text in texts:
                if not topics.is_filter(text.replace(DEVICE, "x")):
                    raise SettingsError(key, text, "use a topic filter, such as devices/+/commands")
        for text in self.device_topics:
            if text.split("/").count(DEVICE) != 1:
                raise SettingsError("device_topics", text, f"let one level be {DEVICE}: devices/{DEVICE}/up")
        for key in ("window", "outbound_queue", "max_packet", "keep_alive"):
            if getattr(self, key) < 1:
                raise SettingsError(key, getattr(self, key), "use 1 or more")
        if self.websocket and not (self.websocket.startswith("/") and self.websocket.isprintable()):
            raise SettingsError("websocket", self.websocket, "use the path of a URL, such as /mqtt")

    def _check_share(self) -> None:
        groups = {_group(text) for text in self.subscribe} - {""}
        if "/" in self.share or set(self.share) & set("+#"):
            raise SettingsError("share", self.share, "use a name without /, + and #")
        if len(groups) > 1 or (groups and (self.share or not all(map(_group, self.subscribe)))):
            raise SettingsError("subscribe", ", ".join(self.subscribe), "share all filters by one name, or none")
        if not 0 < self.replicas <= MAX_REPLICAS:
            raise SettingsError("replicas", self.replicas, f"use a number from 1 to {MAX_REPLICAS}")
        if self.replica not in ("any", "hostname") and not (
            self.replica.isdecimal() and int(self.replica) < self.replicas
        ):
            raise SettingsError("replica", self.replica, "use any, hostname, or a number below replicas")

    def _check_session(self) -> None:
        if self.qos not in (0, 1):
            fix = "use 1: what is published with QoS 2 comes as QoS 1, acknowledged after the sink accepted it"
            raise SettingsError("qos", self.qos, fix)
        if self.version not in VERSIONS:
            raise SettingsError("version", self.version, "use 5 or 3.1.1")
        if self.qos and self.session_expiry < 1:
            fix = "use more than your longest outage: without a session the broker drops what waits; or use qos=0"
            raise SettingsError("session_expiry", self.session_expiry, fix)
        if self.session_expiry > 0xFFFFFFFF:
            raise SettingsError("session_expiry", self.session_expiry, "use up to 4294967295 (MQTT 5 §3.1.2.11.2)")
        if not topics.is_clean(self.client_id) or set(self.client_id) & set("/+#") or len(self.client_id) > 200:
            raise SettingsError("client_id", self.client_id, "use up to 200 letters, digits and -, without /, + and #")
        if self.presence and (not topics.is_filter(self.presence) or set(self.presence) & set("+#$")):
            raise SettingsError("presence", self.presence, "use a topic, such as thinbridge/readings")

    def _check_secrets(self) -> None:
        if (self.password or self.password_file) and not self.username:
            raise SettingsError("username", "(none)", "give one: brokers take no password without it")
        if self.password and self.password_file:
            raise SettingsError("password_file", self.password_file, "give password or password_file, not both")
        if self.tls_key and not self.tls_certificate:
            raise SettingsError("tls_certificate", "(none)", "give the certificate that tls_key belongs to")

    @property
    def group(self) -> str:
        """The name of the shared subscription; empty: none."""
        return self.share or _group(self.subscribe[0])

    @property
    def filters(self) -> tuple[str, ...]:
        """As they are subscribed to."""
        return tuple(f"{SHARE}{self.share}/{text}" if self.share else text for text in self.subscribe)

    @property
    def pooled(self) -> bool:
        """Whether replicas take their client ids from a pool: what the broker keeps for each is somebody's."""
        return bool(self.group and self.qos)

    @property
    def name(self) -> str:
        """The client id, or its beginning."""
        if self.client_id:
            return self.client_id
        text = " ".join((self.group, *sorted(map(_bare, self.subscribe))))
        return f"thinbridge-{blake2b(text.encode(), digest_size=5).hexdigest()}"

    @property
    def presence_topic(self) -> str:
        """What the replicas' topics begin with."""
        return self.presence or f"thinbridge/{self.name}"


def _group(text: str) -> str:
    """The name of the shared subscription in a filter; empty: it is none."""
    return text.removeprefix(SHARE).partition("/")[0] if text.startswith(SHARE) else ""


def _bare(text: str) -> str:
    """A filter without the shared subscription's name."""
    return text.removeprefix(SHARE).partition("/")[2] if text.startswith(SHARE) else text
