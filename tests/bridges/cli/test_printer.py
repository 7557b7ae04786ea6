"""What `thinbridge dev` prints: readable, and harmless whatever a device sends."""

import sys
from collections.abc import Mapping

import pytest
from tests.bridges.stubs import StubEndpoint, StubSession

from thinbridge.cli.dev.heard import Drops
from thinbridge.cli.dev.printer import NOT_STARTED, Printer
from thinbridge.delivery import Answer, Verdict
from thinbridge.events import Event
from thinbridge.protocols.base import Inbound, Outbound, Outcome, PushResult, Reply
from thinbridge.routes import Mode, Route, Routes

OK = Answer(Verdict.ACCEPTED, 200)


class Counting(StubEndpoint):
    """With counters, as the endpoints of real protocols have them."""

    def __init__(self, protocol: str) -> None:
        super().__init__()
        self.protocol = protocol
        self.counts: dict[str, int] = {}

    @property
    def counters(self) -> Mapping[str, int]:
        return self.counts


def session(device: str | None = None, peer: str = "192.0.2.7:40000") -> StubSession:
    made = StubSession()
    made.device, made.peer = device, peer
    return made


def request(data: bytes = b"", subject: str | None = "sensors/7", **attributes: str) -> Inbound:
    return Inbound(1, "dev.thinbridge.coap.request", subject, attributes, None, data)


