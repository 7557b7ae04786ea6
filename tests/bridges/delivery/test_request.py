"""An event as a request, read back by llhttp."""

import pytest
from tests.bridges.delivery.virtual import EVENT, SINK

from thinbridge.delivery.request import build
from thinbridge.delivery.sink import Sink
from thinbridge.events import Event
from thinbridge.routes import Content

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def with_trace(value: str) -> Event:
    return Event(EVENT.attributes | {"traceparent": value}, b"data")


def test_the_whole_request() -> None:
    sink = Sink(SINK)
    assert build(sink, EVENT, Content.AUTO, "authorization: Bearer x\r\n") == sink.head.encode() + (
        b"authorization: Bearer x\r\n"
        b"ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /b\r\nce-type: t\r\ncontent-length: 4\r\n\r\ndata"
    )


def test_a_trace_is_a_header_too() -> None:
    """W3C Trace Context; what the sink's own tracing reads."""
    for content in Content:
        assert f"\r\ntraceparent: {TRACE}\r\n".encode() in build(Sink(SINK), with_trace(TRACE), content)


@pytest.mark.parametrize("value", ["a\r\nx: y", "ä", "\x00"])
def test_a_trace_that_is_none_is_no_header(value: str) -> None:
    for content in Content:
        assert b"\r\ntraceparent:" not in build(Sink(SINK), with_trace(value), content)
