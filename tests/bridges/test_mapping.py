"""From a message to an event, from an answer to a reply."""

import random

import pytest
from tests.bridges.stubs import StubEndpoint, StubSession

from thinbridge.delivery import Answer, Verdict
from thinbridge.events import Event
from thinbridge.mapping import Chance, Mapper, answer_by_replyto, says_nothing, to_reply
from thinbridge.protocols.base import Inbound, Outbound, Outcome, Reply
from thinbridge.routes import Mode, Route
from thinbridge.sessions import Entry

WALL = 1_795_000_000.25  # 2026-11-18T11:06:40.25Z


def entry(endpoint: str = "coap") -> Entry:
    return Entry(StubEndpoint(endpoint), StubSession(), "t0ken", "http://10.0.0.1:8090")


def mapper(seed: int = 1) -> Mapper:
    return Mapper("/apis/v1/namespaces/iot/bridges/b1", random.Random(seed).randbytes)


def coap(**changes: object) -> Inbound:
    fields: dict[str, object] = {
        "exchange": 7,
        "type": "dev.thinbridge.coap.request",
        "subject": "sensors/7",
        "attributes": {"coapmethod": "POST", "peer": "192.0.2.7:5683"},
        "content_type": "application/json",
        "data": b'{"t":21}',
        "repeat_key": b"peer mid token",
        "repeat_window": 247.0,
    }
    return Inbound(**(fields | changes))  # type: ignore[arg-type]


