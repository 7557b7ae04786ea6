"""A bench for MQTT's tests: the kit's owner of sessions, connections as objects, virtual time."""

from typing import Any

from thinbridge import contract
from thinbridge.protocols.base import (
    Address,
    Authorize,
    Closed,
    Decision,
    Event,
    Identity,
    Inbound,
    Outbound,
    Outcome,
    Path,
    PushResult,
    Reply,
    Session,
)
from thinbridge.protocols.mqtt import MQTT, MQTTSession, MQTTSettings, codec, connect, properties, subscribe, wire
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.connect import V5, V311, Connect
from thinbridge.testing.owner import Owner, seeded

CONNACK = frozenset((
    *(0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C),
    *(0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F),
))  # fmt: skip
"""What a CONNACK may say (MQTT-3.2.2-8)."""
PUBACK = frozenset((0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99))
"""What a PUBACK or a PUBREC may say (MQTT-3.4.2-1, MQTT-3.5.2-1)."""
PUBREL = frozenset((0x00, 0x92))
"""What a PUBREL or a PUBCOMP may say (MQTT-3.6.2-1, MQTT-3.7.2-1)."""
SUBACK = frozenset((0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2))
"""What a SUBACK may say (MQTT-3.9.3-2)."""
UNSUBACK = frozenset((0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91))
"""What an UNSUBACK may say (MQTT-3.11.3-2)."""
DISCONNECT = frozenset((
    *(0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F),
    *(0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2),
))  # fmt: skip
"""What a server's DISCONNECT may say (MQTT-3.14.2-1)."""

_MAY_SAY = {
    **{codec.CONNACK: CONNACK, codec.SUBACK: SUBACK, codec.UNSUBACK: UNSUBACK, codec.DISCONNECT: DISCONNECT},
    **{codec.PUBACK: PUBACK, codec.PUBREC: PUBACK, codec.PUBREL: PUBREL, codec.PUBCOMP: PUBREL},
}
_MAY_SAY_311 = {codec.CONNACK: frozenset(range(6)), codec.SUBACK: frozenset((0, 1, 2, 0x80))}
"""The same of 3.1.1 (its MQTT-3.9.3-2); no other packet says anything."""


def codes(kind: int, body: bytes, v5: bool) -> bytes:
    """The reason or return codes of a server's packet."""
    if kind in (codec.SUBACK, codec.UNSUBACK):
        return subscribe.decode_suback(body, v5)[1]
    at = {codec.CONNACK: 1, codec.DISCONNECT: 0}.get(kind, 2)
    return body[at : at + 1] if kind in _MAY_SAY else b""


OK = Reply(Outcome.ACCEPTED, 200)
LATER = Reply(Outcome.PENDING, 202)
LOST = Reply(Outcome.UNKNOWN)


class Line:
    """A connection, seen from the device."""

    def __init__(self, bench: "Bench", path: Path) -> None:
        self.bench, self.path = bench, path
        self.closed = False
        self.v5 = True
        self._received = bytearray()
        self._hears_v5 = True  # as its CONNACK was

    def hear(self, data: bytes) -> None:
        """The bridge sends whole packets, and no code that they may not have."""
        framer = wire.Framer(wire.MAX_REMAINING)
        for first, body in framer.feed(data):
            kind = first >> 4
            if kind == codec.CONNACK:
                self._hears_v5 = len(body) > 2
            may = (_MAY_SAY if self._hears_v5 else _MAY_SAY_311).get(kind, frozenset())
            assert may.issuperset(codes(kind, body, self._hears_v5)), f"a packet of type {kind} that may not say that"
        assert not framer.partial
        self._received += data

    def send(self, *packets: bytes) -> None:
        """The device sends, in one piece."""
        self.bench.owner.stream(b"".join(packets), self.path, self.bench.now)

    def cut(self) -> None:
        """The connection breaks."""
        self.bench.owner.eof(self.path, self.bench.now)

    def raw(self) -> bytes:
        """What the bridge has sent since the last time."""
        data = bytes(self._received)
        self._received.clear()
        return data

    def packets(self) -> list[tuple[int, bytes]]:
        """The same, cut into packets."""
        return wire.Framer(wire.MAX_REMAINING).feed(self.raw())

    def published(self) -> list[Publish]:
        """The same, but only what was published."""
        return [
            codec.decode_publish(first, body, self.v5) for first, body in self.packets() if first >> 4 == codec.PUBLISH
        ]

    def publish(self, topic: str = "t", data: bytes = b"x", qos: int = 1, packet_id: int = 1, **more: Any) -> None:
        """The device publishes; properties by keyword `values`."""
        values = more.pop("values", {})
        self.send(
            codec.encode_publish(Publish(topic, data, qos, packet_id=packet_id, properties=values, **more), self.v5)
        )

    def subscribe(self, *filters: tuple[str, int], packet_id: int = 9) -> bytes:
        """The device subscribes; the codes that it gets."""
        self.send(subscribe.encode_subscribe(packet_id, filters, self.v5))
        [(first, body)] = self.packets()
        assert first == codec.SUBACK << 4
        return subscribe.decode_suback(body, self.v5)[1]


