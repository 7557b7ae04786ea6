"""Forwarding to a real CoAP server, aiocoap's, on both loops: what is asked, answered, and left behind.

Over 400 lines because it mirrors one module.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiocoap
import pytest
from aiocoap import error, resource
from tests.bridges.delivery.real import LOOPS, deliver, run, settled

from thinbridge.delivery import Answer, Delivery, DeliveryLimits, Terms, Verdict
from thinbridge.delivery.cache import Cache
from thinbridge.delivery.forward import Forwarder
from thinbridge.delivery.retry import Failure
from thinbridge.delivery.sink import Sink
from thinbridge.events import Event
from thinbridge.routes import Destination

Script = Callable[[aiocoap.Message], aiocoap.Message]


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Server(resource.Resource, resource.PathCapable):  # type: ignore[misc]  # aiocoap has no types
    """Answers by a script; remembers what it was asked."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script
        self.asked: list[aiocoap.Message] = []
        self.waits = 0.0
        self.uri = ""

    async def render(self, request: aiocoap.Message) -> aiocoap.Message:
        self.asked.append(request)
        await asyncio.sleep(self.waits)
        return self.script(request)


@asynccontextmanager
async def server(
    script: Script, scheme: str = "coap", kind: type[Server] = Server, **limits: Any
) -> AsyncIterator[tuple[Server, Delivery]]:
    """A CoAP server, and a delivery; the server's port is free when it is over."""
    site = kind(script)
    transport = {"coap": "simplesocketserver", "coap+tcp": "tcpserver"}[scheme]
    port = free_port(scheme)
    context = await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", port), transports=[transport])
    site.uri = f"{scheme}://127.0.0.1:{port}/base"
    delivery = Delivery(DeliveryLimits(**limits), rng=lambda: 0.0)
    try:
        yield site, delivery
    finally:
        await delivery.close()
        await context.shutdown()


def free_port(scheme: str) -> int:
    import socket

    kind = socket.SOCK_DGRAM if scheme == "coap" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def asks(method: str = "GET", data: bytes = b"", **attributes: str) -> Event:
    """A CoAP device's request as an event."""
    own = {"specversion": "1.0", "id": "1", "source": "/b", "type": "dev.thinbridge.coap.request", "subject": "a"}
    return Event({**own, "coapmethod": method, **attributes}, data)


READING = Event({"specversion": "1.0", "id": "1", "source": "/b", "type": "dev.thinbridge.mqtt.message"}, b"21")


def content(payload: bytes, **options: Any) -> aiocoap.Message:
    return aiocoap.Message(code=aiocoap.CONTENT, payload=payload, **options)


def terms(site: Server, **more: Any) -> Terms:
    return Terms(Destination(site.uri), **more)


@pytest.mark.parametrize("scheme", ["coap", "coap+tcp"])
def test_a_request_and_its_answer(loop: str, scheme: str) -> None:
    async def scene() -> None:
        async with server(lambda request: content(b"21", etag=b"e", content_format=60), scheme) as (site, delivery):
            answer = await deliver(delivery, asks(), terms(site))
            assert (answer.verdict, answer.status, answer.body) == (Verdict.ACCEPTED, 200, b"21")
            assert answer.event is not None
            assert answer.event.attributes["coapcode"] == "2.05"
            assert answer.event.attributes["coapetag"] == "65"
            assert answer.event.attributes["datacontenttype"] == "application/cbor"
            [asked] = site.asked
            assert (asked.code, asked.opt.uri_path) == (aiocoap.GET, ("base", "a"))

    run(loop, scene)


def test_any_other_message_is_a_post(loop: str) -> None:
    async def scene() -> None:
        async with server(lambda request: aiocoap.Message(code=aiocoap.CHANGED)) as (site, delivery):
            answer = await deliver(delivery, READING, terms(site, retries=None))
            assert (answer.verdict, answer.status, answer.event) == (Verdict.ACCEPTED, 200, None)
            [asked] = site.asked
            assert (asked.code, asked.opt.uri_path, asked.payload) == (aiocoap.POST, ("base",), b"21")

    run(loop, scene)


