"""Answers every device with what it sent, whatever it speaks."""

from thinbridge_functions import Event, handler


@handler
def echo(event: Event) -> Event | str:
    if event.data:
        return event  # the request itself: its data, in its own media type
    return f"{event.get('coapmethod', 'empty')} /{event.subject or ''}\n"
