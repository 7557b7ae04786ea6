"""The endpoint: addresses that nothing has proven, no room, and what every protocol promises."""

from dataclasses import fields
from typing import Any

import pytest
from tests.bridges.protocols.coap.bench import DEVICE, STRANGER, Bench, ask

from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Outcome, Reply
from thinbridge.protocols.coap import CHALLENGED, CoAP, CoAPSettings
from thinbridge.protocols.coap.codec import encode
from thinbridge.protocols.coap.codes import SERVICE_UNAVAILABLE, UNAUTHORIZED, Option, Type
from thinbridge.protocols.coap.memory import EXCHANGE_LIFETIME
from thinbridge.testing import Conversation, check_protocol

LARGE = Reply(Outcome.ACCEPTED, 200, None, bytes(1000))


def prove(bench: Bench, mid: int = 10) -> None:
    """Be challenged, and send what only the address was sent."""
    (challenge,) = bench.send(ask(mid))
    assert challenge.code == UNAUTHORIZED
    echo = challenge.get(Option.ECHO)
    assert echo is not None
    assert bench.send(ask(mid + 1, (Option.ECHO, echo))) == []


def test_a_stranger_is_challenged_and_nothing_is_kept() -> None:
    bench = Bench(STRANGER)
    for kind in (Type.CON, Type.NON):
        (challenge,) = bench.send(ask(type=kind))
        assert challenge.code == UNAUTHORIZED
    assert not bench.owner.live
    assert not bench.messages
    assert bench.counters == {"challenged": 2}


def test_who_sends_the_echo_back_is_known_while_its_session_lives() -> None:
    bench = Bench(STRANGER)
    prove(bench)
    assert "coapecho" not in bench.inbound.attributes
    assert len(bench.answer(LARGE)[0].payload) == 1000
    assert bench.send(ask(12)) == []
    bench.answer()
    (challenge,) = bench.send(ask(1), STRANGER._replace(peer=("192.0.2.8", 40000)))
    assert challenge.code == UNAUTHORIZED
    bench.wait(EXCHANGE_LIFETIME + 1)
    assert not bench.core.proven.keys
    prove(bench)


def test_a_late_copy_of_a_challenged_request_is_not_delivered() -> None:
    bench = Bench(STRANGER)
    prove(bench, mid=10)
    bench.answer()
    (challenge,) = bench.send(ask(10))  # the network held it back
    assert challenge.code == UNAUTHORIZED
    assert len(bench.messages) == 1
    assert bench.send(ask(10, payload=b"another")) == []
    assert len(bench.messages) == 2


def test_what_is_known_of_challenged_requests_is_bounded() -> None:
    bench = Bench(STRANGER)
    for mid in range(CHALLENGED + 10):
        bench.core.locate(encode(ask(mid)), STRANGER, 0.0)
    assert len(bench.core._challenged) == CHALLENGED


@pytest.mark.parametrize("payload", [b"", b"x" * 40])
def test_no_more_than_three_times_what_it_sent_goes_to_a_stranger(payload: bytes) -> None:
    for data in (
        *(encode(ask(mid, type=kind, token=b"", payload=payload)) for mid in range(3) for kind in range(4)),
        *(bytes.fromhex(data) for data in ("40001234", "40011234ff", "4f011234", "40451234", "50001234", "ff")),
    ):
        for draining in (False, True):
            bench = Bench(STRANGER)
            bench.core.draining = draining
            bench.owner.limit = 0
            for _ in range(3):
                bench.send(data)
            full = bench.core.full(data, STRANGER, bench.now)
            assert full is None or len(full.data) <= 3 * len(data)
            bench.wait(300)
            assert bench.bytes_out <= 3 * bench.bytes_in


def test_no_room() -> None:
    bench = Bench()
    bench.owner.limit = 0
    (refusal,) = bench.send(ask(7))
    assert (refusal.type, refusal.code, refusal.token) == (Type.ACK, SERVICE_UNAVAILABLE, b"t")
    assert refusal.options == [(Option.MAX_AGE, b"\1")]
    assert bench.send(ask(7, type=Type.NON)) == []
    assert bench.send(bytes.fromhex("40001234"))[0].type == Type.RST
    assert bench.send(bytes.fromhex("40011234ff"))[0].type == Type.RST
    assert bench.send(bytes.fromhex("60001234")) == []


def test_a_payload_has_room_for_the_smallest_block() -> None:
    assert CoAPSettings(max_payload=16).max_payload == 16
    with pytest.raises(SettingsError, match="max_payload: 15: "):
        CoAPSettings(max_payload=15)
    with pytest.raises(SettingsError, match="max_payload: 65001: 65000 or less"):
        CoAPSettings(max_payload=65_001)


MAY_BE_0 = {"rate", "burst", "freshness", "event_format"}


@pytest.mark.parametrize("key", [field.name for field in fields(CoAPSettings) if field.name != "groups"])
def test_settings_leave_room_for_something(key: str) -> None:
    value: Any = -1 if key in MAY_BE_0 else 0
    with pytest.raises(SettingsError, match=f"{key}: {value}: a number above 0"):
        CoAPSettings(**{key: value})


def test_what_is_fresh_is_also_remembered() -> None:
    assert CoAPSettings(rate=0, burst=0, freshness=145)
    with pytest.raises(SettingsError, match="freshness: 146: at most 145 seconds"):
        CoAPSettings(freshness=146)
    with pytest.raises(SettingsError, match="leisure: 146: at most 145 seconds"):
        CoAPSettings(leisure=146)


def test_an_address_has_its_share_of_sessions() -> None:
    bench = Bench(STRANGER, peers_per_address=2)
    for port in (1, 2):
        bench.path = STRANGER._replace(peer=("192.0.2.7", port))
        prove(bench, 10 * port)
        bench.answer()
    bench.path = STRANGER._replace(peer=("192.0.2.7", 3))
    (challenge,) = bench.send(ask(1))
    (refusal,) = bench.send(ask(2, (Option.ECHO, challenge.get(Option.ECHO) or b"")))
    assert (refusal.code, bench.counters["address_full"]) == (SERVICE_UNAVAILABLE, 1)
    bench.path = STRANGER._replace(peer=("192.0.2.8", 3))
    prove(bench)
    bench.wait(EXCHANGE_LIFETIME + 1)
    bench.path = STRANGER._replace(peer=("192.0.2.7", 3))
    prove(bench)


def test_multicast_is_not_spoken() -> None:
    bench = Bench()
    assert bench.send(ask(), DEVICE._replace(multicast=True)) == []
    assert bench.counters == {"multicast": 1}
    assert not bench.owner.live


REQUESTS = (encode(ask(1, (Option.URI_PATH, b"a"))), encode(ask(2, payload=b"")))


def test_every_promise() -> None:
    check_protocol(
        lambda entropy: CoAP(CoAPSettings(), entropy),
        Conversation("a CON", REQUESTS[:1], repeat=0),
        Conversation("two CONs", REQUESTS, messages=2, repeat=0),
        Conversation("a NON", (encode(ask(3, type=Type.NON)),), repeat=0),
        Conversation("a ping", (bytes.fromhex("40001234"),), messages=0),
    )
