"""OSCORE and EDHOC in virtual time, with aiocoap's own parts as the device's side."""

from collections.abc import Iterator
from pathlib import Path as File
from random import Random

import pytest
from tests.bridges.adapters.coap.protected import DEVICE, DONE, EDHOC, Meter, Place, make_context, make_edhoc, shake

from thinbridge.adapters.coap.keys import ESTABLISHED, HANDSHAKES
from thinbridge.protocols.base import Identity, Outbound
from thinbridge.protocols.coap.codec import compose, decode, empty
from thinbridge.protocols.coap.codes import (
    BAD_OPTION,
    BAD_REQUEST,
    CHANGED,
    EMPTY,
    GET,
    POST,
    PROXYING_NOT_SUPPORTED,
    TOO_MANY_REQUESTS,
    UNAUTHORIZED,
    Option,
    Type,
)

PATH = (Option.URI_PATH, b"a")


@pytest.fixture
def place(tmp_path: File) -> Iterator[Place]:
    make_context(tmp_path / "contexts" / "meter-7", "00", "01")
    make_context(tmp_path / "contexts" / "meter-8", "00", "02")
    one = Place(tmp_path / "contexts")
    yield one
    one.core.keys.close()


@pytest.fixture
def meter(tmp_path: File) -> Iterator[Meter]:
    one = Meter.of(make_context(tmp_path / "device", "01", "00"))
    yield one
    one.context._destroy()


def test_what_is_protected_is_the_event_that_it_would_be_plainly_and_says_who(place: Place, meter: Meter) -> None:
    assert place.send(meter.ask(1, PATH, (Option.CONTENT_FORMAT, b""), outer=((Option.URI_HOST, b"h"),))) == []
    session, inbound = place.messages[0]
    assert (inbound.subject, inbound.data, inbound.attributes["coapmethod"]) == ("a", b"x", "POST")
    assert inbound.attributes["coapformat"] == "0"
    assert inbound.attributes["coaphost"] == "h"
    assert (session.identity, session.device) == (Identity("psk", "meter-7"), "meter-7")
    [data] = place.answer()
    seen, plain = meter.read(data)
    assert (seen.type, seen.mid, seen.code) == (Type.ACK, 1, CHANGED)
    assert b"done" not in data
    assert (int(plain.code), plain.payload, plain.opt.content_format) == (CHANGED, b"done", 0)


def test_a_repeat_hears_the_same_bytes_and_is_not_delivered_again(place: Place, meter: Meter) -> None:
    request = meter.ask()
    place.send(request)
    first = place.answer()
    assert place.send(request) == first
    assert len(place.messages) == 1


def test_a_slow_answer_is_repeated_with_the_same_bytes_until_it_is_acknowledged(place: Place, meter: Meter) -> None:
    place.send(meter.ask())
    assert place.wait(2) == [empty(Type.ACK, 1)]
    [data] = place.answer()
    assert place.wait(4) == [data]
    seen, plain = meter.read(data)
    assert (seen.type, plain.payload) == (Type.CON, b"done")
    assert place.send(empty(Type.ACK, seen.mid)) == []
    assert place.wait(30) == []