def test_an_error_is_a_coap_devices_last_word_and_another_devices_second_try(loop: str) -> None:
    async def scene() -> None:
        codes = [aiocoap.SERVICE_UNAVAILABLE, aiocoap.SERVICE_UNAVAILABLE, aiocoap.CHANGED]

        async with server(lambda request: aiocoap.Message(code=codes.pop(0), max_age=0)) as (site, delivery):
            answer = await deliver(delivery, asks("POST"), terms(site))
            assert (answer.verdict, answer.status) == (Verdict.REFUSED, 503)
            assert answer.event is not None
            assert answer.event.attributes["coapcode"] == "5.03"
            answer = await deliver(delivery, READING, terms(site, retries=None))
            assert answer.verdict is Verdict.ACCEPTED
            assert len(site.asked) == 3

    run(loop, scene)


def test_long_bodies_go_in_blocks_both_ways(loop: str) -> None:
    async def scene() -> None:
        body = bytes(range(256)) * 40
        async with server(lambda request: aiocoap.Message(code=aiocoap.CHANGED, payload=request.payload[::-1])) as (
            site,
            delivery,
        ):
            answer = await deliver(delivery, asks("POST", body), terms(site))
            assert answer.body == body[::-1]
            assert [asked.payload for asked in site.asked] == [body]

    run(loop, scene)


@pytest.mark.parametrize("scheme", ["coap", "coap+tcp"])  # in blocks, and in one message
def test_a_response_over_the_limit_is_no_answer(loop: str, scheme: str) -> None:
    async def scene() -> None:
        async with server(lambda request: content(b"x" * 5000), scheme, body=3000) as (site, delivery):
            answer = await deliver(delivery, asks(), terms(site))
            assert answer.verdict is Verdict.BAD_GATEWAY
            assert delivery.counters["too_large"] == 1

    run(loop, scene)


def test_a_representation_that_changes_on_the_way_is_no_answer(loop: str) -> None:
    """Each block is of another one."""

    class Changing(Server):
        async def needs_blockwise_assembly(self, request: aiocoap.Message) -> bool:
            return False

    async def scene() -> None:
        def script(request: aiocoap.Message) -> aiocoap.Message:
            number = request.opt.block2.block_number if request.opt.block2 else 0
            return content(b"x" * 1024, etag=b"%d" % number, block2=(number, True, 6))

        async with server(script) as (site, delivery):
            site.__class__ = Changing
            answer = await deliver(delivery, asks(), terms(site))
            assert answer.event is not None
            assert answer.event.attributes["coapcode"] == "5.02"

    run(loop, scene)


def test_a_server_that_wants_smaller_blocks_gets_them(loop: str) -> None:
    class Small(Server):
        async def needs_blockwise_assembly(self, request: aiocoap.Message) -> bool:
            return False

    async def scene() -> None:
        got: list[tuple[int, int]] = []

        def script(request: aiocoap.Message) -> aiocoap.Message:
            block = request.opt.block1
            got.append((block.start, len(request.payload)))
            code = aiocoap.CONTINUE if block.more else aiocoap.CHANGED
            return aiocoap.Message(code=code, block1=(block.block_number, block.more, 4))

        async with server(script) as (site, delivery):
            site.__class__ = Small
            answer = await deliver(delivery, asks("POST", b"x" * 1500), terms(site))
            assert answer.verdict is Verdict.ACCEPTED
            assert got == [(0, 1024), (1024, 256), (1280, 220)]

    run(loop, scene)


def test_an_upload_that_is_refused_ends_there(loop: str) -> None:
    class Full(Server):
        async def needs_blockwise_assembly(self, request: aiocoap.Message) -> bool:
            return False

    async def scene() -> None:
        async with server(lambda request: aiocoap.Message(code=aiocoap.REQUEST_ENTITY_TOO_LARGE)) as (site, delivery):
            site.__class__ = Full
            answer = await deliver(delivery, asks("POST", b"x" * 5000), terms(site))
            assert (answer.status, len(site.asked)) == (413, 1)

    run(loop, scene)


