"""The handler SDK: one function answers CoAP, MQTT and UDP devices.

    from thinbridge_functions import Event, handler

    @handler
    def greet(event: Event) -> str:
        return f"hello, {event.subject}"

Served by functions-framework (`functions-framework --target greet`), tested with `thinbridge_functions.testing`.
"""

from thinbridge_functions.answers import BadData, Reply, later, reject, retry
from thinbridge_functions.event import Event
from thinbridge_functions.pushing import Pushed, publish, push
from thinbridge_functions.serving import handler

__all__ = ["BadData", "Event", "Pushed", "Reply", "handler", "later", "publish", "push", "reject", "retry"]
