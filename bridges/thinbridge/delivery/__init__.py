"""Delivery: POST an event until its sink accepts it, refuses it, or its time is up.

    delivery    `Delivery`: the service that the bridge calls; limits, counters, sinks, dead letters
    handle      one event on its way: attempts, pauses, the verdict
    retry       the rules, pure: which answer means what, what is tried again, when
    watch       one timer for every deadline
    sink        a destination, parsed, and how it fares
    request     an event as the bytes of a request
    token       the bearer token of a SinkBinding
    pool        connections to one sink
    http        one HTTP/1.1 connection, on httptools
    room        how much of long answers is read at a time

A POST that has begun is finished, and its outcome recorded, whatever the device does meanwhile.
"""

from thinbridge.delivery.answer import Answer, Verdict
from thinbridge.delivery.delivery import Delivery
from thinbridge.delivery.handle import Handle
from thinbridge.delivery.sink import Change, Sink
from thinbridge.delivery.terms import DeliveryLimits, Terms

__all__ = ["Answer", "Change", "Delivery", "DeliveryLimits", "Handle", "Sink", "Terms", "Verdict"]
