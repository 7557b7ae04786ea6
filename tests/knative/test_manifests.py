"""What is applied to a cluster: install.yaml is current, and no manifest says what the code does not."""

import json
import re
import runpy
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.cluster import Object

from thinbridge import __version__
from thinbridge_knative import resource, schema, spec
from thinbridge_knative.addressable import resolve

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "knative" / "manifests"
SAMPLES = sorted(MANIFESTS.glob("samples/*.yaml"))
SERVICES = sorted(ROOT.glob("functions/examples/*/service.yaml"))


def objects(*paths: Path) -> list[Object]:
    return [one for path in paths for one in yaml.safe_load_all(path.read_text()) if one]


def named(kind: str, *paths: Path) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in objects(*paths) if one["kind"] == kind}


def identity(one: Object) -> tuple[str, str]:
    return one["kind"], one["metadata"]["name"]


def ids(path: Path) -> str:
    return path.parent.name if path.name == "service.yaml" else path.stem


INSTALL = MANIFESTS / "install.yaml"
BRIDGES = named("Bridge", *SAMPLES)


def test_what_is_generated_is_current() -> None:
    files = runpy.run_path(str(MANIFESTS / "install.py"))["files"]()
    assert {path: path.read_text() for path in files} == files, "run `make manifests`"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
@pytest.mark.parametrize(("folder", "same"), [("base", True), ("overlays/dev", False)])
def test_kustomize_makes_the_same(folder: str, same: bool) -> None:
    built = subprocess.run(["kubectl", "kustomize", MANIFESTS / folder], capture_output=True, text=True, check=True)
    kustomized = {identity(one): one for one in yaml.safe_load_all(built.stdout)}
    installed = {identity(one): one for one in objects(INSTALL)}
    assert kustomized.keys() == installed.keys()
    assert (kustomized == installed) is same


# --- The controller ---------------------------------------------------------------------------------------------


def test_the_controller_is_as_the_code_has_it() -> None:
    (deployment,) = named("Deployment", INSTALL).values()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert deployment["metadata"]["name"] == resource.CONTROLLER
    assert deployment["spec"]["selector"]["matchLabels"] == deployment["spec"]["template"]["metadata"]["labels"]
    assert {port["containerPort"] for port in container["ports"]} == {resource.HEALTH_PORT, resource.METRICS_PORT}
    assert container["env"] == [{"name": resource.BRIDGE_IMAGE, "value": container["image"]}]
    assert container["image"].endswith(f":{__version__}")


def test_the_controller_is_nobody_in_particular() -> None:
    (deployment,) = named("Deployment", INSTALL).values()
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]


def test_a_busy_node_does_not_end_the_controller() -> None:
    (deployment,) = named("Deployment", INSTALL).values()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {container[f"{kind}Probe"]["timeoutSeconds"] for kind in ("liveness", "readiness")} == {5}


def test_the_controller_gets_no_more_than_it_needs() -> None:
    rules = named("ClusterRole", INSTALL)[resource.CONTROLLER]["rules"]
    granted = {
        f"{group}/{name}": rule["verbs"] for rule in rules for group in rule["apiGroups"] for name in rule["resources"]
    }
    assert "*" not in json.dumps(granted)
    assert "/secrets" not in granted
    assert [name for name, verbs in granted.items() if "delete" in verbs] == ["/services"]


def test_kn_and_eventing_find_bridges() -> None:
    roles = named("ClusterRole", INSTALL).values()
    (observer,) = [role for role in roles if role["metadata"]["labels"].get(resource.SOURCE_LABEL) == "true"]
    assert observer["rules"] == [
        {"apiGroups": [resource.GROUP], "resources": [resource.PLURAL], "verbs": ["get", "list", "watch"]}
    ]
    aggregated = {
        label.removeprefix("rbac.authorization.k8s.io/aggregate-to-")
        for role in roles
        for label in role["metadata"]["labels"]
        if "/aggregate-to-" in label
    }
    assert aggregated == {"view", "edit", "admin"}


# --- Samples and examples ---------------------------------------------------------------------------------------


