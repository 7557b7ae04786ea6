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
            line._received += data

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