class Bench:
    """A listener and all who talk to it."""

    def __init__(self, **settings: Any) -> None:
        self.protocol = MQTT(MQTTSettings(**settings), seeded(1))
        self.owner = Owner(self.protocol, self._report, self._send)
        self.now = 1000.0
        self.events: list[Event | Closed] = []
        self.inbound: list[tuple[Session, Inbound]] = []
        self.presence: list[Inbound] = []
        self.pushed: list[PushResult] = []
        self.decision: Decision | None = Decision(True)
        self._lines: dict[int, Line] = {}

    def _report(self, session: Session, event: Event | Closed) -> None:
        self.events.append(event)
        if isinstance(event, Inbound) and event.type in contract.SESSION_TYPES:
            self.presence.append(event)
        elif isinstance(event, Inbound):
            self.inbound.append((session, event))
        elif isinstance(event, Authorize) and self.decision is not None:
            self.owner.authorized(session, self.decision, self.now)

    def _send(self, data: bytes | None, path: Path) -> None:
        line = self._lines[path.socket]
        assert not line.closed or data is None, "sent to a connection that is closed"
        if data is None:
            line.closed = True
        else:
            line.hear(data)

    def line(self, identity: Identity | None = None, peer: Address | None = None) -> Line:
        """A new connection that has said nothing."""
        number = len(self._lines) + 1
        peer = peer or ("192.0.2.7", 40_000 + number)
        path = Path(peer, ("192.0.2.1", 1883), number, False, True, identity)
        line = self._lines[number] = Line(self, path)
        self.owner.connect(path, self.now)
        return line

    def connect(
        self,
        client_id: str = "dev",
        version: int = V5,
        identity: Identity | None = None,
        quiet: bool = True,
        **hello: Any,
    ) -> Line:
        """A connection whose CONNECT was accepted; `quiet` takes the CONNACK away."""
        line = self.line(identity)
        line.v5 = version == V5
        line.send(connect.encode_connect(Connect(client_id, version, **hello)))
        if quiet:
            [(first, body)] = line.packets()[:1]
            assert first == codec.CONNACK << 4
            assert body[1] == 0
        return line

    def persistent(self, client_id: str = "dev", version: int = V5, **hello: Any) -> Line:
        """The same, resuming a Session that outlives it."""
        values = {properties.SESSION_EXPIRY: 600, **hello.pop("properties", {})} if version == V5 else {}
        return self.connect(client_id, version, clean=False, properties=values, **hello)

    def session(self, client_id: str = "dev") -> MQTTSession:
        """A Session that is there."""
        return self.protocol.sessions[client_id]

    def answer(self, number: int = -1, reply: Reply = OK) -> bool:
        """Answer one of the messages that were reported."""
        session, inbound = self.inbound[number]
        return self.owner.answer(session, inbound.exchange, reply, self.now)

    def push(self, outbound: Outbound, target: int | None = None, client_id: str = "dev") -> None:
        """Push to a Session; the outcome goes to `pushed`."""
        self.owner.push(self.session(client_id), target, outbound, self.pushed.append, self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass; timers ring when they are due."""
        end = self.now + seconds
        while (when := self.owner.next_timer()) is not None and when <= end:
            self.now = when
            self.owner.handle_timers(self.now)
        self.now = end

    @property
    def messages(self) -> list[Inbound]:
        """What was reported."""
        return [inbound for _, inbound in self.inbound]

    def check(self) -> None:
        """No session did what no session may."""
        assert not self.owner.faults


def event(topic: str | None, data: bytes = b"", **attributes: str) -> Outbound:
    """Something that a function posts to `replyto`."""
    if topic is not None:
        attributes["mqtttopic"] = topic
    return Outbound("text/plain", data, attributes, is_event=True)


def bye(code: int, counter: str) -> str:
    """A server's DISCONNECT, as hexadecimal digits."""
    return codec.encode_disconnect(code, True, counter.replace("_", " ")).hex()


__all__ = ["LATER", "LOST", "OK", "V5", "V311", "Bench", "Line", "bye", "event"]
