"""`kn bridge create`, `apply`, `update`, `import`: what is sent, what is said, and that nothing is half made."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.knative.cli.conftest import Kn
from tests.knative.cli.fake import FakeApi, condition

from thinbridge_knative.cli import waiting
from thinbridge_knative.cli.waiting import Progress

IOT = ("--listen", "coap:5683", "--listen", "udp:9000", "--sink", "ksvc:thermostat")
SINK = {
    "ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "thermostat", "namespace": "default"}
}


def writes(api: FakeApi) -> list[str]:
    return [method for method, _ in api.requests if method != "GET"]


def test_create_waits_and_tells_the_addresses(api: FakeApi, kn: Kn) -> None:
    status, out, err = kn("create", "iot", *IOT)
    assert (status, err) == (0, "")
    assert out == (
        "Creating bridge 'iot' in namespace 'default':\n\n\nBridge 'iot' created is available at:\n"
        "coap://iot.default.svc:5683\ncoap://10.0.0.7:5683\nudp://iot.default.svc:9000\nudp://10.0.0.7:9000\n"
    )
    assert api.bridge()["spec"] == {"listen": [{"url": "coap:5683"}, {"url": "udp:9000"}], "sink": SINK}
    assert writes(api) == ["POST"]


def test_progress_lines_have_the_time_and_repeat_as_dots(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    for message in ("0 of 1 pods are ready", "0 of 1 pods are ready", "soon"):
        progress.say(message)
    lines = capsys.readouterr().out.splitlines()
    assert [line[9:] for line in lines] == ["0 of 1 pods are ready", "...", "soon"]
    assert all(re.fullmatch(r" {2}\d\.\d{3}s ", line[:9]) for line in lines)


def test_no_wait_returns_at_once(api: FakeApi, kn: Kn) -> None:
    assert kn("create", "iot", *IOT, "--no-wait")[1] == "Bridge 'iot' created in namespace 'default'.\n"


def test_all_flags_reach_the_spec(api: FakeApi, kn: Kn) -> None:
    api.add("eventing.knative.dev/v1", "brokers", "urgent", "other")
    status, _, err = kn(
        *("create", "iot", *IOT, "-n", "default", "--no-wait", "--replicas", "3", "--expose", "nodeport"),
        *("--mode", "later", "--dead-letter", "http://dead.example/", "--image", "dev.local/bridge:1"),
        *("--ce-override", "site=a", "--request", "cpu=100m,memory=64Mi", "--limit", "memory=256Mi"),
        *("--route", "name=alarms,subject=alarm/*,sink=broker:urgent:other,timeout=5,mode=event"),
        *("--trusted-network", "10.0.0.0/8"),
    )
    assert (status, err) == (0, "")
    broker = {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "urgent", "namespace": "other"}
    assert api.bridge()["spec"] == {
        "listen": [{"url": "coap:5683"}, {"url": "udp:9000"}],
        "sink": SINK,
        "replicas": 3,
        "expose": {"type": "NodePort"},
        "mode": "later",
        "dead_letter": {"uri": "http://dead.example/"},
        "image": "dev.local/bridge:1",
        "ceOverrides": {"extensions": {"site": "a"}},
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "routes": [{"name": "alarms", "subject": "alarm/*", "sink": {"ref": broker}, "timeout": 5.0, "mode": "event"}],
        "trusted_networks": ["10.0.0.0/8"],
    }


def test_a_taken_name_is_refused_and_force_replaces(api: FakeApi, kn: Kn) -> None:
    kn("create", "iot", *IOT)
    status, _, err = kn("create", "iot", *IOT)
    assert (status, err) == (
        1,
        "Error: cannot create bridge 'iot' in namespace 'default' because the bridge already exists and no --force "
        "option was given\nRun 'kn bridge --help' for usage\n",
    )
    assert "replaced in namespace 'default' (unchanged)" in kn("create", "iot", *IOT, "--force")[1]
    status, out, _ = kn("create", "iot", "--listen", "mqtt:1883", "--sink", "thermostat", "--force")
    assert (status, out[:9]) == (0, "Replacing")
    assert api.bridge()["spec"]["listen"] == [{"url": "mqtt:1883"}]


def test_force_takes_the_labels_of_a_file_and_leaves_others(api: FakeApi, kn: Kn, tmp_path: Path) -> None:
    kn("create", "iot", *IOT)
    api.bridge()["metadata"] |= {"labels": {"theirs": "1", "ours": "old"}, "finalizers": ["x.example/y"]}
    manifest = {"apiVersion": "thinbridge.dev/v1alpha1", "kind": "Bridge", "spec": api.bridge()["spec"]}
    manifest["metadata"] = {"labels": {"ours": "new"}, "annotations": {"why": "not"}}
    file = tmp_path / "iot.yaml"
    file.write_text(yaml.safe_dump(manifest))
    assert kn("create", "iot", "--force", "-f", str(file))[1].startswith("Replacing")
    meta = api.bridge()["metadata"]
    assert (meta["labels"], meta["annotations"]) == ({"theirs": "1", "ours": "new"}, {"why": "not"})
    assert meta["finalizers"] == ["x.example/y"]
    assert "replaced in namespace 'default' (unchanged)" in kn("create", "iot", "--force", "-f", str(file))[1]


@pytest.mark.parametrize("sink", ["{}", "{uri: 'ftp://f.example/'}"])
def test_target_takes_no_sink_that_the_cluster_would_refuse(sink: str, kn: Kn, tmp_path: Path) -> None:
    file = tmp_path / "iot.yaml"
    file.write_text(
        f"{{apiVersion: thinbridge.dev/v1alpha1, kind: Bridge, spec: {{listen: [{{url: coap}}], sink: {sink}}}}}"
    )
    status, _, err = kn("create", "iot", "-f", str(file), "--target", str(tmp_path))
    assert status == 1
    assert err.startswith(f"Error: {file}: sink: ")
    assert not (tmp_path / "default").exists()


def test_a_bridge_that_does_not_become_ready_says_how_to_undo_it(api: FakeApi, kn: Kn) -> None:
    api.controller = api.broken("ImagePullBackOff", "pod iot-1, image nope:1: not found")
    status, out, err = kn("create", "iot", *IOT, "--wait-window", "0")
    assert status == 1
    assert re.search(r"^ +\d+\.\d{3}s pod iot-1, image nope:1: not found$", out, re.M)
    assert err == (
        "Error: ImagePullBackOff: pod iot-1, image nope:1: not found\nBridge 'iot' has been created in namespace "
        "'default'; to undo it: kn bridge delete iot -n default\nRun 'kn bridge --help' for usage\n"
    )


@pytest.mark.parametrize(
    ("words", "done"),
    [
        (("update", "iot", "--image", "nope:1", "--listen", "udp-", "--sink", "http://f.example/it's"), "updated"),
        (("apply", "iot", "--listen", "coap:5683", "--sink", "http://f.example/it's", "--image", "nope:1"), "applied"),
        (
            (
                "create",
                "iot",
                "--listen",
                "coap:5683",
                "--sink",
                "http://f.example/it's",
                "--image",
                "nope:1",
                "--force",
            ),
            "replaced",
        ),
    ],
)
def test_a_change_that_does_not_become_ready_says_how_to_undo_it(
    words: tuple[str, ...], done: str, api: FakeApi, kn: Kn
) -> None:
    kn("create", "iot", *IOT, "--mode", "event")
    before = api.bridge()["spec"]
    api.controller = api.broken("ImagePullBackOff", "pod iot-1, image nope:1: not found")
    status, _, err = kn(*words, "--wait-window", "0")
    assert (status, err.splitlines()[0]) == (1, "Error: ImagePullBackOff: pod iot-1, image nope:1: not found")
    start = f"Bridge 'iot' has been {done} in namespace 'default'; to undo it: "
    [command] = [line.removeprefix(start) for line in err.splitlines() if line.startswith(start)]
    *patch, text = shlex.split(command)
    assert patch == ["kubectl", "patch", "bridges.thinbridge.dev", "iot", "-n", "default", "--type=merge", "-p"]
    assert merged(api.bridge()["spec"], json.loads(text)["spec"]) == before


def merged(value: Any, patch: Any) -> Any:
    """RFC 7386 §2."""
    if not isinstance(patch, dict):
        return patch
    found = dict(value) if isinstance(value, dict) else {}
    for key, one in patch.items():
        found[key] = merged(found.get(key), one)
    return {key: one for key, one in found.items() if one is not None}


def test_a_bridge_that_takes_its_time_is_waited_for(api: FakeApi, kn: Kn) -> None:
    deploying = condition("Ready", "Unknown", "Deploying", "0 of 1 pods are up to date and ready")
    steps = [lambda: api.status(api.bridge(), conditions=[deploying]), lambda: api.ready(api.bridge())]
    api.controller = lambda bridge: api.status(api.bridge(), conditions=[deploying])
    api.on_watch = lambda: steps.pop(0)()
    status, out, err = kn("create", "iot", *IOT)
    assert (status, err) == (0, "")
    assert re.search(r"^ +\d+\.\d{3}s 0 of 1 pods are up to date and ready\n +\d+\.\d{3}s \.\.\.$", out, re.M)


def test_time_runs_out(api: FakeApi, kn: Kn) -> None:
    api.controller = lambda bridge: None
    status, _, err = kn("create", "iot", *IOT, "--wait-timeout", "1")
    assert (status, err.splitlines()[0]) == (1, "Error: timeout: bridge 'iot' not ready after 1 seconds")


def test_a_false_ready_that_heals_within_the_window_is_no_error(api: FakeApi, kn: Kn) -> None:
    def flaky(bridge: dict[str, object]) -> None:
        api.broken("NotYet", "a moment")(api.bridge())
        api.ready(api.bridge())

    api.controller = flaky
    assert kn("create", "iot", *IOT)[0] == 0


def test_apply_makes_changes_and_leaves_alone(api: FakeApi, kn: Kn) -> None:
    assert kn("apply", "iot", *IOT)[1].startswith("Creating bridge 'iot'")
    assert kn("apply", "iot", *IOT)[1] == "No changes to apply to bridge 'iot'.\n"
    out = kn("apply", "iot", *IOT, "--replicas", "2")[1]
    assert out.startswith("Applying bridge 'iot'")
    assert "Bridge 'iot' applied is available at:" in out


def test_apply_warns_of_bridges_that_it_did_not_make(api: FakeApi, kn: Kn) -> None:
    kn("create", "iot", *IOT)
    out = kn("apply", "iot", *IOT, "--mode", "event")[1]
    assert out.startswith("Warning: 'kn bridge apply' should be used only for bridges created by 'kn bridge apply'\n")


def test_update_changes_what_it_is_told_and_nothing_else(api: FakeApi, kn: Kn) -> None:
    kn("create", "iot", *IOT, "--ce-override", "site=a", "--ce-override", "room=b")
    words = ("--listen", "mqtt:1883", "--listen", "udp-", "--listen", "coap:5684", "--ce-override", "room-")
    assert kn("update", "iot", *words)[0] == 0
    assert api.bridge()["spec"] == {
        "listen": [{"url": "coap:5684"}, {"url": "mqtt:1883"}],
        "sink": SINK,
        "ceOverrides": {"extensions": {"site": "a"}},
    }
    assert kn("update", "iot", "--listen", "coap:5684")[1] == (
        "Bridge 'iot' updated in namespace 'default' (unchanged).\n"
    )


def test_update_tries_again_after_a_conflict_but_not_forever(api: FakeApi, kn: Kn) -> None:
    kn("create", "iot", *IOT)
    api.conflicts = 2
    assert kn("update", "iot", "--mode", "event")[0] == 0
    api.conflicts = 3
    status, _, err = kn("update", "iot", "--mode", "later")
    assert status == 1
    assert "the object has been modified" in err


def test_a_bridge_on_its_way_out_is_not_updated(api: FakeApi, kn: Kn) -> None:
    api.add(
        "thinbridge.dev/v1alpha1",
        "bridges",
        "iot",
        metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"},
        spec={"listen": [{"url": "udp:9000"}], "sink": SINK},
    )
    err = kn("update", "iot", "--mode", "event")[2]
    assert err.startswith("Error: can't update bridge iot because it has been marked for deletion\n")


def test_export_and_import(api: FakeApi, kn: Kn, tmp_path: Path) -> None:
    kn("create", "iot", *IOT)
    out = kn("export", "iot", "-o", "yaml")[1]
    assert set(yaml.safe_load(out)) == {"apiVersion", "kind", "metadata", "spec"}
    file = tmp_path / "iot.yaml"
    file.write_text(out)
    assert kn("import", str(file))[2].startswith(
        "Error: cannot import bridge 'iot' in namespace 'default' because the bridge already exists\n"
    )
    kn("delete", "iot")
    status, out, _ = kn("import", str(file))
    assert (status, out.splitlines()[0]) == (0, "Importing bridge 'iot' in namespace 'default':")


def test_create_from_the_bridge_yaml_of_a_laptop(api: FakeApi, kn: Kn, tmp_path: Path) -> None:
    file = tmp_path / "bridge.yaml"
    file.write_text(
        "name: iot\nlisten: [{url: 'coap:5683'}, 'udp:9000']\nsink: http://f.example/\nhttp: {listen: '127.0.0.1:1'}\n"
        "ce_overrides: {site: a}\nmode: event\n"
    )
    assert kn("create", "-f", str(file), "--sink", "thermostat")[0] == 0
    assert api.bridge()["spec"] == {
        "listen": [{"url": "coap:5683"}, {"url": "udp:9000"}],
        "sink": SINK,
        "mode": "event",
        "ceOverrides": {"extensions": {"site": "a"}},
    }


@pytest.mark.parametrize("target", ["", "one.yaml", "one.json"])
def test_target_writes_files_and_asks_no_cluster(
    target: str, kn: Kn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    place = ("--target", str(tmp_path / target), "-n", "farm")
    assert kn("create", "iot", *IOT, *place) == (0, "Bridge 'iot' created in namespace 'farm'.\n", "")
    file = tmp_path / (target or "farm/bridge/iot.yaml")
    bridge = yaml.safe_load(file.read_text())
    assert bridge["metadata"] == {"name": "iot", "namespace": "farm"}
    assert bridge["spec"]["sink"]["ref"]["namespace"] == "farm"
    assert kn("update", "iot", "--replicas", "2", *place)[0] == 0
    assert yaml.safe_load(file.read_text())["spec"]["replicas"] == 2
    assert "iot    coap:5683,udp:9000   ksvc:thermostat" in kn("list", *place)[1]
    assert kn("delete", "iot", *place)[0] == 0
    assert not file.exists()


def test_a_bridge_that_nobody_takes_up_is_told(api: FakeApi, kn: Kn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LONELY", 0.05)
    api.controller = lambda bridge: None
    out = kn("create", "iot", *IOT, "--wait-timeout", "1")[1]
    assert "s No controller has taken it up yet: is thinbridge-controller running?\n" in out
