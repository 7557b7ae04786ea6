"""Attacks on CoAP, datagram by datagram, in virtual time. Each begins with what it is.

Over 400 lines because it has every attack on CoAP, one after another, as the threat model lists them.
"""

import gc
import sys
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bridges.protocols.coap.bench import DONE, STRANGER, ack, ask

from thinbridge.protocols.base import Closed, Event, Inbound, Outbound, Outcome, Path, Reply, Resource, Session
from thinbridge.protocols.coap import CoAP, CoAPSettings
from thinbridge.protocols.coap.codec import Message, OptionValue, decode, encode, uint
from thinbridge.protocols.coap.codes import CONTENT, GET, METHODS, SERVICE_UNAVAILABLE, UNAUTHORIZED, Option, Type
from thinbridge.protocols.coap.memory import EXCHANGE_LIFETIME
from thinbridge.testing import Mutator, Owner, seeded

LARGE = Reply(Outcome.ACCEPTED, 200, "text/plain", bytes(100_000), {"coapobserve": "true"})
GROUPS = ("224.0.1.187", "ff02::fd")
WELL_KNOWN: list[OptionValue] = [(Option.URI_PATH, b".well-known"), (Option.URI_PATH, b"core")]
OFFERED = [Resource(f"sensors/{number}", {"rt": "temperature", "obs": "true"}) for number in range(500)]


class Target:
    """A bridge under attack: what it sends to whom, and what it would have delivered."""

    def __init__(self, limit: int = 100_000, **settings: object) -> None:
        self.core = CoAP(CoAPSettings(**settings), seeded(1))  # type: ignore[arg-type]
        self.core.resources = OFFERED
        self.owner = Owner(self.core, self._report, self._take, limit)
        self.now = 1000.0
        self.inbound: list[tuple[Session, Inbound]] = []
        self.heard: dict[Path, list[bytes]] = {}
        self.octets: Counter[Path] = Counter()

    def _report(self, session: Session, event: Event | Closed) -> None:
        if isinstance(event, Inbound):
            self.inbound.append((session, event))

    def _take(self, data: bytes | None, path: Path) -> None:
        assert data is not None
        self.heard.setdefault(path, []).append(data)
        self.octets[path] += len(data)

    def send(self, data: Message | bytes, path: Path) -> list[Message]:
        """A datagram from there, or so it says; what goes there at once."""
        self.heard.pop(path, None)
        self.owner.datagram(encode(data) if isinstance(data, Message) else data, path, self.now)
        return [decode(one) for one in self.heard.get(path, [])]

    def answer(self, reply: Reply = DONE) -> None:
        """The function answers everything."""
        for session, inbound in self.inbound:
            self.owner.answer(session, inbound.exchange, reply, self.now)

    def wait(self, seconds: float) -> None:
        """Time passes."""
        end = self.now + seconds
        while (when := self.owner.next_timer()) is not None and when <= end:
            self.now = max(self.now, when)
            self.owner.handle_timers(self.now)
        self.now = end

    def prove(self, path: Path, mid: int = 1) -> None:
        """Be challenged there, and send what only that address was sent."""
        (challenge,) = self.send(ask(mid), path)
        assert challenge.code == UNAUTHORIZED
        assert self.send(ask(mid + 1, (Option.ECHO, challenge.get(Option.ECHO) or b"")), path) == []


def peer(number: int, port: int = 40000, *, proven: bool = False) -> Path:
    """The address of one of many."""
    host = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return STRANGER._replace(peer=(host, port), verified=proven)


# --- T1 to T4: a forged source ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [Type.CON, Type.NON])
@pytest.mark.parametrize("options", [[], WELL_KNOWN, [(Option.BLOCK2, b"\6")], [(Option.OBSERVE, b"")]], ids=str)
def test_t1_a_forged_request_reflects_at_most_three_times_its_bytes(
    method: int, kind: int, options: list[OptionValue]
) -> None:
    target = Target()
    sent = 0
    for mid in range(20):
        data = encode(ask(mid, *options, code=method, type=kind, token=b"", payload=b""))
        sent += len(data)
        target.send(data, STRANGER)
        target.answer(LARGE)
    target.wait(300)
    assert 0 < target.octets[STRANGER] <= 3 * sent
    assert not target.inbound
    assert not target.owner.live


