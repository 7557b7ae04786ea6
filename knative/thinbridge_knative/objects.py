"""What a Bridge becomes: ConfigMap, SinkBinding, Deployment and Services, as objects to be applied. Pure.

The order is the order of making: the SinkBinding before the Deployment, so that Knative's webhook finds it when the
first pod template arrives and no pod starts without `K_SINK`. A field stands here only if the controller means to own
it; what others write (the webhook's variables, a node port) is theirs.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import yaml

from thinbridge.protocols.base import Transport
from thinbridge.settings import RELOADED, Listener
from thinbridge_knative import resource
from thinbridge_knative.resource import (
    API_VERSION,
    BINDING_LABEL,
    CONFIG_DIR,
    CONFIG_FILE,
    HTTP_PORT,
    HTTP_PORT_NAME,
    SECRETS_DIR,
)
from thinbridge_knative.spec import HOST_NETWORK, ROOTS, Plan

Object = dict[str, Any]

RESOURCES: Final[Mapping[str, Mapping[str, str]]] = {
    "requests": {"cpu": "100m", "memory": "96Mi"},
    "limits": {"memory": "1Gi"},
}
"""Measured: an idle bridge with all protocols is 50 MiB and takes no CPU that can be seen; a tenth of a core carries
about a thousand messages a second. No CPU limit: throttled, a bridge would lose datagrams. 1 GiB holds 100,000
sessions, the default of `limits.sessions`."""

USER: Final = 65532
"""Nobody in particular, as in the image."""

LOAD_BALANCER: Final = "LoadBalancer"


def objects(plan: Plan, image: str) -> list[Object]:
    """All objects of a bridge, in the order of making.

    Args:
        plan: the Bridge, checked.
        image: of the bridge, where the spec names none.
    """
    return [
        _config_map(plan),
        _sink_binding(plan),
        _deployment(plan, plan.spec.get("image") or image),
        *_services(plan),
    ]


def digest(value: Any) -> str:
    """A short name for a value: equal for equal values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def port_name(listener: Listener) -> str:
    """The name of a listener's port in Services and pods: unique, short, and its protocol first as meshes want it."""
    return f"{listener.protocol.transport.value}-{listener.port}"


def _object(plan: Plan, version: str, kind: str, name: str, **rest: Any) -> Object:
    owner = {
        "apiVersion": API_VERSION,
        "kind": resource.KIND,
        "name": plan.name,
        "uid": plan.uid,
        "controller": True,
        "blockOwnerDeletion": False,  # True needs a right to set finalizers; nothing waits for these to go
    }
    meta = {
        "name": name,
        "namespace": plan.namespace,
        "labels": resource.labels(plan.name),
        "ownerReferences": [owner],
    }
    whole = {"apiVersion": version, "kind": kind, "metadata": meta, **rest}
    meta["annotations"] = {resource.APPLIED: digest(whole)}
    return whole


def _config_map(plan: Plan) -> Object:
    text = yaml.safe_dump(dict(plan.config), sort_keys=False, allow_unicode=True)
    return _object(plan, "v1", "ConfigMap", resource.workload(plan.name), data={CONFIG_FILE: text})


def _sink_binding(plan: Plan) -> Object:
    name = resource.workload(plan.name)
    spec = {
        "subject": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": plan.namespace, "name": name},
        "sink": plan.spec["sink"],
        **({"ceOverrides": plan.spec["ceOverrides"]} if plan.spec.get("ceOverrides") else {}),
    }
    binding = _object(plan, "sources.knative.dev/v1", "SinkBinding", name, spec=spec)
    binding["metadata"]["labels"] |= {BINDING_LABEL: "true"}
    return binding


# --- Pods -------------------------------------------------------------------------------------------------------


def _deployment(plan: Plan, image: str) -> Object:
    host = plan.exposure == HOST_NETWORK
    template = {
        "metadata": {
            "labels": resource.labels(plan.name),
            "annotations": {
                resource.ROLL: digest({key: value for key, value in plan.config.items() if key not in RELOADED})
            },
        },
        "spec": _pod(plan, image, host),
    }
    # With the node's own ports, a new pod fits only where an old one has gone.
    surge, unavailable = (0, 1) if host else (1, 0)
    spec = {
        "replicas": plan.spec.get("replicas", 1),
        "selector": {"matchLabels": resource.selector(plan.name)},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable},
        },
        "template": template,
    }
    deployment = _object(plan, "apps/v1", "Deployment", resource.workload(plan.name), spec=spec)
    deployment["metadata"]["labels"] |= {BINDING_LABEL: "true"}
    return deployment


def _pod(plan: Plan, image: str, host: bool) -> Object:
    return {
        "containers": [_container(plan, image)],
        "volumes": [
            {"name": "config", "configMap": {"name": resource.workload(plan.name)}},
            *({"name": _volume(name), "secret": {"secretName": name}} for name in _secrets(plan)),
        ],
        "terminationGracePeriodSeconds": plan.grace,
        "automountServiceAccountToken": False,  # a bridge asks the API server for nothing
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
            **_low_ports(plan),
        },
        **({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"} if host else {}),
    }


def _low_ports(plan: Plan) -> Object:
    """Let nobody in particular bind a port below 1024, in the pod's own network: a sysctl that every cluster allows."""
    if all(listener.port >= ROOTS for listener in plan.listeners):
        return {}
    return {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]}


