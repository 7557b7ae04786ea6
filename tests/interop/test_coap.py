"""CoAP by independent clients: libcoap's and aiocoap's, and by a raw socket, against a whole bridge."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import aiocoap
import pytest
from tests.interop.bridges import World, run, world

from thinbridge.protocols.coap.codec import Message, decode, empty, encode
from thinbridge.protocols.coap.codes import CHANGED, EMPTY, GATEWAY_TIMEOUT, POST, SERVICE_UNAVAILABLE, Option, Type
from thinbridge.testing.function import Answer, Posted

libcoap = pytest.mark.peer("coap-client-notls")


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scene())  # type: ignore[arg-type]


def slow(seconds: float) -> Callable[[Posted], Answer]:
    """A function that takes its time, as one does whose pod has to start."""
    return lambda posted: Answer(200, {"content-type": "text/plain"}, b"at last", after=seconds)


async def client(w: World, *arguments: object, path: str = "/sensors/7") -> str:
    """What libcoap's client prints; it exits with 0 whatever happens."""
    _, output = await run("coap-client-notls", "-B", 7, *arguments, f"coap://127.0.0.1:{w.coap}{path}", seconds=8)
    return output.strip()


# --- libcoap ---------------------------------------------------------------------------------------------------


@libcoap
@pytest.mark.parametrize("method", ["get", "post", "put", "delete", "fetch", "patch", "ipatch"])
@pytest.mark.parametrize("confirmable", [True, False], ids=["CON", "NON"])
def test_methods(method: str, confirmable: bool) -> None:
    async def scene() -> None:
        async with world(lambda posted: Answer(200, {"content-type": "text/plain"}, posted.body or b"nothing")) as w:
            payload = [] if method in ("get", "delete") else ["-e", "21.5", "-t", "text/plain"]
            said = await client(w, *payload, *([] if confirmable else ["-N"]), "-m", method, path="/sensors/7?unit=C")
            assert said == ("21.5" if payload else "nothing")
            [posted] = w.sink.accepted
            assert posted.headers["ce-subject"] == "sensors/7"
            assert posted.headers["ce-coapquery"] == "unit=C"
            assert posted.headers["ce-coapmethod"].lower() == method

    play(scene)


@libcoap
@pytest.mark.parametrize("confirmable", [True, False], ids=["CON", "NON"])
def test_a_slow_function(confirmable: bool) -> None:
    async def scene() -> None:
        async with world(slow(3.0)) as w:
            assert await client(w, "-m", "post", "-e", "x", *([] if confirmable else ["-N"])) == "at last"
            assert len(w.sink.posted) == 1

    play(scene)


@libcoap
@pytest.mark.parametrize("after", [0.0, 2.5], ids=["piggybacked", "separate"])
def test_loss(after: float) -> None:
    """The client's first datagram is lost; with a slow function, so is its ACK of the separate response."""

    async def scene() -> None:
        async with world(slow(after)) as w:
            assert await client(w, "-l", "1,3", "-m", "post", "-e", "x") == "at last"
            assert len(w.sink.posted) == 1

    play(scene)


@libcoap
def test_a_client_at_an_address_that_nothing_has_proven() -> None:
    async def scene() -> None:
        async with world(trusted_networks=[]) as w:
            assert await client(w, "-m", "post", "-e", "x") == "x"
            assert w.bridge.endpoints[0].counters["challenged"] == 1
            assert len(w.sink.posted) == 1

    play(scene)


@libcoap
def test_what_the_function_refuses() -> None:
    async def scene() -> None:
        async with world(lambda posted: Answer(422, body=b"no such unit")) as w:
            assert await client(w, "-m", "post", "-e", "x") == "4.22 no such unit"

    play(scene)


# --- aiocoap ---------------------------------------------------------------------------------------------------


async def request(w: World, code: aiocoap.Code, payload: bytes = b"", **options: object) -> aiocoap.Message:
    """One request by aiocoap; a challenge is answered here, as aiocoap hands it to its user."""
    context = await aiocoap.Context.create_client_context()
    try:
        uri = f"coap://127.0.0.1:{w.coap}/sensors/7"
        message = aiocoap.Message(code=code, uri=uri, payload=payload, **options)
        response = await asyncio.wait_for(context.request(message).response, 8)
        if response.opt.echo is not None:
            message = aiocoap.Message(code=code, uri=uri, payload=payload, echo=response.opt.echo, **options)
            response = await asyncio.wait_for(context.request(message).response, 8)
        return response
    finally:
        await context.shutdown()


@pytest.mark.parametrize("after", [0.0, 2.0], ids=["piggybacked", "separate"])
@pytest.mark.parametrize("trusted", [["127.0.0.0/8"], []], ids=["trusted", "challenged"])
def test_aiocoap(after: float, trusted: list[str]) -> None:
    async def scene() -> None:
        async with world(slow(after), trusted_networks=trusted) as w:
            response = await request(w, aiocoap.POST, b"21.5", content_format=0)
            assert (response.code, response.payload) == (aiocoap.CHANGED, b"at last")
            assert response.opt.content_format == 0
            [posted] = w.sink.accepted
            assert posted.headers["content-type"] == "text/plain;charset=utf-8"
            assert posted.body == b"21.5"

    play(scene)