def test_t1_whoever_is_really_there_gets_all_of_it() -> None:
    target = Target()
    target.prove(STRANGER)
    target.answer(LARGE)
    (first,) = target.send(ask(7, *WELL_KNOWN, code=GET, payload=b""), STRANGER)
    assert (first.code, len(first.payload)) == (CONTENT, 1024)


def test_t1_what_only_provokes_is_not_answered_with_more() -> None:
    """Everything that is answered without a session, from everybody."""
    mutator = Mutator(1, [encode(ask(1)), encode(ack(1)), bytes.fromhex("40000001"), bytes.fromhex("400100017f")])
    target = Target()
    target.core.draining = True
    for _ in range(5_000):
        data = mutator.next()
        before = target.octets[STRANGER]
        target.send(data, STRANGER)
        assert target.octets[STRANGER] - before <= 3 * len(data)


def test_t2_nothing_is_retransmitted_to_who_did_not_ask() -> None:
    """A separate response would go out five times."""
    target = Target()
    for mid in range(50):
        target.send(ask(mid), STRANGER)
    once = target.octets[STRANGER]
    target.answer()
    target.wait(300)
    assert target.octets[STRANGER] == once


def test_t3_a_forged_registration_is_never_notified() -> None:
    target = Target()
    path = [(Option.OBSERVE, b""), (Option.URI_PATH, b"sensors")]
    for mid, kind in ((1, Type.CON), (2, Type.NON)):
        target.send(ask(mid, *path, code=GET, type=kind), STRANGER)
    target.answer(LARGE)
    before = target.octets[STRANGER]
    assert target.owner.publish("sensors", Outbound("text/plain", b"hot"), target.now) == 0
    target.wait(300)
    assert target.octets[STRANGER] == before


@pytest.mark.parametrize("groups", [(), GROUPS])
def test_t4_a_forged_request_to_a_group_is_not_answered(groups: tuple[str, ...]) -> None:
    target = Target(groups=groups)
    forged = STRANGER._replace(multicast=True)
    for mid in range(50):
        for kind in (Type.CON, Type.NON):
            for options in ([], WELL_KNOWN, [(9, b"")]):
                target.send(ask(mid, *options, code=GET, type=kind, payload=b""), forged)
    target.wait(60)
    assert not target.octets
    assert not target.owner.live


def test_t4_no_group_is_joined_unless_asked_for() -> None:
    assert Target().core.groups == ()


# --- T12: bytes that are no message ----------------------------------------------------------------------------

SHAPES = {
    "a path that is no UTF-8": "40010001b180",
    "a token length of 13, extended": "4d010001" + "00" * 20,
    "a token length of 14, extended": "4e010001ffff" + "00" * 20,
    "a token length of 15": "4f010001" + "00" * 15,
    "an option delta that runs over 65535": "40010001e0ffff" + "e0ffff" * 8,
    "an option length beyond the datagram": "40010001beffff",
    "the reserved delta and length": "40010001f1",
    "a marker and nothing": "40010001ff",
    "a marker after a marker": "40010001ffff",
    "a thousand empty options": "40010001" + "10" + "00" * 999,
    "the largest datagram": "40010001" + "ff" + "00" * 65_500,
    "nothing": "",
    "one byte": "40",
    "every bit": "ff" * 64,
}


@pytest.mark.parametrize("data", SHAPES.values(), ids=SHAPES)
def test_t12_a_datagram_that_is_wrong_is_refused_and_nothing_else(data: str) -> None:
    for path in (STRANGER, peer(1, proven=True), STRANGER._replace(multicast=True)):
        target = Target(groups=GROUPS)
        target.send(bytes.fromhex(data), path)
        target.answer()
        target.wait(600)
        target.send(ask(1), peer(2, proven=True))
        assert target.inbound[-1][1].subject is None
        assert not target.owner.faults


def test_t12_twenty_thousand_garbled_datagrams_raise_nothing() -> None:
    """`make fuzz` sends a million."""
    good = [encode(ask(mid, *WELL_KNOWN, (Option.BLOCK1, uint(mid << 4 | 14)), code=mid % 8)) for mid in range(20)]
    mutator = Mutator(12, [*good, *(bytes.fromhex(data) for data in SHAPES.values() if len(data) < 200)])
    target = Target(groups=GROUPS, freshness=30)
    paths = [peer(number, proven=number % 2 == 0)._replace(multicast=number == 4) for number in range(8)]
    for number in range(20_000):
        target.owner.datagram(mutator.next(), paths[number & 7], target.now)
        if number % 1000 == 0:
            target.heard.clear()
            target.inbound = target.inbound[-8:]
            target.answer()
            target.wait(10)
    assert not target.owner.faults


