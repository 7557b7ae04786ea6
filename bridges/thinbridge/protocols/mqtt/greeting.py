"""A connection until its CONNECT is answered: then it is handed over to an MQTT Session, or closed.

Opened by the stream shell for each connection. Nobody is authenticated yet, so little is kept, and not for long.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from thinbridge.errors import DecodeError
from thinbridge.protocols.base import Authorize, Decision, Event, Handover, Path, Reply, Sent, Session, Woke, peer_text
from thinbridge.protocols.mqtt import codec, properties, reasons, topics, wills, wire
from thinbridge.protocols.mqtt import connect as packets
from thinbridge.protocols.mqtt.connect import Connect
from thinbridge.protocols.mqtt.wills import Will

if TYPE_CHECKING:
    from thinbridge.protocols.mqtt import MQTT

MAX_NAME = 256
"""Characters of a client identifier or user name: they become `deviceid`, a header of every event. More than the 23
that every server takes (MQTT-3.1.3-5)."""


class Greeting(Session):
    """Waits for a CONNECT, asks whether the client may connect, finds its Session."""

    busy = True

    def __init__(self, protocol: "MQTT", path: Path, now: float) -> None:
        self.id = protocol.session_id()
        self.identity = path.identity
        self.peer = peer_text(path.peer)
        self._protocol = protocol
        self._path = path
        self._deadline: float | None = now + protocol.settings.connect_timeout
        self._framer = wire.Framer(protocol.settings.connect_max, single=True)
        self._v5: bool | None = None  # unknown until the version is read
        self._connect: Connect | None = None
        self._max_outgoing = wire.MAX_REMAINING + 5
        self._will: Will | None = None
        self._assigned = False
        self._rest = b""
        self._events: deque[Event] = deque()
        self._out: list[Sent] = []

    def receive(self, data: bytes, path: Path, now: float) -> None:
        """The CONNECT; what a client sends right after it waits for the Session (§3.1.4: it need not wait)."""
        if self.closed:
            return
        if self._connect is not None:
            self._keep(data)
            return
        try:
            for first, body in self._framer.feed(data):
                self._hello(first, body)
            if self._framer.error is not None:
                self._v5 = packets.begins_v5(data)
                raise self._framer.error
        except DecodeError as error:
            self._refuse(error)  # MQTT-3.1.4-1, MQTT-3.1.4-2

    def _keep(self, data: bytes) -> None:
        if len(self._rest) + len(data) > self._protocol.settings.max_packet:
            self._protocol.counters["greeting_overflow"] += 1
            self._close()
            return
        self._rest += data

    def _hello(self, first: int, body: bytes) -> None:
        if first >> 4 != codec.CONNECT:
            raise DecodeError("not_connect", reasons.PROTOCOL_ERROR)  # MQTT-3.1.0-1
        codec.check_flags(first)
        level = packets.version(body)
        self._v5 = level >= packets.V5  # refused in the words of the nearest version
        if level not in (packets.V311, packets.V5):
            raise DecodeError("unsupported_version", reasons.UNSUPPORTED_VERSION)  # MQTT-3.1.2-2
        connect = packets.decode_connect(first, body)
        if connect.v5 and self._framer.padded:
            raise wire.malformed()  # MQTT-1.5.5-1
        self._max_outgoing = connect.properties.get(properties.MAXIMUM_PACKET_SIZE, self._max_outgoing)
        self._check(connect)
        self._will = wills.read(connect)
        self._assigned = not connect.client_id
        if self._assigned:
            connect = replace(connect, client_id=f"auto-{self._protocol.session_id()}")  # MQTT-3.1.3-6, MQTT-3.1.3-7
        self._connect = connect
        self._rest = self._framer.rest
        self._deadline = None
        self.paused = True
        self._events.append(Authorize("connect", connect.client_id, connect.username, connect.password))

    def _check(self, connect: Connect) -> None:
        """What a valid CONNECT may still ask that can't be had."""
        if self._protocol.draining:
            raise DecodeError("draining", reasons.SERVER_UNAVAILABLE)
        if not connect.client_id and not (connect.clean or connect.v5):
            raise DecodeError("client_id_invalid", reasons.CLIENT_ID_INVALID)  # 3.1.1: MQTT-3.1.3-7, MQTT-3.1.3-8
        if len(connect.client_id) > MAX_NAME or not topics.is_clean(connect.client_id):
            # MQTT-3.1.3-8; 3.1.1: MQTT-3.1.3-9
            raise DecodeError("client_id_invalid", reasons.CLIENT_ID_INVALID)
        if len(connect.username or "") > MAX_NAME or not topics.is_clean(connect.username or ""):
            raise DecodeError("username_invalid", reasons.BAD_CREDENTIALS)
        if properties.AUTH_METHOD in connect.properties:
            raise DecodeError("auth_method", reasons.BAD_AUTH_METHOD)  # MQTT-4.12.0-1: none is offered
        if properties.AUTH_DATA in connect.properties:
            raise wire.protocol_error()  # MQTT 5 §3.1.2.11.10: without a method
        if connect.will is not None and not topics.is_taken(connect.will.topic):
            raise DecodeError("will_topic_refused", reasons.TOPIC_INVALID)

    def authorized(self, decision: Decision, now: float) -> None:
        """May it connect? Then its Session goes on from here."""
        connect = self._connect
        if connect is None or self.closed:
            return  # the client did not wait
        if not decision.allowed:
            code = reasons.NOT_AUTHORIZED if connect.username is None else reasons.BAD_CREDENTIALS
            self._refuse(DecodeError("not_authorized", code))
            return
        try:
            if self._protocol.draining:
                raise DecodeError("draining", reasons.SERVER_UNAVAILABLE)
            entry = self._protocol.enter(connect, decision, self._path, now)
        except DecodeError as error:
            self._refuse(error)
            return
        if entry.ended is not None:
            self._events.append(Woke(entry.ended))
        entry.session.attach(connect, self._will, self._path, entry.present, self._assigned, now)
        self._events.append(Handover(entry.session, self._path, self._rest))
        self._finish()

    def _refuse(self, error: DecodeError) -> None:
        """It can't be had; what a client hears is counted."""
        self._protocol.counters[error.reason] += 1
        self._say(error.code, reasons.text(error.reason))

    def _say(self, reason: int, text: str) -> None:
        """CONNACK with the reason, where the client can read one, and never a DISCONNECT (MQTT-3.14.0-1).

        Then the connection closes (MQTT-3.2.2-7, MQTT-4.13.2-1; 3.1.1: MQTT-3.2.2-5, without a code MQTT-3.2.2-6), and
        nothing more is read (MQTT-3.1.4-6; 3.1.1: MQTT-3.1.4-5).
        """
        if self._v5 is not None:
            values = {properties.REASON_STRING: text}
            connack = packets.encode_connack(reason, False, self._v5, values)  # MQTT-3.2.2-6; 3.1.1: MQTT-3.2.2-4
            if len(connack) > self._max_outgoing:  # MQTT-3.2.2-19
                connack = packets.encode_connack(reason, False, self._v5)
            if connack:
                self._out.append((connack, self._path))
        self._close()

    def _close(self) -> None:
        self._out.append((None, self._path))
        self._finish()

    def _finish(self) -> None:
        self.paused = self.busy = False
        self._deadline = None
        self._rest = b""
        self.closed = True

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        """There is no exchange before a Session."""
        return False

    def eof(self, path: Path, now: float) -> None:
        """The client is gone."""
        self._finish()

    def close(self, reason: str, now: float) -> None:
        """End it; what the client hears depends on how far it came."""
        if not self.closed:
            self._say(reasons.SERVER_UNAVAILABLE, reasons.text(reason))

    def next_event(self) -> Event | None:
        """The question whether it may connect, then the handover."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> Sequence[Sent]:
        """A refusal."""
        out, self._out = self._out, []
        return out

    def next_timer(self) -> float | None:
        """When a CONNECT has to be complete."""
        return self._deadline

    def handle_timer(self, now: float) -> None:
        """Too slow: closed without a word (§3.1.4)."""
        if self._deadline is not None and now >= self._deadline:
            self._protocol.counters["connect_timeout"] += 1
            self._close()
