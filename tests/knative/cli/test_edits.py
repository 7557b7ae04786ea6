"""From flags and files to a spec: what each flag does, as data; no cluster."""

import json
from pathlib import Path
from typing import Any

import pytest

from thinbridge.errors import SettingsError
from thinbridge_knative.cli import edits
from thinbridge_knative.failures import Failure
from thinbridge_knative.schema import crd

Spec = dict[str, Any]


def edited(spec: Spec, **flags: Any) -> Spec:
    """The spec after one `update` without a cluster."""
    bridge = edits.new("iot", "here")
    bridge["spec"] = spec
    result: Spec = edits.edit(bridge, flags, None)["spec"]
    return result


def urls(*texts: str) -> Spec:
    return {"listen": [{"url": text} for text in texts]}


@pytest.mark.parametrize(
    ("before", "flags", "after"),
    [
        ({}, ["coap:5683", "coap:5684"], ["coap:5683", "coap:5684"]),
        (["coap:5683"], ["coap:5684"], ["coap:5684"]),
        (["coap:5683"], ["udp:9000?name=meters"], ["coap:5683", "udp:9000?name=meters"]),
        (["coap:5683", "udp:9000?name=meters"], ["udp:9001?name=meters"], ["coap:5683", "udp:9001?name=meters"]),
        (["coap:5683", "coap:5684"], ["coap-2-"], ["coap:5683"]),
        (["coap:5683", "udp:9000"], ["coap-", "mqtt:1883"], ["udp:9000", "mqtt:1883"]),
    ],
)
def test_listeners(before: list[str], flags: list[str], after: list[str]) -> None:
    assert edited(urls(*before), listen=flags) == urls(*after)