def test_nothing_is_sent_under_a_number_that_can_not_be_written_down(
    place: Place, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash it would be used again, and what was protected under it could be read (RFC 8613 §7.2.1)."""
    granted = DONE._replace(attributes={"coapobserve": "true"}, is_event=True)
    place.send(meter.ask(1, (Option.OBSERVE, b""), code=GET, payload=b""))
    place.answer(granted)
    session, inbound = place.messages[0]
    [context] = [one for one in place.core.keys._files if one.recipient_id == b"\x01"]

    def full() -> None:
        raise OSError(28, "No space left on device")

    context.sequence_number_persisted = context.sender_sequence_number
    with monkeypatch.context() as disk:
        disk.setattr(context, "_store", full)
        place.owner.push(session, inbound.exchange, Outbound("text/plain", b"new"), list[object]().append, place.now)
        place.wait(4)  # it is sent again
        assert place.said() == []
    assert place.core.counters["oscore_unsealed"] == 2
    [data] = place.wait(8)
    assert meter.read(data)[1].payload == b"new"
    assert context.sender_sequence_number <= context.sequence_number_persisted


def test_a_device_that_starts_anew_is_no_repeat(place: Place, meter: Meter) -> None:
    """The same message under the same Message ID and token, and another number under protection."""
    place.send(meter.ask())
    place.answer()
    place.send(meter.ask())
    [data] = place.answer()
    assert meter.read(data)[1].payload == b"done"
    keys = {inbound.repeat_key for _, inbound in place.messages}
    assert len(keys) == 2


def test_two_devices_behind_one_address_are_two_sessions(place: Place, meter: Meter, tmp_path: File) -> None:
    other = Meter.of(make_context(tmp_path / "other", "02", "00"))
    place.send(meter.ask(1))
    place.send(other.ask(2))
    assert [session.device for session, _ in place.messages] == ["meter-7", "meter-8"]
    place.wait(2)
    [data] = place.answer(index=1)
    assert other.read(data)[1].payload == b"done"
    assert place.send(empty(Type.ACK, decode(data).mid)) == []
    assert place.wait(30) == []
    other.context._destroy()


def test_what_was_heard_before_is_refused(place: Place, meter: Meter) -> None:
    request = meter.ask()
    place.send(request)
    place.answer()
    again = request[:2] + b"\x00\x09" + request[4:]  # another Message ID: no repeat of the message layer
    [data] = place.send(again)
    assert (decode(data).code, decode(data).payload) == (UNAUTHORIZED, b"Replay detected")
    assert len(place.messages) == 1
    assert place.core.counters["oscore_replayed"] == 1


def test_what_was_heard_before_is_refused_when_it_is_no_repeat_any_more(place: Place, meter: Meter) -> None:
    """The same datagram, after the message layer has forgotten it: it was delivered once."""
    request = meter.ask(1, token=b"1")
    place.send(request)
    place.answer()
    place.send(meter.ask(2, token=b"2"))  # so that its session is still there
    place.wait(100)
    place.send(meter.ask(3, token=b"3"))
    place.answer()
    place.wait(148)
    [data] = place.send(request)
    assert int(meter.read(data)[1].code) == UNAUTHORIZED
    place.wait(300)
    assert not place.owner.live
    [data] = place.send(request)
    assert (decode(data).code, decode(data).payload) == (UNAUTHORIZED, b"Replay detected")
    assert len(place.messages) == 3
    assert place.core.counters["oscore_replayed"] == 2


def test_a_repeat_for_a_later_block_is_served_again(place: Place, meter: Meter) -> None:
    block, long = (Option.BLOCK2, b"\x16"), DONE._replace(data=bytes(3000))
    place.send(meter.ask(1, PATH, code=GET, payload=b""))
    place.answer(long)
    request = meter.ask(2, PATH, block, code=GET, payload=b"")
    first = place.send(request)
    assert len(meter.read(first[0])[1].payload) == 1024
    assert place.send(request) == first
    assert len(place.messages) == 1


def test_after_a_crash_the_first_request_is_challenged(place: Place, meter: Meter, tmp_path: File) -> None:
    """RFC 8613 Appendix B.1.2: what was heard before the crash is not known."""
    place.send(meter.ask(1))
    for context in place.core.keys._files:  # it ends without writing down what it has heard
        context.lockfile.release()
        context.lockfile = None
    place.core.keys._files.clear()
    after = Place(tmp_path / "contexts")
    [data] = after.send(meter.ask(2))
    _, plain = meter.read(data)
    assert (int(plain.code), not plain.opt.echo) == (UNAUTHORIZED, False)
    assert after.messages == []
    assert after.send(meter.ask(3, (Option.ECHO, plain.opt.echo))) == []
    assert len(after.messages) == 1
    after.core.keys.close()


@pytest.mark.parametrize(
    ("data", "code", "counter"),
    [
        (compose(Type.CON, GET, 1, b"t", [PATH]), UNAUTHORIZED, "unprotected"),
        (compose(Type.CON, POST, 1, b"t", EDHOC, b"\xf5"), UNAUTHORIZED, "unprotected"),  # no credentials for it
        (compose(Type.CON, POST, 1, b"t", [(9, b"\x09\x00\x07")], b"x" * 20), UNAUTHORIZED, "oscore_unknown"),
        (compose(Type.CON, POST, 1, b"t", [(9, b"\x10")], b"x" * 20), BAD_OPTION, "oscore_malformed"),
        (compose(Type.CON, POST, 1, b"t", [(9, b"\x0e\0\0\0\0\0\0\x01")], b"x" * 20), BAD_OPTION, "oscore_malformed"),
        (compose(Type.CON, POST, 1, b"t", [(9, b"\x09\x00\x01")], b"x" * 20), BAD_REQUEST, "oscore_undecipherable"),
        (compose(Type.CON, POST, 1, b"t", [(9, b"\x09\x00\x01")]), BAD_REQUEST, "oscore_undecipherable"),
    ],
)
def test_what_can_not_be_opened_is_refused_and_forgotten(place: Place, data: bytes, code: int, counter: str) -> None:
    [answer] = place.send(data)
    assert (decode(answer).code, decode(answer).token) == (code, b"t")
    assert place.core.counters[counter] == 1
    assert not place.owner.live
    assert place.send(bytes([data[0] | Type.NON << 4]) + data[1:]) == []  # a NON hears nothing


def test_a_request_with_two_oscore_options_is_none(place: Place, meter: Meter) -> None:
    [data] = place.send(meter.ask(outer=((9, b"\x09\x00\x02"),)))
    assert decode(data).code == BAD_OPTION
    assert place.core.counters == {"oscore_malformed": 1}
    assert place.send(meter.ask(2)) == []  # it is heard as ever


def test_a_proxy_uri_that_could_not_be_protected_is_read_where_it_stands(place: Place, meter: Meter) -> None:
    [data] = place.send(meter.ask(outer=((Option.PROXY_URI, b"coap://other/"),)))
    assert int(meter.read(data)[1].code) == PROXYING_NOT_SUPPORTED


def test_an_unknown_critical_option_is_refused_under_protection(place: Place, meter: Meter) -> None:
    [data] = place.send(meter.ask(1, (2053, b"x")))
    assert int(meter.read(data)[1].code) == BAD_OPTION


def test_an_acknowledgement_of_nothing_opens_no_session(place: Place) -> None:
    assert place.send(empty(Type.ACK, 77)) == []
    assert place.send(empty(Type.CON, 78)) == [empty(Type.RST, 78)]
    assert not place.owner.live
    assert place.core.counters == {"unexpected": 1, "ping": 1}


def test_an_acknowledgement_for_a_session_that_is_gone_opens_no_session(place: Place, meter: Meter) -> None:
    place.send(meter.ask())
    place.wait(2)
    [data] = place.answer()
    place.owner.close(place.now)
    assert place.send(empty(Type.ACK, decode(data).mid)) == []
    assert not place.owner.live


def test_garbled_messages_never_raise(place: Place, meter: Meter) -> None:
    random = Random(1)
    for number in range(300):
        data = bytearray(meter.ask(number))
        for _ in range(random.randint(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        place.send(bytes(data[: random.randint(1, len(data))]) if number % 3 == 0 else bytes(data))


def test_what_only_looks_like_a_message_when_it_is_opened_is_refused(place: Place, meter: Meter) -> None:
    """A device with keys may say anything under protection: more options than any message has."""
    [data] = place.send(meter.ask(1, *[PATH] * 70))
    assert decode(data).code == BAD_REQUEST
    assert place.core.counters["oscore_malformed"] == 1
    assert not place.messages


# --- EDHOC -------------------------------------------------------------------------------------------------------


class Shaken:
    """A listener with EDHOC, and its devices' keys."""

    def __init__(self, where: File) -> None:
        self.made = make_edhoc(where, "meter-7", "meter-8")
        self.place = Place(None, where)

    def device(self, name: str = "meter-7") -> Meter:
        """It has done EDHOC up to message 2."""
        key, mine = self.made[name]
        return Meter(shake(self.place, key, mine, self.made[""][1])[0])


@pytest.fixture
def shaken(tmp_path: File) -> Shaken:
    return Shaken(tmp_path / "edhoc")


def test_edhoc_makes_a_context_and_says_who(shaken: Shaken) -> None:
    meter = shaken.device()
    assert shaken.place.send(meter.ask(8, PATH)) == []  # message 3 is in it
    session, inbound = shaken.place.messages[0]
    assert (session.identity, session.device) == (Identity("rpk", "meter-7"), "meter-7")
    assert (inbound.subject, inbound.data) == ("a", b"x")
    [data] = shaken.place.answer()
    assert meter.read(data)[1].payload == b"done"
    shaken.place.send(meter.ask(9, PATH))
    assert len(shaken.place.messages) == 2


def test_message_3_may_come_alone(shaken: Shaken) -> None:
    key, mine = shaken.made["meter-7"]
    context, c_r = shake(shaken.place, key, mine, shaken.made[""][1])
    message_3 = context.message_3_to_include()
    for mid in (8, 9):  # the second is a repeat that got another Message ID
        [data] = shaken.place.send(compose(Type.CON, POST, mid, b"f", EDHOC, c_r + message_3))
        assert decode(data).code == CHANGED
    shaken.place.send(Meter(context).ask(10))
    assert len(shaken.place.messages) == 1


def test_nobody_is_whom_they_only_claim_to_be(shaken: Shaken) -> None:
    """Message 3 with another device's credential, then with the own one: only what was proven counts."""
    (thief, own), (_, victim) = shaken.made["meter-8"], shaken.made["meter-7"]
    honest = shaken.device("meter-7")
    shaken.place.send(honest.ask(8))
    forged = Meter(shake(shaken.place, thief, victim, shaken.made[""][1])[0])
    [data] = shaken.place.send(forged.ask(9))
    assert decode(data).code == BAD_REQUEST
    shaken.place.send(honest.ask(10))  # and its context is still there
    assert [session.device for session, _ in shaken.place.messages] == ["meter-7", "meter-7"]
    proven = Meter(shake(shaken.place, thief, own, shaken.made[""][1])[0])
    shaken.place.send(proven.ask(11))
    assert shaken.place.messages[-1][0].device == "meter-8"


def test_a_device_that_does_it_again_has_its_older_context_forgotten(shaken: Shaken) -> None:
    first, second = shaken.device(), shaken.device()
    shaken.place.send(first.ask(8))
    shaken.place.send(second.ask(9))
    [data] = shaken.place.send(first.ask(10))
    assert decode(data).code == UNAUTHORIZED
    assert shaken.place.core.counters["oscore_unknown"] == 1


def test_handshakes_that_never_end_push_out_no_context(shaken: Shaken) -> None:
    meter = shaken.device()
    shaken.place.send(meter.ask(8))
    for _ in range(60):
        shaken.place.now += 1
        shaken.device("meter-8")
    assert len(shaken.place.core.keys._made) <= HANDSHAKES + ESTABLISHED
    shaken.place.send(meter.ask(9))
    assert len(shaken.place.messages) == 2


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"", BAD_REQUEST), (b"\xf5", BAD_REQUEST), (b"\xf5\x03\x02", BAD_REQUEST), (b"\x05x", BAD_REQUEST)],
)
def test_what_is_no_message_of_edhoc_is_refused(shaken: Shaken, payload: bytes, code: int) -> None:
    [data] = shaken.place.send(compose(Type.CON, POST, 1, b"e", EDHOC, payload))
    assert decode(data).code == code


