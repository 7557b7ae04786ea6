"""What the inbox serves, as one ASGI callable; `inbox.server` runs it.

`POST /r/<token>/<exchange>` reaches a device, `POST /observe/<subject>` all that listen to a subject; `/health/live`,
`/health/ready` and `/metrics` tell how the bridge is.
Everything is decided here; the way to a session is the `Gate`, which is the bridge.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Final, NamedTuple, Protocol

from prometheus_client import CollectorRegistry, generate_latest

from thinbridge import events
from thinbridge.errors import DecodeError
from thinbridge.inbox.guard import Guard
from thinbridge.protocols.base import Outbound, PushResult

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]


class Gate(Protocol):
    """What the inbox asks of the bridge."""

    async def post(self, token: str, exchange: int, outbound: Outbound) -> PushResult | None:
        """Hand something to the session behind a token; what became of it, or None: no such session.

        It is handed over before the first await: when the inbox stops waiting (`InboxLimits.wait`) and cancels this,
        the push itself goes on.
        """

    async def publish(self, subject: str, outbound: Outbound) -> int:
        """Hand something to everyone who listens to a subject here; how many there were."""

    def live(self) -> bool:
        """Whether the process is worth keeping."""

    def ready(self) -> bool:
        """Whether every listener is bound; stays true until exit."""

    def state(self) -> dict[str, Any]:
        """The body of `/health/ready`: plain values only."""


@dataclass(frozen=True, slots=True)
class InboxLimits:
    """What one process takes, and for how long."""

    body: int = 262_144
    """Bytes of a request's body: what fits an MQTT message or a blockwise CoAP one with room to spare."""
    head: int = 16_384
    """Bytes of a request line and its headers: twice what most servers take, since a structured `traceparent` and
    long attributes travel there."""
    connections: int = 1024
    """Open connections. The next one ends the one that has been silent for longest; if all wait for an answer, it
    hears 503."""
    pushes: int = 256
    """POSTs at work at a time: with `body` that bounds their memory to 64 MiB, and probes and scrapes always find one
    of the other connections."""
    request: float = 10.0
    """Seconds for a whole request to arrive, and for its answer to be taken: the senders are in the same cluster."""
    wait: float = 20.0
    """Seconds to wait for the device's word, then 202: Knative's own senders give up after 30 s at the earliest."""
    idle: float = 75.0
    """Seconds that a connection may be silent between requests; longer than the usual client pool's 60 s, so that
    the client is the one to close."""
    grace: float = 2.0
    """Seconds for answers that are under way when the inbox stops."""


class Answer(NamedTuple):
    """An HTTP answer: `text` is one line without its end."""

    status: int
    text: str = ""
    content_type: bytes = b"text/plain; charset=utf-8"
    headers: Headers = ()


PATH: Final = re.compile(r"/r/([A-Za-z0-9_-]{22,64})/([0-9]{1,15})", re.ASCII)
"""A reply address: 22 characters are 128 bits in base64url. Anything else never gets near a session."""

OBSERVE: Final = "/observe/"
"""Before a subject as events have it, percent-encoded once as any path."""

RETRY: Final[Headers] = ((b"retry-after", b"1"),)
CONSENT: Final[Headers] = (
    (b"allow", b"POST, OPTIONS"),
    (b"webhook-allowed-origin", b"*"),
    (b"webhook-allowed-rate", b"*"),
)
"""CloudEvents webhook §4.2: whoever has the address may send, as often as the device can take it."""

PUSHED: Final[Mapping[PushResult | None, Answer]] = {
    PushResult.DELIVERED: Answer(200, "delivered"),
    PushResult.QUEUED: Answer(202, "queued: it goes out when the device can take it"),
    PushResult.REFUSED: Answer(
        422, "refused: no subscription, no observation and no topic takes it, or the device said no"
    ),
    PushResult.TOO_LARGE: Answer(413, "too large for this device"),
    PushResult.BUSY: Answer(503, "busy: the device is away or its queue is full; try again", headers=RETRY),
    PushResult.GONE: Answer(410, "gone: the session is over"),
    None: Answer(404, "no such session"),
}
WAITING: Final = Answer(202, "sent: the device has not acknowledged it yet")
UNAUTHORIZED: Final = Answer(
    401,
    "publishing takes the bridge's token: Authorization: Bearer … (http.token_file)",
    headers=((b"www-authenticate", b"Bearer"),),
)
NOT_FOUND: Final = Answer(404, "not found")
FULL: Final = Answer(503, "too many pushes at a time, try again", headers=RETRY)
FAILED: Final = Answer(500, "internal error")


