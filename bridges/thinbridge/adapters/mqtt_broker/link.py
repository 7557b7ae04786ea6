"""One client id's connection to the broker, made again whenever it is lost: paho-mqtt, driven by the event loop.

paho blocks while it dials, so a thread does that; everything else happens on the loop, and every callback of paho's
arrives there. What a connection is for is its `Owner`'s business; that the broker refuses, stays silent or is not there
is dealt with here: bounded waits, a log line when the reason changes, pauses that grow, with chance in them.

Over 400 lines because dialling, paho's callbacks and the end of a connection are one state machine.
"""

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from thinbridge.adapters.mqtt_broker import messages
from thinbridge.adapters.mqtt_broker.settings import SHARE, BrokerSettings
from thinbridge.adapters.mqtt_broker.websocket import WebSocket
from thinbridge.adapters.mqtt_broker.wire import Wire
from thinbridge.protocols.mqtt import reasons
from thinbridge.protocols.mqtt.message import Publication

LOG: Final = logging.getLogger(__name__)

TICK: Final = 1.0
"""Seconds between two looks at the keep-alive."""

FIRST_PAUSE: Final = 0.25
"""Seconds of the first pause before it is dialled again, at most."""
LONGEST_PAUSE: Final = 4.0
"""Seconds that pauses grow to: a broker that is back is found within five."""
LONGEST_REFUSED: Final = 30.0
"""Seconds that pauses grow to where trying again helps only after somebody has changed something."""
STEADY: Final = 10.0
"""Seconds after which a connection counts as one that works: the next pause is a first one again."""

SLOW: Final = frozenset(
    (
        reasons.UNSUPPORTED_VERSION,
        reasons.CLIENT_ID_INVALID,
        reasons.BAD_CREDENTIALS,
        reasons.NOT_AUTHORIZED,
        reasons.TAKEN_OVER,
        0x8A,  # Banned
    )
)


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when this connection is lost."""

    topic: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom a link connects, and for what."""

    client_id: str
    filters: Sequence[str]
    keeps: bool
    """Whether the broker is to keep its session."""
    will: Will | None = None


class Owner(Protocol):
    """Who a link is for. Called on the loop; none of them raises."""

    def up(self, present: bool) -> None:
        """Connected; `present`: the broker had kept the session."""

    def failed(self) -> None:
        """No connection was made."""

    def down(self, taken_over: bool) -> None:
        """No longer connected."""

    def received(self, message: MQTTMessage) -> None:
        """A PUBLISH."""

    def published(self, packet_id: int, reason: int) -> None:
        """The broker's acknowledgement of a PUBLISH of ours."""


class _Client(PahoClient):
    """paho's client with sockets of ours; the only place where its insides are touched.

    Args:
        url: of the WebSocket; empty: none.
        context: makes that of TLS; None: plain.
        options: paho's own.
    """

    wire: Wire | None = None

    def __init__(self, url: str, context: Callable[[], ssl.SSLContext] | None, **options: Any) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, reconnect_on_failure=False, manual_ack=True, **options)
        self._url, self._context = url, context

    def _create_socket(self) -> Wire:
        sock = self._create_socket_connection()
        try:
            if self._context is not None:
                sock = self._context().wrap_socket(sock, server_hostname=self._host)
            self.wire = Wire(WebSocket(sock, self._url) if self._url else sock)
        except BaseException:
            sock.close()
            raise
        return self.wire

    def ping(self) -> None:
        """A PINGREQ whose answer is not waited for: reading pauses."""
        self._send_pingreq()