@pytest.mark.parametrize(
    ("spec", "flags", "after"),
    [
        ({"dead_letter": {"uri": "http://d/"}}, {"dead_letter": ""}, {}),
        ({"ceOverrides": {"extensions": {"a": "1"}}}, {"ce_override": ["a-"]}, {}),
        (
            {"ceOverrides": {"extensions": {"a": "1"}}},
            {"ce_override": ["a=2"]},
            {"ceOverrides": {"extensions": {"a": "2"}}},
        ),
        (
            {"expose": {"type": "NodePort", "externalTrafficPolicy": "Local"}},
            {"expose": "loadbalancer"},
            {"expose": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}},
        ),
        (
            {"expose": {"type": "NodePort", "externalTrafficPolicy": "Local"}},
            {"expose": "HostNetwork"},
            {"expose": {"type": "HostNetwork"}},
        ),
        (
            {"trusted_networks": ["10.0.0.0/8"]},
            {"trusted_network": ["10.0.0.0/8"]},
            {"trusted_networks": ["10.0.0.0/8"]},
        ),
        (
            {"trusted_networks": ["10.0.0.0/8"]},
            {"trusted_network": ["fd00::/8", "10.0.0.0/8-"]},
            {"trusted_networks": ["fd00::/8"]},
        ),
        (
            {"secrets": ["old"]},
            {"secret": ["site-tls", "old-"]},
            {"secrets": ["site-tls"]},
        ),
        (
            {"resources": {"limits": {"memory": "1Gi"}}},
            {"limit": ["memory-", "cpu=1"], "request": ["cpu=1"]},
            {"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}},
        ),
        (
            {"routes": [{"name": "a", "mode": "event"}, {"name": "b"}]},
            {"route": ["name=a,timeout=5", "b-", "subject=x,retry_for=soon"]},
            {"routes": [{"name": "a", "timeout": 5.0}, {"subject": "x", "retry_for": "soon"}]},
        ),
    ],
)
def test_flags(spec: Spec, flags: dict[str, Any], after: Spec) -> None:
    assert edited(spec, **flags) == after


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"listen": ["mqtt-"]}, "--listen: mqtt-: no such listener; there are: coap"),
        ({"route": ["a-"]}, "--route: a-: no such route; there are: none"),
    ],
)
def test_what_is_not_there_is_not_taken_away(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(Failure) as caught:
        edited(urls("coap:5683"), **flags)
    assert str(caught.value) == message


def test_the_original_is_not_changed() -> None:
    spec = urls("coap:5683")
    edited(spec, listen=["udp:9000"], replicas=2)
    assert spec == urls("coap:5683")


MANIFEST = {
    "apiVersion": "thinbridge.dev/v1alpha1",
    "kind": "Bridge",
    "metadata": {"name": "iot", "namespace": "there", "labels": {"a": "b"}, "uid": "u"},
    "spec": urls("coap:5683"),
    "status": {"replicas": 1},
}


def test_a_manifest_brings_what_is_its_own(tmp_path: Path) -> None:
    file = tmp_path / "iot.json"
    file.write_text(json.dumps(MANIFEST))
    assert edits.from_file(str(file), None, "here") == {
        "apiVersion": "thinbridge.dev/v1alpha1",
        "kind": "Bridge",
        "metadata": {"name": "iot", "namespace": "here", "labels": {"a": "b"}},
        "spec": urls("coap:5683"),
    }


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("- a\n", None, "{0} holds no Bridge: use a manifest, or the bridge.yaml of 'thinbridge run'"),
        ("kind: Pod\napiVersion: v1\n", None, "{0} holds a Pod of v1, not a Bridge of thinbridge.dev/v1alpha1"),
        ("listen: [coap]\n", None, "no bridge name provided in command parameter or file"),
        ("name: a\n", "b", "provided bridge name 'b' doesn't match name from file 'a' ({0}: name)"),
        (json.dumps(MANIFEST), "b", "provided bridge name 'b' doesn't match name from file 'iot' ({0}: metadata.name)"),
        ("a: [", None, "{0} is no YAML: while parsing a flow node"),
    ],
)
def test_files_that_can_not_be_used(content: str, name: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "iot.yaml"
    file.write_text(content)
    with pytest.raises(Failure) as caught:
        edits.from_file(str(file), name, "here")
    assert str(caught.value).startswith(message.format(file))


LAPTOP = "sink: 'http://s/'\nlisten: ['coap://127.0.0.1:5683']\n"


@pytest.mark.parametrize(
    ("content", "flags", "where"),
    [
        (LAPTOP, {}, "FILE: listen[0]: coap://127.0.0.1:5683: use 0.0.0.0"),
        (LAPTOP, {"listen": ["udp:9000"]}, "FILE: listen[0]: coap://127.0.0.1:5683: use 0.0.0.0"),
        (LAPTOP, {"listen": ["coap://127.0.0.1:5684"]}, "--listen: coap://127.0.0.1:5684: use 0.0.0.0"),
        (LAPTOP, {"listen": ["udp://[::1]:9000", "coap-"]}, "--listen: udp://[::1]:9000: use 0.0.0.0"),
        (LAPTOP.replace("127.0.0.1", "0.0.0.0") + "mode: soon", {}, "FILE: mode: soon: use request"),
        (LAPTOP.replace("127.0.0.1", "0.0.0.0"), {"mode": "soon"}, "--mode: soon: use request"),
        (LAPTOP + "colour: red", {}, "FILE: colour: red: unknown key"),
        (LAPTOP + "drain: 10s", {}, "FILE: drain: 10s: "),
        ("sink: 'http://s/'", {}, "FILE: listen: (none): give at least one"),
        (LAPTOP + "routes: [{subject: 'a/#'}]", {}, "FILE: routes[0].subject: a/#: subjects are globs"),
        ("name: Big\n" + LAPTOP, {}, "FILE: name: Big: use up to"),
        ("kind: Bridge\napiVersion: thinbridge.dev/v1alpha1\nmetadata: {name: a}\nspec: a", {}, "FILE: spec: a: use a"),
    ],
)
def test_a_mistake_in_a_file_is_named_as_it_stands_there(
    content: str, flags: dict[str, Any], where: str, tmp_path: Path
) -> None:
    file = tmp_path / "bridge.yaml"
    file.write_text(content if "name: " in content else f"name: a\n{content}")
    bridge = edits.from_file(str(file), None, "here")
    origin = edits.Origin("FILE", bridge["spec"], named=False)
    with pytest.raises(SettingsError) as caught:
        edits.check(edits.edit(bridge, flags, None), origin)
    assert str(caught.value).startswith(where)


def test_a_name_that_was_typed_is_named_as_such(tmp_path: Path) -> None:
    file = tmp_path / "bridge.yaml"
    file.write_text(LAPTOP)
    bridge = edits.from_file(str(file), "Big", "here")
    with pytest.raises(SettingsError, match=r"^NAME: Big: "):
        edits.check(bridge, edits.Origin(str(file), bridge["spec"], named=True))


def test_a_sink_of_a_file_becomes_a_destination(tmp_path: Path) -> None:
    file = tmp_path / "bridge.yaml"
    file.write_text(
        "name: a\nsink: {uri: 'http://s/', ca_certs: PEM}\ndead_letter: {uri: 'http://d/'}\nroutes: [{sink: 'http://r/'}]\n"
    )
    assert edits.from_file(str(file), None, "here")["spec"] == {
        "sink": {"uri": "http://s/", "CACerts": "PEM"},
        "dead_letter": {"uri": "http://d/"},
        "routes": [{"sink": {"uri": "http://r/"}}],
    }


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([], "spec: []: use a mapping of keys to values"),
        ({"lisen": 1}, "spec.lisen: 1: unknown key; did you mean listen?"),
        ({"sink": "http://s/"}, "spec.sink: http://s/: use a mapping of keys to values"),
        ({"routes": {"a": 1}}, 'spec.routes: {"a": 1}: use a list of mappings'),
        ({"listen": ["coap"]}, 'spec.listen: ["coap"]: use a list of mappings'),
    ],
)
def test_what_is_no_spec_is_refused(spec: Any, message: str) -> None:
    bridge = edits.new("iot", "here") | {"spec": spec}
    with pytest.raises(SettingsError) as caught:
        edits.check(bridge)
    assert str(caught.value) == message


