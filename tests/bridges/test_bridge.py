"""The bridge: a real delivery to a real sink, endpoints played by the test.

Over 400 lines because it mirrors one module.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import pytest
from tests.bridges.stubs import StubEndpoint, StubSession
from tests.waiting import until

from thinbridge import contract
from thinbridge.bridge import Bridge
from thinbridge.delivery import Answer, Delivery
from thinbridge.errors import ListenError, SettingsError
from thinbridge.events import Event
from thinbridge.protocols.base import (
    Authorize,
    Closed,
    Decision,
    Endpoint,
    Inbound,
    Opened,
    Outbound,
    Outcome,
    PushResult,
    Reply,
    Session,
)
from thinbridge.routes import Destination, Mode, Route, Routes
from thinbridge.testing import function
from thinbridge.testing.function import Sink

MESSAGE = Inbound(1, "dev.thinbridge.udp.datagram", "udp", {}, None, b"21.5")


class Eyes:
    """An observer that writes down what it sees."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def received(self, endpoint: Endpoint, session: Session, inbound: Inbound, event: Event) -> None:
        self.seen.append(f"received {event.data!r}")

    def answered(
        self, endpoint: Endpoint, session: Session, inbound: Inbound, answer: Answer, reply: Reply, seconds: float
    ) -> None:
        self.seen.append(f"answered {reply.outcome.value}")

    def pushed(self, endpoint: Endpoint, session: Session, outbound: Outbound, result: PushResult) -> None:
        self.seen.append(f"pushed {result.name}")

    def published(self, endpoint: Endpoint, subject: str, outbound: Outbound, count: int) -> None:
        self.seen.append(f"published {subject} to {count}")


class World:
    def __init__(self, bridge: Bridge, endpoint: StubEndpoint, sink: Sink, eyes: Eyes) -> None:
        self.bridge, self.endpoint, self.sink, self.eyes = bridge, endpoint, sink, eyes
        self.session = StubSession()

    def report(self, event: Inbound | Opened | Authorize | Closed = MESSAGE) -> None:
        self.endpoint.report(self.endpoint, self.session, event)

    async def posted(self, count: int = 1) -> list[function.Posted]:
        await until(lambda: len(self.sink.posted) >= count)
        return self.sink.posted

    async def replies(self, count: int = 1) -> list[Reply]:
        await until(lambda: len(self.endpoint.answers) >= count)
        return [reply for _, _, reply in self.endpoint.answers]

    async def replyto(self) -> tuple[str, int]:
        """Token and exchange of the reply address in the newest event."""
        url = (await self.posted())[-1].headers["ce-replyto"]
        token, number = url.removeprefix("http://bridge.example/r/").split("/")
        return token, int(number)


@asynccontextmanager
async def world(mode: Mode = Mode.REQUEST, script: function.Script = function.echo) -> AsyncIterator[World]:
    async with Sink(script) as sink:
        endpoint, eyes = StubEndpoint(), Eyes()
        route = Route(sink=Destination(sink.url), mode=mode, timeout=5.0)
        bridge = Bridge(
            [endpoint],
            Delivery(),
            Routes([], route),
            replyto="http://bridge.example",
            entropy=random.Random(1).randbytes,
            observer=eyes,
        )
        await bridge.start()
        yield World(bridge, endpoint, sink, eyes)
        await bridge.stop()


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(main())  # type: ignore[arg-type]


def accepted(status: int = 202) -> function.Script:
    return lambda posted: function.Answer(status)


def test_a_message_becomes_an_event_and_the_answer_a_reply() -> None:
    async def main() -> None:
        async with world() as w:
            w.report()
            assert await w.replies() == [Reply(Outcome.ACCEPTED, 200, "application/octet-stream", b"21.5")]
            [posted] = w.sink.posted
            assert posted.headers["ce-type"] == MESSAGE.type
            assert posted.headers["prefer"] == "reply"
            assert "ce-replyby" in posted.headers
            assert w.eyes.seen == ["received b'21.5'", "answered accepted"]

    run(main)