# --- T16: names that are tricks --------------------------------------------------------------------------------

TRICKS = (
    b"..",
    b".",
    b"",
    b"/",
    b"//",
    b"%2f",
    b"%2e%2e",
    b"?",
    b"#",
    b"a?b",
    b"\\",
    b"\r\nX: 1",
    b"@evil",
    b"http://x",
)


@given(st.lists(st.sampled_from(TRICKS) | st.binary(max_size=20), max_size=8), st.binary(min_size=1, max_size=40))
def test_t16_a_path_is_a_name_and_leads_nowhere(segments: list[bytes], host: bytes) -> None:
    """`subject` tells segments apart again, whatever is in them; nothing can be more than a value."""
    target = Target()
    options = [(Option.URI_HOST, host), *((Option.URI_PATH, segment) for segment in segments)]
    target.send(ask(1, *options), peer(1, proven=True))
    if b"." in segments or b".." in segments:
        assert not target.inbound  # refused (RFC 7252 §5.10.1)
        return
    subject = target.inbound[0][1].subject
    assert (subject or "").count("/") == max(0, len(segments) - 1)
    for value in (subject or "", *target.inbound[0][1].attributes.values()):
        assert value.isprintable() or not any(ord(character) < 32 or character in "\x7f\u0085" for character in value)


@pytest.mark.parametrize("location", ["/a/../../b", "/..", "/./a", "/a/%2e%2e/b", "..", "/a/%2E"])
def test_t16_no_location_with_dot_segments_reaches_a_device(location: str) -> None:
    target = Target()
    device = peer(1, proven=True)
    target.send(ask(1), device)
    target.answer(Reply(Outcome.ACCEPTED, 201, None, b"", {"location": location}))
    (response,) = [decode(one) for one in target.heard[device]]
    assert response.get(Option.LOCATION_PATH) is None


# --- T20: everything at once -----------------------------------------------------------------------------------