class Link:
    """A connection that is made again until `stop`.

    Args:
        place: host and port of the broker.
        settings: the listener's.
        identity: as whom.
        context: makes that of TLS, for each connection, since its files are replaced; None: plain.
        owner: who it is for.
        chance: in [0, 1), drawn for each pause.
    """

    def __init__(
        self,
        place: tuple[str, int],
        settings: BrokerSettings,
        identity: Identity,
        context: Callable[[], ssl.SSLContext] | None,
        owner: Owner,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.identity = identity
        self.error: str | None = "not connected yet"
        """Why it is not connected; None: it is."""
        self.subscribed = False
        """The broker has answered for every filter."""
        self.refused: list[str] = []
        """Filters that the broker did not grant as asked."""
        self.max_packet = 0
        """Bytes of a packet that the broker takes; 0: any."""
        self.receive_maximum = 0xFFFF
        """QoS 1 messages that the broker lets wait for its acknowledgement."""
        self.permitted = asyncio.Event()
        """Whether it may be dialled: cleared while another bridge may have this client id."""
        self.permitted.set()
        self._place, self._settings, self._context = place, settings, context
        self._owner, self._chance = owner, chance
        self._v5 = settings.version == "5"
        self._client = self._new_client()
        self._paused = self._stopped = self._stood = False
        self._code = 0  # the broker's reason for the end of the connection
        self._said: str | None = None  # the last reason that was logged, unless it was connected since
        self._asked: list[str] = []
        self._ask_again = self._pinged = 0.0
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[None] | None = None
        self._lost: asyncio.Future[str] | None = None
        self._expected: asyncio.TimerHandle | None = None
        self._ticking: asyncio.TimerHandle

    # --- the owner's side ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Dial, and dial again."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name=f"link {self.identity.client_id}")

    async def stop(self) -> None:
        """Say DISCONNECT and end; its `down` follows if it was up. A thread that dials ends its connection itself."""
        self._stopped = True
        if self.connected:
            self._client.disconnect()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._hang_up("stopped")

    @property
    def connected(self) -> bool:
        """The broker has said yes."""
        return self.error is None

    @property
    def unsent(self) -> bool:
        """Whether something waits for the broker to read."""
        wire = self._client.wire
        return self.connected and wire is not None and (wire.unsent or self._client.want_write())

    def acknowledge(self, packet_id: int, qos: int) -> None:
        """PUBACK; only while it is connected, and only for what came by this connection."""
        self._client.ack(packet_id, qos)

    def publish(self, message: Publication) -> int:
        """PUBLISH, while it is connected; the packet identifier that `published` tells of."""
        given = messages.paho_properties(message, self._loop.time()) if self._v5 else None
        return self._client.publish(message.topic, message.data, message.qos, message.retain, given).mid

    def pause(self) -> None:
        """Stop reading; a connection that is being made is made first, or the broker would take us for gone."""
        self._paused = True
        if self._holds and self._client.wire is not None:
            self._client.wire.pause()

    @property
    def _holds(self) -> bool:
        return self._paused and self.subscribed

    def resume(self) -> None:
        """Go on reading."""
        if self._paused:
            self._paused = False
            if self._client.wire is not None:
                self._client.wire.resume()

    # --- a connection's life --------------------------------------------------------------------------------------

    async def _run(self) -> None:
        failures = 0
        while True:
            await self.permitted.wait()
            begun = self._loop.time()
            self._stood = False
            reason = await self._connection()
            if not self._stood:
                self._owner.failed()
            self._say(reason)
            failures = 0 if self._loop.time() - begun > STEADY else failures + 1
            await asyncio.sleep(self._pause(failures))

    def _pause(self, failures: int) -> float:
        """Seconds before the next connection; half of it is chance, so that bridges don't come back all at once."""
        if self._code == reasons.TAKEN_OVER:
            pause = LONGEST_REFUSED  # by another with this client id: to be back at once would only throw that one out
        else:
            pause = min(
                LONGEST_REFUSED if self._code in SLOW else LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 16)
            )
        return pause * (0.5 + self._chance() / 2)

    async def _connection(self) -> str:
        """One connection, from its first packet to its end; why it ended."""
        self._code = 0
        lost: asyncio.Future[str] = self._loop.create_future()
        self._lost = lost
        try:
            await self._loop.run_in_executor(None, self._dial)
        except Exception as error:  # a resolver, OpenSSL, a file, a WebSocket: whatever it is, it is tried again
            return _words(error)
        wire = self._client.wire
        assert wire is not None
        wire.attach(self._loop, self._read)
        self._expect("CONNACK")
        self._tick()
        try:
            return await lost
        finally:
            self._expect(None)
            self._ticking.cancel()

    def _expect(self, packet: str | None) -> None:
        """Wait for a packet of the broker's, not longer than `connect_timeout`; None: for no more."""
        if self._expected is not None:
            self._expected.cancel()
        self._expected = None
        if packet is not None:
            timeout = self._settings.connect_timeout
            self._expected = self._loop.call_later(timeout, self._hang_up, f"no {packet} in time")

    def _dial(self) -> None:
        """In a thread: name, socket, TLS, WebSocket, CONNECT."""
        settings, client = self._settings, self._client
        if settings.username:
            client.username_pw_set(settings.username, self._password())
        client.reconnect()
        if self._stopped and client.wire is not None:  # nobody waits for it any more
            client.wire.close()

    def _password(self) -> str | None:
        if self._settings.password_file:
            return Path(self._settings.password_file).read_text("utf-8").strip()
        return self._settings.password or None

    def _new_client(self) -> _Client:
        settings, identity = self._settings, self.identity
        client = _Client(
            self._websocket_url(),
            self._context,
            client_id=identity.client_id,
            clean_session=None if self._v5 else not identity.keeps,
            protocol=MQTTProtocolVersion.MQTTv5 if self._v5 else MQTTProtocolVersion.MQTTv311,
        )
        client.connect_timeout = settings.connect_timeout
        client.max_inflight_messages_set(0)  # the outbox keeps its own
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_subscribe, client.on_message, client.on_publish = (
            self._on_subscribe,
            self._on_message,
            self._on_publish,
        )
        if identity.will is not None:
            client.will_set(identity.will.topic, identity.will.data, qos=1, retain=True)
        host, port = self._place
        if self._v5:
            clean = not identity.keeps
            client.connect_async(host, port, settings.keep_alive, clean_start=clean, properties=self._announced())
        else:
            client.connect_async(host, port, settings.keep_alive)
        return client

    def _websocket_url(self) -> str:
        if not self._settings.websocket:
            return ""
        (host, port), scheme = self._place, "ws" if self._context is None else "wss"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{self._settings.websocket}"

    def _announced(self) -> Properties:
        settings = self._settings
        given = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's are untyped
        given.SessionExpiryInterval = settings.session_expiry if self.identity.keeps else 0
        given.ReceiveMaximum = min(settings.window, 0xFFFF)
        given.MaximumPacketSize = settings.max_packet
        return given

    def _read(self) -> None:
        """What the wire has, packet by packet; then what paho has kept for when there was room."""
        client, wire = self._client, self._client.wire
        while wire is not None and wire.unread and (not self._holds or wire.ended) and client.socket() is wire:
            client.loop_read()
        if client.want_write():
            client.loop_write()

    def _tick(self) -> None:
        """Keep-alive. While reading pauses no answer can be seen, so the broker hears of us, and is not suspected."""
        self._ticking = self._loop.call_later(TICK, self._tick)
        now = self._loop.time()
        if not self._paused:
            self._client.loop_misc()
        elif self.connected and now - self._pinged >= self._client.keepalive / 2:
            self._pinged = now
            self._client.ping()
        if self.refused and self.connected and now >= self._ask_again:
            self._subscribe(self.refused)

    def _hang_up(self, reason: str) -> None:
        """End the connection, if there is one."""
        if self._client.wire is not None:
            self._client.wire.close()
        self._end(reason)

    def _end(self, reason: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)
        self.subscribed = False
        if self.connected:
            self.error = reason
            self._owner.down(self._code == reasons.TAKEN_OVER)

    def _say(self, reason: str) -> None:
        """A line when the reason is another than that of the attempt before."""
        if reason != self._said:
            LOG.warning("no connection to the broker: %s", reason, extra=self._fields())
        self.error = self._said = reason

    def _fields(self, **more: object) -> dict[str, dict[str, object]]:
        """Of a log line."""
        host, port = self._place
        return {"fields": {"broker": f"{host}:{port}", "client_id": self.identity.client_id, **more}}

    # --- paho's callbacks -----------------------------------------------------------------------------------------

    def _on_connect(
        self, client: PahoClient, data: Any, flags: ConnectFlags, reason: ReasonCode, given: Properties | None
    ) -> None:
        if reason.is_failure:
            self._code = int(reason.value)
            self._end(f"the broker refuses: {reason}")
            return
        self.max_packet = getattr(given, "MaximumPacketSize", 0)
        self.receive_maximum = getattr(given, "ReceiveMaximum", 0xFFFF)
        self.error, self._stood = None, True
        self._subscribe(self.identity.filters)
        self._expect("SUBACK")
        self._owner.up(bool(flags.session_present))

    def _subscribe(self, filters: Sequence[str]) -> None:
        self._asked = list(filters)
        self._ask_again = self._loop.time() + LONGEST_REFUSED
        qos = self._settings.qos
        if self._v5:
            self._client.subscribe([(text, _options(text, qos)) for text in filters])
        else:
            self._client.subscribe([(text, qos) for text in filters])

    def _on_subscribe(
        self, client: PahoClient, data: Any, packet_id: int, codes: list[ReasonCode], given: Properties | None
    ) -> None:
        self._expect(None)
        if not self.subscribed:
            self.subscribed, self._said = True, None
            LOG.info("connected to the broker", extra=self._fields())
        granted = dict(zip(self._asked, (int(code.value) for code in codes), strict=False))
        refused = [text for text, code in granted.items() if code != self._settings.qos]
        if refused != self.refused:
            for text in refused:
                what = reasons.NAMES.get(granted[text], f"QoS {granted[text]} only")
                LOG.error("the broker does not grant a subscription: %s", what, extra=self._fields(filter=text))
        self.refused = refused
        if self._paused:
            self.pause()

    def _on_disconnect(
        self, client: PahoClient, data: Any, flags: DisconnectFlags, reason: ReasonCode, given: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._code = int(reason.value)
            self._end(f"the broker disconnects: {reason}")
        else:
            self._end("the broker is silent" if reason.value == reasons.KEEP_ALIVE_TIMEOUT else "the connection broke")

    def _on_message(self, client: PahoClient, data: Any, message: MQTTMessage) -> None:
        self._owner.received(message)

    def _on_publish(
        self, client: PahoClient, data: Any, packet_id: int, reason: ReasonCode, given: Properties | None
    ) -> None:
        self._loop.call_soon(self._owner.published, packet_id, int(reason.value))  # paho is at its book of them


def _options(text: str, qos: int) -> SubscribeOptions:
    """MQTT 5 §3.8.3.1: what we publish does not come back, retained values come once, and say that they are."""
    return SubscribeOptions(
        qos,
        noLocal=not text.startswith(SHARE),  # a Protocol Error with a shared one (MQTT-3.8.3-4)
        retainAsPublished=True,
        retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB,
    )


def _words(error: Exception) -> str:
    """Why a connection could not be made, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message!s}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason}"
    if isinstance(error, TimeoutError):
        return "no connection in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
