"""Call a handler with a made-up message; no server, no bridge, no device.

    from thinbridge_functions.testing import call, coap

    def test_unknown_sensor():
        result = call(main.sensors, coap("GET", "sensors/8"))
        assert (result.status, result.text()) == (404, "no such sensor")

The message takes the way that it has in a deployed function, HTTP request and response included, so `Result` is what
the bridge gets. Values that chance or a clock decides in a bridge are fixed here.
"""

import asyncio
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from thinbridge import contract
from thinbridge_functions.answers import BINARY, JSON, TEXT, Data, Value, canonical, check_topic, payload
from thinbridge_functions.codec import NotAnEvent, decode, encode
from thinbridge_functions.event import Event
from thinbridge_functions.serving import SERVED, Served

COMMON: Final = {
    "specversion": contract.SPECVERSION,
    "id": "6d6164652d7570",
    "source": contract.source("local", "bridge"),
    "time": "2026-01-01T12:00:00.000000Z",
    contract.SESSIONID: "c0ffee00c0ffee00c0ffee00c0ffee00",
    contract.REPLYTO: "http://127.0.0.1:8090/r/AAAAAAAAAAAAAAAAAAAAAA/1",
    contract.TRACEPARENT: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
"""What every made-up event has in common; any of it can be had otherwise by name."""

REPLYBY: Final = "2026-01-01T12:01:00.000000Z"

METHODS: Final = ("GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "iPATCH")
"""CoAP's (RFC 7252 §5.8, RFC 8132): a bridge lets no other through."""

_FORMATS: Final = {TEXT: 0, JSON: 50}
"""CoAP Content-Formats (RFC 7252 §12.3); bytes are sent without one, as `coap-client` does."""


@dataclass(frozen=True, slots=True)
class Result:
    """What the bridge would get."""

    status: int
    """The HTTP status: 200 or the `Reply`'s, 204 for None, 202 for `later()`, 503 for `retry()`, 500 for a crash."""
    headers: Mapping[str, str]
    """Of the HTTP response, names in lower case."""
    event: Event | None
    """The reply event; None: the answer is bare, as for None, `later()`, `retry()` and a crash."""

    @property
    def data(self) -> bytes:
        """What the device gets."""
        return self.event.data if self.event else b""

    @property
    def content_type(self) -> str | None:
        """Its media type."""
        return self.event.datacontenttype if self.event else None

    @property
    def attributes(self) -> Mapping[str, str]:
        """The reply event's attributes, such as `coapcode`."""
        return self.event.attributes if self.event else {}

    def text(self) -> str:
        """The data as UTF-8 text."""
        return self.data.decode()

    def json(self) -> Any:
        """The data as JSON."""
        return json.loads(self.data)


def call(
    handler: Callable[[Event], Any],
    data: Event | Data = b"",
    *,
    type: str = contract.COAP_REQUEST,
    subject: str | None = None,
    **attributes: Value,
) -> Result:
    """Call a decorated handler, sync or async, with one message.

    In code that runs on an event loop, `await asyncio.to_thread(call, …)`.

    Args:
        handler: a function with `@handler`.
        data: what the device sent; or an event as `coap`, `mqtt` and `udp` make it.
        type: the event's type, unless `data` is an event.
        subject: its subject, unless `data` is an event.
        attributes: any others by their CloudEvents names, such as `deviceid="bob"`; they win.

    Raises:
        TypeError: the function is not decorated.
    """
    served = getattr(handler, SERVED, None)
    if not isinstance(served, Served):
        raise TypeError(f"{handler!r} is not decorated with @handler")
    headers, body = encode(*_parts(data, type, subject, attributes))
    if inspect.iscoroutinefunction(served.function):
        response = asyncio.run(served.respond_async("POST", "/", headers, body))
    else:
        response = served.respond("POST", "/", headers, body)
    try:
        answer = Event(*decode(response.headers, response.body))
    except NotAnEvent:
        answer = None
    return Result(response.status, dict(response.headers), answer)


def _parts(data: Event | Data, type: str, subject: str | None, own: dict[str, Value]) -> tuple[dict[str, str], bytes]:
    if not isinstance(data, Event):
        body, content_type = payload(data)
        data = _event(type, subject, body, {"datacontenttype": content_type})
    return data.get_attributes() | canonical(own), data.data


def coap(method: str = "GET", path: str = "", data: Data = b"", **attributes: Value) -> Event:
    """A CoAP request.

    Args:
        method: GET, POST, PUT, DELETE, FETCH, PATCH or iPATCH.
        path: without the leading slash.
        data: the payload; text and JSON come with their Content-Format.
        attributes: any others, such as `coapquery="unit=c"` or `coapobserve="register"`; they win.

    Raises:
        ValueError: CoAP has no such method.
    """
    if method not in METHODS:
        raise ValueError(f"coap({method!a}): must be one of {', '.join(METHODS)}")
    body, content_type = payload(data)
    own: dict[str, Value] = {"coapmethod": method, "datacontenttype": content_type, "replyby": REPLYBY}
    if content_type in _FORMATS:
        own["coapformat"] = _FORMATS[content_type]
    return _event(contract.COAP_REQUEST, path or None, body, own | attributes)


def mqtt(topic: str, data: Data = b"", *, qos: int = 1, retain: bool = False, **attributes: Value) -> Event:
    """A message that an MQTT device published, of no declared type, as MQTT 3.1.1 and most MQTT 5 clients do.

    Raises:
        ValueError: nobody can publish to that topic.
    """
    check_topic(topic, "mqtt(topic")
    own: dict[str, Value] = {"mqttqos": qos, "mqttretain": retain, "mqttdup": False}
    return _event(contract.MQTT_MESSAGE, topic, payload(data)[0], own | attributes)


def udp(data: Data, endpoint: str = "udp", **attributes: Value) -> Event:
    """A datagram; it has no type and no path, and the endpoint's name as its subject."""
    own: dict[str, Value] = {"peer": "127.0.0.1:50000", "replyby": REPLYBY}
    return _event(contract.UDP_DATAGRAM, endpoint, payload(data)[0], own | attributes)


def _event(type: str, subject: str | None, data: bytes, own: Mapping[str, Value]) -> Event:
    attributes: dict[str, Value] = {**COMMON, "type": type, "datacontenttype": BINARY}
    if subject is not None:
        attributes["subject"] = subject
    attributes |= own
    attributes.setdefault(contract.PARTITIONKEY, attributes.get(contract.DEVICEID, attributes[contract.SESSIONID]))
    return Event(canonical(attributes), data)
