"""CoAP over TCP, TLS and WebSocket, and under OSCORE and EDHOC, by libcoap's and aiocoap's clients."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiocoap
import pytest
from tests.bridges.adapters.coap.protected import make_context, make_edhoc
from tests.certificates import Authority
from tests.interop.aiocoap_peer import ask, device, place, play
from tests.interop.bridges import run
from tests.waiting import until

from thinbridge.cli.message import Message
from thinbridge.protocols.base import Outbound, PushResult
from thinbridge.testing.function import Answer, Posted

libcoap = pytest.mark.peer("coap-client-notls")


def slow(seconds: float) -> Callable[[Posted], Answer]:
    return lambda posted: Answer(200, {"content-type": "text/plain"}, b"at last", after=seconds)


TCP = "coap+tcp://127.0.0.1:0"


@libcoap
@pytest.mark.parametrize("method", ["get", "post", "put", "delete", "fetch", "patch", "ipatch"])
def test_libcoap_methods(method: str) -> None:
    async def scene() -> None:
        async with place(TCP, lambda posted: Answer(200, {"content-type": "text/plain"}, posted.body or b"none")) as p:
            payload = [] if method in ("get", "delete") else ["-e", "21.5", "-t", "text/plain"]
            _, said = await run("coap-client-notls", "-B", 7, *payload, "-m", method, f"{p.url}/sensors/7?unit=C")
            assert said.strip() == ("21.5" if payload else "none")
            [posted] = p.sink.accepted
            assert posted.headers["ce-type"] == "dev.thinbridge.coap.request"
            assert posted.headers["ce-subject"] == "sensors/7"
            assert posted.headers["ce-coapquery"] == "unit=C"
            assert posted.headers["ce-coapmethod"].lower() == method

    play(scene)


@libcoap
def test_libcoap_and_a_slow_function() -> None:
    async def scene() -> None:
        async with place(TCP, slow(2.5)) as p:
            _, said = await run("coap-client-notls", "-B", 7, "-m", "post", "-e", "x", f"{p.url}/a")
            assert said.strip() == "at last"
            assert len(p.sink.posted) == 1

    play(scene)


@libcoap
def test_libcoap_sends_much_and_gets_much() -> None:
    async def scene() -> None:
        async with place(TCP) as p:
            command = ("coap-client-notls", "-B", 7, "-m", "post", "-e", "x" * 20_000, f"{p.url}/a")
            _, said = await run(*command)
            assert said.strip() == "x" * 20_000
            assert [len(posted.body) for posted in p.sink.posted] == [20_000]

    play(scene)


def test_aiocoap() -> None:
    async def scene() -> None:
        headers = {"etag": '"abc"', "location": "/rooms/a%20b?x=1", "cache-control": "max-age=300"}
        async with place(TCP, lambda posted: Answer(201, headers, b"{}")) as p, device("tcpclient") as context:
            response = await ask(context, f"{p.url}/rooms", aiocoap.PUT, payload=b"{}", content_format=50)
            assert response.code == aiocoap.CREATED
            assert (response.opt.etag, response.opt.max_age) == (b"abc", 300)
            assert (response.opt.location_path, response.opt.location_query) == (("rooms", "a b"), ("x=1",))
            [posted] = p.sink.posted
            assert posted.headers["content-type"] == "application/json"
            await until(lambda: p.bridge.endpoints[0].sessions == 1)
        assert p.counters == {}

    play(scene)


@pytest.mark.parametrize("size", [1024, 1025, 70_000, 300_000])
def test_aiocoap_sends_much_and_gets_much(size: int) -> None:
    """In runs of blocks (BERT), as aiocoap does before it has seen our CSM, and after it."""

    async def scene() -> None:
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        async with place(TCP) as p, device("tcpclient") as context:
            for _ in range(2):
                response = await ask(context, f"{p.url}/a", payload=body)
                assert (response.code, response.payload) == (aiocoap.CHANGED, body)
            assert [posted.body == body for posted in p.sink.posted] == [True, True]

    play(scene)


def test_many_at_once_on_one_connection_answer_in_any_order() -> None:
    async def scene() -> None:
        def script(posted: Posted) -> Answer:
            return Answer(200, body=posted.body, after=0.3 if posted.body == b"0" else 0.0)

        async with place(TCP, script) as p, device("tcpclient") as context:
            answers = [ask(context, f"{p.url}/a", payload=str(number).encode()) for number in range(20)]
            assert [response.payload for response in await asyncio.gather(*answers)] == [b"%d" % n for n in range(20)]

    play(scene)


def test_a_device_that_goes_leaves_its_message() -> None:
    async def scene() -> None:
        async with place(TCP, slow(0.5)) as p:
            async with device("tcpclient") as context:
                request = context.request(aiocoap.Message(code=aiocoap.POST, uri=f"{p.url}/a", payload=b"x"))
                response = asyncio.ensure_future(request.response)
                await until(lambda: p.sink.posted)
            with pytest.raises(aiocoap.error.Error):
                await response
            await until(lambda: not p.bridge.endpoints[0].sessions)
            await until(lambda: not p.bridge.delivery.in_flight)
            assert p.bridge.delivery.counters["accepted"] == 1

    play(scene)


def test_a_drain_answers_what_is_open() -> None:
    async def scene() -> None:
        async with place(TCP, slow(0.5)) as p, device("tcpclient") as context:
            response = asyncio.ensure_future(ask(context, f"{p.url}/a"))
            await until(lambda: p.sink.posted)
            assert await p.bridge.drain(5)
            assert (await response).payload == b"at last"

    play(scene)


# --- TLS and WebSocket -------------------------------------------------------------------------------------------


def secured(authority: Authority, scheme: str, **keys: object) -> dict[str, object]:
    """A listener with a certificate for `localhost`."""
    certificate, key = authority.issue("server", "localhost", "127.0.0.1")
    return {"url": f"{scheme}://127.0.0.1:0", "tls_certificate": certificate, "tls_key": key, **keys}


@pytest.mark.parametrize("scheme", ["coap+ws", "coaps+tcp", "coaps+ws"])
def test_aiocoap_by_each_carrier(scheme: str, tmp_path: Path) -> None:
    async def scene() -> None:
        authority = Authority(tmp_path)
        listen = f"{scheme}://127.0.0.1:0" if scheme == "coap+ws" else secured(authority, scheme)
        async with place(listen) as p, device({"coaps+tcp": "tlsclient"}.get(scheme, "ws")) as context:
            assert p.url.startswith(f"{scheme}://")
            uri = p.url.replace("127.0.0.1", "localhost")
            if scheme != "coap+ws":
                context.client_credentials.load_from_dict({f"{uri}/*": {"tlscert": {"certfile": authority.ca}}})
            for size in (1, 5000, 150_000):
                response = await ask(context, f"{uri}/sensors/7", payload=b"x" * size)
                assert (response.code, response.payload) == (aiocoap.CHANGED, b"x" * size)
            assert {posted.headers["ce-subject"] for posted in p.sink.posted} == {"sensors/7"}
            assert len(p.sink.posted) == 3

    play(scene)


@pytest.mark.parametrize("scheme", ["coap+tcp", "coap+ws", "coaps+tcp", "coaps+ws"])
def test_our_own_device_by_each_carrier(scheme: str, tmp_path: Path) -> None:
    async def scene() -> None:
        authority = Authority(tmp_path)
        async with place(secured(authority, scheme) if "coaps" in scheme else f"{scheme}://127.0.0.1:0") as p:
            uri = p.url.replace("127.0.0.1", "localhost") + "/a"
            message = Message(uri, b"x" * 3000, ca=authority.ca)
            message.check()
            result = await asyncio.to_thread(message.send, 10)
            assert result is not None
            assert (result.code, result.data) == ("2.04", b"x" * 3000)

    play(scene)


@pytest.mark.peer("coap-client-openssl")
def test_libcoap_over_tls_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    async def scene() -> None:
        authority = Authority(tmp_path)
        certificate, key = authority.issue("device", common_name="meter-7")
        async with place(secured(authority, "coaps+tcp", tls_client_ca=authority.ca)) as p:
            uri = p.url.replace("127.0.0.1", "localhost")
            command = ("coap-client-openssl", "-B", 7, "-m", "post", "-e", "hello", "-C", authority.ca)
            _, said = await run(*command, "-c", certificate, "-j", key, f"{uri}/a")
            assert said.strip() == "hello"
            [posted] = p.sink.posted
            assert posted.headers["ce-authid"] == "x509:meter-7"
            assert posted.headers["ce-deviceid"] == "meter-7"

    play(scene)


# --- Observe -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["tcp", "ws", "oscore"])
def test_observe(way: str, tmp_path: Path) -> None:
    """The first answer, a state that is published, one that is pushed to the registration, and the end of it."""

    async def scene() -> None:
        routes = [{"subject": "*", "reply": {"coapobserve": "true"}}]
        listen: object = f"coap+{way}://127.0.0.1:0"
        transports = {"tcp": ["tcpclient"], "ws": ["ws"], "oscore": ["oscore", "simple6"]}[way]
        if way == "oscore":
            contexts = make_context(tmp_path / "contexts" / "meter-7", "00", "01").parent
            listen = {"url": listen, "contexts": str(contexts)}
        async with place(listen, lambda posted: Answer(200, body=b"first"), routes=routes) as p:
            async with device(*transports) as context:
                uri = plain(p.url) if way == "oscore" else p.url
                if way == "oscore":
                    mine = {"oscore": {"basedir": str(make_context(tmp_path / "device", "01", "00"))}}
                    context.client_credentials.load_from_dict({f"{uri}/*": mine})
                request = context.request(aiocoap.Message(code=aiocoap.GET, uri=f"{uri}/a", observe=0))
                assert (await asyncio.wait_for(request.response, 10)).payload == b"first"
                heard = aiter(request.observation)
                assert await p.bridge.publish("a", Outbound(None, b"second")) == 1
                assert (await asyncio.wait_for(anext(heard), 10)).payload == b"second"
                _, _, token, exchange = p.sink.posted[0].headers["ce-replyto"].rsplit("/", 3)
                result = await p.bridge.post(token, int(exchange), Outbound(None, b"third"))
                assert result in (PushResult.DELIVERED, PushResult.QUEUED)
                assert (await asyncio.wait_for(anext(heard), 10)).payload == b"third"
                request.observation.cancel()
                if way != "oscore":
                    return
            assert len(p.sink.posted) == 1

    play(scene)


# --- OSCORE and EDHOC --------------------------------------------------------------------------------------------


@asynccontextmanager
async def meter(uri: str, credentials: dict[str, Any]) -> AsyncIterator[aiocoap.Context]:
    """An aiocoap client with keys for a server."""
    async with device("oscore", "simple6") as context:
        context.client_credentials.load_from_dict({f"{uri}/*": credentials})
        yield context


def plain(url: str) -> str:
    """What a device dials: `coap+oscore` is a listener's word, to devices it is CoAP."""
    return url.replace("coap+oscore", "coap")


