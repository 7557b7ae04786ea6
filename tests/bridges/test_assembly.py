"""From settings to a bridge."""

import logging

import pytest

from thinbridge.assembly import OIDC_TOKEN, build
from thinbridge.routes import Destination, Mode
from thinbridge.settings import load


def test_every_part_is_made_of_the_settings() -> None:
    flags = {
        "listen": ["coap://127.0.0.1:0?ack_delay=0.5", "mqtt://127.0.0.1:0", "udp://127.0.0.1:0"],
        "sink": "http://fn/",
        "dead_letter": "http://dead/",
        "mode": "event",
        "http": "127.0.0.1:0",
        "name": "site",
        "limits": {"deliveries": 7, "held_bytes": 8000},
        "routes": [{"name": "doors", "subject": "doors/*", "sink": "http://doors/"}],
    }
    bridge = build(load(flags, {}))
    assert [one.name for one in bridge.endpoints] == ["coap", "mqtt", "udp"]
    assert bridge.endpoints[0].core.settings.ack_delay == 0.5  # type: ignore[attr-defined]
    assert (bridge.delivery.limits.deliveries, bridge.delivery.limits.held_bytes) == (7, 8000)
    [doors], default = bridge.routes._routes, bridge.routes._default
    assert (doors.sink, doors.dead_letter) == (Destination("http://doors/"), Destination("http://dead/"))
    assert (default.sink, default.mode) == (Destination("http://fn/", token_file=OIDC_TOKEN), Mode.EVENT)


def test_a_sink_that_comes_and_goes_is_a_line_each(caplog: pytest.LogCaptureFixture) -> None:
    from thinbridge.assembly import _notice
    from thinbridge.delivery import Sink

    sink = Sink(Destination("http://fn.example/"), _notice)
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            sink.failing("answered 503", 0.0)
            sink.well()
        sink.hold_up(1, 0.0)
        sink.let_go(1)
    assert [record.getMessage() for record in caplog.records] == [
        "sink http://fn.example/ fails",
        "sink http://fn.example/ answers again",
        "sink http://fn.example/ holds up messages that it keeps refusing",
        "sink http://fn.example/ holds up no messages any more",
    ]
