"""CloudEvents that devices send themselves; most cases are in `tests/vectors/coap-cloudevents.json`."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bridges.protocols.coap.bench import Bench, ask

from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Outbound, Outcome, Reply
from thinbridge.protocols.coap import CoAPSettings
from thinbridge.protocols.coap.cloudevents import read
from thinbridge.protocols.coap.codec import OptionValue, uint
from thinbridge.protocols.coap.codes import (
    BAD_REQUEST,
    CHANGED,
    CONTENT,
    CONTINUE,
    DELETE,
    GET,
    METHODS,
    NOT_ACCEPTABLE,
    VALID,
    Option,
    Type,
)
from thinbridge.protocols.coap.request import Carries, Refused
from thinbridge.protocols.coap.request import read as read_request

NUMBER = CoAPSettings().event_format
ATTRIBUTES = {"specversion": "1.0", "id": "7", "source": "/dev/7", "type": "com.example.hot"}
STRUCTURED = (Option.CONTENT_FORMAT, uint(NUMBER))
ACCEPTED = (Option.ACCEPT, uint(NUMBER))
ANSWER = Reply(
    Outcome.ACCEPTED,
    200,
    "application/json",
    b'{"t":1}',
    {"coapetag": "01"},
    is_event=True,
    event=ATTRIBUTES | {"coapetag": "01"},
)


def query(attributes: dict[str, str]) -> list[OptionValue]:
    return [(Option.URI_QUERY, f"ce-{name}={value}".encode()) for name, value in attributes.items()]


def test_an_event_of_a_device_keeps_its_name() -> None:
    for options, payload in ((query(ATTRIBUTES), b"x"), ([STRUCTURED], json.dumps(ATTRIBUTES).encode())):
        bench = Bench()
        assert bench.send(ask(1, *options, payload=payload)) == []
        assert bench.inbound.event == ATTRIBUTES
        assert bench.inbound.repeat_key is not None
        assert bench.answer()[0].code == CHANGED


@pytest.mark.parametrize("method", METHODS)
def test_methods_without_a_payload_carry_none(method: int) -> None:
    for options in (query(ATTRIBUTES), [STRUCTURED]):
        request = read_request(ask(1, *options, code=method), "peer", NUMBER)
        assert (request.carries is None) is (method in (GET, DELETE))


def test_a_listener_may_have_no_number_for_events() -> None:
    bench = Bench(event_format=0)
    bench.send(ask(1, STRUCTURED, ACCEPTED, payload=json.dumps(ATTRIBUTES).encode()))
    assert bench.inbound.event is None
    assert "coapaccept" not in bench.inbound.attributes
    bench.send(ask(2, *query(ATTRIBUTES), payload=b""))
    assert bench.inbound.event == ATTRIBUTES
    with pytest.raises(SettingsError, match="event_format: 65536: a Content-Format"):
        CoAPSettings(event_format=65536)


@pytest.mark.parametrize(
    "bad",
    [
        (Option.URI_QUERY, b"ce-\xff=x"),
        (Option.URI_QUERY, b"ce-site=\xff"),
        (Option.URI_QUERY, b"ce-"),
        (Option.URI_QUERY, b"ce-datacontenttype=a\r\nb"),
        (Option.URI_QUERY, "ce-datacontenttype=ü".encode()),
    ],
)
def test_what_is_none_is_refused(bad: OptionValue) -> None:
    bench = Bench()
    for kind in (Type.CON, Type.NON):
        (refusal,) = bench.send(ask(1, *query(ATTRIBUTES), bad, type=kind))
        assert (refusal.code, refusal.payload) == (BAD_REQUEST, b"this is no CloudEvent")
    assert not bench.messages
    assert bench.counters == {"event_invalid": 2}


@pytest.mark.parametrize("missing", ["id", "source", "type"])
def test_what_is_missing_is_named(missing: str) -> None:
    bench = Bench()
    (refusal,) = bench.send(ask(1, *query({name: value for name, value in ATTRIBUTES.items() if name != missing})))
    assert (refusal.code, refusal.payload) == (BAD_REQUEST, f"this is no CloudEvent: ce-{missing} missing".encode())
    assert bench.counters == {"event_invalid": 1}


def test_a_forged_one_is_refused() -> None:
    bench = Bench()
    (refusal,) = bench.send(ask(1, *query(ATTRIBUTES | {"type": "dev.thinbridge.mqtt.will"})))
    assert refusal.code == BAD_REQUEST
    assert bench.counters == {"event_forged": 1}


def test_an_event_in_blocks_is_read_when_it_is_complete() -> None:
    bench = Bench()
    document = json.dumps(ATTRIBUTES | {"data": "x" * 30}).encode()
    blocks = [document[at : at + 64] for at in range(0, len(document), 64)]
    for number, block in enumerate(blocks):
        more = number + 1 < len(blocks)
        said = bench.send(ask(number, STRUCTURED, (Option.BLOCK1, uint(number << 4 | more << 3 | 2)), payload=block))
        assert [one.code for one in said] == ([CONTINUE] if more else [])
    assert (bench.inbound.event, bench.inbound.data) == (ATTRIBUTES, b'"' + b"x" * 30 + b'"')


def test_a_device_that_accepts_events_is_sent_them() -> None:
    bench = Bench()
    bench.send(ask(1, ACCEPTED, code=GET))
    (response,) = bench.answer(ANSWER)
    assert (response.code, response.get(Option.CONTENT_FORMAT)) == (CONTENT, uint(NUMBER))
    event = {"datacontenttype": "application/json", "data": {"t": 1}}
    assert json.loads(response.payload) == ATTRIBUTES | event
    bench.send(ask(2, (Option.ETAG, b"\1"), ACCEPTED, code=GET))
    assert [(one.code, one.payload) for one in bench.answer(ANSWER)] == [(VALID, b"")]
    bench.send(ask(3, ACCEPTED, code=GET))
    assert bench.answer(ANSWER._replace(event={}))[0].code == NOT_ACCEPTABLE


def test_an_event_that_says_nothing_else_is_sent_as_one() -> None:
    bench = Bench()
    bench.send(ask(1, ACCEPTED))
    (response,) = bench.answer(ANSWER._replace(data=b"", content_type=None))
    assert (response.code, json.loads(response.payload)) == (CHANGED, ATTRIBUTES)


def test_an_observer_that_accepts_events_is_notified_by_them() -> None:
    bench = Bench()
    bench.send(ask(1, (Option.OBSERVE, b""), (Option.URI_PATH, b"a"), ACCEPTED, code=GET, payload=b""))
    bench.answer(ANSWER._replace(attributes={"coapobserve": "true"}))
    posted: dict[str, str] = {**ATTRIBUTES, "id": "8"}
    outbound = Outbound("text/plain", b"hot", posted, is_event=True)
    bench.owner.push(bench.session, bench.inbound.exchange, outbound, lambda _: None, bench.now)
    said = [*bench.said(), *bench.wait(5)]
    documents = [json.loads(one.payload) for one in said if one.get(Option.OBSERVE) is not None]
    assert documents[0] == posted | {"datacontenttype": "text/plain", "data": "hot"}


names = st.from_regex("x[a-z0-9]{0,9}", fullmatch=True)


@given(st.dictionaries(names, st.text(max_size=60)), st.binary(max_size=60), st.lists(st.binary(max_size=60)))
def test_any_query_is_an_event_or_refused(more: dict[str, str], body: bytes, others: list[bytes]) -> None:
    options = query(ATTRIBUTES) + [
        (Option.URI_QUERY, f"ce-{name}={value}".encode("utf-8", "surrogatepass")) for name, value in more.items()
    ]
    options += [(Option.URI_QUERY, b"ce-" + other) for other in others]
    request = read_request(ask(1, *options), "peer", NUMBER)
    assert request.carries is Carries.BINARY
    try:
        event = read(request, body)
    except Refused:
        return
    assert event.data == body
    assert event.attributes.items() >= (ATTRIBUTES | more).items()
