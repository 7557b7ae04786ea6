"""A path that changes under a record layer: in virtual time and from another real port."""

import asyncio
import os
import socket
from itertools import count

import pytest
from tests.toys.records import Records, RecordsSettings, seal
from tests.waiting import until

from thinbridge.device.base import Result
from thinbridge.device.udp import Datagram
from thinbridge.protocols.base import (
    Closed,
    Endpoint,
    Entropy,
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
from thinbridge.shells.datagram import DatagramShell
from thinbridge.testing import Conversation, Faults, Owner, check_protocol, converse, seeded

HOME, AWAY = ("198.51.100.7", 4000), ("203.0.113.9", 999)


def make(entropy: Entropy) -> Records:
    return Records(RecordsSettings(), entropy)


def test_keeps_all_promises() -> None:
    once, twice = seal(7, 1, b"21.5"), seal(7, 2, b"22")
    accepted = frozenset((Outcome.ACCEPTED,))
    check_protocol(
        make,
        Conversation("record", (once,), repeat=0, answers=accepted, push=Outbound(None, b"on"), proves=True),
        Conversation("two", (once, twice), messages=2, answers=accepted, proves=True),
    )


class Table:
    def __init__(self) -> None:
        self.inbounds: list[tuple[Session, Inbound]] = []
        self.sent: list[tuple[bytes | None, tuple[str, int]]] = []
        self.owner = Owner(make(seeded(1)), self._reported, lambda data, path: self.sent.append((data, path.peer[:2])))

    def _reported(self, session: Session, event: Event | Closed) -> None:
        if isinstance(event, Inbound):
            self.inbounds.append((session, event))

    def hear(self, record: bytes, peer: tuple[str, int]) -> None:
        self.owner.datagram(record, Path(peer, ("192.0.2.1", 4002)), 1.0)

    def answer(self, index: int, data: bytes) -> None:
        session, inbound = self.inbounds[index]
        assert self.owner.answer(session, inbound.exchange, Reply(Outcome.ACCEPTED, 200, None, data), 1.0)


def test_the_session_moves_with_an_authentic_newer_record() -> None:
    one = Table()
    one.hear(seal(7, 1, b"a"), HOME)
    one.hear(seal(7, 2, b"b"), AWAY)
    [session] = one.owner.live
    assert {session for session, _ in one.inbounds} == {session}
    assert session.identity == Identity("psk", "device-7")
    one.answer(0, b"to where it is now")
    assert [peer for _, peer in one.sent] == [AWAY]
    outcomes: list[PushResult] = []
    one.owner.push(session, None, Outbound(None, b"on"), outcomes.append, 1.0)
    assert outcomes == [PushResult.DELIVERED]
    assert [peer for _, peer in one.sent] == [AWAY, AWAY]


@pytest.mark.parametrize("record", [seal(7, 1, b"a"), seal(7, 3, b"b")[:3] + b"\0forged", b"\7", b""])
def test_replayed_and_forged_records_move_nothing(record: bytes) -> None:
    one = Table()
    one.hear(seal(7, 1, b"a"), HOME)
    one.hear(record, AWAY)
    one.answer(0, b"home")
    assert [peer for _, peer in one.sent] == [HOME]
    assert len(one.inbounds) == 1


_CIDS = count(1)


class Device(Datagram):
    """A device behind the record layer; says its message three times, in three records."""

    def __init__(self, payload: bytes) -> None:
        super().__init__(payload)
        self._cid = next(_CIDS) & 0xFF
        self._out = [seal(self._cid, sequence, payload) for sequence in (1, 2, 3)]

    def receive(self, data: bytes, now: float) -> None:
        self.result = self.result or Result(True, "reply", None, data[4:])


def test_over_a_network_that_gives_new_source_ports() -> None:
    bad = Faults(loss=0.2, duplicate=0.2, reorder=0.3, jitter=0.5, rebind=0.4)
    replies = 0
    for seed in range(100):
        world = converse(make, Device, seed=seed, patience=10.0, world={"up": bad, "down": Faults(), "verified": False})
        assert not world.owner.live
        replies += len(world.ledger.replies)
    assert replies > 200  # of 300


def test_from_another_real_port() -> None:
    async def main() -> None:
        shell = DatagramShell(make(os.urandom), "records", "127.0.0.1", 0)
        heard: list[Inbound] = []

        def on_event(endpoint: Endpoint, session: Session, event: Event | Closed) -> None:
            if isinstance(event, Inbound):
                heard.append(event)
                if len(heard) == 2:  # both are answered once the device has moved
                    for inbound in heard:
                        endpoint.answer(session, inbound.exchange, Reply(Outcome.ACCEPTED, 200, None, inbound.data))

        await shell.open()
        shell.serve(on_event)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as home,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as away,
        ):
            home.setblocking(False)
            away.setblocking(False)
            loop = asyncio.get_running_loop()
            home.sendto(seal(7, 1, b"a"), ("127.0.0.1", shell.port))
            await until(lambda: heard)
            away.sendto(seal(7, 2, b"b"), ("127.0.0.1", shell.port))
            answers = [await asyncio.wait_for(loop.sock_recv(away, 100), 5) for _ in range(2)]
            assert answers == [seal(7, 1, b"a"), seal(7, 2, b"b")]
            with pytest.raises(BlockingIOError):
                home.recv(100)
        assert shell.sessions == 1
        await shell.close()

    asyncio.run(main())
