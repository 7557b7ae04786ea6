"""What a handler may answer with, beside plain data: `Reply`, `reject`, `retry`, `later`.

`Reply` is returned. The other three may be returned or raised, whichever reads better where you are:

    raise reject("no such sensor", status=404)
    raise retry(after=5)
    return later()

`codec.respond` turns each into an HTTP answer; the bridge turns that into the protocol's own.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

TEXT: Final = "text/plain;charset=utf-8"
JSON: Final = "application/json"
BINARY: Final = "application/octet-stream"

Data = bytes | bytearray | memoryview | str | dict[str, Any] | list[Any]
"""What becomes the data of an answer: bytes as they are, text as UTF-8, dict and list as JSON."""

Value = str | int | bool
"""What becomes an attribute."""

_NAME = re.compile(r"(?!data\Z)[a-z0-9]{1,64}")
"""What an attribute may be called (CloudEvents §3.1; bridges take up to 64 characters, 20 are advised)."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""What a String must not hold (CloudEvents §3.1): controls, halves of surrogate pairs, noncharacters."""


class Answer(Exception):
    """The root of what may be raised *or* returned: a handler that raises one has answered, not failed."""


class Rejected(Answer):
    """The function refuses the message, for good: the bridge never sends it again. Made by `reject`."""

    def __init__(self, reason: str, status: int = 400) -> None:
        if not 400 <= status <= 499:
            raise ValueError(f"reject(status={status}): must be 400 to 499; to be asked again, use retry()")
        self.reason, self.status = reason, status
        super().__init__(reason)


class BadData(Rejected, ValueError):
    """`Event.json()` or `Event.text()` can't read the data: a 400 to the device, unless you catch the ValueError."""


class Retry(Answer):
    """Not now; the bridge sends the same message again. Made by `retry`."""

    def __init__(self, after: float | None = None) -> None:
        if after is not None and not 0 <= after < float("inf"):
            raise ValueError(f"retry(after={after}): must be seconds, zero or more")
        self.after = after
        super().__init__(after)


class Later(Answer):
    """Accepted; the answer follows by `push`. Made by `later`."""


def reject(reason: str, status: int = 400) -> Rejected:
    """Refuse the message: it is wrong, and sending it again would not help.

    Args:
        reason: a line for whoever debugs the device; CoAP carries it as diagnostic payload.
        status: 400 to 499; the device gets its protocol's twin (404 → CoAP 4.04).

    Returns:
        An exception, to raise or to return.
    """
    return Rejected(reason, status)


def retry(after: float | None = None) -> Retry:
    """Ask the bridge to send the same message again: a database is down, a lock is taken.

    Args:
        after: seconds, rounded up to whole ones; None: the bridge's own pace.

    Returns:
        An exception, to raise or to return. The bridge gives up when the device does (`Event.replyby`).
    """
    return Retry(after)


def later() -> Later:
    """Say "accepted", and answer with `push(event, …)` before `Event.replyby`; needs a route with `mode: later`.

    Returns:
        An exception, to raise or to return.
    """
    return Later()


