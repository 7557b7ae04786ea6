"""A Bridge's spec is `bridge.yaml` and what only a cluster has: checked by the same model, in the same words."""

from typing import Any

import pytest
from tests.knative.bridges import SINK, bridge, plan

from thinbridge import registry
from thinbridge.errors import SettingsError
from thinbridge_knative.resource import LONGEST_NAME
from thinbridge_knative.spec import read


def test_the_shared_keys_become_the_pods_file() -> None:
    made = plan(
        mode="event",
        limits={"sessions": 7},
        trusted_networks=["10.0.0.0/8"],
        log_level="debug",
        drain=7,
        dead_letter={"uri": "http://dead/"},
        routes=[{"name": "doors", "subject": "doors/*", "sink": {"uri": "http://doors/"}}, {"timeout": 5}],
    )
    assert made.config == {
        "name": "iot",
        "listen": [{"url": "coap:5683"}, {"url": "mqtt:1883"}],
        "mode": "event",
        "limits": {"sessions": 7},
        "trusted_networks": ["10.0.0.0/8"],
        "log_level": "debug",
        "drain": 7,
        "dead_letter": {"uri": "http://dead/"},
        "routes": [{"name": "doors", "subject": "doors/*", "sink": {"uri": "http://doors/"}}, {"timeout": 5}],
        "http": {"listen": "0.0.0.0:8090"},
        "sink_from_binding": True,
    }
    assert made.settings.drain == 7
    assert made.grace == 17


@pytest.mark.parametrize(
    ("routes", "drain"),
    [([], 60), ([{"timeout": 5}], 60), ([{"timeout": 61}], 120), ([{"timeout": 90}], 120), ([{"timeout": 9000}], 3600)],
)
def test_a_drain_lets_the_most_patient_route_end(routes: list[Any], drain: int) -> None:
    made = plan(routes=routes)
    assert (made.config["drain"], made.settings.drain, made.grace) == (drain, drain, drain + 10)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"listen": [{"url": "lora:1"}]},
            f"listen[0]: lora:1: unknown protocol; installed: {', '.join(registry.names())}",
        ),
        ({"listen": [{"url": "udp:9000", "idel": 3}]}, "listen[0].idel: 3: unknown key; did you mean idle?"),
        ({"listen": []}, "listen: (none): give at least one, such as coap://127.0.0.1:5683"),
        ({"listen": [{"url": "udp:0"}]}, "listen[0].url: udp:0: use a fixed port: a Service has to know it"),
        (
            {"listen": [{"url": "udp:9000"}, {"url": "mqtt:8090"}]},
            "listen[1].url: mqtt:8090: use another port: 8090 is the bridge's own HTTP side",
        ),
        (
            {"listen": [{"url": "udp://[::1]:9000"}]},
            "listen[0].url: udp://[::1]:9000: use 0.0.0.0 or [::]: nobody reaches a pod's loopback",
        ),
        (
            {"listen": [{"url": "udp://localhost:9000"}]},
            "listen[0].url: udp://localhost:9000: use 0.0.0.0 or [::]: nobody reaches a pod's loopback",
        ),
        (
            {"listen": [{"url": "udp:9000"}, {"url": "udp:514"}], "expose": {"type": "HostNetwork"}},
            "listen[1].url: udp:514: use a port from 1024 up with HostNetwork: the node's ports below are root's alone",
        ),
        ({"routes": [{"mode": "sometimes"}]}, "routes[0].mode: sometimes: use request, event or later"),
        (
            {"routes": [{"sink": {"uri": "there"}}]},
            "routes[0].sink: there: use an absolute URL, such as http://127.0.0.1:8080/",
        ),
        ({"sink": {}}, "sink: {}: give a ref, or as uri an absolute URL, such as http://127.0.0.1:8080/"),
        ({"sink": {"uri": "ftp://a/"}}, "sink: ftp://a/: use an absolute URL, such as http://127.0.0.1:8080/"),
        (
            {"sink": {"ref": SINK["ref"], "CACerts": "no PEM"}},
            "sink.CACerts: no PEM: use the PEM text of one or more certificates",
        ),
        (
            {"dead_letter": {"ref": {"kind": "Service", "name": "dead"}}},
            "dead_letter.ref.apiVersion: (none): add it: this key has no default",
        ),
        (
            {"routes": [{}, {"sink": {"ref": {"apiVersion": "v1", "kind": "Service"}}}]},
            "routes[1].sink.ref.name: (none): add it: this key has no default",
        ),
        (
            {"secrets": ["site-tls", "Site_TLS"]},
            "secrets[1]: Site_TLS: use the name of a Secret: up to 55 small letters, digits and -, the first and last "
            "none of -",
        ),
        (
            {"ceOverrides": {"extensions": {"A-B": "x"}}},
            "ceOverrides.extensions.A-B: x: use an extension's name: up to 20 small letters and digits",
        ),
    ],
)
def test_a_mistake_is_told_as_on_the_command_line(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        plan(**spec)
    assert str(caught.value) == words


def test_a_low_port_is_for_the_pods_own_network() -> None:
    assert plan(listen=[{"url": "udp:514"}]).exposure == "ClusterIP"
    assert plan(listen=[{"url": "udp:1024"}], expose={"type": "HostNetwork"}).exposure == "HostNetwork"


def test_a_host_name_may_be_listened_to() -> None:
    assert (
        plan(listen=[{"url": "udp://device-side:9000"}, {"url": "coap:8090"}]).settings.listen[0].host == "device-side"
    )


def test_a_broker_is_called_wherever_it_is() -> None:
    made = plan(listen=[{"url": "coap:5683"}, {"url": "mqtt+broker://127.0.0.1:8090/?subscribe=up"}])
    assert [listener.protocol.name for listener in made.listeners] == ["coap"]


@pytest.mark.parametrize("name", ["a", "iot-2", "a" * LONGEST_NAME])
def test_a_name_that_fits(name: str) -> None:
    assert plan(name).name == name


@pytest.mark.parametrize("name", ["1st", "a.b", "a-", "a" * (LONGEST_NAME + 1)])
def test_a_name_from_which_no_service_can_be_made(name: str) -> None:
    with pytest.raises(SettingsError, match=r"metadata\.name: .*: use up to 56 small letters"):
        read(bridge(name), lambda destination: {})
