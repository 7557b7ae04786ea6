"""The CRD: structural, complete, what Knative looks for, and as committed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import thinbridge_knative
from thinbridge.settings import Limits, Settings
from thinbridge_knative import schema
from thinbridge_knative.schema import crd, text
from thinbridge_knative.spec import SHARED

ROOT = Path(thinbridge_knative.__file__).parents[2]
CLUSTER_ONLY = {"sink", "ceOverrides", "replicas", "resources", "image", "expose", "secrets", "http"}
NOT_IN_A_POD = {"name", "namespace", "sink", "sink_from_binding", "http", "ce_overrides", "log_format"}


def openapi() -> dict[str, Any]:
    return dict(crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """All schemas below one."""
    if isinstance(node, dict):
        if {"type", "properties", "$ref", "anyOf"} & node.keys() and not isinstance(node.get("type"), dict):
            yield node
        for value in node.values():
            yield from nodes(value)


def test_the_file_is_current() -> None:
    assert (ROOT / "knative/manifests/base/crd.yaml").read_text() == text(), "run `make manifests`"
    assert yaml.safe_load(text()) == crd()


def test_it_is_structural() -> None:
    found = list(nodes(openapi()))
    assert len(found) > 50
    for node in found:
        assert not node.keys() & {"$ref", "anyOf", "allOf", "oneOf", "title", "default", "$defs"}
        assert node["type"] in ("object", "array", "string", "integer", "number", "boolean")


def test_it_has_every_key_of_the_settings() -> None:
    spec = openapi()["properties"]["spec"]
    assert set(spec["properties"]) == {*SHARED, *CLUSTER_ONLY}
    assert set(SHARED) | NOT_IN_A_POD == set(Settings.model_fields)
    assert set(spec["properties"]["limits"]["properties"]) == set(Limits.model_fields)
    assert spec["required"] == ["listen", "sink"]
    assert spec["properties"]["listen"]["items"]["x-kubernetes-preserve-unknown-fields"] is True
    assert spec["properties"]["mode"]["enum"] == ["request", "event", "later"]
    assert spec["properties"]["limits"]["properties"]["sessions"]["minimum"] == 1
    destination = {"ref", "uri", "CACerts"}
    assert set(spec["properties"]["sink"]["properties"]) == destination | {"audience"}
    assert set(spec["properties"]["routes"]["items"]["properties"]["dead_letter"]["properties"]) == destination


def test_rules_have_the_command_lines_words() -> None:
    rules = [rule for node in nodes(openapi()) for rule in node.get("x-kubernetes-validations", ())]
    words = {rule["message"] for rule in rules}
    assert {
        "give at least one, such as coap://127.0.0.1:5683",
        "write it as scheme://host:port, such as coap://127.0.0.1:5683",
        "another listener has this name; use a different one",
        "use an extension's name: up to 20 small letters and digits",
        "give a ref, or as uri an absolute URL, such as http://127.0.0.1:8080/",
        "use an absolute URL, such as http://127.0.0.1:8080/",
        "write it as GROUP/VERSION, such as serving.knative.dev/v1",
    } <= words


def test_no_rule_is_made_of_what_is_no_mistake() -> None:
    with pytest.raises(AssertionError, match="no mistake"):
        schema._words({"mode": "event"})


def test_knative_finds_what_it_looks_for() -> None:
    whole = crd()
    labels, names, version = whole["metadata"]["labels"], whole["spec"]["names"], whole["spec"]["versions"][0]
    assert labels["eventing.knative.dev/source"] == labels["knative.dev/crd-install"] == "true"
    assert "duck.knative.dev/source" not in labels  # the controller's, once bridges are served
    assert names["plural"] == names["kind"].lower() + "s"
    assert names["categories"] == ["all", "knative", "sources"]
    assert [column["name"] for column in version["additionalPrinterColumns"]] == ["Ready", "Reason", "Sink", "Age"]
    assert version["subresources"]["status"] == {}
    status = openapi()["properties"]["status"]["properties"]
    assert {"observedGeneration", "conditions", "sinkUri", "ceAttributes"} <= set(status)


def test_each_event_type_is_described() -> None:
    described = {event["type"]: event["description"] for event in schema.event_types()}
    assert {"dev.thinbridge.coap.request", "dev.thinbridge.mqtt.message", "dev.thinbridge.udp.datagram"} <= set(
        described
    )
    assert all(described.values())


@pytest.mark.parametrize(
    ("part", "good", "bad"),
    [
        ("apiVersion", ["v1", "serving.knative.dev/v1"], ["", "/v1", "a/b/v1", "../v1"]),
        ("kind", ["Broker"], ["", "a/b"]),
        ("name", ["f", "a.b-c"], ["", "..", "a/b", "A"]),
        ("namespace", ["", "home"], ["..", "a/b"]),
    ],
)
def test_a_ref_names_an_object(part: str, good: list[str], bad: list[str]) -> None:
    ref = openapi()["properties"]["spec"]["properties"]["sink"]["properties"]["ref"]
    assert ref["required"] == ["apiVersion", "kind", "name"]
    [rule] = ref["properties"][part]["x-kubernetes-validations"]
    matched = re.fullmatch(r"self\.matches\('(.*)'\)", rule["rule"])
    assert matched
    assert [text for text in [*good, *bad] if re.search(matched[1], text)] == good
