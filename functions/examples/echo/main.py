"""Answers every device with what it sent."""

from thinbridge_functions import Event, handler


@handler
def echo(event: Event) -> Event | str:
    if event.data:
        return event
    return f"{event.get('coapmethod', 'hello')} /{event.subject or ''}\n"
