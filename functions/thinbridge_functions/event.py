"""`Event`: one message of a device, as a handler gets it.

Made by `codec` from a request, by `testing` from thin air. Attributes are strings, as on the wire; data is bytes and
never altered. What a property can't read is None: only `event["name"]` insists.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from thinbridge import contract
from thinbridge_functions.answers import BadData

if TYPE_CHECKING:
    from cloudevents.http import CloudEvent


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """A CloudEvent: context attributes and data; immutable, and comparable by both.

    Extensions are read by name, `event["coapmethod"]` or `event.get("coapmethod")`; docs/contract.md lists them.
    """

    attributes: Mapping[str, str]
    """Every context attribute by its CloudEvents name, `datacontenttype` and `specversion` included."""
    data: bytes = field(default=b"")
    """What the device sent, byte for byte."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))

    def __getitem__(self, name: str) -> str:
        return self.attributes[name]

    def __contains__(self, name: object) -> bool:
        return name in self.attributes

    def __hash__(self) -> int:
        return hash((self.attributes.get("source"), self.attributes.get("id")))

    def __reduce__(self) -> tuple[type["Event"], tuple[dict[str, str], bytes]]:
        """Copies and pickles, so that it can be handed to a worker together with `later()`."""
        return Event, (self.get_attributes(), self.data)

    def __repr__(self) -> str:
        """Short and safe to log: no data, and no `replyto`, which is a capability."""
        return f"<Event {self.get('type')!r} subject={self.subject!r} id={self.get('id')!r} {len(self.data)} bytes>"

    def get(self, name: str, default: str | None = None) -> str | None:
        """The attribute, else `default`."""
        return self.attributes.get(name, default)

    # --- the data ----------------------------------------------------------------------------------------------

    def text(self) -> str:
        """The data as UTF-8 text.

        Raises:
            BadData: it is none; unless you catch it (it is a ValueError), the device is answered 400.
        """
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            raise BadData("the data is no UTF-8 text") from None

    def json(self) -> Any:
        """The data as JSON, whatever `datacontenttype` claims; NaN and Infinity are none (RFC 8259 §6).

        Raises:
            BadData: it is none; unless you catch it (it is a ValueError), the device is answered 400.
        """
        try:
            return json.loads(self.data, parse_constant=_no_number)
        except (ValueError, RecursionError):  # deep nesting is the device's fault too
            raise BadData("the data is no JSON") from None

    # --- CloudEvents' own attributes -----------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Unique with `source`; the same for every repeat of the message, so remember it to act only once."""
        return self["id"]

    @property
    def source(self) -> str:
        """The bridge: `/apis/v1/namespaces/<namespace>/bridges/<name>`."""
        return self["source"]

    @property
    def type(self) -> str:
        """What happened, such as `dev.thinbridge.coap.request`."""
        return self["type"]

    @property
    def subject(self) -> str | None:
        """CoAP path without its leading slash, MQTT topic, endpoint name of a datagram; None for CoAP's root."""
        return self.get("subject")

    @property
    def time(self) -> datetime | None:
        """When the bridge took the message, with its offset."""
        return _timestamp(self.get("time"))

    @property
    def datacontenttype(self) -> str | None:
        """Media type of the data; bridges always set it."""
        return self.get("datacontenttype")

    # --- what bridges add ------------------------------------------------------------------------------------------

    @property
    def deviceid(self) -> str | None:
        """The name the device goes by; proven only if `authid` is there."""
        return self.get(contract.DEVICEID)

    @property
    def authtype(self) -> str | None:
        """How the device proved who it is."""
        return self.get(contract.AUTHTYPE)

    @property
    def authid(self) -> str | None:
        """Who the device is, proven: `<kind>:<name>`; None: nothing is proven."""
        return self.get(contract.AUTHID)

    @property
    def sessionid(self) -> str | None:
        """The device's conversation with the bridge."""
        return self.get(contract.SESSIONID)

    @property
    def replyto(self) -> str | None:
        """URL that reaches this device later (see `push`); whoever has it can, so keep it secret."""
        return self.get(contract.REPLYTO)

    @property
    def replyby(self) -> datetime | None:
        """When the device stops waiting."""
        return _timestamp(self.get(contract.REPLYBY))

    @property
    def partitionkey(self) -> str | None:
        """Equal for what must stay in order: the device, else its session."""
        return self.get(contract.PARTITIONKEY)

    @property
    def traceparent(self) -> str | None:
        """W3C trace context."""
        return self.get(contract.TRACEPARENT)

    # --- for CloudEvents libraries -----------------------------------------------------------------------------------

    def get_attributes(self) -> dict[str, str]:
        """A copy of the attributes; the shape that both CloudEvents SDKs share."""
        return dict(self.attributes)

    def get_data(self) -> bytes:
        """The data; the shape that both CloudEvents SDKs share."""
        return self.data

    def to_cloudevent(self) -> "CloudEvent":
        """This event as an object of the `cloudevents` package, 1.x."""
        from cloudevents.http import CloudEvent  # here: whoever does not ask for one doesn't pay for the import

        return CloudEvent(self.get_attributes(), self.data)


def _timestamp(value: str | None) -> datetime | None:
    """RFC 3339 with an offset, else None: a device may have set it, and a bad clock is no reason to crash."""
    try:
        time = datetime.fromisoformat((value or "").upper())
    except ValueError:
        return None
    return time if time.tzinfo else None


def _no_number(name: str) -> None:
    raise ValueError(name)