def test_what_is_fresh_is_not_asked_for_again_until_something_changes(loop: str) -> None:
    async def scene() -> None:
        def script(request: aiocoap.Message) -> aiocoap.Message:
            return content(b"21") if request.code == aiocoap.GET else aiocoap.Message(code=aiocoap.CHANGED)

        async with server(script) as (site, delivery):
            for _ in range(3):
                assert (await deliver(delivery, asks(), terms(site))).body == b"21"
            assert len(site.asked) == 1
            await deliver(delivery, asks("PUT", b"22"), terms(site))
            await deliver(delivery, asks(), terms(site))
            assert [asked.code for asked in site.asked] == [aiocoap.GET, aiocoap.PUT, aiocoap.GET]
            assert delivery.counters["cache_hits"] == 2

    run(loop, scene)


def test_a_refused_change_leaves_what_is_kept(loop: str) -> None:
    async def scene() -> None:
        def script(request: aiocoap.Message) -> aiocoap.Message:
            return content(b"21") if request.code == aiocoap.GET else aiocoap.Message(code=aiocoap.FORBIDDEN)

        async with server(script) as (site, delivery):
            for event in (asks(), asks("PUT"), asks()):
                await deliver(delivery, event, terms(site))
            assert len(site.asked) == 2

    run(loop, scene)


def test_what_is_stale_is_validated(loop: str) -> None:
    async def scene() -> None:
        def script(request: aiocoap.Message) -> aiocoap.Message:
            if b"e1" in request.opt.etags:
                return aiocoap.Message(code=aiocoap.VALID, etag=b"e1")
            return content(b"21", etag=b"e1", max_age=0)

        async with server(script) as (site, delivery):
            for _ in range(3):
                assert (await deliver(delivery, asks(), terms(site))).body == b"21"
            assert [asked.opt.etags for asked in site.asked] == [(), (b"e1",)]
            assert delivery.counters["cache_validated"] == 1

    run(loop, scene)


def test_a_server_that_wants_to_know_that_a_request_is_fresh_is_told(loop: str) -> None:
    async def scene() -> None:
        def script(request: aiocoap.Message) -> aiocoap.Message:
            if request.opt.echo == b"now":
                return aiocoap.Message(code=aiocoap.CHANGED)
            return aiocoap.Message(code=aiocoap.UNAUTHORIZED, echo=b"now" if request.payload == b"21" else b"never")

        async with server(script) as (site, delivery):
            assert (await deliver(delivery, asks("POST", b"21"), terms(site))).verdict is Verdict.ACCEPTED
            assert [asked.opt.echo for asked in site.asked] == [None, b"now"]
            answer = await deliver(delivery, asks("POST", b"22"), terms(site))
            assert answer.event is not None
            assert answer.event.attributes["coapcode"] == "4.01"  # once more is enough
            assert len(site.asked) == 4

    run(loop, scene)


def test_long_bodies_for_one_resource_go_one_after_the_other(loop: str) -> None:
    """Who has no Request-Tag would take the blocks of two for one body (RFC 7959 §2.4)."""

    async def scene() -> None:
        bodies = [bytes((number,)) * 3000 for number in range(4)]
        parts: list[bytes] = []

        def script(request: aiocoap.Message) -> aiocoap.Message:
            block = request.opt.block1
            parts.append(request.payload)
            return aiocoap.Message(code=aiocoap.CONTINUE if block.more else aiocoap.CHANGED, block1=block)

        class Bare(Server):
            """Its blocks are its own business."""

            async def needs_blockwise_assembly(self, request: aiocoap.Message) -> bool:
                return False

        async with server(script, kind=Bare) as (site, delivery):
            site.waits = 0.01
            elsewhere = asks("PUT", bodies[3], subject="b")
            events = [*(asks("PUT", body) for body in bodies[:3]), elsewhere]
            answers = await asyncio.gather(*(deliver(delivery, event, terms(site)) for event in events))
            assert {answer.verdict for answer in answers} == {Verdict.ACCEPTED}
            heard = b"".join(part for part in parts if part[0] != 3)
            assert sorted(heard[at : at + 3000] for at in (0, 3000, 6000)) == bodies[:3]
            assert parts.index(bodies[3][:1024]) < 4  # nobody waits for who is elsewhere

    run(loop, scene)