REF = {"apiVersion": "v1", "kind": "Service", "name": "f"}


def check(**spec: Any) -> None:
    edits.check(edits.new("iot", "here") | {"spec": {**urls("coap:5683"), "sink": {"ref": REF}, **spec}})


def test_a_uri_may_be_relative_to_its_ref() -> None:
    check(dead_letter={"ref": REF, "uri": "/doors"})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"sink": {}}, "--sink: {}: give a ref, or as uri an absolute URL, such as http://127.0.0.1:8080/"),
        ({"sink": {"uri": "ftp://a/"}}, "--sink: ftp://a/: use an absolute URL, such as http://127.0.0.1:8080/"),
        (
            {"routes": [{"sink": {"ref": {"kind": "Service", "name": "f"}}}]},
            "routes[0].sink.ref.apiVersion: (none): add it: this key has no default",
        ),
        ({"routes": [{"sink": "f"}]}, "--route sink: f: use a mapping of keys to values"),
    ],
)
def test_a_destination_of_a_file_is_checked(spec: Spec, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check(**spec)
    assert str(caught.value) == message


def test_the_keys_are_those_of_the_resource() -> None:
    [version] = crd()["spec"]["versions"]
    assert set(edits.KEYS) == set(version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"])


def test_a_bridge_without_sink_is_refused() -> None:
    bridge = edits.new("iot", "here")
    bridge["spec"] = urls("coap:5683")
    with pytest.raises(Failure, match='required flag\\(s\\) "sink" not set'):
        edits.check(bridge)
