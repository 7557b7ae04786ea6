"""A CloudEvent that a device sends itself, by the binding in `docs/coap-binding.md`, whose sections are cited here.

`request.read` sees that a request claims to be one, and how; the session has it read here when all its body is there.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from thinbridge.errors import DecodeError
from thinbridge.protocols import cloudevents
from thinbridge.protocols.coap.codec import OptionValue
from thinbridge.protocols.coap.codes import BAD_REQUEST, Option
from thinbridge.protocols.coap.request import EVENT, Carries, Refused, Request

_CONTENT_TYPE = "datacontenttype"


class Event(NamedTuple):
    """What a device said, in the words of `Inbound`."""

    content_type: str | None
    data: bytes
    attributes: Mapping[str, str]


def read(request: Request, body: bytes) -> Event:
    """The event that a request carries.

    Raises:
        Refused: 4.00: it is none, or pretends to be a bridge's.
    """
    try:
        if request.carries is Carries.STRUCTURED:
            return Event(*cloudevents.from_json(body))
        return _binary(request, body)
    except DecodeError as error:
        if error.reason == "event_forged":
            raise Refused((BAD_REQUEST, [], b"such events come from bridges only"), "event_forged") from None
        raise _no_event() from None


def _no_event(why: str = "") -> Refused:
    return Refused((BAD_REQUEST, [], f"this is no CloudEvent{why}".encode()), "event_invalid")


def _binary(request: Request, body: bytes) -> Event:
    """Attributes are arguments of the query, the payload is the data (§3.1)."""
    attributes = _attributes(request.options)
    if missing := ", ".join(f"ce-{name}" for name in sorted(cloudevents.REQUIRED - attributes.keys())):
        raise _no_event(f": {missing} missing")  # clients cut long queries off, and say nothing
    content_type = attributes.pop(_CONTENT_TYPE, None)
    if content_type is not None and not (content_type.isascii() and content_type.isprintable()):
        raise cloudevents.invalid()  # it becomes a header
    checked = cloudevents.checked(attributes)
    return Event(request.content_type or content_type, body, checked)  # §3.1.1: Content-Format says it, if it can


def _attributes(options: Sequence[OptionValue]) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for number, value in options:
        if number == Option.URI_QUERY and value.startswith(EVENT):
            try:
                name, _, text = value[len(EVENT) :].decode().partition("=")
            except UnicodeDecodeError:
                raise cloudevents.invalid() from None
            if name in attributes:
                raise cloudevents.invalid()
            attributes[name] = text
    return attributes