def test_the_last_hop_asks_nobody(loop: str) -> None:
    async def scene() -> None:
        async with server(lambda request: content(b"")) as (site, delivery):
            answer = await deliver(delivery, asks(coaphoplimit="1"), terms(site))
            assert (answer.status, len(site.asked)) == (508, 0)

    run(loop, scene)


@pytest.mark.parametrize("scheme", ["coap", "coap+tcp"])
def test_a_server_that_is_not_there(loop: str, scheme: str) -> None:
    async def scene() -> None:
        delivery = Delivery(rng=lambda: 0.0)
        there = Destination(f"{scheme}://127.0.0.1:{free_port(scheme)}/")
        answer = await deliver(delivery, asks(), Terms(there))
        assert answer.verdict is Verdict.UNREACHED
        assert delivery.counters["unreachable"] == 4
        assert delivery.sinks[0].error == "connection refused or unreachable"
        await delivery.close()

    run(loop, scene)


def test_who_is_not_alone_can_not_tell_whose_error_it_is(loop: str) -> None:
    async def scene() -> None:
        delivery = Delivery(rng=lambda: 0.0)
        there = Terms(Destination(f"coap://127.0.0.1:{free_port('coap')}/"), retries=0)
        events = [asks("FETCH", b"%d" % number) for number in range(3)]
        answers = await asyncio.gather(*(deliver(delivery, event, there) for event in events))
        assert {answer.verdict for answer in answers} == {Verdict.UNKNOWN}
        assert delivery.counters["lost"] == 3
        await delivery.close()

    run(loop, scene)


@pytest.mark.parametrize(
    ("problem", "failure"),
    [
        (error.ResolutionError(), Failure.NAME),
        (error.ConRetransmitsExceeded(), Failure.TIMEOUT),
        (error.MessageError(), Failure.LOST),
        (error.RemoteServerShutdown(), Failure.LOST),
        (error.UnparsableMessage(), Failure.MALFORMED),
        (ValueError(), Failure.MALFORMED),
    ],
)
def test_failures(problem: Exception, failure: Failure) -> None:
    sink = Sink(Destination("coap://server/"))
    running = asyncio.new_event_loop()
    limits = DeliveryLimits()
    forwarder = Forwarder(sink, limits, running, Cache(limits, Counter()), Counter())
    assert forwarder.failure(problem, alone=True) is failure
    with pytest.raises(NotImplementedError):
        forwarder.renew(None)  # type: ignore[arg-type]
    running.close()


def test_a_server_without_an_address(loop: str) -> None:
    async def scene() -> None:
        delivery = Delivery(rng=lambda: 0.0)
        answer = await deliver(delivery, asks(), Terms(Destination("coap://nowhere.invalid/"), retries=0))
        assert answer.verdict is Verdict.UNREACHED
        assert delivery.counters["name"] == 1
        await delivery.close()

    run(loop, scene)


def test_a_server_that_comes_back_is_found(loop: str) -> None:
    async def scene() -> None:
        delivery = Delivery(rng=lambda: 0.0)
        port = free_port("coap")
        there = Terms(Destination(f"coap://127.0.0.1:{port}/"), retries=0)
        assert (await deliver(delivery, asks(), there)).verdict is Verdict.UNREACHED
        site = Server(lambda request: content(b"back"))
        bind = ("127.0.0.1", port)
        context = await aiocoap.Context.create_server_context(site, bind=bind, transports=["simplesocketserver"])
        assert (await deliver(delivery, asks(), there)).body == b"back"
        await delivery.close()
        await context.shutdown()

    run(loop, scene)


