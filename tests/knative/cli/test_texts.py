"""JSONPath, sinks and layout as data: what is typed or read, and what comes of it."""

from datetime import UTC, datetime

import pytest

from thinbridge_knative import destinations, jsonpath, output
from thinbridge_knative.client import Resource
from thinbridge_knative.failures import Failure

BRIDGES = {
    "kind": "BridgeList",
    "items": [
        {"metadata": {"name": "a", "labels": {"app.io/x": "1"}}, "status": {"n": 1, "ok": True}, "tags": ["p", "q"]},
        {"metadata": {"name": "b"}, "status": {"n": 2, "ok": False}, "tags": []},
    ],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.kind}", "BridgeList"),
        (".kind", "BridgeList"),
        ("kind", "BridgeList"),
        ("{$.kind}", "BridgeList"),
        ("{.items[*].metadata.name}", "a b"),
        ("{.items[0].metadata.name} and {.items[-1].metadata.name}", "a and b"),
        ("{.items[0:1].metadata.name}", "a"),
        ("{.items[:].status.n}", "1 2"),
        ("{.items[9].metadata.name}", ""),
        ("{.nothing.there}", ""),
        ("{..name}", "a b"),
        ("{.items[0].metadata.labels.app\\.io/x}", "1"),
        ("{.items[0].metadata.labels['app.io/x']}", "1"),
        ('{.items[?(@.metadata.name=="b")].status.n}', "2"),
        ("{.items[?(@.status.n>1)].metadata.name}", "b"),
        ("{.items[?(@.status.n<='x')].metadata.name}", ""),
        ("{.items[?(@.metadata.labels)].metadata.name}", "a"),
        ("{.items[0].status}", '{"n":1,"ok":true}'),
        ("{.items[0].tags[*]}", "p q"),
        ("{.items[0].tags.*}", "p q"),
        ('{range .items[*]}{.metadata.name}{"\\t"}{.status.n}{"\\n"}{end}', "a\t1\nb\t2\n"),
        ("{range .items[*]}{.metadata.name}:{range .tags[*]}<{@}>{end};{end}", "a:<p><q>;b:;"),
        ("{'it'}{.nothing}{\"s\"}", "its"),
        ("{.kind.name}", ""),
    ],
)
def test_jsonpath(template: str, text: str) -> None:
    assert jsonpath.render(template, BRIDGES) == text


@pytest.mark.parametrize(
    "template", ["{.a", "{.a[}", "{range .items[*]}{.x}", "{end}x{end}", "{.items[?(x)]}", "{.a b}"]
)
def test_no_jsonpath(template: str) -> None:
    with pytest.raises(Failure, match="error parsing jsonpath"):
        jsonpath.render(template, BRIDGES)


def test_jsonpath_as_json() -> None:
    assert jsonpath.values("{.items[*].tags}", BRIDGES) == [["p", "q"], []]


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("f", destinations.Reference(destinations.KSERVICE, "f", "here")),
        ("ksvc:f", destinations.Reference(destinations.KSERVICE, "f", "here")),
        ("kservice:f:there", destinations.Reference(destinations.KSERVICE, "f", "there")),
        ("broker:default", destinations.Reference(destinations.BROKER, "default", "here")),
        ("channel:pipe", destinations.Reference(destinations.CHANNEL, "pipe", "here")),
        ("svc:f:there", destinations.Reference(destinations.SERVICE, "f", "there")),
        ("service:f", destinations.Reference(destinations.SERVICE, "f", "here")),
        (
            "special.eventing.dev/v1alpha1/channels:pipe",
            destinations.Reference(Resource("special.eventing.dev", "v1alpha1", "channels"), "pipe", "here"),
        ),
        ("a.dev/v1/Thing:x", destinations.Reference(Resource("a.dev", "v1", "things"), "x", "here")),
        ("http://f.example:8080/x", "http://f.example:8080/x"),
        ("https://f.example", "https://f.example"),
    ],
)
def test_sinks(text: str, reference: destinations.Reference | str) -> None:
    assert destinations.parse(text, "here") == reference


@pytest.mark.parametrize("text", ["ksvc:f", "broker:default", "channel:pipe:there", "svc:f", "http://f.example/"])
def test_a_sink_is_shown_as_it_was_typed(text: str) -> None:
    assert destinations.shown(destinations.resolve(text, "here", None), "here") == text


def test_a_kind_that_nobody_knows_needs_a_cluster() -> None:
    with pytest.raises(Failure, match="can't be looked up with --target"):
        destinations.resolve("a.dev/v1/things:x", "here", None)
    assert destinations.shown({"ref": {"apiVersion": "a.dev/v1", "kind": "Thing", "name": "x"}}, "here") == (
        "a.dev/v1/things:x"
    )
    assert destinations.shown(None, "here") == ""


@pytest.mark.parametrize(
    ("stamp", "text"),
    [
        ("2026-01-02T00:00:00Z", "0s"),
        ("2026-01-01T23:59:15Z", "45s"),
        ("2026-01-01T23:57:00Z", "3m"),
        ("2026-01-01T19:00:00Z", "5h"),
        ("2025-12-31T00:00:00Z", "2d"),
        ("2023-01-01T00:00:00Z", "3y"),
        ("", ""),
    ],
)
def test_ages(stamp: str, text: str) -> None:
    assert output.age(stamp, datetime(2026, 1, 2, tzinfo=UTC)) == text
