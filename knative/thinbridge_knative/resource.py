"""The words of the Bridge resource: group, version, labels, names. `kn bridge`, the controller and the CRD share them.

Whoever needs a name that appears in the cluster takes it from here; manifests and docs repeat it by hand, and a test
holds them to it.
"""

from typing import Final

GROUP: Final = "thinbridge.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "Bridge"
PLURAL: Final = "bridges"
SINGULAR: Final = "bridge"
CRD_NAME: Final = f"{PLURAL}.{GROUP}"

# Labels of everything that the controller makes.
NAME: Final = "app.kubernetes.io/name"
INSTANCE: Final = "app.kubernetes.io/instance"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
APP: Final = "thinbridge"
CONTROLLER: Final = "thinbridge-controller"
"""`managed-by`, the controller's Deployment, and its field manager in server-side apply."""

SOURCE_LABEL: Final = "duck.knative.dev/source"
"""On the ClusterRole that lets Eventing watch bridges and, once they are served, on the CRD: `kn source` goes by it."""
BINDING_LABEL: Final = "bindings.knative.dev/include"
"""On SinkBinding and Deployment: injection also where a cluster's SinkBindings are opt-in."""

APPLIED: Final = f"{GROUP}/applied"
"""Annotation: the digest of what the controller last applied, so that what it dropped is noticed."""
ROLL: Final = f"{GROUP}/roll"
"""Annotation of the pod template: the digest of the settings that a running bridge can't reread."""

CONTAINER: Final = "bridge"
HTTP_PORT: Final = 8090
HTTP_PORT_NAME: Final = "http-bridge"
CONFIG_DIR: Final = "/etc/thinbridge"
CONFIG_FILE: Final = "bridge.yaml"
"""The ConfigMap's key, and the file below `CONFIG_DIR`."""

SECRETS_DIR: Final = "/run/secrets/thinbridge"
"""Each Secret of `spec.secrets` is a folder below, its keys are files: certificates, tokens, passwords."""

BRIDGE_IMAGE: Final = "BRIDGE_IMAGE"
"""The controller's variable that names the image of bridges whose spec names none."""
HEALTH_PORT: Final = 8080
"""The controller's own `/health`."""
METRICS_PORT: Final = 8081
"""The controller's own `/metrics`."""

READY: Final = "Ready"
SINK_PROVIDED: Final = "SinkProvided"
DEPLOYED: Final = "Deployed"

LONGEST_NAME: Final = 56
"""Characters of a bridge's name: `<name>-bridge` is a label's value of at most 63."""


def workload(bridge: str) -> str:
    """The name of the ConfigMap, Deployment and SinkBinding of a bridge."""
    return f"{bridge}-bridge"


def headless(bridge: str) -> str:
    """The name of the headless Service: the pods' own addresses, with the HTTP side's port."""
    return f"{bridge}-pods"


def load_balancer(bridge: str, transport: str) -> str:
    """The name of a LoadBalancer Service: one for `udp` and one for `tcp`, as not every provider mixes them."""
    return f"{bridge}-{transport}"


def selector(bridge: str) -> dict[str, str]:
    """The labels that a bridge's pods are selected by; a Deployment's selector can't change, so these never do."""
    return {NAME: APP, INSTANCE: bridge}


def labels(bridge: str) -> dict[str, str]:
    """The labels of everything that belongs to a bridge."""
    return selector(bridge) | {MANAGED_BY: CONTROLLER}
