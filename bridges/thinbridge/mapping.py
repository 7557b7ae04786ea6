"""From a message to a CloudEvent, and from what the sink answered to a reply. Knows no protocol; pure.

The bridge calls it once per message each way. What the attributes mean to functions is in `docs/contract.md`.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final
from urllib.parse import urlsplit

from thinbridge import contract
from thinbridge.delivery import Answer, Verdict
from thinbridge.events import Event, Shared
from thinbridge.protocols.base import NO_ATTRIBUTES, Entropy, Inbound, Outbound, Outcome, Reply
from thinbridge.routes import Mode, Route
from thinbridge.sessions import Entry, session_attributes

_CORE: Final = frozenset(("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"))

_OUTCOMES: Final = {
    Verdict.ACCEPTED: Outcome.ACCEPTED,
    Verdict.DEAD_LETTERED: Outcome.ACCEPTED,
    Verdict.REFUSED: Outcome.REFUSED,
    Verdict.UNREACHED: Outcome.OVERLOADED,
    Verdict.OVERLOADED: Outcome.OVERLOADED,
    Verdict.UNKNOWN: Outcome.UNKNOWN,
    Verdict.CANCELLED: Outcome.UNKNOWN,
    Verdict.BAD_GATEWAY: Outcome.BAD_GATEWAY,
}

_MAX_AGE = re.compile(rb"max-age=(\d{1,10})", re.IGNORECASE)
_NOT_KEPT = re.compile(rb"\bno-(store|cache)\b", re.IGNORECASE)


class Mapper:
    """Makes events of messages.

    Args:
        source: the bridge's `source`.
        entropy: where ids of messages come from that have no identity of their own.
    """

    def __init__(self, source: str, entropy: Entropy) -> None:
        self._source = source
        self._chance = Chance(entropy)
        self._seconds: dict[int, str] = {}

    def to_event(self, inbound: Inbound, entry: Entry, wall: float, replyby: float | None) -> Event:
        """The CloudEvent of a message.

        Args:
            inbound: the message.
            entry: its session's entry in the directory.
            wall: the wall clock, seconds since 1970.
            replyby: when the device stops waiting, by the same clock; None: it does not wait.
        """
        chance = self._chance.take()
        key, name = inbound.repeat_key, inbound.type
        time, later = self._times(wall, replyby)
        own = {
            "id": chance[:32] if key is None else self._id(key, inbound.repeat_window, entry.endpoint.name, wall),
            "time": time,
            "datacontenttype": inbound.content_type or contract.OCTET_STREAM,
            contract.REPLYTO: f"{entry.replyto}{inbound.exchange}",
            contract.TRACEPARENT: f"00-{chance[32:64]}-{chance[64:]}-01",
        }
        if inbound.subject is not None:
            own["subject"] = inbound.subject
        own.update(inbound.attributes)
        if later is not None:
            own[contract.REPLYBY] = later
        if inbound.expires is not None:
            own["expirytime"] = self._times(wall + inbound.expires, None)[0]
        shared = entry.shared
        if shared is None or shared.attributes["type"] != name:
            shared = self._share(entry, name)
        if inbound.event is None:
            return Event(own, inbound.data, shared)
        return Event(shared.attributes | own | _own(inbound.event), inbound.data)

    def _share(self, entry: Entry, type: str) -> Shared:
        """What all events of a session and type have in common, made at the first of them."""
        attributes = {"specversion": contract.SPECVERSION, "source": self._source, "type": type}
        shared = entry.shared = Shared(attributes | session_attributes(entry.session))
        return shared

    def _id(self, key: bytes, window: float, endpoint: str, wall: float) -> str:
        """Equal for the same message from any replica, different for any other."""
        bucket = int(wall // window) if window else 0
        return blake2b(f"{bucket} {endpoint} ".encode() + key, digest_size=16).hexdigest()

    def _times(self, wall: float, later: float | None) -> tuple[str, str | None]:
        """Two times as RFC 3339 in UTC, the second by whole seconds after the first."""
        second = int(wall)
        rest = f"{int((wall - second) * 1e6):06d}Z"
        time = (self._seconds.get(second) or self._second(second)) + rest
        if later is None:
            return time, None
        second += int(later - wall + 0.5)
        return time, (self._seconds.get(second) or self._second(second)) + rest

    def _second(self, second: int) -> str:
        """A time up to its point, kept for the other messages of that second."""
        if len(self._seconds) >= 256:  # now, and some deadlines of now: few are ever in use
            self._seconds.clear()
        text = self._seconds[second] = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        return text


class Chance:
    """Random hexadecimal digits, drawn for many messages at once: a system call each would cost more than the rest.

    Args:
        entropy: where they come from.
    """

    DIGITS: Final = 80  # of a message: an id (32), a trace id (32), a span id (16)
    MESSAGES: Final = 128

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._digits = ""
        self._at = 0

    def take(self) -> str:
        """Digits for one message, never given twice."""
        at = self._at
        if at == len(self._digits):
            self._digits = self._entropy(self.DIGITS * self.MESSAGES // 2).hex()
            at = 0
        self._at = end = at + self.DIGITS
        return self._digits[at:end]


def _own(event: Mapping[str, str]) -> dict[str, str]:
    """What a device may set itself: everything but the names that the contract, or Knative, owns."""
    return {
        name: value
        for name, value in event.items()
        if name not in contract.OWNED and name != "specversion" and not name.startswith("knative")
    }


def to_reply(answer: Answer, route: Route) -> Reply:
    """What the session is told about a delivery by this route."""
    reply = _to_reply(answer, route.mode)
    return _with_defaults(reply, route) if route.reply else reply


def _with_defaults(reply: Reply, route: Route) -> Reply:
    """What the route says where the function has not said it."""
    if reply.outcome is not Outcome.ACCEPTED:
        return reply
    return reply._replace(attributes={**route.reply, **reply.attributes})


def _to_reply(answer: Answer, mode: Mode) -> Reply:
    outcome = _OUTCOMES[answer.verdict]
    if outcome is Outcome.ACCEPTED:
        if mode is Mode.EVENT or answer.verdict is Verdict.DEAD_LETTERED:
            return Reply(outcome, answer.status)
        if answer.status == 202:  # accepted, not answered: a 202 is never a reply (Knative data plane contract)
            return Reply(Outcome.PENDING if mode is Mode.LATER else outcome, 202)
    elif outcome is not Outcome.REFUSED:
        return Reply(outcome, answer.status, retry_after=answer.retry_after)
    attributes, content_type = _http_attributes(answer.headers)
    if answer.event is None:
        return Reply(outcome, answer.status, content_type, answer.body, attributes)
    attributes.update(_extensions(answer.event.attributes))
    content_type = answer.event.attributes.get("datacontenttype")
    event = answer.event
    return Reply(outcome, answer.status, content_type, event.data, attributes, is_event=True, event=event.attributes)


def says_nothing(reply: Reply) -> bool:
    """Whether the sink has accepted the event without an answer of its own: the one by `replyto` is the answer."""
    return reply.outcome is Outcome.PENDING or (
        reply.outcome is Outcome.ACCEPTED and not reply.data and not reply.is_event
    )


def answer_by_replyto(outbound: Outbound, route: Route) -> Reply:
    """The reply that a POST to `replyto` is for an exchange that is open."""
    attributes = {**route.reply, **outbound.attributes} if route.reply else outbound.attributes
    event = outbound.attributes if outbound.is_event else NO_ATTRIBUTES
    content_type, data, is_event = outbound.content_type, outbound.data, outbound.is_event
    return Reply(Outcome.ACCEPTED, 200, content_type, data, attributes, is_event=is_event, event=event)


def _extensions(attributes: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in attributes.items() if name not in _CORE}


def _http_attributes(headers: Iterable[tuple[bytes, bytes]]) -> tuple[dict[str, str], str | None]:
    """What HTTP itself says about a reply: `etag`, `maxage`, `location`, `contentrange`; and the body's media type."""
    attributes: dict[str, str] = {}
    content_type = None
    for name, value in headers:
        if name == b"content-type":
            content_type = value.decode("latin-1").strip() or None
        elif name == b"etag":
            attributes["etag"] = value.decode("latin-1").strip().removeprefix("W/").strip('"')
        elif name == b"cache-control" and _NOT_KEPT.search(value):
            attributes["maxage"] = "0"
        elif name == b"cache-control" and (found := _MAX_AGE.search(value)):
            attributes["maxage"] = found[1].decode()
        elif name == b"content-range":
            attributes["contentrange"] = value.decode("latin-1").strip()
        elif name == b"location":
            location = _location(value)
            if location is not None:
                attributes["location"] = location
    return attributes, content_type


def _location(value: bytes) -> str | None:
    """Path and query of a Location header; None if it is no URL."""
    try:
        url = urlsplit(value.decode("latin-1").strip())
    except ValueError:
        return None
    return f"{url.path}?{url.query}" if url.query else url.path
