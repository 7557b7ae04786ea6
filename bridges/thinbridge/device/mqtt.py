"""An MQTT device, 3.1.1 or 5: connect, publish one message, wait for its acknowledgement and for the answer to it.

`Request` is one message and its answer (`thinbridge send`, the kit); `Client` underneath is a whole client at QoS 0, 1
and 2, which sends again after a lost connection what was not acknowledged. Both sans-IO.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from thinbridge.device.base import Exchange, Result
from thinbridge.errors import DecodeError
from thinbridge.protocols.mqtt import aliases, codec, connect, properties, reasons, subscribe, wire
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.connect import V5, Connect

_ACKS: Final = {1: "PUBACK", 2: "PUBREC"}
"""What tells a device that the server has its message, by QoS."""

CORRELATION: Final = b"1"
"""Correlation Data of a `Request`: its connection has only one."""


class Client:
    """An MQTT client. After *any* call, send `data_to_send()` and look at the lists that it fills.

    Args:
        hello: its CONNECT; `clean` False resumes a Session.
    """

    def __init__(self, hello: Connect) -> None:
        self.hello = hello
        self.connack: int | None = None
        """Reason (3.1.1: return) code of the CONNACK; None: not connected."""
        self.session_present = False
        self.suback: bytes | None = None
        """Codes of the last SUBACK."""
        self.acknowledged: list[tuple[int, int]] = []
        """(packet identifier, reason) of each PUBACK and each first PUBREC, in order: the server has the message."""
        self.completed: list[int] = []
        """Packet identifiers of each PUBCOMP."""
        self.received: deque[Publish] = deque()
        """Messages from the server, acknowledged already; at QoS 2 each once."""
        self.closed: int | None = None
        """The server ends it: reason of its DISCONNECT, or of what it sent that is not MQTT."""
        self._unacknowledged: dict[int, Publish] = {}
        self._released: dict[int, None] = {}  # QoS 2: PUBREL was sent, no PUBCOMP yet
        self._unreleased: set[int] = set()  # from the server: PUBREC was sent, no PUBREL yet
        self._aliases = aliases.Incoming(0)
        self._last_id = 0
        self._out: list[bytes] = []
        self._framer = wire.Framer(wire.MAX_REMAINING)
        self._beat: float | None = None
        self._pinged = False

    def connect(self, now: float) -> None:
        """On a new connection: greet. What was not acknowledged follows the CONNACK (MQTT-4.4.0-1)."""
        self._framer = wire.Framer(wire.MAX_REMAINING)
        self._aliases = aliases.Incoming(self.hello.properties.get(properties.TOPIC_ALIAS_MAXIMUM, 0))
        self.connack = self.closed = None
        self._out = [connect.encode_connect(self.hello)]
        self._heartbeat(now)

    def subscribe(self, *filters: tuple[str, int]) -> None:
        """Subscribe to filters, each with its QoS."""
        self.suback = None
        self._out.append(subscribe.encode_subscribe(self._next_id(), filters, self.hello.v5))

    def publish(self, publish: Publish) -> int:
        """Publish a message; its packet identifier, 0 with QoS 0."""
        if publish.qos:
            publish.packet_id = self._next_id()
            self._unacknowledged[publish.packet_id] = publish
        self._out.append(codec.encode_publish(publish, self.hello.v5))
        return publish.packet_id

    def disconnect(self, reason: int = reasons.SUCCESS) -> None:
        """Say goodbye; the connection is to be closed after it."""
        self._out.append(codec.encode_disconnect(reason, self.hello.v5))

    def receive(self, data: bytes, now: float) -> None:
        """Bytes of the connection."""
        if self.closed is not None:
            return
        try:
            for first, body in self._framer.feed(data):
                self._pinged = False
                self._on_packet(first, body)
            if self._framer.error is not None:
                raise self._framer.error
        except DecodeError as error:
            self.closed = error.code

    def _on_packet(self, first: int, body: bytes) -> None:
        v5, kind = self.hello.v5, first >> 4
        if kind == codec.CONNACK:
            self.connack, self.session_present, _ = connect.decode_connack(body, v5)
            self._resume()
        elif kind in (codec.PUBACK, codec.PUBREC, codec.PUBREL, codec.PUBCOMP):
            self._on_ack(kind, *codec.decode_ack(kind, body, v5))
        elif kind == codec.PUBLISH:
            self._on_publish(codec.decode_publish(first, body, v5))
        elif kind == codec.SUBACK:
            self.suback = subscribe.decode_suback(body, v5)[1]
        elif kind == codec.DISCONNECT:
            self.closed = codec.decode_disconnect(body, v5)[0]

    def _on_ack(self, kind: int, packet_id: int, reason: int) -> None:
        if kind == codec.PUBREL:
            self._unreleased.discard(packet_id)
            self._acknowledge(codec.PUBCOMP, packet_id)
        elif kind == codec.PUBCOMP:
            self._released.pop(packet_id, None)
            self.completed.append(packet_id)
        else:
            if self._unacknowledged.pop(packet_id, None) is not None or kind == codec.PUBACK:
                self.acknowledged.append((packet_id, reason))
            if kind == codec.PUBREC and reason < reasons.FAILURE:
                self._released[packet_id] = None
                self._acknowledge(codec.PUBREL, packet_id)

    def _on_publish(self, publish: Publish) -> None:
        publish.topic = self._aliases.topic(publish)
        if publish.qos < 2 or publish.packet_id not in self._unreleased:
            self.received.append(publish)
        if publish.qos == 2:
            self._unreleased.add(publish.packet_id)
        if publish.qos:
            self._acknowledge(codec.PUBACK if publish.qos == 1 else codec.PUBREC, publish.packet_id)

    def _acknowledge(self, kind: int, packet_id: int) -> None:
        self._out.append(codec.encode_ack(kind, packet_id, reasons.SUCCESS, self.hello.v5))

    def _resume(self) -> None:
        """Send again what was not acknowledged, as DUP, if the server still knows of it (MQTT-3.2.2-5)."""
        if not self.session_present:
            self._released.clear()
            self._unreleased.clear()
        for packet_id in self._released:
            self._acknowledge(codec.PUBREL, packet_id)
        for publish in self._unacknowledged.values():
            publish.dup = self.session_present
            self._out.append(codec.encode_publish(publish, self.hello.v5))

    def _next_id(self) -> int:
        while True:
            self._last_id = self._last_id % 0xFFFF + 1
            if self._last_id not in self._unacknowledged and self._last_id not in self._released:
                return self._last_id

    def data_to_send(self) -> list[bytes]:
        """Packets, in order."""
        out, self._out = self._out, []
        return out

    def next_timer(self) -> float | None:
        """When a PINGREQ is due."""
        return self._beat

    def handle_timer(self, now: float) -> None:
        """Keep the connection alive, and find out that it is not."""
        if self._beat is None or now < self._beat:
            return
        if self._pinged:
            self.closed, self._beat = reasons.KEEP_ALIVE_TIMEOUT, None  # no PINGRESP: the server is gone (§3.1.2.10)
            return
        self._out.append(codec.PING)
        self._heartbeat(now)
        self._pinged = True

    def _heartbeat(self, now: float) -> None:
        self._pinged = False
        self._beat = now + self.hello.keep_alive if self.hello.keep_alive else None


class Request(Exchange):
    """Publish one message; over at its PUBACK or PUBCOMP, or with a Response Topic at the answer to it.

    Args:
        topic: where to publish.
        data: the payload.
        qos: 0, 1 or 2; QoS 0 without a Response Topic is over when it is sent.
        version: `connect.V311` or `connect.V5`.
        content_type: media type of the payload (MQTT 5).
        response_topic: where to await the answer (MQTT 5); None: no answer is awaited.
        client_id: empty: the server gives one.
        username: to connect with.
        password: to connect with.
        keep_alive: seconds.
        user: User Properties (MQTT 5).
        correlated: only a PUBLISH with our Correlation Data is the answer; False: any on `response_topic`.
        grace: seconds to wait for the answer after the acknowledgement; None: for as long as the caller does.
    """

    def __init__(
        self,
        topic: str,
        data: bytes = b"",
        *,
        qos: int = 1,
        version: int = V5,
        content_type: str | None = None,
        response_topic: str | None = None,
        client_id: str = "",
        username: str | None = None,
        password: bytes | None = None,
        keep_alive: int = 60,
        user: Sequence[tuple[str, str]] = (),
        correlated: bool = True,
        grace: float | None = None,
    ) -> None:
        self._client = Client(Connect(client_id, version, True, keep_alive, username, password))
        values: dict[int, object] = {}
        if content_type is not None:
            values[properties.CONTENT_TYPE] = content_type
        if response_topic is not None:
            values[properties.RESPONSE_TOPIC] = response_topic
            values[properties.CORRELATION_DATA] = CORRELATION
        if user:
            values[properties.USER] = list(user)
        self._publish = Publish(topic, data, qos, properties=values)
        self._response_topic = response_topic
        self._correlated = correlated
        self._grace = grace
        self._due: float | None = None
        self._subscribed = self._published = False

    def start(self, now: float) -> None:
        """The CONNECT."""
        self._client.connect(now)

    def receive(self, data: bytes, now: float) -> None:
        """What the server says; the next step follows."""
        if self.result is not None:
            return
        self._client.receive(data, now)
        self._step(now)
        self._look_closed()

    def _look_closed(self) -> None:
        if self._client.closed is not None and self.result is None:
            self.result = Result(False, f"closed {_code(self._client.closed)}")

    def _step(self, now: float) -> None:
        client = self._client
        if client.connack is None:
            return
        if client.connack:
            self.result = Result(False, f"CONNACK {_connack(client.connack, client.hello.v5)}")
        elif self._response_topic is not None and not self._subscribed:
            client.subscribe((self._response_topic, 1))
            self._subscribed = True
        elif self._response_topic is not None and client.suback is None:
            return
        elif not self._published:
            self._send()
        else:
            self._look(now)

    def _send(self) -> None:
        code = (self._client.suback or b"\0")[0]
        if code >= reasons.FAILURE:
            self._finish(Result(False, f"SUBACK {_code(code)}"))
            return
        self._client.received.clear()  # what came before the question is no answer to it
        self._client.publish(self._publish)
        self._published = True
        if not self._publish.qos and self._response_topic is None:
            self._finish(Result(True, "sent"))

    def _look(self, now: float) -> None:
        """The acknowledgement, and the answer if one is awaited; an acknowledgement that says no ends the wait."""
        for _, reason in self._client.acknowledged:
            if reason >= reasons.FAILURE:
                self._finish(Result(False, f"{_ACKS[self._publish.qos]} {_code(reason)}"))
                return
            if self._response_topic is None and self._publish.qos == 1:
                code = f" {_code(reason)}" if self._client.hello.v5 else ""  # 3.1.1 has no reason codes
                self._finish(Result(True, f"PUBACK{code}"))
                return
        if self._client.completed and self._response_topic is None:
            self._finish(Result(True, "PUBCOMP"))
            return
        for answer in self._client.received:
            if not self._correlated or answer.properties.get(properties.CORRELATION_DATA) == CORRELATION:
                content_type = answer.properties.get(properties.CONTENT_TYPE)
                self._finish(Result(True, "PUBLISH", content_type, answer.data))
                return
        if self._response_topic is not None and self._client.acknowledged and self._due is None:
            self._due = None if self._grace is None else now + self._grace

    def _finish(self, result: Result) -> None:
        self.result = result
        self._client.disconnect()

    def data_to_send(self) -> list[bytes]:
        """Packets, in order."""
        return self._client.data_to_send()

    def next_timer(self) -> float | None:
        """When a PINGREQ is due, or the grace is over."""
        if self.result is not None:
            return None
        return min((due for due in (self._client.next_timer(), self._due) if due is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Keep the connection alive while the answer takes its time; after the grace there is none."""
        if self.result is not None:
            return
        self._client.handle_timer(now)
        self._look_closed()
        if self._due is not None and now >= self._due:
            self.end(closed=False)

    def end(self, closed: bool) -> None:
        """Done if the acknowledgement has come; a connection that was closed says what was still to come."""
        if self.result is not None:
            return
        if self._client.acknowledged:
            missing = "connection closed before the answer" if closed else "no answer on the response topic"
            self._finish(Result(True, f"{_ACKS[self._publish.qos]}, {missing}"))
        elif closed:
            self.result = Result(False, f"connection closed before {self._awaited()}")

    def _awaited(self) -> str:
        if self._client.connack is None:
            return "CONNACK"
        if not self._published:
            return "SUBACK"
        return _ACKS.get(self._publish.qos, "the answer")


def _code(reason: int) -> str:
    return f"0x{reason:02x} {reasons.NAMES.get(reason, '')}".rstrip()


def _connack(code: int, v5: bool) -> str:
    """3.1.1 has return codes of its own, with the same names."""
    names = {old: reasons.NAMES.get(reason, "") for reason, old in reasons.CONNACK_311.items()}
    return _code(code) if v5 else f"0x{code:02x} {names.get(code, '')}".rstrip()
