"""Answers by `replyto`: for a function that a Broker calls, where what it returns would go into the Broker again."""

from thinbridge_functions import Event, Pushed, handler, later, push, retry


@handler
def answer_later(event: Event) -> Exception:
    outcome = push(event, {"seen": len(event.data)})
    if outcome in (Pushed.BUSY, Pushed.FAILED):
        raise retry(after=1)  # the Broker brings the event again; the device may get the answer twice
    return later()  # delivered, queued, or a device that is gone: another try changes nothing
