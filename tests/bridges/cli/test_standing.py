"""What a bridge says of itself when it starts."""

import logging

import pytest

from thinbridge.assembly import build
from thinbridge.cli.standing import _announce, _is_trusted
from thinbridge.settings import load


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("10.1.2.3", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("bridge.example", False),
    ],
)
def test_where_addresses_can_be_forged(host: str, trusted: bool) -> None:
    flags = {"listen": ["udp:9000"], "sink": "http://fn/", "trusted_networks": ["127.0.0.0/8", "::1", "10.0.0.0/8"]}
    assert _is_trusted(host, load(flags, {})) is trusted


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
