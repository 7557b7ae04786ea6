"""Observe by independent clients: libcoap's and aiocoap's, and by `thinbridge send`, against a whole bridge."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiocoap
import pytest
from tests.interop.bridges import World, world
from tests.waiting import until

from thinbridge.testing.function import Answer, Posted
from thinbridge_functions import Pushed, Reply, publish, push

GRANT = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "clock", "ce-type": "state", "content-type": "text/plain"}


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scene())  # type: ignore[arg-type]


def granting(grant: str = "true", **attributes: str) -> Callable[[Posted], Answer]:
    """A function that counts how often it is asked, and grants every observation."""
    asked = iter(range(1_000_000))
    headers = GRANT | {"ce-coapobserve": grant} | {f"ce-{name}": value for name, value in attributes.items()}
    return lambda posted: Answer(200, headers, b"asked %d\n" % next(asked))


class Client:
    """A program that observes, and prints."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.printed = ""

    async def prints(self, pattern: str) -> None:
        """Wait until it has printed something; what was before that is forgotten."""
        assert self.process.stdout is not None
        while not (found := re.search(pattern, self.printed)):
            data = await asyncio.wait_for(self.process.stdout.read(4096), 20)
            assert data, f"it ended without {pattern!r}: {self.printed!r}"
            self.printed += data.decode()
        self.printed = self.printed[found.end() :]

    async def ends(self) -> int:
        assert self.process.stdout is not None
        self.printed += (await asyncio.wait_for(self.process.stdout.read(), 20)).decode()
        return await asyncio.wait_for(self.process.wait(), 20)