def test_t20_forged_peers_without_number_take_nothing_from_a_good_one() -> None:
    """Each address sends once; a good device goes on among them."""
    target = Target(limit=1000)
    good = peer(1 << 20, proven=True)
    target.send(ask(0), good)
    target.answer()
    gc.collect()
    blocks, told = sys.getallocatedblocks(), 0
    for number in range(20_000):
        target.owner.datagram(encode(ask(number)), peer(number), target.now)
        if number % 100 == 0:
            target.heard.clear()
            target.octets.clear()
            target.inbound.clear()
            target.send(ask(number // 100 + 1), good)
            target.answer()
            told += len(target.heard.get(good, ()))
            target.now += 1.0
    target.heard.clear()
    target.octets.clear()
    target.inbound.clear()
    target.owner._seen.clear()  # the owner's own book of exchanges
    gc.collect()
    assert told == 200
    assert len(target.owner.live) == 1
    assert sys.getallocatedblocks() - blocks < 60_000  # of 4096 challenged requests a hash each, of 200 the memory


def test_t20_an_address_with_many_ports_gets_its_share_and_others_theirs() -> None:
    target = Target(limit=100, peers_per_address=64)
    for port in range(1, 65):
        target.prove(peer(1, port))
    for port in range(65, 200):
        (challenge,) = target.send(ask(1), peer(1, port))
        (refusal,) = target.send(ask(2, (Option.ECHO, challenge.get(Option.ECHO) or b"")), peer(1, port))
        assert refusal.code == SERVICE_UNAVAILABLE
    for number in range(2, 30):
        target.prove(peer(number))
    assert len(target.owner.live) == 92


def test_t20_what_waits_for_its_answer_is_not_evicted_for_a_newcomer() -> None:
    target = Target(limit=10)
    busy = [peer(number, proven=True) for number in range(10)]
    for path in busy:
        target.send(ask(1), path)
    for number in range(100, 200):
        (refusal,) = target.send(ask(1), peer(number, proven=True))
        assert refusal.code == SERVICE_UNAVAILABLE
    target.answer()
    assert all(target.heard[path] for path in busy)


@pytest.mark.parametrize(
    ("options", "reply"),
    [
        ([], DONE),
        ([(Option.BLOCK1, b"\x0e")], DONE),
        ([(Option.OBSERVE, b""), (Option.URI_PATH, b"a")], Reply(Outcome.ACCEPTED, 200, None, b"x", LARGE.attributes)),
        ([(Option.BLOCK2, b"\0")], LARGE),
    ],
    ids=["requests", "uploads that never end", "observations", "downloads that nobody fetches"],
)
def test_t20_one_device_has_a_bounded_part_of_everything(options: list[OptionValue], reply: Reply) -> None:
    """New tokens, new Message IDs, new paths, nothing acknowledged, nothing finished."""
    target = Target(rate=0, transfer_idle=60)
    device = peer(1, proven=True)
    sizes: list[int] = []
    for mid in range(8_000):
        payload = bytes(1024) if options and options[0][0] == Option.BLOCK1 else b""
        code = 2 if payload else GET
        tag = [(Option.URI_QUERY, str(mid).encode())]
        one = ask(mid, *sorted(options + tag), code=code, token=str(mid).encode(), payload=payload)
        target.owner.datagram(encode(one), device, target.now)
        target.answer(reply)
        target.inbound.clear()
        target.heard.clear()
        if mid in (5_000, 7_999):  # by then the caches of names are full
            target.owner._seen.clear()  # the owner's own book of exchanges
            gc.collect()
            sizes.append(sys.getallocatedblocks())
    assert sizes[1] - sizes[0] < 1_000
    target.wait(3600)
    assert len(target.owner.live) == ("coapobserve" in reply.attributes and options[0][0] != Option.BLOCK2)


# --- T22: another device's answer -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_t22_no_device_hears_the_answer_of_another(seed: int) -> None:
    """Hundreds of devices use the same tokens and Message IDs, at addresses that change hands; answers are late and
    shuffled. What a device hears has its own payload, or it has been told nothing."""
    random = Random(seed)
    target = Target()
    paths = [peer(number, 1000 + number % 7, proven=True) for number in range(300)]
    open_now: list[tuple[Session, Inbound]] = []
    said: dict[Path, set[tuple[bytes, bytes]]] = {path: set() for path in paths}
    generation = 0
    for step in range(4_000):
        path = random.choice(paths)
        mid, token = random.randrange(8), bytes((random.randrange(3),))
        payload = f"{paths.index(path)} {step} {generation}".encode()
        said[path].add((token, payload))
        target.send(ask(mid, type=random.choice((Type.CON, Type.NON)), token=token, payload=payload), path)
        open_now += target.inbound
        target.inbound.clear()
        if random.random() < 0.6 and open_now:
            session, inbound = open_now.pop(random.randrange(len(open_now)))
            target.owner.answer(session, inbound.exchange, DONE._replace(data=inbound.data), target.now)
        if random.random() < 0.02:
            target.wait(random.choice((0.5, 3.0, EXCHANGE_LIFETIME + 1)))
            generation += 1
        for where, datagrams in target.heard.items():
            for message in map(decode, datagrams):
                assert not message.payload or (message.token, message.payload) in said[where], "crossed"
                if message.type == Type.CON:
                    target.owner.datagram(encode(ack(message.mid)), where, target.now)
        target.heard.clear()
    assert not target.owner.faults


def test_t22_a_port_that_changes_hands_is_another_session() -> None:
    target = Target()
    device = peer(1, proven=True)
    target.send(ask(1), device)
    first, inbound = target.inbound[0]
    target.wait(EXCHANGE_LIFETIME + 1)
    target.send(ask(1), device)
    second, _ = target.inbound[1]
    assert first.id != second.id
    target.heard.clear()
    assert not target.owner.answer(first, inbound.exchange, DONE, target.now)
    assert not target.heard


# --- A device that holds up others ------------------------------------------------------------------------------


def test_one_that_never_acknowledges_holds_up_nobody_else() -> None:
    """NSTART, retransmissions and what is open are each peer's own."""
    target = Target(nstart=1)
    silent, good = peer(1, proven=True), peer(2, proven=True)
    for mid in range(64):
        target.send(ask(mid), silent)
    target.wait(1.5)
    target.answer()
    target.inbound.clear()
    for mid in range(100):
        target.send(ask(mid), good)
        target.answer()
        target.inbound.clear()
        (response,) = [decode(one) for one in target.heard[good]]
        assert (response.type, response.mid, response.payload) == (Type.ACK, mid, b"done")
        target.wait(0.1)
