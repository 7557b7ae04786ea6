"""A real API server takes every manifest, and lets the controller do all that it does."""

from pathlib import Path

import pytest
from tests.e2e.cluster import ROOT, Space, run
from tests.e2e.conftest import Images
from tests.e2e.objects import bridge, destination, ksvc

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300, func_only=True)]

SAMPLES = sorted((ROOT / "knative" / "manifests" / "samples").glob("*.yaml"))
SERVICES = sorted((ROOT / "functions" / "examples").glob("*/service.yaml"))


@pytest.mark.parametrize("path", [*SAMPLES, *SERVICES], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_api_server_takes_it(space: Space, controller: None, path: Path) -> None:
    """Strictly: a key that a schema does not have is a mistake."""
    if "monitoring.coreos.com" in path.read_text() and not run("kubectl", "api-versions").count("monitoring.coreos"):
        pytest.skip("the Prometheus operator is not there")
    space.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", path)


def test_the_controller_may_do_what_it_does(space: Space, images: Images, controller: None) -> None:
    to = destination("ksvc", "function")
    routes = [{"name": "alarms", "subject": "alarms/*", "sink": to}]
    space.apply(ksvc("function", {"image": images.echo}), bridge("iot", to, "coap:5683", routes=routes, dead_letter=to))
    space.ready("ksvc/function", "bridge/iot")
    settings = space.get("configmap/iot-bridge")["data"]["bridge.yaml"]
    assert settings.count(f"http://function.{space.name}.svc.cluster.local") == 2  # the route's and the dead letters'
    space.kubectl("patch", "bridge", "iot", "--type=merge", "-p", '{"spec": {"expose": {"type": "LoadBalancer"}}}')
    space.eventually(lambda: "iot-udp" in space.kubectl("get", "services", "-o", "name"))
    space.kubectl("patch", "bridge", "iot", "--type=merge", "-p", '{"spec": {"expose": {"type": "ClusterIP"}}}')
    space.eventually(lambda: "iot-udp" not in space.kubectl("get", "services", "-o", "name"))
    logs = run("kubectl", "-n", "thinbridge-system", "logs", "deployment/thinbridge-controller", "--tail=-1")
    assert "forbidden" not in logs.lower()