def _container(plan: Plan, image: str) -> Object:
    ports = [
        {"name": port_name(one), "containerPort": one.port, "protocol": one.protocol.transport.value.upper()}
        for one in _listeners(plan)
    ]
    return {
        "name": resource.CONTAINER,
        "image": image,
        "args": ["run", "--config", f"{CONFIG_DIR}/{CONFIG_FILE}", "--sink-from-binding"],
        "env": [_downward("POD_IP", "status.podIP"), _downward("POD_NAMESPACE", "metadata.namespace")],
        "ports": [*ports, {"name": HTTP_PORT_NAME, "containerPort": HTTP_PORT, "protocol": "TCP"}],
        **_probes(),
        "resources": _resources(plan),
        "terminationMessagePolicy": "FallbackToLogsOnError",  # its last line says what to mend; the status shows it
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIR, "readOnly": True},
            *(
                {"name": _volume(name), "mountPath": f"{SECRETS_DIR}/{name}", "readOnly": True}
                for name in _secrets(plan)
            ),
        ],
    }


def _resources(plan: Plan) -> Object:
    """Without what is empty: the API server leaves it out, so it would seem to be missing for ever."""
    given = plan.spec.get("resources") or RESOURCES
    return {key: dict(amounts) for key, amounts in given.items() if amounts}


def _secrets(plan: Plan) -> list[str]:
    return plan.spec.get("secrets") or []


def _volume(secret: str) -> str:
    return f"secret-{secret}"


def _listeners(plan: Plan) -> list[Listener]:
    """One listener a port: IPv4 and IPv6 may share it."""
    return list({port_name(listener): listener for listener in plan.listeners}.values())


def _downward(name: str, path: str) -> Object:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _probes() -> Object:
    """A start on a busy node is no hang: it may take two minutes. After it, half a minute without an answer is one.

    A bridge is NotReady no sooner than that: by itself it is so before its start alone (ARCHITECTURE.md, rule 6), so a
    probe that fails means that it gets no CPU, and kube-proxy would flush its UDP flows with the answers that it owes.
    """
    return {
        "startupProbe": _probe("/health/live", periodSeconds=1, failureThreshold=120),
        "livenessProbe": _probe("/health/live", periodSeconds=10, failureThreshold=3),
        "readinessProbe": _probe("/health/ready", periodSeconds=2, failureThreshold=15),
    }


def _probe(path: str, **times: int) -> Object:
    """Two seconds of patience: a bridge under load answers late, and a restart would lose its sessions."""
    return {"httpGet": {"path": path, "port": HTTP_PORT_NAME}, "timeoutSeconds": 2, **times}


# --- Services ---------------------------------------------------------------------------------------------------


def _services(plan: Plan) -> list[Object]:
    """One with all listeners for the cluster (and the nodes), one without an address for the pods' own; and, for load
    balancers, one a transport: few providers take UDP and TCP in one. Nobody calls a bridge that only calls a broker.
    """
    kind, listeners = plan.exposure, _listeners(plan)
    inside = "NodePort" if kind == "NodePort" else "ClusterIP"
    http = {"name": HTTP_PORT_NAME, "port": HTTP_PORT, "targetPort": HTTP_PORT_NAME, "protocol": "TCP"}
    services = [_service(plan, resource.headless(plan.name), [http], {"clusterIP": "None"})]
    if ports := [_port(one) for one in listeners]:
        services.insert(0, _service(plan, plan.name, ports, {"type": inside, **_policy(plan, inside)}))
    for transport in Transport if kind == LOAD_BALANCER else ():
        if ports := [_port(one) for one in listeners if one.protocol.transport is transport]:
            name = resource.load_balancer(plan.name, transport.value)
            services.append(_service(plan, name, ports, {"type": LOAD_BALANCER, **_policy(plan, LOAD_BALANCER)}))
    return services


def _service(plan: Plan, name: str, ports: list[Object], spec: Object) -> Object:
    return _object(plan, "v1", "Service", name, spec={**spec, "selector": resource.selector(plan.name), "ports": ports})


def _policy(plan: Plan, kind: str) -> Object:
    """Local keeps the device's own address; what reaches no pod on a load balancer's node is not sent there anyway."""
    default = {"LoadBalancer": "Local", "NodePort": "Cluster"}
    if kind not in default:
        return {}
    return {"externalTrafficPolicy": (plan.spec.get("expose") or {}).get("externalTrafficPolicy", default[kind])}


def _port(listener: Listener) -> Object:
    name = port_name(listener)
    transport = listener.protocol.transport.value.upper()
    return {"name": name, "port": listener.port, "targetPort": name, "protocol": transport}
