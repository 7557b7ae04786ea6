"""A toy record layer around another protocol: what DTLS with Connection IDs is, without the cryptography.

    record: connection id (1) sequence number (2) check (1) payload of the protocol inside

A session is found by its connection id, wherever it comes from. It moves to a new address only with a record that is
authentic and newer than all before (RFC 9146 §6); the protocol inside sees one peer with a proven identity throughout.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from thinbridge.protocols.base import (
    Event,
    EventType,
    Identity,
    Outbound,
    Path,
    Protocol,
    Reply,
    Sent,
    Session,
    Transport,
)
from thinbridge.protocols.udp import UDP, UDPSettings

KEY = 0x5A


def seal(cid: int, sequence: int, payload: bytes) -> bytes:
    """A record."""
    return bytes((cid,)) + sequence.to_bytes(2, "big") + bytes((check(cid, sequence, payload),)) + payload


def check(cid: int, sequence: int, payload: bytes) -> int:
    """What stands for a MAC."""
    return (KEY + cid + sequence + sum(payload)) & 0xFF


@dataclass(frozen=True)
class RecordsSettings:
    """None."""


class Records(Protocol):
    """UDP inside records."""

    name: ClassVar[str] = "toy-records"
    transport = Transport.DATAGRAM
    port = 4002
    event_types: ClassVar[tuple[EventType, ...]] = UDP.event_types
    Settings = RecordsSettings

    def __init__(self, settings: RecordsSettings, *args: object) -> None:
        super().__init__(settings, *args)  # type: ignore[arg-type]
        self.inner = UDP(UDPSettings(), self.entropy, self.endpoint)

    def locate(self, data: bytes, path: Path, now: float) -> Hashable | None:
        """By connection id, never by address; what is not authentic opens nothing and moves nothing."""
        if len(data) < 5 or data[3] != check(data[0], int.from_bytes(data[1:3], "big"), data[4:]):
            self.counters["not_authentic"] += 1
            return None
        return data[0]

    def open(self, key: Hashable, path: Path, now: float) -> "RecordSession":
        assert isinstance(key, int)
        return RecordSession(self, key, path, now)


class RecordSession(Session):
    """One association and the session of the protocol inside."""

    def __init__(self, protocol: Records, cid: int, path: Path, now: float) -> None:
        self.cid, self.path = cid, path
        self.newest = -1
        self.sent = 0
        self.inner_path = path._replace(verified=True, identity=Identity("psk", f"device-{cid}"))
        self.inner = protocol.inner.open(cid, self.inner_path, now)
        self.id, self.identity, self.peer = self.inner.id, self.inner.identity, self.inner.peer

    def receive(self, data: bytes, path: Path, now: float) -> None:
        sequence = int.from_bytes(data[1:3], "big")
        if sequence <= self.newest:
            return  # a replay; it could come from anywhere
        self.newest, self.path = sequence, path
        self.inner.receive(data[4:], self.inner_path, now)
        self.look()

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        answered = self.inner.answer(exchange, reply, now)
        self.look()
        return answered

    def push(self, target: int | None, outbound: Outbound, now: float) -> int:
        return self.inner.push(target, outbound, now)

    def close(self, reason: str, now: float) -> None:
        self.inner.close(reason, now)
        self.look()

    def drain(self, now: float) -> None:
        self.inner.drain(now)

    def next_event(self) -> Event | None:
        return self.inner.next_event()

    def data_to_send(self) -> Sequence[Sent]:
        """What the session inside says, sealed, to where the device was heard last."""
        sealed: list[Sent] = []
        for data, _ in self.inner.data_to_send():
            self.sent += 1
            sealed.append((None if data is None else seal(self.cid, self.sent, data), self.path))
        return sealed

    def next_timer(self) -> float | None:
        return self.inner.next_timer()

    def handle_timer(self, now: float) -> None:
        self.inner.handle_timer(now)
        self.look()

    def look(self) -> None:
        inner = self.inner
        self.closed, self.busy, self.unsettled = inner.closed, inner.busy, inner.unsettled