def test_garbled_handshakes_never_raise(shaken: Shaken) -> None:
    random = Random(1)
    for number in range(200):
        shaken.place.now += 1
        payload = b"\xf5" + random.randbytes(random.randint(0, 60))
        shaken.place.send(compose(Type.CON, POST, number, b"e", EDHOC, payload))
        shaken.place.send(compose(Type.CON, POST, number, b"e", EDHOC, random.randbytes(random.randint(0, 60))))
    assert shaken.place.core.counters["edhoc_refused"] > 0


@pytest.mark.parametrize("strange", [(Option.URI_HOST, b"\xff"), (Option.LOCATION_PATH, b"\xff")])
def test_options_of_a_handshake_that_are_no_text_never_raise(shaken: Shaken, strange: tuple[int, bytes]) -> None:
    options = sorted([*EDHOC, strange], key=lambda option: option[0])
    [data] = shaken.place.send(compose(Type.CON, POST, 1, b"e", options, b"\xf5"))
    assert decode(data).code == BAD_REQUEST
    assert shaken.place.core.counters["edhoc_refused"] == 1


def test_other_options_of_a_handshake_are_refused_and_other_methods_too(shaken: Shaken) -> None:
    [data] = shaken.place.send(compose(Type.CON, POST, 1, b"e", [*EDHOC, (2053, b"")], b"\xf5"))
    assert decode(data).code == BAD_OPTION
    [data] = shaken.place.send(compose(Type.CON, GET, 2, b"e", EDHOC))
    assert decode(data).code == UNAUTHORIZED


