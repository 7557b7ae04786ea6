"""A fake API server, and `kn bridge` pointed at it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.knative.cli.fake import FakeApi, serving

from thinbridge_knative.cli.app import run

Kn = Callable[..., tuple[int, str, str]]
"""Words → exit status, stdout, stderr."""


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    fake = FakeApi()
    fake.controller = fake.ready
    fake.add("serving.knative.dev/v1", "services", "thermostat")
    with serving(fake, tmp_path) as path:
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield fake


@pytest.fixture
def kn(capfd: pytest.CaptureFixture[str]) -> Kn:
    def call(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        status = run(words)
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return call