@asynccontextmanager
async def observing(*command: object) -> AsyncIterator[Client]:
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=PIPE)
    try:
        yield Client(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def libcoap(w: World, seconds: int, *arguments: object) -> tuple[object, ...]:
    return (*("coap-client-notls", "-s", seconds, "-B", seconds + 2), *arguments, f"coap://127.0.0.1:{w.coap}/clock")


async def tell(w: World, data: str | Reply, subject: str = "clock") -> int:
    """Publish by the inbox, as a function does."""
    assert w.bridge.inbox is not None
    return await asyncio.to_thread(publish, w.bridge.inbox.url, subject, data)


async def told(w: World, replyto: str, data: str | Reply) -> Pushed:
    return await asyncio.to_thread(push, replyto, data)


# --- libcoap ---------------------------------------------------------------------------------------------------------


@pytest.mark.peer("coap-client-notls")
@pytest.mark.parametrize("kind", [[], ["-N"]], ids=["CON", "NON"])
def test_libcoap_observes(kind: list[str]) -> None:
    async def scene() -> None:
        async with world(granting()) as w, observing(*libcoap(w, 8, *kind)) as client:
            await client.prints("asked 0")
            [posted] = w.sink.accepted
            assert posted.headers["ce-coapobserve"] == "register"
            assert await tell(w, "one\n") == 1
            await client.prints("one")
            assert await tell(w, "elsewhere\n", "other") == 0
            assert await told(w, posted.headers["ce-replyto"], "two\n") in (Pushed.DELIVERED, Pushed.QUEUED)
            await client.prints("two")
            assert await client.ends() == 0
            await until(lambda: len(w.sink.accepted) == 2, 20)  # it cancels by a GET
            assert "ce-coapobserve" not in w.sink.accepted[1].headers
            assert await tell(w, "three\n") == 0
            assert await told(w, posted.headers["ce-replyto"], "four\n") is Pushed.REFUSED

    play(scene)


@pytest.mark.peer("coap-client-notls")
def test_libcoap_hears_what_the_function_is_asked_again() -> None:
    async def scene() -> None:
        async with world(granting("refresh", coapmaxage="1")) as w, observing(*libcoap(w, 10)) as client:
            for number in range(4):
                await client.prints(f"asked {number}")
            assert [one.headers["ce-coapobserve"] for one in w.sink.accepted[:3]] == ["register", "refresh", "refresh"]
            assert len({one.headers["ce-id"] for one in w.sink.accepted}) == len(w.sink.accepted)

    play(scene)


@pytest.mark.peer("coap-client-notls")
def test_libcoap_loses_notifications_and_hears_the_last_state() -> None:
    async def scene() -> None:
        async with world(granting()) as w, observing(*libcoap(w, 25, "-l", "30%")) as client:
            await client.prints("asked 0")
            for number in range(20):
                await tell(w, f"state {number}.\n")
                await asyncio.sleep(0.02)
            await client.prints(r"state 19\.")
            assert "state" not in client.printed

    play(scene)


@pytest.mark.peer("coap-client-notls")
def test_libcoap_is_told_that_it_is_over() -> None:
    async def scene() -> None:
        async with world(granting()) as w, observing(*libcoap(w, 10)) as client:
            await client.prints("asked 0")
            await tell(w, Reply("", coap_code="4.04"))
            await until(lambda: w.bridge.endpoints[0].settled, 20)
            assert await tell(w, "nobody hears it\n") == 0

    play(scene)


@pytest.mark.peer("coap-client-notls")
def test_libcoap_fetches_the_blocks_of_a_notification() -> None:
    async def scene() -> None:
        async with world(granting()) as w, observing(*libcoap(w, 8)) as client:
            await client.prints("asked 0")
            await tell(w, "a" * 3000 + "!\n")
            await client.prints("a{3000}!")
            assert len(w.sink.accepted) == 1

    play(scene)


@pytest.mark.peer("coap-client-notls")
def test_a_client_that_is_killed_is_forgotten() -> None:
    """Nobody listens at its port: the kernel says so by ICMP, and its next CONs are in vain."""

    async def scene() -> None:
        async with world(granting()) as w:
            async with observing(*libcoap(w, 60)) as client:
                await client.prints("asked 0")
            assert await tell(w, "nobody hears it\n") == 1
            assert await told(w, w.sink.accepted[0].headers["ce-replyto"], "nor this\n") is Pushed.QUEUED
            assert w.bridge.endpoints[0].sessions == 1

    play(scene)


# --- aiocoap ---------------------------------------------------------------------------------------------------------


def test_aiocoap_observes() -> None:
    async def scene() -> None:
        async with world(granting()) as w:
            context = await aiocoap.Context.create_client_context()
            try:
                uri = f"coap://127.0.0.1:{w.coap}/clock"
                request = context.request(aiocoap.Message(code=aiocoap.GET, uri=uri, observe=0))
                first = await asyncio.wait_for(request.response, 10)
                assert (first.code, first.payload) == (aiocoap.CONTENT, b"asked 0\n")
                assert first.opt.observe is not None
                states = aiter(request.observation)
                for number in range(3):
                    assert await tell(w, f"state {number}") == 1
                    notification = await asyncio.wait_for(anext(states), 10)
                    assert notification.payload == b"state %d" % number
                request.observation.cancel()
                del states, request
                replyto = w.sink.accepted[0].headers["ce-replyto"]
                results = [await told(w, replyto, f"one too many {number}") for number in range(3)]
                assert results[-1] in (Pushed.GONE, Pushed.REFUSED), results  # it answers by RST
                assert await tell(w, "nobody hears it") == 0
            finally:
                await context.shutdown()

    play(scene)


# --- thinbridge send -------------------------------------------------------------------------------------------------


def test_send_observes_for_a_while() -> None:
    async def scene() -> None:
        async with world(granting()) as w:
            url = f"coap://127.0.0.1:{w.coap}/clock"
            command = (sys.executable, "-m", "thinbridge.cli", "send", url, "--observe", "--stay", "3")
            async with observing(*command) as client:
                await client.prints("asked 0\n")
                await tell(w, "one\n")
                await client.prints("^one\n")
                assert await client.ends() == 0
                assert client.printed == ""
                assert await tell(w, "nobody hears it\n") == 0

    play(scene)


def test_send_says_that_there_is_nothing_to_observe() -> None:
    async def scene() -> None:
        async with world() as w:
            url = f"coap://127.0.0.1:{w.coap}/clock"
            command = (sys.executable, "-m", "thinbridge.cli", "send", url, "--observe", "--stay", "30")
            async with observing(*command) as client:
                assert await client.ends() == 0

    play(scene)
