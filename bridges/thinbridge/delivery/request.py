"""An event as the bytes of a request; called once per attempt."""

from thinbridge.contract import TRACEPARENT
from thinbridge.delivery.sink import Sink
from thinbridge.events import Event, encode
from thinbridge.routes import Content


def build(sink: Sink, event: Event, content: Content, extra: str = "") -> bytes:
    """The request that delivers an event.

    Args:
        sink: where to.
        event: what.
        content: in which mode.
        extra: more header lines, each with its CRLF.
    """
    lines, body = encode(event, content)
    trace = event.own.get(TRACEPARENT)
    if (
        trace is not None and trace.isascii() and trace.isprintable()
    ):  # W3C Trace Context §3.2; the attribute repeats it
        extra += f"traceparent: {trace}\r\n"
    return f"{sink.head}{extra}{lines}content-length: {len(body)}\r\n\r\n".encode() + body
