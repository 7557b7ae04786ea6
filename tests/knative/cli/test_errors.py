"""Every mistake is one message in kn's style on stderr, exit status 1, and nothing is changed by it."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.knative.cli.conftest import Kn
from tests.knative.cli.fake import FakeApi, kubeconfig

from thinbridge import registry

CASES: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "errors.toml").read_text())["case"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case["words"]) or "nothing")
def test_mistake(case: dict[str, Any], api: FakeApi, kn: Kn) -> None:
    status, out, err = kn(*case["words"])
    lines = err.splitlines()
    assert (status, out) == (1, "")
    assert lines[0] == f"Error: {case['error']}".replace("{installed}", ", ".join(registry.names()))
    assert lines[-1] == f"Run '{case['help']} --help' for usage"
    assert [method for method, _ in api.requests if method != "GET"] == []


def test_no_crd(api: FakeApi, kn: Kn) -> None:
    api.installed = False
    for words in (("list",), ("describe", "x"), ("create", "x", "--listen", "udp", "--sink", "thermostat")):
        status, _, err = kn(*words)
        assert (status, err.splitlines()[0]) == (
            1,
            "Error: no or newer thinbridge API found on the backend (bridges.thinbridge.dev), please verify the "
            "installation or update the 'kn-bridge' client",
        )


@pytest.mark.parametrize(("method", "words"), [("GET", ["list"]), ("POST", ["create", "x"])])
def test_no_permission(method: str, words: list[str], api: FakeApi, kn: Kn) -> None:
    api.forbidden.add((method, "bridges"))
    words = [*words, "--listen", "udp", "--sink", "thermostat"] if "create" in words else words
    status, _, err = kn(*words)
    assert (status, err.splitlines()[0]) == (
        1,
        'Error: bridges.thinbridge.dev is forbidden: User "u" cannot access resource "bridges" in API group '
        '"thinbridge.dev" in the namespace "default"',
    )


def test_no_cluster(kn: Kn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, "http://127.0.0.1:1")))
    assert kn("list")[2].splitlines()[0] == (
        "Error: error connecting to the cluster, please verify connection at: 127.0.0.1:1: connection refused"
    )


@pytest.mark.parametrize("content", [None, "", "nonsense: [", "kind: Config"])
def test_no_config(content: str | None, kn: Kn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert kn("list")[2].splitlines()[0] == (
        "Error: no kubeconfig has been provided, please use a valid configuration to connect to the cluster; "
        "set KUBECONFIG or --kubeconfig"
    )


def test_who_we_are_is_said(api: FakeApi, kn: Kn) -> None:
    kn("--context", "a", "list", "--as", "jane", "--as-group", "devs", "--as-uid", "7")
    assert (
        api.headers[-1].items()
        >= {
            "Authorization": "Bearer secret",
            "Impersonate-User": "jane",
            "Impersonate-Group": "devs",
            "Impersonate-Uid": "7",
        }.items()
    )


def test_http_is_logged_when_asked_for(api: FakeApi, kn: Kn) -> None:
    err = kn("list", "--log-http")[2]
    assert err.startswith("GET http://127.0.0.1:")
    assert err.endswith("/apis/thinbridge.dev/v1alpha1/namespaces/default/bridges 200\n")