def test_a_connection_that_the_server_closes_is_made_anew(loop: str) -> None:
    async def scene() -> None:
        async with server(lambda request: content(request.payload), "coap+tcp") as (site, delivery):
            for number in (b"1", b"2"):
                assert (await deliver(delivery, asks("FETCH", number), terms(site))).body == number
                [forwarder] = delivery._pools.values()
                assert isinstance(forwarder, Forwarder)
                assert forwarder._line is not None
                site.asked[-1].remote._transport.close()
                await settled(lambda line=forwarder._line: line.closed)  # type: ignore[misc]

    run(loop, scene)


def test_a_server_that_resets_may_have_seen_it(loop: str) -> None:
    """A RST: by a socket that says so to everything."""

    class Rude(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(b"\x70\0" + data[2:4], addr)

    async def scene() -> None:
        running = asyncio.get_running_loop()
        transport, _ = await running.create_datagram_endpoint(Rude, local_addr=("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        delivery = Delivery(rng=lambda: 0.0)
        answer = await deliver(delivery, asks(), Terms(Destination(f"coap://127.0.0.1:{port}/"), retries=0))
        assert answer.verdict is Verdict.UNKNOWN
        assert delivery.counters["lost"] == 1
        await delivery.close()
        transport.close()

    run(loop, scene)


def test_a_server_that_takes_too_long_may_have_seen_it(loop: str) -> None:
    async def scene() -> None:
        async with server(lambda request: content(b"")) as (site, delivery):
            site.waits = 5.0
            answer = await deliver(delivery, asks(), terms(site, attempt_timeout=0.3, retries=0))
            assert answer.verdict is Verdict.UNKNOWN
            assert delivery.counters["timeout"] == 1

    run(loop, scene)


def test_a_server_that_was_silent_is_asked_anew(loop: str) -> None:
    """Not behind the CON that it was silent about (NSTART), which would be repeated for a minute and a half."""

    class Moody(asyncio.DatagramProtocol):
        ignored: Any = None

        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.ignored = self.ignored or addr
            if addr != self.ignored:
                self.transport.sendto(bytes((0x60 | data[0] & 15, 0x44)) + data[2 : 4 + (data[0] & 15)], addr)

    async def scene() -> None:
        running = asyncio.get_running_loop()
        transport, _ = await running.create_datagram_endpoint(Moody, local_addr=("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        delivery = Delivery(rng=lambda: 0.0)
        there = Terms(Destination(f"coap://127.0.0.1:{port}/"), attempt_timeout=0.3)
        answer = await deliver(delivery, asks("POST"), there, seconds=1.5)
        assert answer.verdict is Verdict.ACCEPTED
        assert delivery.counters["timeout"] == 1
        await delivery.close()
        transport.close()

    run(loop, scene)


def test_more_than_the_limit_wait_for_their_turn(loop: str) -> None:
    async def scene() -> None:
        async with server(lambda request: content(request.payload), connections=2) as (site, delivery):
            site.waits = 0.1
            events = [asks("FETCH", b"%d" % number) for number in range(6)]
            answers = await asyncio.gather(*(deliver(delivery, event, terms(site)) for event in events))
            assert [answer.body for answer in answers] == [b"%d" % number for number in range(6)]

    run(loop, scene)


def test_the_end_leaves_nothing(loop: str) -> None:
    """One waits for its answer, one for its turn."""

    async def scene() -> None:
        async with server(lambda request: content(b""), connections=1) as (site, delivery):
            site.waits = 5.0
            told: list[Answer] = []
            for number in range(2):
                delivery.deliver(asks("FETCH", b"%d" % number), terms(site), delivery_end(), told.append)
            await settled(lambda: bool(site.asked))
            await delivery.close()
            assert [answer.verdict for answer in told] == [Verdict.CANCELLED] * 2
        assert len(asyncio.all_tasks()) == 1 + len(
            [task for task in asyncio.all_tasks() if "aiocoap" in repr(task.get_coro())]
        )

    run(loop, scene)


def delivery_end() -> float:
    return asyncio.get_running_loop().time() + 30
