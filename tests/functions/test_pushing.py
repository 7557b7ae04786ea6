"""`push` and `publish`: what goes to a bridge's inbox, and what comes of it."""

import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from thinbridge.protocols.base import PushResult
from thinbridge_functions import Event, Pushed, Reply, publish, push
from thinbridge_functions.codec import decode
from thinbridge_functions.testing import coap


class Inbox(ThreadingHTTPServer):
    """Keeps what is posted; answers with `status`, or hangs up if that is 0."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.status = 200
        self.body = b""
        self.authorization: str | None = None
        self.posted: list[tuple[str, Event]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/r/token/7"


class _Request(BaseHTTPRequestHandler):
    server: Inbox

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.authorization = self.headers["authorization"]
        self.server.posted.append((self.path, Event(*decode(self.headers.items(), body))))
        if self.server.status:
            self.send_response(self.server.status)
            self.end_headers()
            self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with Inbox() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def test_an_event_is_answered_with_its_cause(inbox: Inbox) -> None:
    event = coap("GET", "a/b", replyto=inbox.url)
    assert push(event, {"t": 21}) is Pushed.DELIVERED
    ((path, reply),) = inbox.posted
    assert path == "/r/token/7"
    assert (reply.type, reply.subject, reply["causationid"]) == ("dev.thinbridge.coap.request.reply", "a/b", event.id)
    assert (reply.json(), reply.datacontenttype) == ({"t": 21}, "application/json")


def test_a_kept_replyto_is_enough(inbox: Inbox) -> None:
    assert push(inbox.url, Reply("an", mqtt_topic="größe/command"))
    ((_, reply),) = inbox.posted
    assert (reply.type, reply["mqtttopic"], reply.text()) == ("dev.thinbridge.push", "größe/command", "an")


@pytest.mark.parametrize("result", list(PushResult))
def test_every_outcome_that_a_bridge_tells_has_a_name(inbox: Inbox, result: PushResult) -> None:
    inbox.status = result.value
    assert push(inbox.url, b"x").name == result.name


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(404, Pushed.UNKNOWN), (400, Pushed.FAILED), (302, Pushed.FAILED), (500, Pushed.FAILED), (0, Pushed.FAILED)],
)
def test_other_outcomes(inbox: Inbox, status: int, outcome: Pushed) -> None:
    inbox.status = status
    assert push(inbox.url, b"x") is outcome


def test_only_a_device_that_has_it_or_will_have_it_makes_it_true() -> None:
    assert [outcome.name for outcome in Pushed if outcome] == ["DELIVERED", "QUEUED"]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nobody_there(scheme: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert push(f"{scheme}://127.0.0.1:{free.getsockname()[1]}/r/t/1", b"x", timeout=5) is Pushed.FAILED


def test_silence_ends_with_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        assert push(f"http://127.0.0.1:{silent.getsockname()[1]}/r/t/1", b"x", timeout=0.05) is Pushed.FAILED
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "to",
    ["", "file:///etc/passwd", "/r/t/1", "http://", "http://[::1", "http://a:port/", Event({"type": "t", "id": "1"})],
)
def test_what_is_no_address(to: str | Event) -> None:
    with pytest.raises(ValueError, match=r"URL|Port"):
        push(to, b"x")


def test_a_subject_is_published_to_where_the_event_came_from(inbox: Inbox) -> None:
    inbox.body = b'{"observers": 12}\n'
    event = coap("PUT", "rooms/7", replyto=inbox.url)
    assert publish(event, "rooms/größe?", {"t": 21}, token="s3cret") == 12
    ((path, new),) = inbox.posted
    assert path == "/observe/rooms/gr%C3%B6%C3%9Fe%3F"
    assert inbox.authorization == "Bearer s3cret"
    assert (new.json(), new["causationid"]) == ({"t": 21}, event.id)


def test_a_subject_is_published_to_a_pod_that_was_named(inbox: Inbox) -> None:
    inbox.body = b'{"observers": 0}'
    assert publish(inbox.url.partition("/r/")[0], "", Reply(coap_code="4.04")) == 0
    ((path, gone),) = inbox.posted
    assert (path, gone["coapcode"], inbox.authorization) == ("/observe/", "4.04", None)


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [(401, PermissionError, "401 no"), (503, OSError, "503 no"), (0, OSError, "no HTTP"), (302, OSError, "302 no")],
)
def test_what_was_not_published_is_an_error(inbox: Inbox, status: int, error: type[OSError], text: str) -> None:
    inbox.status, inbox.body = status, b"no"
    with pytest.raises(error, match=rf"^publish: .*{text}"):
        publish(inbox.url, "a", b"x", timeout=20.0)


def test_nobody_to_publish_to() -> None:
    with pytest.raises(ValueError, match=r"^publish: no http"):
        publish(coap("GET", "a", replyto=""), "a", b"x")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and nobody listens
        with pytest.raises(ConnectionError):
            publish(f"http://127.0.0.1:{nobody.getsockname()[1]}", "a", b"x")
