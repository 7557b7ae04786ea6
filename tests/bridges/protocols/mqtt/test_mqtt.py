"""The listener: its settings, and the Sessions by client identifier. Named after `thinbridge.protocols.mqtt`."""

import pytest
from tests.bridges.protocols.mqtt.bench import Bench

from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Identity, Transport
from thinbridge.protocols.mqtt import MQTT, MQTTSettings, connect
from thinbridge.protocols.mqtt.connect import Connect


def test_what_it_is() -> None:
    assert (MQTT.name, MQTT.port, MQTT.transport) == ("mqtt", 1883, Transport.STREAM)
    assert [one.type for one in MQTT.event_types] == [
        "dev.thinbridge.mqtt.message",
        "dev.thinbridge.mqtt.will",
        "dev.thinbridge.session.opened",
        "dev.thinbridge.session.closed",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 0},
        {"window": 65_536},
        {"outbound_window": 0},
        {"on_refused": "maybe"},
        {"may_subscribe": ("a#",)},
        {"may_publish": ("{x}",)},
        {"response_info": "a/+"},
        {"response_info": "a/{x}"},
    ],
)
def test_settings_that_mqtt_can_not_have(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        MQTTSettings(**wrong)  # type: ignore[arg-type]


def test_a_connect_finds_its_session() -> None:
    bench = Bench()
    bench.persistent("a")
    session = bench.session("a")
    bench.persistent("b")
    bench.persistent("a")
    assert bench.session("a") is session
    bench.connect("a")
    assert bench.session("a") is not session
    thief = bench.line(Identity("psk", "x"))
    thief.send(connect.encode_connect(Connect("a")))
    assert thief.closed
    assert bench.protocol.counters["takeover_refused"] == 1


def test_sessions_without_a_connection_are_bounded() -> None:
    bench = Bench(offline_sessions=2)
    for name in "abc":
        bench.persistent(name).cut()
    assert list(bench.protocol.offline) == ["b", "c"]
    assert len(bench.owner.live) == 2
