"""`kn bridge list`, `describe`, `endpoints`, `list-types`: what people and programs read."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from tests.knative.cli.conftest import Kn
from tests.knative.cli.fake import FakeApi, condition

from thinbridge_knative import live

METRICS = """# TYPE thinbridge_messages_total counter
thinbridge_messages_total{endpoint="coap",outcome="done",protocol="coap"} %d
thinbridge_messages_total{endpoint="coap",outcome="refused",protocol="coap"} 1.0
thinbridge_dropped_total{endpoint="coap",protocol="coap",reason="malformed"} %d
thinbridge_deliveries_in_flight 2.0
"""
STATE = {
    "endpoints": [{"name": "coap", "url": "coap://0.0.0.0:5683", "protocol": "coap", "sessions": 7}],
    "in_flight": 2,
    "sinks": [{"url": "http://f/", "failing_since": "2026-01-01T00:00:00Z", "error": "connection refused"}],
}


@pytest.fixture
def iot(api: FakeApi) -> FakeApi:
    """A bridge that is ready, two hours old."""
    sink = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "f", "namespace": "default"}}
    born = (datetime.now(UTC) - timedelta(hours=2, minutes=5)).isoformat()
    bridge = api.add(
        "thinbridge.dev/v1alpha1",
        "bridges",
        "iot",
        metadata={"creationTimestamp": born, "generation": 1, "managedFields": [{"manager": "m"}]},
        spec={
            "listen": [{"url": "coap:5683"}],
            "sink": sink,
            "ceOverrides": {"extensions": {"site": "a"}},
            "routes": [{"name": "alarms", "subject": "alarm/*", "sink": {"uri": "http://g/"}}],
        },
    )
    api.ready(bridge)
    return api


def test_list_is_a_table(iot: FakeApi, kn: Kn) -> None:
    assert kn("list")[1] == (
        "NAME   LISTENERS   SINK     AGE   CONDITIONS   READY   REASON\n"
        "iot    coap:5683   ksvc:f   2h    3 OK / 3     True    \n"
    )
    assert kn("list", "--no-headers")[1].startswith("iot   coap:5683")
    assert kn("list", "nobody")[1] == "No bridges found.\n"


def test_list_leaves_the_options_of_a_listener_to_describe(iot: FakeApi, kn: Kn) -> None:
    spec = iot.bridge()["spec"] | {"listen": [{"url": "coap:5683"}, {"url": "mqtts:8883?tls_certificate=a.pem"}]}
    iot.add("thinbridge.dev/v1alpha1", "bridges", "other", spec=spec)
    assert kn("list", "other")[1].splitlines()[1].split()[:2] == ["other", "coap:5683,mqtts:8883"]


def test_list_of_all_namespaces_has_default_first(iot: FakeApi, kn: Kn) -> None:
    other = iot.add("thinbridge.dev/v1alpha1", "bridges", "a", "a", spec=iot.bridge()["spec"])
    iot.status(other, conditions=[condition("Ready", "False", "SinkMissing", "no such service")])
    lines = kn("list", "-A")[1].splitlines()
    assert [line.split()[:2] for line in lines] == [["NAMESPACE", "NAME"], ["default", "iot"], ["a", "a"]]
    assert lines[2].endswith("0 OK / 1     False   SinkMissing : no such service")
    assert "ksvc:f:default" in lines[2]


def test_an_empty_list_says_so_and_is_an_empty_list_for_programs(api: FakeApi, kn: Kn) -> None:
    assert kn("list") == (0, "No bridges found.\n", "")
    found = json.loads(kn("list", "-o", "json")[1])
    assert (found["kind"], found["items"]) == ("BridgeList", [])


def test_formats(iot: FakeApi, kn: Kn) -> None:
    assert json.loads(kn("describe", "iot", "-o", "json")[1])["metadata"]["name"] == "iot"
    assert "managedFields" not in kn("list", "-o", "yaml")[1]
    assert "managedFields" in kn("list", "-o", "yaml", "--show-managed-fields")[1]
    assert kn("list", "-o", "name")[1] == "bridge.thinbridge.dev/iot\n"
    assert kn("describe", "iot", "-o", "jsonpath={.status.sinkUri}")[1] == "http://thermostat.default.svc.cluster.local"
    assert kn("describe", "iot", "-o", "url")[1] == "coap://iot.default.svc:5683\ncoap://10.0.0.7:5683\n"


def test_describe_reads_sessions_and_rates_from_the_pods(iot: FakeApi, kn: Kn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "APART", 0.2)
    monkeypatch.setattr(live.look, "__defaults__", (0.2,))
    labels = {"app.kubernetes.io/name": "thinbridge", "app.kubernetes.io/instance": "iot"}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    iot.add("v1", "pods", "iot-bridge-1", metadata={"labels": labels}, status=ready)
    iot.add("v1", "pods", "iot-bridge-2", metadata={"labels": labels}, status={})
    gone = {"labels": labels, "deletionTimestamp": "2026-01-01T00:00:00Z"}
    iot.add("v1", "pods", "iot-bridge-0", metadata=gone, status=ready)
    pod = "/api/v1/namespaces/default/pods/iot-bridge-1:8090/proxy"
    iot.pages = {f"{pod}/metrics": [METRICS % (100, 0), METRICS % (200, 5)], f"{pod}/health/ready": json.dumps(STATE)}
    out = kn("describe", "iot")[1]
    rows = [line.split() for line in out.splitlines() if "iot-bridge-" in line]
    assert [row[:4] for row in rows[:2]] == [["iot-bridge-1", "true", "coap", "7"], ["iot-bridge-2", "false", "-", "0"]]
    messages, dropped = float(rows[0][4]), float(rows[0][5])
    assert 100 < messages <= 500
    assert dropped == pytest.approx(messages / 20, abs=0.1)
    assert "! iot-bridge-1: http://f/ fails since 2026-01-01T00:00:00Z: connection refused" in out
    assert "iot-bridge-0" not in out


def test_describe_is_laid_out_as_kn_does(iot: FakeApi, kn: Kn) -> None:
    assert kn("describe", "iot", "-v")[1].splitlines() == [
        "Name:       iot",
        "Namespace:  default",
        "Age:        2h",
        "Replicas:   1/1",
        "Expose:     ClusterIP",
        "Mode:       request",
        "",
        "Sink:",
        "  Name:      f",
        "  Resource:  Service (serving.knative.dev/v1)",
        "",
        "CloudEvent Overrides:",
        "  site:  a",
        "",
        "Listeners:",
        "  coap:  coap:5683",
        "         coap://iot.default.svc:5683",
        "         coap://10.0.0.7:5683",
        "",
        "Routes:",
        "  alarms:  subject=alarm/*, sink=http://g/",
        "",
        "Pods:  none",
        "",
        "Conditions:",
        "  OK TYPE            AGE REASON",
        *[
            f"  ++ {name:12} {(datetime.now(UTC) - datetime(2026, 1, 1, tzinfo=UTC)).days:>5}d"
            for name in ("Ready", "Deployed", "SinkProvided")
        ],
    ]


def test_pods_that_may_not_be_read_are_told(iot: FakeApi, kn: Kn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.look, "__defaults__", (0.0,))
    labels = {"app.kubernetes.io/name": "thinbridge", "app.kubernetes.io/instance": "iot"}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    iot.add("v1", "pods", "iot-bridge-1", metadata={"labels": labels}, status=ready)
    status, out, _ = kn("describe", "iot")
    assert status == 0
    assert "! iot-bridge-1: error trying to reach service" in out


def test_endpoints_say_from_where(iot: FakeApi, kn: Kn) -> None:
    assert kn("endpoints", "iot")[1] == (
        "NAME   FROM      URL\ncoap   cluster   coap://iot.default.svc:5683\ncoap   outside   coap://10.0.0.7:5683\n"
    )
    assert len(yaml.safe_load(kn("endpoints", "iot", "-o", "yaml")[1])["items"]) == 2
    assert kn("endpoints", "iot")[2] == "\nTo reach it from outside: kn bridge update iot --expose NodePort\n"


def test_list_types_needs_no_cluster(kn: Kn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    out = kn("list-types")[1]
    assert out.splitlines()[0].split() == ["TYPE", "PROTOCOL", "PORT", "DESCRIPTION"]
    assert ["dev.thinbridge.coap.request", "coap", "5683"] in [line.split()[:3] for line in out.splitlines()]
    assert kn("list-types", "-o", 'jsonpath={.items[?(@.protocol=="udp")].type}')[1] == "dev.thinbridge.udp.datagram"


def test_describe_tells_all_that_is_said(iot: FakeApi, kn: Kn) -> None:
    bridge = iot.bridge()
    bridge["metadata"] |= {"labels": {"team": "a", "site": "x" * 100}, "annotations": {"kubectl.kubernetes.io/y": "z"}}
    sink = {"ref": {"apiVersion": "v1", "kind": "Service", "name": "d", "namespace": "other"}, "uri": "/dead"}
    bridge["spec"] |= {"dead_letter": sink, "image": "dev.local/b:1", "expose": {"type": "HostNetwork"}}
    ready = condition("Ready", "False", "Missing", "no sink") | {"severity": "Warning"}
    iot.status(bridge, conditions=[condition("SinkProvided", "Unknown", "Resolving", "wait"), ready])
    out = kn("describe", "iot")[1]
    assert f"Labels:     site={'x' * 83} ...\n" in out
    assert "Annotations" not in out
    assert "Image:      dev.local/b:1\n" in out
    assert (
        "Dead Letter:\n  Name:       d\n  Namespace:  other\n  Resource:   Service (v1)\n  URI:        /dead\n" in out
    )
    verbose = kn("describe", "iot", "-v")[1]
    assert "Labels:       site=xxx" in verbose
    assert "\n              team=a\n" in verbose
    assert "Annotations:  kubectl.kubernetes.io/y=z\n" in verbose
    marks = [line[2:4] for line in verbose.splitlines()[-2:]]
    assert marks == [" W", "??"]
    assert verbose.splitlines()[-2].endswith("Missing (no sink)")


def test_templates_come_from_files_too(iot: FakeApi, kn: Kn, tmp_path: Path) -> None:
    file = tmp_path / "template"
    file.write_text("{.metadata.name}!")
    assert kn("describe", "iot", "-o", f"jsonpath-file={file}")[1] == "iot!"
    assert kn("describe", "iot", "-o", "jsonpath-file=/nonexistent")[2].startswith("Error: error reading template ")
    assert kn("list", "-o", "jsonpath-as-json={.items[*].metadata.name}")[1] == '[\n    "iot"\n]\n'
    assert kn("list", "-o", "jsonpath")[2].startswith("Error: template format specified but no template given")


def test_endpoints_of_a_bridge_that_has_none(iot: FakeApi, kn: Kn) -> None:
    iot.status(iot.bridge())
    assert kn("endpoints", "iot")[1] == "No endpoints found.\n"