def unknown(value: Any, known: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """What the API server would drop without a word: keys that the CRD's schema does not have."""
    if isinstance(value, list):
        for one in value:
            yield from unknown(one, known["items"], f"{path}[]")
    if not isinstance(value, dict) or "properties" not in known or known.get("x-kubernetes-preserve-unknown-fields"):
        return
    for key, inner in value.items():
        if key in known["properties"]:
            yield from unknown(inner, known["properties"][key], f"{path}.{key}")
        else:
            yield f"{path}.{key}"


@pytest.mark.parametrize("name", BRIDGES)
def test_a_sample_is_a_bridge(name: str) -> None:
    bridge = BRIDGES[name]
    crd = schema.crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert bridge["apiVersion"] == resource.API_VERSION
    assert list(unknown(bridge["spec"], crd["properties"]["spec"])) == []
    address = {"status": {"address": {"url": "http://sink.example"}}}
    plan = spec.read(bridge, lambda to: resolve(to, "default", lambda *_: address))
    assert plan.settings.listen


def destinations(value: Any) -> Iterator[Object]:
    """All `ref`s below."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "ref":
                yield inner
            yield from destinations(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from destinations(inner)


@pytest.mark.parametrize("path", SAMPLES, ids=ids)
def test_a_sample_refers_to_what_is_there(path: Path) -> None:
    text, here = path.read_text(), objects(path)
    applied = [ROOT / name for name in re.findall(r"functions/examples/\w+/service\.yaml", text)]
    there = {(one["kind"], one["metadata"]["name"]) for one in [*here, *objects(*applied)]}
    assert {(ref["kind"], ref["name"]) for ref in destinations(here)} <= there
    assert {one["spec"]["broker"] for one in here if one["kind"] == "Trigger"} <= {name for _, name in there}


@pytest.mark.parametrize("kind", ["NetworkPolicy", "PodMonitor", "PodDisruptionBudget"])
def test_what_selects_pods_selects_those_of_bridges(kind: str) -> None:
    (selecting,) = named(kind, *SAMPLES).values()
    wanted = (selecting["spec"].get("selector") or selecting["spec"]["podSelector"])["matchLabels"]
    assert wanted
    assert wanted.items() <= resource.labels("house").items()


def test_the_policy_and_the_monitor_know_the_ports() -> None:
    (policy,), (monitor,) = named("NetworkPolicy", *SAMPLES).values(), named("PodMonitor", *SAMPLES).values()
    devices, inbox, metrics = ([port["port"] for port in rule["ports"]] for rule in policy["spec"]["ingress"])
    assert devices == [5683, 1883, 9000]
    assert inbox == metrics == [resource.HTTP_PORT]
    assert [one["port"] for one in monitor["spec"]["podMetricsEndpoints"]] == [resource.HTTP_PORT_NAME]


@pytest.mark.parametrize("path", [*SERVICES, MANIFESTS / "samples" / "scale-to-zero.yaml"], ids=ids)
def test_a_function_is_bounded_and_local(path: Path) -> None:
    for service in named("Service", path).values():
        template = service["spec"]["template"]
        container = template["spec"]["containers"][0]
        scale = {key.partition("/")[2]: value for key, value in template["metadata"]["annotations"].items()}
        assert service["metadata"]["labels"] == {"networking.knative.dev/visibility": "cluster-local"}
        assert {"min-scale", "max-scale"} <= scale.keys()
        assert all(isinstance(value, str) for value in scale.values())
        assert template["spec"]["timeoutSeconds"] <= 60  # what a route waits
        assert {"name": "THREADS", "value": str(template["spec"]["containerConcurrency"])} in container["env"]
        assert "readinessProbe" in container
        assert re.fullmatch(r"dev\.local/thinbridge-function-[a-z-]+:dev", container["image"])


@pytest.mark.parametrize("path", SERVICES, ids=ids)
def test_an_example_is_called_as_its_folder(path: Path) -> None:
    ((name, service),) = named("Service", path).items()
    assert name == path.parent.name.replace("_", "-")
    assert service["spec"]["template"]["spec"]["containers"][0]["image"] == f"dev.local/thinbridge-function-{name}:dev"


# --- Images -----------------------------------------------------------------------------------------------------


def images(tmp_path: Path, engine: str, *, works: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `make images` with an engine that says what it is told to build, and no other on the PATH."""
    program = tmp_path / engine
    program.write_text(f'#!/bin/sh\n[ "$1" != info ] || exit {int(not works)}\necho "$*" >> {tmp_path}/said\n')
    program.chmod(0o755)
    for needed in ("sh", "sed", "git", "date", "ls", "tr", "dirname"):
        (tmp_path / needed).symlink_to(str(shutil.which(needed)))
    environment = {"PATH": str(tmp_path), "EXAMPLES": "plain_http", "TAG": "7"}
    return subprocess.run(["knative/images.sh"], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("engine", ["docker", "podman", "buildah"])
def test_images_are_built_with_what_is_there(tmp_path: Path, engine: str) -> None:
    done = images(tmp_path, engine)
    assert (done.returncode, done.stderr) == (0, "")
    names = ["dev.local/thinbridge-bridge:7", "dev.local/thinbridge-function-plain-http:7"]
    assert [line.split()[0] for line in done.stdout.splitlines()] == names
    bridge, function = (tmp_path / "said").read_text().splitlines()
    assert f"org.opencontainers.image.version={__version__}" in bridge
    assert "--file functions/Dockerfile --build-arg EXAMPLE=plain_http" in function


def test_images_without_an_engine(tmp_path: Path) -> None:
    done = images(tmp_path, "docker", works=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: no engine that builds images: install docker, podman or buildah")
