"""Routes: the first that matches wins."""

import pytest

from thinbridge.protocols.base import Inbound
from thinbridge.routes import Route, Routes


def inbound(type: str = "dev.thinbridge.udp.datagram", subject: str | None = "meters") -> Inbound:
    return Inbound(1, type, subject, {}, None, b"")


@pytest.mark.parametrize(
    ("route", "message", "matches"),
    [
        (Route(), inbound(), True),
        (Route(), inbound(subject=None), True),
        (Route(endpoint="in*"), inbound(), True),
        (Route(endpoint="out*"), inbound(), False),
        (Route(type="*.udp.*"), inbound(), True),
        (Route(type="*.coap.*"), inbound(), False),
        (Route(subject="sensors/*"), inbound(subject="sensors/7/t"), True),
        (Route(subject="sensors/*"), inbound(subject="Sensors/7"), False),
        (Route(subject="sensors/*"), inbound(subject=None), False),
    ],
)
def test_what_a_route_takes(route: Route, message: Inbound, matches: bool) -> None:
    assert route.matches("inside", message) is matches


def test_what_a_device_says_of_itself_chooses_no_route() -> None:
    message = inbound()._replace(event={"type": "com.acme.alarm", "subject": "doors/7"})
    assert Route(type="*.udp.*", subject="meters").matches("inside", message)
    assert not Route(type="com.acme.*").matches("inside", message)


def test_the_first_that_matches_wins_and_the_default_takes_the_rest() -> None:
    first, second, default = Route("a", subject="x"), Route("b"), Route("default")
    routes = Routes([first, second], default)
    assert routes.match("udp", inbound(subject="x")) is first
    assert routes.match("udp", inbound(subject="y")) is second
    assert Routes([first], default).match("udp", inbound(subject="y")) is default