def line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, without the time of day."""
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()
    return text.rstrip("\n")[10:]


@pytest.mark.parametrize(
    ("inbound", "answer", "reply", "seconds", "expected"),
    [
        (
            request(b'{"t": 21}', coapmethod="POST"),
            OK,
            Reply(Outcome.ACCEPTED, 200, None, b"thanks"),
            0.0124,
            'stub      192.0.2.7:40000 POST sensors/7 {"t": 21} → dev.thinbridge.coap.request → 200, 12 ms → thanks',
        ),
        (
            request(subject=None),
            OK,
            Reply(Outcome.ACCEPTED, 200),
            5.04,
            "stub      192.0.2.7:40000 / → dev.thinbridge.coap.request → 200, 5.0 s → done",
        ),
        (
            request(),
            Answer(Verdict.UNREACHED),
            Reply(Outcome.OVERLOADED),
            1.0,
            "stub      192.0.2.7:40000 sensors/7 → dev.thinbridge.coap.request"
            " → not reached, 1.0 s → not done, try again",
        ),
        (
            request(),
            Answer(Verdict.UNKNOWN, 503),
            Reply(Outcome.UNKNOWN, 503),
            60.0,
            "stub      192.0.2.7:40000 sensors/7 → dev.thinbridge.coap.request"
            " → 503, gave up, 60.0 s → perhaps not done",
        ),
        (
            request(b"\x00\x1b[31mred\xff\r\n\t\n"),
            OK,
            Reply(Outcome.ACCEPTED, 200, None, b"\x07\xe2\x80\xae"),
            0.0,
            r"stub      192.0.2.7:40000 sensors/7 \x00\x1b[31mred\xff\r\n\t → dev.thinbridge.coap.request"
            r" → 200, 0 ms → \x07\u202e",
        ),
        (
            request(b"x" * 500, subject="s" * 500),
            OK,
            Reply(Outcome.ACCEPTED),
            0.0,
            f"stub      192.0.2.7:40000 {'s' * 60}… {'x' * 60}… (500 B)"
            " → dev.thinbridge.coap.request → 200, 0 ms → done",
        ),
    ],
)
def test_a_message_is_one_line(
    capsys: pytest.CaptureFixture[str], inbound: Inbound, answer: Answer, reply: Reply, seconds: float, expected: str
) -> None:
    printer = Printer()
    printer.received(StubEndpoint(), session(), inbound, Event({}))
    printer.answered(StubEndpoint(), session(), inbound, answer, reply, seconds)
    assert line(capsys) == expected


@pytest.mark.parametrize(
    ("outcome", "heard"),
    [(Outcome.REFUSED, "refused, PUBREC 0x83 (MQTT 3.1.1: PUBREC)"), (Outcome.UNKNOWN, "perhaps not done, no PUBREC")],
)
def test_qos2_has_a_word_of_its_own(capsys: pytest.CaptureFixture[str], outcome: Outcome, heard: str) -> None:
    endpoint = StubEndpoint()
    endpoint.protocol = "mqtt"
    inbound = request()._replace(at_least_once=True, attributes={"mqttqos": "2"})
    Printer().answered(endpoint, session(), inbound, Answer(Verdict.REFUSED, 400), Reply(outcome, 400), 0.0)
    assert line(capsys).endswith(heard)


def test_nobody_is_shown_an_answer_that_nobody_gets(capsys: pytest.CaptureFixture[str]) -> None:
    inbound = Inbound(1, "dev.thinbridge.mqtt.message", "stub", {}, None, b"21", wants_reply=False)
    Printer().answered(StubEndpoint(), session(), inbound, OK, Reply(Outcome.ACCEPTED, 200, None, b"thanks"), 0.0)
    assert line(capsys) == "stub      192.0.2.7:40000 21 → dev.thinbridge.mqtt.message → 200, 0 ms → done"


@pytest.mark.parametrize(
    ("protocol", "at_least_once", "outcome", "heard"),
    [
        ("coap", False, Outcome.REFUSED, "send JSON"),
        ("udp", False, Outcome.REFUSED, "refused: send JSON, silence"),
        ("udp", False, Outcome.UNKNOWN, "perhaps not done, silence"),
        ("mqtt", True, Outcome.REFUSED, "refused: send JSON, PUBACK 0x99 (MQTT 3.1.1: PUBACK)"),
        ("mqtt", True, Outcome.UNKNOWN, "perhaps not done, no PUBACK"),
        ("mqtt", False, Outcome.REFUSED, "refused: send JSON, silence"),
        ("tftp", False, Outcome.REFUSED, "refused: send JSON"),
        ("udp", False, Outcome.ACCEPTED, "send JSON"),
    ],
)
def test_a_device_is_said_to_get_what_its_protocol_gives_it(
    capsys: pytest.CaptureFixture[str], protocol: str, at_least_once: bool, outcome: Outcome, heard: str
) -> None:
    endpoint = StubEndpoint()
    endpoint.protocol = protocol
    inbound = request()._replace(at_least_once=at_least_once)
    answer = Answer(Verdict.REFUSED, 415)
    Printer().answered(endpoint, session(), inbound, answer, Reply(outcome, 415, None, b"send JSON"), 0.0)
    assert line(capsys).rpartition(" → ")[2] == heard


@pytest.mark.parametrize(
    ("method", "reply", "heard"),
    [
        ("POST", Reply(Outcome.ACCEPTED, 200, None, b"thanks"), "2.04 thanks"),
        ("GET", Reply(Outcome.ACCEPTED, 200), "2.05 done"),
        ("GET", Reply(Outcome.ACCEPTED, 200, None, b"x", {"coapcode": "2.01"}, is_event=True), "2.01 x"),
        ("GET", Reply(Outcome.REFUSED, 415, None, b"send JSON", is_event=True), "4.15 send JSON"),
        ("GET", Reply(Outcome.UNKNOWN, 503), "5.04 perhaps not done"),
        ("GET", Reply(Outcome.OVERLOADED), "5.03 not done, try again"),
        ("GET", Reply(Outcome.PENDING, 202), "to be answered later"),
    ],
)
def test_a_coap_device_gets_a_code(capsys: pytest.CaptureFixture[str], method: str, reply: Reply, heard: str) -> None:
    for protocol in ("coap", "coap+tcp", "coap+oscore"):
        Printer().answered(Counting(protocol), session(), request(coapmethod=method), OK, reply, 0.0)
        assert line(capsys).rpartition(" → ")[2] == heard


def test_who_observes_is_told_from_who_asks_once(capsys: pytest.CaptureFixture[str]) -> None:
    inbound = request(coapmethod="GET", coapobserve="register")
    Printer().answered(Counting("coap"), session(), inbound, OK, Reply(Outcome.ACCEPTED, 200, None, b"20"), 0.0)
    assert " GET sensors/7 observe=register → " in line(capsys)


@pytest.mark.parametrize(
    ("protocol", "counter", "heard"),
    [
        ("mqtt", "not_subscribed", "answer dropped: not_subscribed"),
        ("mqtt", "outbound_too_large", "answer dropped: outbound_too_large"),
        ("udp", "amplification", "answer dropped: amplification"),
        ("coap", "range_invalid", "5.02 answer dropped: range_invalid"),
        ("coap", "no_response", "answer dropped: no_response"),
        ("coap", "reply_invalid", "2.04 on, dropped in part: reply_invalid"),
        ("coap", "no_route", "2.04 on"),
    ],
)
def test_an_answer_that_no_device_gets_is_no_success(
    capsys: pytest.CaptureFixture[str], protocol: str, counter: str, heard: str
) -> None:
    printer, endpoint, inbound = Printer(), Counting(protocol), request(coapmethod="POST")
    reply = Reply(Outcome.ACCEPTED, 200, None, b"on")
    for _ in range(2):
        printer.received(endpoint, session(), inbound, Event({}))
        endpoint.counts[counter] = endpoint.counts.get(counter, 0) + 1
        printer.answered(endpoint, session(), inbound, OK, reply, 0.0)
        assert line(capsys).rpartition(" → ")[2] == heard
    endpoint.counts[counter] += 1
    printer.pushed(endpoint, session(), Outbound(), PushResult.REFUSED)
    line(capsys)
    printer.answered(endpoint, session(), inbound, OK, reply, 0.0)  # nothing of this one was lost
    assert "dropped" not in line(capsys)


def test_drops_are_those_of_one_endpoint() -> None:
    drops, one, other = Drops(), Counting("mqtt"), Counting("mqtt")
    other.name = "other"
    other.counts["not_subscribed"] = 1
    assert (drops.look(one), drops.look(other), drops.look(other)) == ([], ["not_subscribed"], [])


def test_data_for_a_topic_that_the_function_chose_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    inbound = Inbound(1, "dev.thinbridge.mqtt.message", "a", {}, None, b"21", wants_reply=False)
    reply = Reply(Outcome.ACCEPTED, 200, None, b"on", {"mqtttopic": "lamp"}, is_event=True)
    Printer().answered(Counting("mqtt"), session(), inbound, OK, reply, 0.0)
    assert line(capsys).endswith("→ on")


@pytest.mark.parametrize(("mode", "told"), [(Mode.REQUEST, True), (Mode.EVENT, False), (Mode.LATER, False)])
def test_a_later_that_nobody_waits_for_is_told(capsys: pytest.CaptureFixture[str], mode: Mode, told: bool) -> None:
    printer = Printer()
    printer.routes = Routes([], Route(mode=mode))
    outcome = Outcome.PENDING if mode is Mode.LATER else Outcome.ACCEPTED
    printer.answered(StubEndpoint(), session(), request(), Answer(Verdict.ACCEPTED, 202), Reply(outcome, 202), 0.0)
    assert ("202, but this route's mode is request: see --mode later" in line(capsys)) is told


@pytest.mark.parametrize(
    ("failures", "status", "heard"),
    [
        ((NOT_STARTED, NOT_STARTED), 503, "not done, the function did not start"),
        ((NOT_STARTED, "500"), 503, "perhaps not done"),
        (("500", NOT_STARTED), 503, "perhaps not done"),
        ((NOT_STARTED,), 0, "perhaps not done"),  # started after all, and did not answer
    ],
)
def test_a_message_that_no_function_saw_was_not_done(
    capsys: pytest.CaptureFixture[str], failures: tuple[str, ...], status: int, heard: str
) -> None:
    printer = Printer()
    printer.received(StubEndpoint(), session(), request(), Event({"id": "one"}))
    for failure in failures:
        printer.failed(b"ce-id: one", failure)
    line(capsys)
    answer = Answer(Verdict.UNKNOWN, status)
    printer.answered(StubEndpoint(), session(), request(), answer, Reply(Outcome.UNKNOWN, status), 1.0)
    assert line(capsys).endswith(f" → {heard}")


def test_every_outcome_and_verdict_has_words(capsys: pytest.CaptureFixture[str]) -> None:
    for verdict in Verdict:
        for outcome in Outcome:
            Printer().answered(StubEndpoint(), session("door"), request(), Answer(verdict), Reply(outcome), 0.1)
            assert "door sensors/7 → " in line(capsys)


def test_a_message_that_is_tried_again_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    printer, endpoint = Printer(), StubEndpoint()
    for exchange, id in enumerate(("one", "two"), 1):
        printer.received(endpoint, session(), request(b"21")._replace(exchange=exchange), Event({"id": id}))
    printer.failed(b"POST / HTTP/1.1\r\nce-id: two\r\n", "500")
    told = "stub      192.0.2.7:40000 sensors/7 21 → dev.thinbridge.coap.request → 500 → kept and tried again"
    assert line(capsys) == told
    printer.failed(b"POST / HTTP/1.1\r\nce-id: two\r\n", "500")
    printer.answered(endpoint, session(), request(), OK, Reply(Outcome.ACCEPTED), 0.0)
    line(capsys)
    printer.failed(b"POST / HTTP/1.1\r\nce-id: one\r\n", "500")  # has its answer
    assert capsys.readouterr().out == ""


def test_a_push_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Printer().pushed(StubEndpoint(), session("\x1bdoor"), Outbound(data=b"open"), PushResult.QUEUED)
    assert line(capsys) == r"stub      push open → \x1bdoor → queued"
    Printer().pushed(StubEndpoint(), session(peer=""), Outbound(), PushResult.GONE)
    assert line(capsys) == "stub      push → 5e55 → gone"


def test_what_is_published_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Printer().published(StubEndpoint(), "rooms/\x1b7", Outbound(data=b"21"), 1)
    assert line(capsys) == r"stub      publish 21 → rooms/\x1b7 → 1 observer"
    Printer().published(StubEndpoint(), "clock", Outbound(), 300)
    assert line(capsys) == "stub      publish → clock → 300 observers"


def test_what_the_function_says_is_harmless_too(capsys: pytest.CaptureFixture[str]) -> None:
    Printer().output("\x1b]0;title\x07" + "x" * 1000)
    assert line(capsys) == rf"function  | \x1b]0;title\x07{'x' * 384}…"
    Printer().trouble("function", "did not start:\n\x1b[2J")
    assert line(capsys) == r"function  did not start:\n\x1b[2J"


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("thinbridge.cli.dev.printer.colourful", lambda: True)
    Printer().answered(StubEndpoint(), session(), request(), OK, Reply(Outcome.ACCEPTED), 0.1)
    Printer().answered(StubEndpoint(), session(), request(), OK, Reply(Outcome.REFUSED), 0.1)
    good, bad = capsys.readouterr().out.splitlines()
    assert "\x1b[32m200, 100 ms\x1b[0m" in good
    assert "\x1b[31m200, 100 ms\x1b[0m" in bad
    endpoint = Counting("mqtt")
    endpoint.counts["not_subscribed"] = 1
    Printer().answered(endpoint, session(), request(), OK, Reply(Outcome.ACCEPTED, 200, None, b"on"), 0.1)
    assert "\x1b[31manswer dropped: not_subscribed\x1b[0m" in capsys.readouterr().out


def test_a_reader_that_left_does_not_stop_the_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> None:
            raise BrokenPipeError

        flush = isatty = lambda self: None

    monkeypatch.setattr(sys, "stdout", Closed())
    Printer().say("bridge", "nobody reads this")
