"""What a Bridge becomes, object by object."""

from typing import Any

import yaml
from tests.knative.bridges import SINK, plan

from thinbridge.settings import load
from thinbridge_knative.objects import RESOURCES, objects


def made(**spec: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """By kind and name."""
    return {(one["kind"], one["metadata"]["name"]): one for one in objects(plan(**spec), "bridge:1")}


def deployment(**spec: Any) -> dict[str, Any]:
    return dict(made(**spec)["Deployment", "iot-bridge"]["spec"])


def pod(**spec: Any) -> dict[str, Any]:
    return dict(deployment(**spec)["template"]["spec"])


def roll(**spec: Any) -> str:
    return str(deployment(**spec)["template"]["metadata"]["annotations"]["thinbridge.dev/roll"])


def ports(service: dict[str, Any]) -> list[tuple[str, int, str]]:
    return [(one["name"], one["port"], one["protocol"]) for one in service["spec"]["ports"]]


def test_the_binding_comes_before_what_it_binds() -> None:
    kinds = [one["kind"] for one in objects(plan(), "bridge:1")]
    assert kinds == ["ConfigMap", "SinkBinding", "Deployment", "Service", "Service"]


def test_everything_is_owned_labelled_and_without_a_finalizer() -> None:
    for one in made(expose={"type": "LoadBalancer"}).values():
        meta = one["metadata"]
        [owner] = meta["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == ("Bridge", "iot", "u1", True)
        assert meta["namespace"] == "home"
        assert meta["labels"]["app.kubernetes.io/name"] == "thinbridge"
        assert meta["labels"]["app.kubernetes.io/instance"] == "iot"
        assert meta["labels"]["app.kubernetes.io/managed-by"] == "thinbridge-controller"
        assert "finalizers" not in meta
        included = meta["labels"].get("bindings.knative.dev/include")
        assert included == ("true" if one["kind"] in ("SinkBinding", "Deployment") else None)


def test_the_config_is_what_a_bridge_can_load(tmp_path: Any) -> None:
    file = tmp_path / "bridge.yaml"
    file.write_text(made(routes=[{"sink": {"uri": "http://b/"}}])["ConfigMap", "iot-bridge"]["data"]["bridge.yaml"])
    settings = load({}, {"POD_NAMESPACE": "home", "POD_IP": "10.0.0.7"}, file)
    assert (settings.name, settings.namespace, settings.sink, settings.drain) == ("iot", "home", None, 60)
    assert settings.http.url == "http://10.0.0.7:8090"
    assert settings.routes[0].sink is not None
    assert yaml.safe_load(file.read_text())["sink_from_binding"] is True


def test_the_binding_takes_the_sink_as_it_is() -> None:
    spec = made(ceOverrides={"extensions": {"site": "a"}})["SinkBinding", "iot-bridge"]["spec"]
    assert spec["sink"] == SINK
    assert spec["ceOverrides"] == {"extensions": {"site": "a"}}
    assert spec["subject"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "namespace": "home",
        "name": "iot-bridge",
    }
    assert "ceOverrides" not in made()["SinkBinding", "iot-bridge"]["spec"]


def test_a_pod_may_do_nothing_but_its_work() -> None:
    spec = pod()
    [container] = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False
    assert container["args"] == ["run", "--config", "/etc/thinbridge/bridge.yaml", "--sink-from-binding"]
    assert [one["name"] for one in container["env"]] == ["POD_IP", "POD_NAMESPACE"]
    assert {one["name"]: (one["containerPort"], one["protocol"]) for one in container["ports"]} == {
        "udp-5683": (5683, "UDP"),
        "tcp-1883": (1883, "TCP"),
        "http-bridge": (8090, "TCP"),
    }
    assert container["livenessProbe"]["httpGet"] == {"path": "/health/live", "port": "http-bridge"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/health/ready", "port": "http-bridge"}
    assert container["resources"] == RESOURCES
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert "hostNetwork" not in spec


def patience(probe: dict[str, Any]) -> int:
    """Seconds without an answer that a pod may take."""
    return int(probe["periodSeconds"] * probe["failureThreshold"])


def test_a_busy_bridge_keeps_its_flows_and_a_slow_start_is_no_hang() -> None:
    [container] = pod()["containers"]
    startup, live, ready = (container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness"))
    assert startup["httpGet"] == live["httpGet"]  # the start is over though it waits for its sink
    assert patience(startup) >= 120
    assert patience(ready) >= patience(live) >= 30
    assert min(probe["timeoutSeconds"] for probe in (startup, live, ready)) >= 2


def test_what_the_spec_says_of_pods_is_taken() -> None:
    spec = deployment(replicas=3, image="mine:2", resources={"limits": {"memory": "2Gi"}}, routes=[{"timeout": 100}])
    [container] = spec["template"]["spec"]["containers"]
    assert (spec["replicas"], container["image"]) == (3, "mine:2")
    assert container["resources"] == {"limits": {"memory": "2Gi"}}
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 130


def test_only_what_a_bridge_can_not_reread_rolls_its_pods() -> None:
    same = {"routes": [{"sink": {"uri": "http://b/"}}], "mode": "event", "limits": {"sessions": 5}}
    assert deployment() == deployment(**same, dead_letter={"uri": "http://d/"})
    assert made()["ConfigMap", "iot-bridge"] != made(**same)["ConfigMap", "iot-bridge"]
    for keys in ({"listen": [{"url": "coap:5684"}]}, {"trusted_networks": ["10.0.0.0/8"]}, {"log_level": "debug"}):
        assert roll() != roll(**keys)


def test_a_timeout_rolls_the_pods_where_it_changes_their_grace_period() -> None:
    minute, longer = [{"timeout": 60}], [{"timeout": 61}]
    assert deployment(routes=[{"timeout": 90}]) == deployment(routes=[{"timeout": 100}])
    assert deployment(routes=minute) != deployment(routes=longer)
    assert deployment(routes=minute, drain=25) == deployment(routes=longer, drain=25)


def test_the_nodes_own_ports_are_taken_by_one_pod_at_a_time() -> None:
    assert pod(expose={"type": "HostNetwork"})["hostNetwork"] is True
    assert pod(expose={"type": "HostNetwork"})["dnsPolicy"] == "ClusterFirstWithHostNet"
    rolling = deployment(expose={"type": "HostNetwork"})["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": 0, "maxUnavailable": 1}
    assert deployment()["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_a_port_below_1024_can_be_bound() -> None:
    syslog = [{"url": "udp:514"}]
    [setting] = pod(listen=syslog)["securityContext"]["sysctls"]
    assert setting == {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}
    assert "sysctls" not in pod()["securityContext"]
    assert "sysctls" not in pod(expose={"type": "HostNetwork"})["securityContext"]  # no node would take it


def test_inside_the_cluster_one_service_has_all_listeners() -> None:
    found = made()
    assert ports(found["Service", "iot"]) == [("udp-5683", 5683, "UDP"), ("tcp-1883", 1883, "TCP")]
    assert found["Service", "iot"]["spec"]["type"] == "ClusterIP"
    assert "externalTrafficPolicy" not in found["Service", "iot"]["spec"]
    assert found["Service", "iot-pods"]["spec"]["clusterIP"] == "None"
    assert ports(found["Service", "iot-pods"]) == [("http-bridge", 8090, "TCP")]


def test_a_bridge_that_only_calls_a_broker_has_no_ports_and_no_service_for_them() -> None:
    broker = {"url": "mqtt+broker://broker.iot.svc/?subscribe=up"}
    objects = made(listen=[broker])
    assert [key for key in objects if key[0] == "Service"] == [("Service", "iot-pods")]
    assert [one["name"] for one in pod(listen=[broker])["containers"][0]["ports"]] == ["http-bridge"]
    both = made(listen=[broker, {"url": "udp:9000"}])
    assert ports(both["Service", "iot"]) == [("udp-9000", 9000, "UDP")]
    sidecar = {"url": "mqtt+broker://127.0.0.1:8080/?subscribe=up"}
    assert made(listen=[sidecar], expose={"type": "HostNetwork"})


def test_ipv4_and_ipv6_share_a_port() -> None:
    both = made(listen=[{"url": "udp://0.0.0.0:9000"}, {"url": "udp://[::]:9000"}])
    assert ports(both["Service", "iot"]) == [("udp-9000", 9000, "UDP")]


def test_a_node_port_keeps_the_policy_that_is_asked_for() -> None:
    spec = made(expose={"type": "NodePort"})["Service", "iot"]["spec"]
    assert (spec["type"], spec["externalTrafficPolicy"]) == ("NodePort", "Cluster")
    local = made(expose={"type": "NodePort", "externalTrafficPolicy": "Local"})["Service", "iot"]["spec"]
    assert local["externalTrafficPolicy"] == "Local"


def test_load_balancers_are_one_a_transport_and_keep_the_devices_address() -> None:
    found = made(expose={"type": "LoadBalancer"})
    assert found["Service", "iot"]["spec"]["type"] == "ClusterIP"
    for name, port in (("iot-udp", ("udp-5683", 5683, "UDP")), ("iot-tcp", ("tcp-1883", 1883, "TCP"))):
        spec = found["Service", name]["spec"]
        assert (spec["type"], spec["externalTrafficPolicy"]) == ("LoadBalancer", "Local")
        assert ports(found["Service", name]) == [port]
    assert ("Service", "iot-tcp") not in made(expose={"type": "LoadBalancer"}, listen=[{"url": "udp:9000"}])


def test_secrets_are_files_of_the_pods() -> None:
    made = pod(secrets=["site-tls"], http={"token_file": "/run/secrets/thinbridge/site-tls/token"})
    assert {"name": "secret-site-tls", "secret": {"secretName": "site-tls"}} in made["volumes"]
    [container] = made["containers"]
    mount = {"name": "secret-site-tls", "mountPath": "/run/secrets/thinbridge/site-tls", "readOnly": True}
    assert mount in container["volumeMounts"]


def test_the_token_for_publishing_is_in_the_config() -> None:
    path = "/run/secrets/thinbridge/publish/token"
    text = made(secrets=["publish"], http={"token_file": path})["ConfigMap", "iot-bridge"]["data"]["bridge.yaml"]
    assert yaml.safe_load(text)["http"] == {"listen": "0.0.0.0:8090", "token_file": path}