def test_a_message_that_its_device_keeps_has_no_replyby() -> None:
    async def main() -> None:
        async with world() as w:
            w.report(MESSAGE._replace(at_least_once=True))
            assert "ce-replyby" not in (await w.posted())[0].headers
            await w.replies()

    run(main)


def test_everyone_may_connect_who_is_not_told_otherwise() -> None:
    async def main() -> None:
        async with world() as w:
            w.report(Authorize("connect", "pump-7"))
            w.report(Opened())
            assert w.endpoint.decisions == [Decision(True)]

    run(main)


def test_later_the_answer_comes_by_replyto() -> None:
    async def main() -> None:
        async with world(Mode.LATER, accepted()) as w:
            w.report()
            assert await w.replies() == [Reply(Outcome.PENDING, 202)]
            token, number = await w.replyto()
            assert await w.bridge.post(token, number, Outbound("text/plain", b"on")) is PushResult.DELIVERED
            assert (await w.replies(2))[1] == Reply(Outcome.ACCEPTED, 200, "text/plain", b"on")
            assert await w.bridge.post(token, number, Outbound("text/plain", b"again")) is PushResult.DELIVERED
            assert w.endpoint.pushes == [(w.session, 1, Outbound("text/plain", b"again"))]
            assert w.eyes.seen[-2:] == ["pushed DELIVERED", "pushed DELIVERED"]

    run(main)


def test_later_the_session_may_have_given_up() -> None:
    async def main() -> None:
        async with world(Mode.LATER, accepted()) as w:
            w.report()
            await w.replies()
            token, number = await w.replyto()
            w.endpoint.takes_answers = False
            late = Outbound("text/plain", b"on")
            assert await w.bridge.post(token, number, late) is PushResult.DELIVERED
            assert w.endpoint.pushes == [(w.session, 1, late)]  # the exchange is over, the session is not
            w.report(MESSAGE._replace(exchange=2))
            await w.replies(3)
            w.session.closed = True  # and its owner is about to forget it
            assert await w.bridge.post(token, 2, late) is PushResult.GONE

    run(main)


def test_later_an_answer_that_overtakes_the_sinks_202_waits_for_it() -> None:
    async def main() -> None:
        async with world(Mode.LATER) as w:
            release = asyncio.Event()

            def slow(posted: function.Posted) -> function.Answer:
                return function.Answer(202, after=0.05)

            w.sink.script = slow
            w.report()
            token, number = await w.replyto()
            assert await w.bridge.post(token, number, Outbound(None, b"early")) is PushResult.QUEUED
            assert await w.bridge.post(token, number, Outbound(None, b"second")) is PushResult.BUSY
            assert w.endpoint.answers == []
            assert await w.replies() == [Reply(Outcome.ACCEPTED, 200, None, b"early")]
            release.set()

    run(main)


@pytest.mark.parametrize(("body", "pushed"), [(b"", []), (b"the sink's own", [Outbound(None, b"early")])])
def test_later_an_answer_that_overtakes_the_sinks_200_is_not_lost(body: bytes, pushed: list[Outbound]) -> None:
    async def main() -> None:
        async with world(Mode.LATER, lambda posted: function.Answer(200, body=body, after=0.05)) as w:
            w.report()
            token, number = await w.replyto()
            assert await w.bridge.post(token, number, Outbound(None, b"early")) is PushResult.QUEUED
            [reply] = await w.replies()
            assert (reply.outcome, reply.data) == (Outcome.ACCEPTED, body or b"early")
            assert [outbound for _, _, outbound in w.endpoint.pushes] == pushed

    run(main)


@pytest.mark.parametrize("at_least_once", [False, True])
def test_later_a_device_waits_until_replyby(at_least_once: bool) -> None:
    """However long the sink took; a message that its device keeps has no `replyby`: it waits from the 202 on."""

    async def main() -> None:
        async with world(Mode.LATER, lambda posted: function.Answer(202, after=0.05)) as w:
            w.report(MESSAGE._replace(at_least_once=at_least_once))
            await w.replies()
            [exchange] = w.bridge._directory.waiting()
            waits = exchange.pending.when() - exchange.started
            assert waits > 5.04 if at_least_once else waits == pytest.approx(5.0)

    run(main)


