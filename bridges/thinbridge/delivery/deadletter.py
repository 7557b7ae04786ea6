"""Dead letters: where an event goes that its sink did not take, and what is written on it.

Used by `Delivery`. The attributes are those of Knative's delivery specification, so that what reads a Broker's dead
letters reads ours.
"""

from base64 import b64encode
from typing import Final

from thinbridge.delivery.answer import Answer, Verdict
from thinbridge.delivery.terms import Terms
from thinbridge.events import Event
from thinbridge.routes import Destination

UNDELIVERED: Final = frozenset((Verdict.REFUSED, Verdict.UNREACHED, Verdict.UNKNOWN, Verdict.BAD_GATEWAY))
"""The verdicts that an event is dead-lettered for."""

MAX_DATA: Final = 768
"""Bytes of the answer's body that are kept: 1,024 characters of base64, Knative's own bound."""

TIMEOUT: Final = 10.0
"""Seconds that a dead letter may take, after its event's own time was up: a sink that stores, and doesn't scale to
zero; with it a drain of 25 s still ends in time."""


def letter(event: Event, sink: str, answer: Answer) -> Event:
    """The same event, with why it is here.

    Args:
        event: what was not delivered; its `id` stays.
        sink: the URL that it was for.
        answer: the last that was heard of it.
    """
    attributes = event.attributes | {"knativeerrordest": sink}
    if answer.status:
        attributes["knativeerrorcode"] = str(answer.status)
    if answer.body:
        attributes["knativeerrordata"] = b64encode(answer.body[:MAX_DATA]).decode()
    return Event(attributes, event.data)


def terms(sink: Destination, of: Terms) -> Terms:
    """How a dead letter is delivered: a few attempts, none of which may take all its time."""
    return Terms(sink, content=of.content, attempt_timeout=TIMEOUT / 2, retries=3)