@pytest.mark.parametrize("after", [0.0, 2.0], ids=["piggybacked", "separate"])
def test_oscore(after: float, tmp_path: Path) -> None:
    async def scene() -> None:
        contexts = make_context(tmp_path / "contexts" / "meter-7", "00", "01").parent
        mine = {"oscore": {"basedir": str(make_context(tmp_path / "device", "01", "00"))}}
        listen = {"url": "coap+oscore://127.0.0.1:0", "contexts": str(contexts)}
        async with place(listen, lambda posted: Answer(200, body=posted.body + b"!", after=after)) as p:
            uri = plain(p.url)
            async with meter(uri, mine) as context:
                response = await ask(context, f"{uri}/sensors/7", payload=b"21.5", content_format=0)
                assert (response.code, response.payload) == (aiocoap.CHANGED, b"21.5!")
            async with device("simple6") as context:
                assert (await ask(context, f"{uri}/sensors/7")).code == aiocoap.UNAUTHORIZED
            [posted] = p.sink.posted
            assert posted.headers["ce-type"] == "dev.thinbridge.coap.request"
            assert posted.headers["ce-authid"] == "psk:meter-7"
            assert posted.headers["ce-deviceid"] == "meter-7"
            assert posted.headers["ce-subject"] == "sensors/7"

    play(scene)