@dataclass(frozen=True, slots=True)
class Reply:
    """Data with a say in how it reaches the device. A protocol ignores what it does not know.

    Raises:
        ValueError: a status, a topic, a QoS or an attribute that can't be sent.
    """

    data: Data = b""
    content_type: str | None = None
    """Media type; None: by the kind of `data`: octets, UTF-8 text or JSON."""
    status: int = 200
    """200, 201 (created; CoAP 2.01), or an error of 400 to 599, which is final: the bridge does not try again."""
    location: str | None = field(default=None, kw_only=True)
    """Path of what was created, with status 201: CoAP Location-Path and Location-Query."""
    coap_code: str | None = field(default=None, kw_only=True)
    """The CoAP code itself, such as `2.03`."""
    coap_max_age: int | None = field(default=None, kw_only=True)
    """Seconds for which the answer is fresh."""
    coap_etag: bytes | None = field(default=None, kw_only=True)
    """Entity-tag, 1 to 8 bytes; travels as hex."""
    coap_observe: bool | Literal["refresh"] | None = field(default=None, kw_only=True)
    """Grants the observation that was asked for. True: you tell what is new, by `push` or `publish`; "refresh": the
    bridge asks again when `coap_max_age` ends."""
    coap_confirmable: bool | None = field(default=None, kw_only=True)
    """Whether an observer has to acknowledge this; None: as it asked for."""
    content_range: str | None = field(default=None, kw_only=True)
    """What `data` is of the whole, where `coaprange` asks for a part: `bytes 0-1023/5242880`; with the whole's ETag."""
    mqtt_topic: str | None = field(default=None, kw_only=True)
    """Publish there, if this device subscribes to it, instead of to the request's Response Topic."""
    mqtt_qos: int | None = field(default=None, kw_only=True)
    """0, 1 or 2."""
    mqtt_retain: bool | None = field(default=None, kw_only=True)
    """Keep it as the topic's last value, which devices that subscribe later get; empty data takes that away."""
    mqtt_expiry: int | None = field(default=None, kw_only=True)
    """Seconds after which it need not reach a device any more."""
    type: str | None = field(default=None, kw_only=True)
    """Event type; None: the request's plus `.reply`."""
    subject: str | None = field(default=None, kw_only=True)
    """Event subject; None: the request's."""
    extensions: Mapping[str, Value] = field(default_factory=dict[str, Value], kw_only=True)
    """Any other attributes, by their CloudEvents names."""

    def __post_init__(self) -> None:
        if self.status not in (200, 201) and not 400 <= self.status <= 599:
            raise ValueError(
                f"Reply(status={self.status}): must be 200, 201 or an error; for 202 and 204 see later(), None"
            )
        if self.mqtt_topic is not None:
            check_topic(self.mqtt_topic, "Reply(mqtt_topic")
        if self.coap_observe not in (None, True, False, "refresh"):
            raise ValueError(f'Reply(coap_observe={self.coap_observe!a}): must be True, False or "refresh"')
        if self.mqtt_qos not in (None, 0, 1, 2):
            raise ValueError(f"Reply(mqtt_qos={self.mqtt_qos}): must be 0, 1 or 2")
        self.attributes()

    def attributes(self) -> dict[str, str]:
        """What is set, by CloudEvents names, as strings."""
        named: dict[str, Value | None] = {
            "type": self.type,
            "subject": self.subject,
            "datacontenttype": self.content_type,
            "coapcode": self.coap_code,
            "coapmaxage": self.coap_max_age,
            "coapetag": None if self.coap_etag is None else self.coap_etag.hex(),
            "coapobserve": self.coap_observe,
            "coapconfirmable": self.coap_confirmable,
            "contentrange": self.content_range,
            "mqtttopic": self.mqtt_topic,
            "mqttqos": self.mqtt_qos,
            "mqttretain": self.mqtt_retain,
            "mqttexpiry": self.mqtt_expiry,
        }
        return canonical({name: value for name, value in named.items() if value is not None} | dict(self.extensions))


def check_topic(topic: str, where: str) -> None:
    """Refuse what nobody can publish to: no topic at all, or a filter (MQTT-3.3.2-2).

    Raises:
        ValueError: it begins with `where`.
    """
    if not topic or "#" in topic or "+" in topic:
        raise ValueError(f"{where}={topic!a}): must be the topic of a message, not empty, without + and #")


def canonical(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Attributes as CloudEvents strings (§3.1): `true`, `7`, text without controls.

    Raises:
        ValueError: a name or a value that CloudEvents has no room for.
    """
    strings: dict[str, str] = {}
    for name, value in attributes.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:64]!a} can't be an attribute's name: use a-z and 0-9, and not 'data'")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if _CONTROL.search(text):
            raise ValueError(f"attribute {name} has control characters")
        strings[name] = text
    return strings


def payload(data: Data) -> tuple[bytes, str]:
    """The bytes of what a handler answered, and the media type that fits.

    Raises:
        TypeError: it is no `Data`, or holds what JSON has no word for.
        ValueError: it holds NaN or Infinity, which JSON has no word for either.
    """
    match data:
        case bytes() | bytearray() | memoryview():
            return bytes(data), BINARY
        case str():
            return data.encode(), TEXT
        case dict() | list():
            return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(), JSON
        case _:
            raise TypeError(
                f"{type(data).__name__} can't be an answer's data: use bytes, str, dict or list, None for no data;"
                " or a Reply, an event, reject(), retry() or later() for the whole answer"
            )
