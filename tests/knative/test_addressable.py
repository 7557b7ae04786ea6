"""Destinations: what they refer to, and what is said where that is not there."""

from collections.abc import Mapping
from typing import Any

import pytest

from thinbridge.errors import SettingsError
from thinbridge_knative.addressable import Unresolved, check, offline, resolve

KSVC = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "f"}
OBJECTS: Mapping[tuple[str, str, str, str], Mapping[str, Any]] = {
    ("serving.knative.dev/v1", "Service", "home", "f"): {"status": {"address": {"url": "http://f.home.svc/"}}},
    ("serving.knative.dev/v1", "Service", "away", "f"): {"status": {"address": {"url": "http://f.away.svc/"}}},
    ("serving.knative.dev/v1", "Service", "home", "young"): {},
    ("serving.knative.dev/v1", "Service", "home", "young2"): {"status": {"addresses": [], "address": None}},
    ("eventing.knative.dev/v1", "Broker", "home", "tls"): {
        "status": {
            "address": {"url": "http://old/"},
            "addresses": [{"url": "https://ingress/home/tls", "CACerts": "PEM"}, {"url": "http://ingress/"}],
        }
    },
    ("v1", "Service", "home", "plain"): {"spec": {}},
}


def find(version: str, kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
    return OBJECTS.get((version, kind, namespace, name))


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ({"uri": "http://a/"}, {"uri": "http://a/"}),
        ({"uri": "https://a/", "CACerts": "MINE"}, {"uri": "https://a/", "ca_certs": "MINE"}),
        ({"ref": KSVC}, {"uri": "http://f.home.svc/"}),
        ({"ref": {**KSVC, "namespace": "away"}}, {"uri": "http://f.away.svc/"}),
        ({"ref": KSVC, "uri": "/doors?x=1"}, {"uri": "http://f.home.svc/doors?x=1"}),
        ({"ref": {"apiVersion": "v1", "kind": "Service", "name": "plain"}}, {"uri": "http://plain.home.svc/"}),
        (
            {"ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "tls"}},
            {"uri": "https://ingress/home/tls", "ca_certs": "PEM"},
        ),
    ],
)
def test_a_destination_becomes_a_url(destination: dict[str, Any], expected: dict[str, str]) -> None:
    assert resolve(destination, "home", find) == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none", "Service home/none does not exist"),
        ("young", "Service home/young has no address (yet)"),
        ("young2", "Service home/young2 has no address (yet)"),
    ],
)
def test_what_has_no_address_is_named(name: str, words: str) -> None:
    with pytest.raises(Unresolved) as caught:
        resolve({"ref": {**KSVC, "name": name}}, "home", find)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    "destination",
    [
        {"uri": "http://a/"},
        {"ref": KSVC},
        {"ref": {**KSVC, "namespace": "away"}, "uri": "/doors"},
        {"ref": {"apiVersion": "v1", "kind": "Service", "name": "plain", "namespace": ""}},
    ],
)
def test_what_names_a_place_passes(destination: dict[str, Any]) -> None:
    check(destination, "sink")


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        ({}, "sink: {}: give a ref, or as uri an absolute URL, such as http://127.0.0.1:8080/"),
        ("http://a/", "sink: http://a/: use a mapping of keys to values"),
        ({"uri": 5}, "sink.uri: 5: use text"),
        ({"ref": "f"}, "sink.ref: f: use a mapping of keys to values"),
        ({"ref": {"kind": "Service", "name": "f"}}, "sink.ref.apiVersion: (none): add it: this key has no default"),
        ({"ref": {**KSVC, "kind": ""}}, "sink.ref.kind: (none): add it: this key has no default"),
        ({"ref": {**KSVC, "name": None}}, "sink.ref.name: (none): add it: this key has no default"),
        (
            {"ref": {**KSVC, "apiVersion": "../v1"}},
            "sink.ref.apiVersion: ../v1: write it as GROUP/VERSION, such as serving.knative.dev/v1",
        ),
        ({"ref": {**KSVC, "kind": 7}}, "sink.ref.kind: 7: use the name of a kind, such as Service or Broker"),
        ({"ref": {**KSVC, "name": ".."}}, "sink.ref.name: ..: use a name: small letters, digits, - and ."),
        ({"ref": {**KSVC, "namespace": "a/b"}}, "sink.ref.namespace: a/b: use a name: small letters, digits, - and ."),
    ],
)
def test_what_names_no_place_is_refused(destination: Any, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check(destination, "sink")
    assert str(caught.value) == words


def test_offline_an_address_is_made_up() -> None:
    assert offline({"ref": KSVC, "uri": "/doors", "CACerts": "PEM"}) == {
        "uri": "http://sink.invalid/doors",
        "ca_certs": "PEM",
    }
    assert offline({"uri": "http://a/"}) == {"uri": "http://a/"}