def test_an_unproven_address_hears_no_more_than_three_times_what_it_sent(shaken: Shaken) -> None:
    for number in range(20):
        data = compose(Type.NON, POST, number, b"", EDHOC, b"\xf5" + bytes(number))
        heard = sum(map(len, shaken.place.send(data, DEVICE._replace(verified=False))))
        assert heard <= 3 * len(data)
    assert EMPTY == 0


def test_handshakes_that_come_too_fast_are_put_off(shaken: Shaken) -> None:
    """Each takes milliseconds, and anybody can send them."""
    answers = [shaken.place.send(compose(Type.CON, POST, number, b"e", EDHOC, b"\xf5")) for number in range(60)]
    codes = [decode(data).code for [data] in answers]
    assert codes.count(TOO_MANY_REQUESTS) == 10
    assert shaken.place.core.counters["edhoc_busy"] == 10
    shaken.place.now += 2
    [data] = shaken.place.send(compose(Type.CON, POST, 99, b"e", EDHOC, b"\xf5"))
    assert decode(data).code == BAD_REQUEST


def test_nothing_that_was_protected_is_logged(place: Place, meter: Meter, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        place.send(meter.ask(1, PATH))
        place.answer()
        place.send(meter.ask(2, PATH)[:-1])
    assert caplog.records == []