def test_oscore_sends_much_and_gets_much(tmp_path: Path) -> None:
    async def scene() -> None:
        contexts = make_context(tmp_path / "contexts" / "meter-7", "00", "01").parent
        mine = {"oscore": {"basedir": str(make_context(tmp_path / "device", "01", "00"))}}
        async with place({"url": "coap+oscore://127.0.0.1:0", "contexts": str(contexts)}) as p:
            uri = plain(p.url)
            async with meter(uri, mine) as context:
                response = await ask(context, f"{uri}/a", payload=b"x" * 5000)
                assert response.payload == b"x" * 5000
            assert len(p.sink.posted) == 1

    play(scene)


def test_edhoc(tmp_path: Path) -> None:
    async def scene() -> None:
        made = make_edhoc(tmp_path / "edhoc", "meter-8")
        key, credential = made["meter-8"]
        mine = {
            "edhoc-oscore": {
                "suite": 2,
                "method": 3,
                "own_cred": credential,
                "own_cred_style": "by-key-id",
                "private_key": key.secret_to_map(),
                "peer_cred": made[""][1],
            }
        }
        async with place({"url": "coap+oscore://127.0.0.1:0", "edhoc": str(tmp_path / "edhoc")}) as p:
            uri = plain(p.url)
            async with meter(uri, mine) as context:
                for number in (b"1", b"2"):
                    assert (await ask(context, f"{uri}/a", payload=number)).payload == number
            assert {posted.headers["ce-authid"] for posted in p.sink.posted} == {"rpk:meter-8"}
            assert len(p.sink.posted) == 2

    play(scene)