def test_later_and_never() -> None:
    async def main() -> None:
        async with world(Mode.LATER, accepted()) as w:
            w.bridge.routes = Routes([], replace(w.bridge.routes.match("", MESSAGE), timeout=0.05))
            w.report()
            assert await w.replies(2) == [Reply(Outcome.PENDING, 202), Reply(Outcome.UNKNOWN)]
            assert await w.bridge.drain(1)

    run(main)


def test_a_session_that_ends_takes_its_waiting_exchanges_along_but_no_delivery() -> None:
    async def main() -> None:
        async with world(Mode.LATER, accepted()) as w:
            w.report()
            await w.replies()
            token, number = await w.replyto()
            w.report(Closed())
            assert w.endpoint.answers[-1][2] == Reply(Outcome.UNKNOWN)
            assert await w.bridge.post(token, number, Outbound()) is PushResult.GONE
            assert await w.bridge.post("0" * 32, 1, Outbound()) is None
            w.report(Closed())  # of a session that never said a thing
            assert await w.bridge.drain(1)

    run(main)


def test_a_delivery_goes_on_when_its_session_is_gone() -> None:
    async def main() -> None:
        async with world(Mode.LATER, lambda posted: function.Answer(202, after=0.03)) as w:
            w.report()
            w.session.closed = True
            w.report(Closed())
            await w.replies()
            assert len(w.sink.accepted) == 1
            assert await w.bridge.drain(1)

    run(main)


def test_draining_waits_for_what_is_open_and_no_longer_than_told() -> None:
    async def main() -> None:
        async with world(script=lambda posted: function.Answer(200, after=0.05)) as w:
            w.report()
            assert await w.bridge.drain(5)
            assert len(w.endpoint.answers) == 1
            assert "drain" in w.endpoint.life
            assert w.bridge.ready()
        async with world(script=lambda posted: function.Answer(200, after=60)) as w:
            w.report()
            await w.posted()
            assert not await w.bridge.drain(0.01)
            await w.bridge.stop()
            assert w.endpoint.answers[0][2].outcome is Outcome.UNKNOWN
        async with world(Mode.LATER, accepted()) as w:
            w.report()
            await w.replies()
            await w.bridge.stop()
            assert w.endpoint.answers[-1][2].outcome is Outcome.UNKNOWN
            assert not w.bridge.ready()

    run(main)


def test_what_comes_in_the_very_last_turn_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with world() as w:
            faults: list[object] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
            close = w.bridge.delivery.close

            async def closes() -> None:
                await close()
                w.report()

            monkeypatch.setattr(w.bridge.delivery, "close", closes)
            await w.bridge.stop()
            await asyncio.sleep(0)
            assert [reply.outcome for _, _, reply in w.endpoint.answers] == [Outcome.UNKNOWN]
            assert faults == []

    run(main)


def test_draining_waits_for_acknowledgements_of_the_last_answers() -> None:
    async def main() -> None:
        async with world() as w:
            w.endpoint.unsettled = 2
            assert await w.bridge.drain(5)
            w.endpoint.unsettled = 1000
            assert not await w.bridge.drain(0.1)

    run(main)


def test_a_start_that_fails_leaves_nothing_open() -> None:
    async def main() -> None:
        good, bad = StubEndpoint("good"), StubEndpoint("bad")
        bad.fails = ListenError("listen", "udp:9000", "taken")
        bridge = Bridge([good, bad], Delivery(), Routes([], Route()))
        with pytest.raises(SettingsError):
            await bridge.start()
        assert good.life == ["open", "close"]
        assert not bridge.ready()
        assert bridge.live()

    run(main)


def test_what_can_not_be_used_is_named_as_a_key_of_its_listener() -> None:
    async def main() -> None:
        good, bad = StubEndpoint("good"), StubEndpoint("bad")
        bad.fails = SettingsError("tls_key", "key.pem", "give the PEM file of a private key")
        with pytest.raises(SettingsError, match=r"^listen\[1\].tls_key: key.pem: give the PEM file"):
            await Bridge([good, bad], Delivery(), Routes([], Route())).start()
        assert good.life == ["open", "close"]
        bad.fails = ListenError("listen", "udp://127.0.0.1:9000", "taken")
        with pytest.raises(ListenError, match=r"^listen: udp://127.0.0.1:9000: taken$"):
            await Bridge([bad], Delivery(), Routes([], Route())).start()

    run(main)


