"""HTTP to handler and back: what a request is, and what an answer becomes (the return table of docs/functions.md).

Knows no web framework; `serving` fits it to Flask and Starlette, `testing` calls it without either. The one rule
behind the table: a response that carries an event is the function's own answer, final whatever its status; a bare
4xx or 5xx means that something went wrong, and the bridge may try again.
"""

import math
import os
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from thinbridge import contract
from thinbridge_functions.answers import TEXT, Later, Rejected, Reply, Retry, canonical, payload
from thinbridge_functions.codec import NotAnEvent, Response, decode, encode
from thinbridge_functions.event import Event

HEALTHY: Final = Response(200, (("content-type", TEXT),), b"ok\n")
"""For readiness probes: the process listens, so its module was imported."""

CONSENT: Final = Response(
    200, (("allow", "POST, OPTIONS"), ("webhook-allowed-origin", "*"), ("webhook-allowed-rate", "*"))
)
"""CloudEvents webhook §4.2: anyone may post, at any rate; as Knative's own brokers answer."""

CRASHED: Final = Response(500)
"""Bare, so the bridge tries again; and empty: what went wrong is in the function's log, for nobody else."""


def receive(method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes) -> Event | Response:
    """A request's event, or what answers a request that has nothing for the handler."""
    if method in ("GET", "HEAD") and path.startswith("/health/"):
        return HEALTHY
    if method == "OPTIONS":
        return CONSENT
    try:
        return Event(*decode(headers, body))
    except NotAnEvent as reason:
        return Response(400, (("content-type", TEXT),), f"{reason}\n".encode())


def respond(event: Event, returned: Any, source: str) -> Response:
    """The response for what a handler returned, or raised as its answer.

    Args:
        event: the request.
        returned: None, bytes, str, dict, list, a `Reply`, `reject()`, `retry()`, `later()` or an event; or what the
            handler raised.
        source: the reply's `source`.

    Raises:
        TypeError: it is nothing of these.
        ValueError: it has data or attributes that can't be sent.
        Exception: what the handler raised, if that is no answer.
    """
    match returned:
        case None:
            return Response(204)
        case Later():
            return Response(202)
        case Retry():
            return Response(503, () if returned.after is None else (("retry-after", str(math.ceil(returned.after))),))
        case Rejected():
            return respond(event, Reply(returned.reason, status=returned.status), source)
        case Exception():
            raise returned
        case Reply():
            headers, body = encode(*reply_event(event, returned, source))
            return Response(returned.status, headers + _location(returned), body)
        case _:
            return Response(200, *encode(*reply_event(event, returned, source)))


def reply_event(event: Event | None, returned: Any, source: str) -> tuple[dict[str, str], bytes]:
    """Attributes and data of the event that answers another (None: that comes unasked).

    A reply's type differs from its request's: a Broker puts replies back in, and would hand this one to the same
    function for ever. So an event of the request's own type, the request itself above all, lends its data only.

    Raises:
        TypeError: `returned` is no data, `Reply` or event.
        ValueError: it has data or attributes that can't be sent.
    """
    attributes = {
        "specversion": contract.SPECVERSION,
        "id": os.urandom(16).hex(),
        "source": source,
        "type": contract.TYPE_PREFIX + "push",
    }
    if event is not None:
        attributes |= {"type": event.type + contract.REPLY_SUFFIX, contract.CAUSATIONID: event.id}
        if event.subject is not None:
            attributes["subject"] = event.subject
    data, content_type, own = _parts(returned)
    own.setdefault("datacontenttype", content_type)
    if event is not None and own.get("type") == event.type:
        own = {"datacontenttype": own["datacontenttype"]}
    return attributes | own, data


def _parts(returned: Any) -> tuple[bytes, str, dict[str, str]]:
    """Data, the media type that fits it, and the attributes that were set."""
    if isinstance(returned, Reply):
        return *payload(returned.data), returned.attributes()
    if hasattr(returned, "get_attributes"):
        data = returned.get_data()
        own = {name: value for name, value in returned.get_attributes().items() if value is not None}
        return *payload(b"" if data is None else data), canonical(own)
    return *payload(returned), {}


def _location(reply: Reply) -> tuple[tuple[str, str], ...]:
    """The header of a Reply's `location`; CloudEvents has no attribute for it."""
    if reply.location is None:
        return ()
    return (("location", quote(reply.location, safe="/%:?#[]@!$&'()*+,;=~")),)