def test_every_attribute_of_an_event() -> None:
    event = mapper().to_event(coap(expires=10.0), entry(), WALL, WALL + 60)
    chance = random.Random(1).randbytes(Chance.DIGITS * Chance.MESSAGES // 2).hex()
    assert event.data == b'{"t":21}'
    assert event.attributes == {
        "specversion": "1.0",
        "id": event.attributes["id"],
        "source": "/apis/v1/namespaces/iot/bridges/b1",
        "type": "dev.thinbridge.coap.request",
        "time": "2026-11-18T11:06:40.250000Z",
        "datacontenttype": "application/json",
        "subject": "sensors/7",
        "sessionid": "5e55",
        "partitionkey": "5e55",
        "coapmethod": "POST",
        "peer": "192.0.2.7:5683",
        "replyto": "http://10.0.0.1:8090/r/t0ken/7",
        "replyby": "2026-11-18T11:07:40.250000Z",
        "traceparent": f"00-{chance[32:64]}-{chance[64:80]}-01",
        "expirytime": "2026-11-18T11:06:50.250000Z",
    }


def test_a_message_without_a_name_for_itself_gets_a_random_id_and_octets() -> None:
    inbound = coap(repeat_key=None, subject=None, content_type=None)
    one, two = (mapper(seed).to_event(inbound, entry(), WALL, None).attributes for seed in (1, 2))
    assert one["id"] != two["id"]
    assert one["datacontenttype"] == "application/octet-stream"
    assert "subject" not in one
    assert "replyby" not in one
    assert "expirytime" not in one


def test_what_a_sessions_events_share_is_made_once_a_type() -> None:
    one, of = mapper(), entry()
    first, second = (one.to_event(coap(), of, WALL, None) for _ in range(2))
    assert first.shared is second.shared
    will = one.to_event(coap(type="dev.thinbridge.mqtt.will"), of, WALL, None)
    assert will.attributes["type"] == "dev.thinbridge.mqtt.will"
    assert one.to_event(coap(), of, WALL, None).attributes["type"] == "dev.thinbridge.coap.request"


def test_no_two_messages_share_their_chance() -> None:
    chance = Chance(random.Random(1).randbytes)
    assert len({chance.take() for _ in range(3 * Chance.MESSAGES)}) == 3 * Chance.MESSAGES


def test_the_memory_of_seconds_is_bounded() -> None:
    one = mapper()
    times = [one.to_event(coap(), entry(), WALL + n, None).attributes["time"] for n in range(300)]
    assert times[299] == "2026-11-18T11:11:39.250000Z"
    assert len(one._seconds) < 257
    assert one.to_event(coap(), entry(), WALL + 299, None).attributes["time"] == times[299]


def the_id(inbound: Inbound, wall: float = WALL, endpoint: str = "coap") -> str:
    return mapper(random.randrange(99)).to_event(inbound, entry(endpoint), wall, None).attributes["id"]


def test_the_same_message_has_the_same_id_from_any_replica() -> None:
    assert the_id(coap()) == the_id(coap())
    bucket = WALL // 247 * 247
    assert the_id(coap(), bucket) == the_id(coap(), bucket + 246.9)
    assert the_id(coap(repeat_window=0.0), 1.0) == the_id(coap(repeat_window=0.0), 10**9)


def test_two_messages_never_share_an_id() -> None:
    assert the_id(coap()) != the_id(coap(repeat_key=b"peer mid2 token"))
    assert the_id(coap()) != the_id(coap(), WALL + 247)
    assert the_id(coap()) != the_id(coap(), endpoint="coap-2")


def test_a_devices_own_event_keeps_its_words_but_not_ours() -> None:
    own = {
        "specversion": "1.0",
        "id": "a1",
        "source": "urn:pump:7",
        "type": "com.example.pump",
        "time": "2020-01-01T00:00:00Z",
        "pressure": "3",
        "replyto": "http://evil.example/",
        "knativebrokerttl": "1",
        "deviceid": "someone-else",
    }
    attributes = mapper().to_event(coap(event=own), entry(), WALL, None).attributes
    kept = ("id", "source", "type", "time", "pressure")
    assert {name: attributes[name] for name in kept} == {name: own[name] for name in kept}
    assert attributes["replyto"] == "http://10.0.0.1:8090/r/t0ken/7"
    assert "knativebrokerttl" not in attributes
    assert "deviceid" not in attributes


@pytest.mark.parametrize(
    ("answer", "mode", "reply"),
    [
        (Answer(Verdict.ACCEPTED, 204), Mode.REQUEST, Reply(Outcome.ACCEPTED, 204)),
        (
            Answer(Verdict.ACCEPTED, 200, [(b"content-type", b"text/plain")], b"hi"),
            Mode.REQUEST,
            Reply(Outcome.ACCEPTED, 200, "text/plain", b"hi"),
        ),
        (
            Answer(Verdict.ACCEPTED, 200, [(b"content-type", b"text/plain")], b"hi"),
            Mode.EVENT,
            Reply(Outcome.ACCEPTED, 200),
        ),
        (Answer(Verdict.ACCEPTED, 202), Mode.REQUEST, Reply(Outcome.ACCEPTED, 202)),
        (Answer(Verdict.ACCEPTED, 202), Mode.LATER, Reply(Outcome.PENDING, 202)),
        (Answer(Verdict.ACCEPTED, 202), Mode.EVENT, Reply(Outcome.ACCEPTED, 202)),
        (
            Answer(Verdict.ACCEPTED, 200, [(b"content-type", b"text/plain")], b"hi"),
            Mode.LATER,
            Reply(Outcome.ACCEPTED, 200, "text/plain", b"hi"),
        ),
        (Answer(Verdict.DEAD_LETTERED, 503, body=b"x"), Mode.REQUEST, Reply(Outcome.ACCEPTED, 503)),
        (
            Answer(Verdict.REFUSED, 422, [(b"content-type", b"text/plain")], b"no"),
            Mode.REQUEST,
            Reply(Outcome.REFUSED, 422, "text/plain", b"no"),
        ),
        (Answer(Verdict.UNREACHED, 0, retry_after=3.0), Mode.REQUEST, Reply(Outcome.OVERLOADED, retry_after=3.0)),
        (Answer(Verdict.OVERLOADED), Mode.REQUEST, Reply(Outcome.OVERLOADED)),
        (Answer(Verdict.UNKNOWN, 500, body=b"stack"), Mode.REQUEST, Reply(Outcome.UNKNOWN, 500)),
        (Answer(Verdict.CANCELLED), Mode.REQUEST, Reply(Outcome.UNKNOWN)),
        (Answer(Verdict.BAD_GATEWAY, 302, body=b"x"), Mode.REQUEST, Reply(Outcome.BAD_GATEWAY, 302)),
        (
            Answer(
                Verdict.ACCEPTED,
                200,
                event=Event({"id": "1", "type": "r", "coapcode": "2.05", "datacontenttype": "a/b"}, b"x"),
            ),
            Mode.REQUEST,
            Reply(
                *(Outcome.ACCEPTED, 200, "a/b", b"x", {"coapcode": "2.05"}),
                is_event=True,
                event={"id": "1", "type": "r", "coapcode": "2.05", "datacontenttype": "a/b"},
            ),
        ),
        (
            Answer(Verdict.REFUSED, 404, event=Event({"id": "1"}, b"")),
            Mode.REQUEST,
            Reply(Outcome.REFUSED, 404, None, b"", {}, is_event=True, event={"id": "1"}),
        ),
    ],
)
def test_what_the_session_is_told(answer: Answer, mode: Mode, reply: Reply) -> None:
    assert to_reply(answer, Route(mode=mode)) == reply


@pytest.mark.parametrize(
    ("header", "attributes"),
    [
        ((b"etag", b'"abc"'), {"etag": "abc"}),
        ((b"etag", b'W/"abc"'), {"etag": "abc"}),
        ((b"cache-control", b"public, Max-Age=60"), {"maxage": "60"}),
        ((b"cache-control", b"no-store"), {"maxage": "0"}),
        ((b"cache-control", b"max-age=60, No-Cache"), {"maxage": "0"}),
        ((b"cache-control", b"private"), {}),
        ((b"location", b"/sensors/8"), {"location": "/sensors/8"}),
        ((b"location", b"http://fn.example/sensors/8?unit=C"), {"location": "/sensors/8?unit=C"}),
        ((b"location", b"http://[bad"), {}),
        ((b"content-range", b"bytes 0-1023/5000"), {"contentrange": "bytes 0-1023/5000"}),
        ((b"x-other", b"1"), {}),
    ],
)
def test_what_http_itself_says(header: tuple[bytes, bytes], attributes: dict[str, str]) -> None:
    assert to_reply(Answer(Verdict.ACCEPTED, 200, [header]), Route()).attributes == attributes


@pytest.mark.parametrize(
    ("reply", "nothing"),
    [
        (Reply(Outcome.PENDING, 202), True),
        (Reply(Outcome.ACCEPTED, 204), True),
        (Reply(Outcome.ACCEPTED, 200, None, b"21.5"), False),
        (Reply(Outcome.ACCEPTED, 200, is_event=True), False),
        (Reply(Outcome.REFUSED, 404), False),
        (Reply(Outcome.UNKNOWN), False),
    ],
)
def test_where_the_answer_may_still_come_by_replyto(reply: Reply, nothing: bool) -> None:
    assert says_nothing(reply) is nothing


def test_a_post_to_replyto_is_the_answer() -> None:
    outbound = Outbound("text/plain", b"hi", {"coapcode": "2.05"}, is_event=True)
    reply = Reply(Outcome.ACCEPTED, 200, "text/plain", b"hi", {"coapcode": "2.05"}, is_event=True)
    assert answer_by_replyto(outbound, Route()) == reply._replace(event={"coapcode": "2.05"})
    assert not answer_by_replyto(Outbound("text/plain", b"hi"), Route()).event


STEERS = Route(reply={"coapobserve": "true", "coapmaxage": "60"})


def test_a_route_says_what_the_function_has_not_said() -> None:
    bare = Answer(Verdict.ACCEPTED, 200, [(b"etag", b'"a"')], b"21.5")
    assert to_reply(bare, STEERS).attributes == {"coapobserve": "true", "coapmaxage": "60", "etag": "a"}
    event = Answer(Verdict.ACCEPTED, 200, event=Event({"coapmaxage": "5"}, b""))
    assert to_reply(event, STEERS).attributes == {"coapobserve": "true", "coapmaxage": "5"}
    assert answer_by_replyto(Outbound(), STEERS).attributes == STEERS.reply


def test_a_route_steers_no_refusal() -> None:
    assert to_reply(Answer(Verdict.REFUSED, 404), STEERS).attributes == {}