def test_what_health_tells() -> None:
    async def main() -> None:
        async with world() as w:
            w.report()
            await w.replies()
            assert w.bridge.state() == {
                "endpoints": [{"name": "stub", "url": "stub://", "protocol": "stub", "sessions": 0}],
                "in_flight": 0,
                "sinks": [
                    {"url": w.sink.url, "failing_since": None, "error": None, "held_up": 0, "held_up_since": None}
                ],
            }

    run(main)


def test_a_sink_that_fails_is_in_health_with_its_time() -> None:
    async def main() -> None:
        async with world(script=lambda posted: function.Answer(401)) as w:
            w.report()
            await until(lambda: w.sink.posted)
            await until(lambda: w.bridge.state()["sinks"][0]["error"])
            [sink] = w.bridge.state()["sinks"]
            assert sink["error"] == "answered 401"
            assert abs(datetime.fromisoformat(sink["failing_since"]).timestamp() - time.time()) < 60
            await w.bridge.delivery.close()

    run(main)


OPENED = Inbound(7, contract.SESSION_OPENED, None, {}, None, b"")


def test_a_sink_that_no_route_has_any_more_is_not_in_health() -> None:
    async def main() -> None:
        async with world() as w:
            w.report()
            await w.replies()
            [before] = w.bridge.state()["sinks"]
            other = Destination(f"{w.sink.url}other")
            w.bridge.reroute(Routes([], replace(w.bridge.routes._default, sink=other)))
            assert w.bridge.state()["sinks"] == []
            w.report(MESSAGE._replace(exchange=2))
            await w.replies(2)
            assert [sink["url"] for sink in w.bridge.state()["sinks"]] == [f"{before['url']}other"]

    run(main)


def test_a_session_s_beginning_is_nobody_s_business_unless_a_route_asks() -> None:
    async def main() -> None:
        async with world() as w:
            w.report(OPENED)
            w.report()
            await w.posted()
            assert [posted.headers["ce-type"] for posted in w.sink.posted] == [MESSAGE.type]
            assert w.endpoint.answers[0][1:] == (7, Reply(Outcome.ACCEPTED))
            sessions = replace(w.bridge.routes._default, sessions=True)
            w.bridge.reroute(Routes([], sessions))
            w.report(OPENED)
            await w.posted(2)
            assert w.sink.posted[1].headers["ce-type"] == OPENED.type

    run(main)


def test_one_at_a_time_where_the_route_says_so() -> None:
    async def main() -> None:
        async with world() as w:
            w.bridge.reroute(Routes([], replace(w.bridge.routes._default, ordered=True)))
            for number in (1, 2, 3):
                w.report(MESSAGE._replace(exchange=number, data=b"%d" % number))
            assert w.bridge.delivery.in_flight == 1
            assert w.bridge.delivery.held_bytes > 0
            await w.replies(3)
            assert [posted.body for posted in w.sink.posted] == [b"1", b"2", b"3"]
            assert w.bridge.delivery.held_bytes == 0

    run(main)


def test_what_waits_for_its_turn_is_bounded() -> None:
    async def main() -> None:
        async with world(script=lambda posted: function.Answer(after=5.0)) as w:
            w.bridge.reroute(Routes([], replace(w.bridge.routes._default, ordered=True)))
            w.bridge.delivery.limits = replace(w.bridge.delivery.limits, postponed=1)
            for number in (1, 2, 3):
                w.report(MESSAGE._replace(exchange=number))
            [reply] = await w.replies()
            assert reply.outcome is Outcome.OVERLOADED
            assert w.endpoint.answers[0][1] == 3

    run(main)


def test_a_post_to_a_subject_reaches_every_endpoint() -> None:
    async def main() -> None:
        async with world() as w:
            assert await w.bridge.publish("sensors/7", Outbound(None, b"21.5")) == 3
            assert w.endpoint.published == [("sensors/7", Outbound(None, b"21.5"))]
            assert w.eyes.seen == ["published sensors/7 to 3"]

    run(main)
