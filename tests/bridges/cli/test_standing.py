"""What a bridge says of itself when it starts."""

import logging

import pytest

from thinbridge.assembly import build
from thinbridge.cli.serving import forgeable
from thinbridge.cli.standing import _announce
from thinbridge.settings import load


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("udp://127.0.0.1:9000", []),
        ("udp://[::1]:9000", []),
        ("udp://localhost:9000", []),
        ("udp://10.1.2.3:9000", []),
        ("mqtt://0.0.0.0:1883", []),
        ("udp://0.0.0.0:9000", ["udp"]),
        ("udp://[::]:9000", ["udp"]),
        ("coap://192.0.2.1:5683", ["coap"]),
        ("udp://bridge.example:9000", ["udp"]),
    ],
)
def test_where_addresses_can_be_forged(url: str, found: list[str]) -> None:
    flags = {"listen": [url], "sink": "http://fn/", "trusted_networks": ["127.0.0.0/8", "::1", "10.0.0.0/8"]}
    assert forgeable(load(flags, {})) == found


def test_at_a_broker_it_does_not_listen(caplog: pytest.LogCaptureFixture) -> None:
    settings = load({"listen": ["mqtt+broker://broker:1883?subscribe=a"], "sink": "http://fn/"}, {})
    with caplog.at_level(logging.INFO):
        _announce(build(settings), settings)
    assert caplog.messages == ["taking messages", "health, metrics and inbox", "ready"]


@pytest.mark.parametrize(
    ("http", "warned"),
    [
        ({"listen": "127.0.0.1:0"}, False),
        ({"listen": "0.0.0.0:0"}, True),
        ({"listen": "[::]:0"}, True),
        ({"listen": "0.0.0.0:0", "url": "http://10.0.0.7:8090"}, False),
    ],
)
def test_reply_addresses_that_nobody_else_reaches_are_told(
    http: dict[str, str], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    settings = load({"listen": ["mqtt+broker://broker:1883?subscribe=a"], "sink": "http://fn/", "http": http}, {})
    _announce(build(settings), settings)
    assert ("say in http.url" in caplog.text) is warned