def test_aiocoap_reads_etag_location_and_age() -> None:
    async def scene() -> None:
        headers = {"etag": '"abc"', "location": "/rooms/a%20b?x=1", "cache-control": "max-age=300"}
        async with world(lambda posted: Answer(201, headers, b"{}")) as w:
            response = await request(w, aiocoap.PUT, b"{}")
            assert response.code == aiocoap.CREATED
            assert (response.opt.etag, response.opt.max_age) == (b"abc", 300)
            assert (response.opt.location_path, response.opt.location_query) == (("rooms", "a b"), ("x=1",))

    play(scene)


# --- A raw socket ----------------------------------------------------------------------------------------------


class Wire(asyncio.DatagramProtocol):
    """A device that says what it is told to, and writes down what it hears, and when."""

    transport: asyncio.DatagramTransport

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[float, Message]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.heard.put_nowait((time.monotonic(), decode(data)))

    async def hear(self, seconds: float) -> tuple[float, Message]:
        """The next datagram: when it came, and what it is."""
        return await asyncio.wait_for(self.heard.get(), seconds)


@asynccontextmanager
async def wire(w: World) -> AsyncIterator[Wire]:
    loop = asyncio.get_running_loop()
    transport, device = await loop.create_datagram_endpoint(Wire, remote_addr=("127.0.0.1", w.coap))
    device.transport = transport
    try:
        yield device
    finally:
        device.transport.close()


REQUEST = encode(Message(Type.CON, POST, 0x1234, b"tok", [(Option.URI_PATH, b"a")], b"x"))
EMPTY_ACK = Message(Type.ACK, EMPTY, 0x1234)


def test_a_cold_start_on_the_wire() -> None:
    async def scene() -> None:
        async with world(slow(1.8)) as w, wire(w) as device:
            begin = time.monotonic()
            device.transport.sendto(REQUEST)
            at, message = await device.hear(1.5)
            assert message == EMPTY_ACK
            assert at - begin < 1.5
            for _ in range(3):
                device.transport.sendto(REQUEST)
                assert (await device.hear(0.5))[1] == EMPTY_ACK
            times, responses = zip(*[await device.hear(4) for _ in range(2)], strict=True)
            assert responses[0] == responses[1]
            response = responses[0]
            assert (response.type, response.code, response.token) == (Type.CON, CHANGED, b"tok")
            assert response.payload == b"at last"
            [gap] = [after - before for before, after in pairwise(times)]
            assert 1.9 < gap < 3.5  # ACK_TIMEOUT · [1, ACK_RANDOM_FACTOR]
            assert not w.bridge.endpoints[0].settled
            device.transport.sendto(empty(Type.ACK, response.mid))
            device.transport.sendto(REQUEST)
            assert (await device.hear(0.5))[1] == EMPTY_ACK
            assert w.bridge.endpoints[0].settled
            assert device.heard.empty()
            assert len(w.sink.posted) == 1

    play(scene)


def test_a_repeat_after_the_answer_hears_it_again() -> None:
    async def scene() -> None:
        async with world() as w, wire(w) as device:
            heard = []
            for _ in range(3):
                device.transport.sendto(REQUEST)
                heard.append((await device.hear(2))[1])
            assert heard[0] == heard[1] == heard[2]
            assert (heard[0].type, heard[0].mid, heard[0].payload) == (Type.ACK, 0x1234, b"x")
            assert len(w.sink.posted) == 1

    play(scene)


def test_the_sink_is_down_and_comes_back() -> None:
    async def scene() -> None:
        async with world() as w, wire(w) as device:
            await w.sink.stop()
            device.transport.sendto(REQUEST)
            message = (await device.hear(7))[1]
            if message == EMPTY_ACK:  # the retries took longer than an ACK may
                message = (await device.hear(7))[1]
            assert message.code == SERVICE_UNAVAILABLE
            assert message.get(Option.MAX_AGE)
            assert not w.sink.posted
            await w.sink.start()
            again = encode(Message(Type.CON, POST, 0x1235, b"tok", [], b"y"))
            device.transport.sendto(again)
            assert (await device.hear(2))[1].payload == b"y"

    play(scene)


def test_a_drain_answers_what_is_open_and_refuses_what_is_new() -> None:
    async def scene() -> None:
        async with world(slow(0.5)) as w, wire(w) as device:
            device.transport.sendto(REQUEST)
            device.transport.sendto(empty(Type.CON, 7))
            assert (await device.hear(1))[1] == Message(Type.RST, EMPTY, 7)
            draining = asyncio.create_task(w.bridge.drain(5))
            await asyncio.sleep(0)
            device.transport.sendto(encode(Message(Type.CON, POST, 2, b"new")))
            refusal = (await device.hear(1))[1]
            assert (refusal.code, refusal.token) == (SERVICE_UNAVAILABLE, b"new")
            assert refusal.get(Option.MAX_AGE) == b"\1"
            assert (await device.hear(2))[1].payload == b"at last"
            assert await draining
            assert len(w.sink.posted) == 1

    play(scene)


def test_what_a_stop_leaves_open_hears_so() -> None:
    async def scene() -> None:
        async with world(slow(30)) as w, wire(w) as device:
            device.transport.sendto(REQUEST)
            device.transport.sendto(empty(Type.CON, 7))
            await device.hear(1)
            await w.bridge.drain(0.1)
            await w.bridge.stop()
            assert (await device.hear(1))[1].code == GATEWAY_TIMEOUT

    play(scene)
