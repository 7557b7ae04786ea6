"""What the end-to-end tests share: a cluster with Knative, the images, a namespace each, and the table of times.

`KUBECONFIG` names the cluster. Without one they are skipped on a laptop, and fail in CI.
"""

import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from tests.e2e.cluster import ROOT, Space, controller_image, missing, run

TABLE = pytest.StashKey[list[tuple[str, str]]]()
Record = Callable[[str, str], None]
"""Notes a measurement: what, and how much; the table is printed at the end."""


@dataclass(frozen=True)
class Images:
    """The images under test, by their full names."""

    bridge: str
    echo: str
    thermostat: str


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if rows := config.stash[TABLE]:
        terminalreporter.section("measured")
        for what, much in rows:
            terminalreporter.write_line(f"| {what} | {much} |")


@pytest.fixture(scope="session")
def cluster() -> None:
    """There is one; said once for all tests."""
    if reason := missing():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def images(cluster: None) -> Images:
    """Built from this checkout and loaded into the cluster; what has not changed comes from the builder's cache."""
    said = run("sh", ROOT / "tests/e2e/images.sh", seconds=600)
    names = dict(re.findall(r"^export E2E_(\w+)_IMAGE=(.+)$", said, re.MULTILINE))
    return Images(names["BRIDGE"], names["ECHO"], names["THERMOSTAT"])


@pytest.fixture(scope="session")
def vacant(cluster: None) -> bool:
    """Whether no controller is there yet: then the one that is installed goes with the tests.

    A laptop's own, of images that were built by `make images`, may be replaced and stays; any other is somebody's.
    """
    image = controller_image()
    if image and not image.startswith("dev.local/thinbridge-"):
        pytest.fail(f"this cluster has a controller, {image}: use another cluster, or uninstall it first")
    return not image


@pytest.fixture(scope="session")
def controller(vacant: bool, images: Images) -> Iterator[None]:
    """The controller of this checkout."""
    manifests = run("kubectl", "kustomize", "knative/manifests/overlays/dev")
    manifests = manifests.replace("dev.local/thinbridge-bridge:dev", images.bridge)
    manifests = manifests.replace("imagePullPolicy: Never", "imagePullPolicy: IfNotPresent")
    run("kubectl", "apply", "-f", "-", stdin=manifests)
    system = Space("thinbridge-system")
    system.kubectl("rollout", "restart", "deployment/thinbridge-controller")  # a tag may have a new image
    system.rolled_out("thinbridge-controller")
    yield
    if vacant:
        run("kubectl", "delete", "-f", "-", "--wait=false", "--ignore-not-found", stdin=manifests)


@pytest.fixture
def space(cluster: None, request: pytest.FixtureRequest) -> Iterator[Space]:
    """A namespace of the test's own; it goes in the background."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:40].strip("-")
    space = Space(f"e2e-{words}-{uuid.uuid4().hex[:5]}")
    run("kubectl", "create", "namespace", space.name)
    try:
        yield space
    finally:
        run("kubectl", "delete", "namespace", space.name, "--wait=false")


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """The table of measurements, which docs/knative.md keeps."""
    return lambda what, much: request.config.stash[TABLE].append((what, much))