class App:
    """The ASGI callable.

    Args:
        gate: the way to sessions and health.
        metrics: what `/metrics` shows.
        limits: see there.
        counters: gets what was turned away before it was a push, by a fixed name.
        guard: says who may publish.
    """

    def __init__(
        self, gate: Gate, metrics: CollectorRegistry, limits: InboxLimits, counters: Counter[str], guard: Guard
    ) -> None:
        self._guard = guard
        self._gate = gate
        self._metrics = metrics
        self.limits = limits
        self._counters = counters
        self._pushes = 0
        self._pages = {"/health/live": self._live, "/health/ready": self._ready, "/metrics": self._scrape}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; never raises but for cancellation."""
        try:
            answer = await self._answer(scope, receive)
        except Exception as error:
            self._counters["failed"] += 1
            asyncio.get_running_loop().call_exception_handler({"message": "the inbox failed", "exception": error})
            answer = FAILED
        if answer is not None:
            await _send(answer, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | None:
        """The answer; None: the client has left."""
        path, method = scope["path"], scope["method"]
        if page := self._pages.get(path):
            return page() if method in ("GET", "HEAD") else Answer(405, "use GET", headers=((b"allow", b"GET, HEAD"),))
        found, subject = PATH.fullmatch(path), path.removeprefix(OBSERVE)
        if found is None and subject == path:
            return NOT_FOUND
        if method == "OPTIONS":
            return Answer(200, headers=CONSENT)
        if method != "POST":
            return Answer(405, "use POST", headers=CONSENT[:1])
        if self._pushes >= self.limits.pushes:
            self._counters["pushes_full"] += 1
            return FULL
        headers = scope["headers"]
        if found is None and not self._guard.admits(dict(headers).get(b"authorization")):
            self._counters["unauthorized"] += 1
            return UNAUTHORIZED
        self._pushes += 1
        try:
            outbound = await self._read(headers, receive)
            if not isinstance(outbound, Outbound):
                return outbound
            if found is None:
                return await self._publish(subject, outbound)
            return await self._post(found[1], int(found[2]), outbound)
        finally:
            self._pushes -= 1

    # --- Pushes -------------------------------------------------------------------------------------------------

    async def _read(self, headers: list[tuple[bytes, bytes]], receive: Receive) -> Outbound | Answer | None:
        """What was posted; or the refusal; or None: the client has left."""
        body = await self._body(headers, receive)
        if not isinstance(body, bytes):
            return body
        try:
            return _outbound(headers, body)
        except DecodeError as error:
            self._counters["malformed_event"] += 1
            return Answer(400, f"malformed: {error.reason}")

    async def _publish(self, subject: str, outbound: Outbound) -> Answer:
        """To everyone who listens: what becomes of each is counted, and no reason for the sender to wait."""
        count = await self._gate.publish(subject, outbound)
        return Answer(200, json.dumps({"observers": count}), b"application/json")

    async def _post(self, token: str, exchange: int, outbound: Outbound) -> Answer:
        """One push, and what became of it."""
        try:
            async with asyncio.timeout(self.limits.wait):
                return PUSHED[await self._gate.post(token, exchange, outbound)]
        except TimeoutError:
            return WAITING

    async def _body(self, headers: list[tuple[bytes, bytes]], receive: Receive) -> bytes | Answer | None:
        """The whole body; or the refusal; or None: the client has left. Never holds more than the limit."""
        limit = self.limits.body
        names = dict(headers)
        if int(names.get(b"content-length", b"0")) > limit:  # the parser has seen to it that these are digits
            # A client that asked first must not take the connection for usable: it never sends this body.
            return self._too_large(((b"connection", b"close"),) if b"expect" in names else ())
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message["body"]
            if len(body) > limit:
                return self._too_large()
            if not message["more_body"]:
                return bytes(body)

    def _too_large(self, headers: Headers = ()) -> Answer:
        self._counters["too_large"] += 1
        return Answer(413, f"too large: at most {self.limits.body} bytes", headers=headers)

    # --- Health, metrics ----------------------------------------------------------------------------------------

    def _live(self) -> Answer:
        return Answer(200, "live") if self._gate.live() else Answer(503, "not live")

    def _ready(self) -> Answer:
        """The status never depends on load or sinks; the body tells of them."""
        return Answer(200 if self._gate.ready() else 503, json.dumps(self._gate.state()), b"application/json")

    def _scrape(self) -> Answer:
        text = generate_latest(self._metrics).decode().removesuffix("\n")
        return Answer(200, text, b"text/plain; version=0.0.4; charset=utf-8")


def _outbound(headers: list[tuple[bytes, bytes]], body: bytes) -> Outbound:
    """What was posted, as something for a device; raises `DecodeError`."""
    event = events.decode(headers, body)
    if event is not None:
        attributes = event.attributes
        return Outbound(attributes.get("datacontenttype"), event.data, attributes, True)
    content_type = dict(headers).get(b"content-type")
    if content_type is not None and not content_type.isascii():
        raise DecodeError("content type is not ASCII")
    return Outbound(content_type.decode() if content_type else None, body)


async def _send(answer: Answer, send: Send) -> None:
    body = f"{answer.text}\n".encode() if answer.text else b""
    headers = (
        (b"date", formatdate(usegmt=True).encode()),  # RFC 9110 §6.6.1
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % len(body)),
        *answer.headers,
    )
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
