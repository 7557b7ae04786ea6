"""A cluster as a person with `kubectl` has it: one namespace per test, and the ways in from outside the pod network."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
Object = dict[str, Any]
"""A Kubernetes object, as JSON has it."""


class CommandError(AssertionError):
    """A command failed, with all that it said."""


def run(*command: object, stdin: str = "", seconds: float = 60) -> str:
    """What a command prints.

    Raises:
        CommandError: it ended with another status than 0.
    """
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=seconds, check=False, cwd=ROOT)
    if done.returncode:
        raise CommandError(f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def missing() -> str | None:
    """Why the end-to-end tests can't run here; None if they can."""
    if not os.environ.get("KUBECONFIG"):
        return "KUBECONFIG is not set"
    try:
        run("kubectl", "get", "crd", "services.serving.knative.dev", "brokers.eventing.knative.dev", seconds=20)
    except (CommandError, OSError, subprocess.TimeoutExpired) as error:
        return f"no cluster with Knative Serving and Eventing: {error}"
    return None


def controller_image() -> str:
    """The image of the controller that is installed; empty: none is."""
    which = ("deployment/thinbridge-controller", "--namespace=thinbridge-system", "--ignore-not-found")
    return run("kubectl", "get", *which, "-o", "jsonpath={.spec.template.spec.containers[0].image}")


@cache
def node() -> str:
    """An address of the cluster that NodePorts and hostNetwork answer on, as a device outside has it."""
    if address := os.environ.get("E2E_NODE"):
        return address
    return run(
        "kubectl", "get", "nodes", "-o", 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}'
    )


class Space:
    """A test's namespace."""

    def __init__(self, name: str) -> None:
        self.name = name

    def kubectl(self, *arguments: object, stdin: str = "", seconds: float = 60) -> str:
        """`kubectl -n NAMESPACE …`."""
        return run("kubectl", "-n", self.name, *arguments, stdin=stdin, seconds=seconds)

    def kn(self, *arguments: object, seconds: float = 120) -> str:
        """`kn … -n NAMESPACE`."""
        return run("kn", *arguments, "-n", self.name, seconds=seconds)

    def apply(self, *objects: Object) -> None:
        """Make these, or make them so."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def get(self, *what: object) -> Object:
        """An object, or a List."""
        found: Object = json.loads(self.kubectl("get", *what, "-o", "json"))
        return found

    def ready(self, *what: str, condition: str = "Ready", seconds: float = 120) -> None:
        """Wait for a condition, and tell the objects' states if it does not come."""
        try:
            self.kubectl(
                "wait", f"--for=condition={condition}", *what, f"--timeout={seconds:.0f}s", seconds=seconds + 10
            )
        except CommandError as error:
            states = self.kubectl("get", "-o", "yaml", *what)
            raise CommandError(f"{error}\n{states}\n{self.kubectl('get', 'events,pods')}") from error

    def rolled_out(self, deployment: str, seconds: float = 120) -> None:
        """Wait until a Deployment's newest pods are all there, and the older ones gone or going."""
        self.kubectl("rollout", "status", f"deployment/{deployment}", f"--timeout={seconds:.0f}s", seconds=seconds + 10)

    def pods(self, selector: str) -> list[Object]:
        """Pods that are not ending: an ending one may take half a minute to drain."""
        items: list[Object] = self.get("pods", "-l", selector)["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def at_zero(self, function: str, seconds: float = 120) -> None:
        """Wait until a Knative Service has no pod."""
        self.eventually(lambda: not self.pods(f"serving.knative.dev/service={function}"), seconds)

    def node_port(self, service: str, port: int) -> int:
        """The NodePort of a Service's port."""
        ports = self.get("service", service)["spec"]["ports"]
        return next(int(one["nodePort"]) for one in ports if one["port"] == port)

    def reachable(self, port: int) -> None:
        """Wait until a NodePort takes TCP connections: kube-proxy learns of a ready pod a moment after we do."""
        self.eventually(lambda: _connects(node(), port))

    def fetch(self, service: str, path: str) -> Any:
        """GET JSON from a Service, by way of the API server."""
        raw = f"/api/v1/namespaces/{self.name}/services/{service}:80/proxy{path}"
        return json.loads(run("kubectl", "get", "--raw", raw))

    def eventually(self, condition: Callable[[], object], seconds: float = 30) -> None:
        """Wait for what the cluster takes its time with; a command that fails is one that has to be asked again."""
        end = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except CommandError:
                if time.monotonic() > end:
                    raise
            if time.monotonic() > end:
                raise TimeoutError(f"it did not hold within {seconds} s")
            time.sleep(0.5)  # each `kubectl` is a tenth of a second of CPU


def _connects(host: str, port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(2)
        return sock.connect_ex((host, port)) == 0


def timed(action: Callable[[], Any]) -> tuple[Any, float]:
    """What an action gives, and the seconds that it took."""
    begin = time.monotonic()
    given = action()
    return given, time.monotonic() - begin
