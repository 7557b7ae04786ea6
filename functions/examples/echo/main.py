"""Answers every device with what it sent, whatever it speaks."""

from thinbridge_functions import Event, handler


@handler
def echo(event: Event) -> Event | str:
    if event.data:
        return event  # the request itself: its data, in its own media type
    if "coapmethod" in event:
        return f"{event['coapmethod']} /{event.subject or ''}\n"
    return (
        f"empty {event.subject or ''}\n"  # a topic is no path: it has a slash in front only if its device put it there
    )
