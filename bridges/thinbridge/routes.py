"""Routes: which sink an event goes to, and on what terms. The bridge asks once per message.

The first route that matches wins; a message that matches none takes the default route, which every bridge has.
`thinbridge routes explain` shows the same decision to people. What is matched is the message, as the protocol types and
names it: what a device says in a CloudEvent of its own is the device's word, and must not choose its sink.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from typing import Final

from thinbridge.protocols.base import Inbound

GLOB: Final = frozenset("*?[")
"""What makes a pattern of a subject."""


class Mode(Enum):
    """What a device's answer waits for."""

    REQUEST = "request"
    """The function's answer (the default)."""
    EVENT = "event"
    """The sink's acceptance; the answer's body is not looked at."""
    LATER = "later"
    """The function's answer, now or, after a 202, by `replyto` until `replyby`."""


class Content(Enum):
    """The CloudEvents HTTP content mode."""

    AUTO = "auto"
    """Binary where every value is plain ASCII, else structured: what all receivers read alike."""
    BINARY = "binary"
    """Always binary, values percent-encoded as the HTTP binding §3.1.3.2 has it."""
    STRUCTURED = "structured"
    """Always structured JSON."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Somewhere to POST events to."""

    uri: str
    """Absolute http or https URL."""
    ca_certs: str | None = None
    """PEM text of the authorities to trust for it beside the system's."""
    token_file: str | None = None
    """Where the bearer token that is made out to it lies; read again as it is rotated. No other destination gets it."""


@dataclass(frozen=True, slots=True)
class Route:
    """The terms of a delivery."""

    name: str = "default"
    sink: Destination | None = None
    """None: the bridge's own sink."""
    dead_letter: Destination | None = None
    """Where an event goes that the sink did not take; None: nowhere."""
    mode: Mode = Mode.REQUEST
    content: Content = Content.AUTO
    timeout: float = 60.0
    """Seconds: CoAP and UDP: until the answer is due (`replyby`), all tries together; MQTT QoS 1: one attempt. A cold
    start takes 5–30 s, a CoAP client's own patience is 45–93 s (RFC 7252 §4.8.2)."""
    retry_for: float = 900.0
    """Seconds for which a message that its device keeps (MQTT QoS 1) is tried, across reconnects."""
    ordered: bool = False
    """Deliver one message of a session at a time, in the order in which they came; the others
    wait, within their time."""
    sessions: bool = False
    """Deliver `dev.thinbridge.session.opened` and `.closed`, too: a device has connected, its connection is gone."""
    reply: Mapping[str, str] = field(default_factory=dict[str, str])
    """Attributes that a reply has where the function has set none: `{coapobserve: "true"}` lets devices observe what a
    plain HTTP function answers."""
    resource: Mapping[str, str] = field(default_factory=dict[str, str])
    """What devices hear of `subject` when they ask what there is (RFC 6690): `rt`, `if`, `ct`, `obs`, `title`, `sz`."""
    endpoint: str = "*"
    """Glob: the endpoint's name."""
    type: str = "*"
    """Glob: the message's type, whatever an event of the device's own says."""
    subject: str = "*"
    """Glob: the message's subject; `*` also matches none."""

    def matches(self, endpoint: str, inbound: Inbound) -> bool:
        """Whether this route takes the message."""
        return (
            (self.endpoint == "*" or fnmatchcase(endpoint, self.endpoint))
            and (self.type == "*" or fnmatchcase(inbound.type, self.type))
            and (self.subject == "*" or fnmatchcase(inbound.subject or "", self.subject))
        )


class Routes:
    """The routes of a bridge, in order, the default last."""

    def __init__(self, routes: Sequence[Route], default: Route) -> None:
        self._routes = tuple(routes)
        self._default = default

    @property
    def destinations(self) -> frozenset[Destination]:
        """All that events may go to, dead letters too."""
        places = (place for route in (*self._routes, self._default) for place in (route.sink, route.dead_letter))
        return frozenset(place for place in places if place is not None)

    def match(self, endpoint: str, inbound: Inbound) -> Route:
        """The route of a message from an endpoint; there always is one."""
        for route in self._routes:
            if route.matches(endpoint, inbound):
                return route
        return self._default
