"""`kn bridge delete`, `wait`, `logs` and `send`."""

import subprocess
import sys
from collections.abc import Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final
from urllib.parse import quote

import click

from thinbridge_knative import live
from thinbridge_knative.cli import options, stores, waiting
from thinbridge_knative.cli.grammar import Flag, command, single
from thinbridge_knative.cli.reading import reach
from thinbridge_knative.client import PODS, Cluster
from thinbridge_knative.failures import ApiFailure, Failure
from thinbridge_knative.resource import CONTAINER

PASSED: Final = ("method", "data", "type", "qos", "response_topic", "mqtt_version", "timeout", "count")
"""Flags that `send` hands on as they are."""


@command(
    "delete",
    "Delete bridges",
    "NAME [NAME ...]",
    """
    # Delete a bridge 'iot' in default namespace
    kn bridge delete iot

    # Delete all bridges in 'ns1' namespace
    kn bridge delete --all -n ns1
    """,
    Flag("--all", "every", is_flag=True, help="Delete all bridges in a namespace."),
    options.namespace(),
    options.target(),
    *options.waiting("delete", "deleted", default=False),
    complete=stores.names,
)
def delete(ctx: click.Context, names: Sequence[str], **flags: Any) -> None:
    """Delete bridges with all that belongs to them; each failure is told, the others go on."""
    if not names and not flags["every"]:
        raise Failure("'kn bridge delete' requires the bridge name(s)")
    if names and flags["every"]:
        raise Failure("'kn bridge delete' with --all flag requires no arguments")
    store = stores.store(flags["namespace"], flags["target"])
    if flags["every"]:
        names = [one["metadata"]["name"] for one in store.all()["items"]]
        if not names:
            click.echo("No bridges found.")
    failures = []
    for name in names:
        try:
            _delete(store, name, flags)
        except ApiFailure as error:
            failures.append(str(error))
    if failures:
        raise Failure("\nError: ".join(failures))


@command(
    "wait",
    "Wait for a bridge to be ready",
    "NAME",
    """
    # Waits on a bridge 'iot'
    kn bridge wait iot

    # Waits on a bridge 'iot' with a timeout and wait window
    kn bridge wait iot --wait-timeout 10 --wait-window 1
    """,
    options.namespace(),
    *options.patience(),
    complete=stores.names,
)
def wait(ctx: click.Context, names: Sequence[str], **flags: Any) -> None:
    """Return when the bridge is ready."""
    name = single(names, "'kn bridge wait' requires the bridge name given as single argument")
    cluster = stores.cluster()
    namespace = flags["namespace"] or cluster.namespace
    click.echo(f"Waiting for Bridge '{name}' in namespace '{namespace}':\n")
    patience = waiting.Patience(flags["wait_timeout"], flags["wait_window"])
    waiting.until_ready(cluster, name, namespace, patience)
    click.echo(f"\nBridge '{name}' in namespace '{namespace}' is ready.")


@command(
    "logs",
    "Print the logs of a bridge",
    "NAME",
    """
    # Print what the pods of bridge 'iot' logged
    kn bridge logs iot

    # Go on with what they log
    kn bridge logs iot --follow --tail 10
    """,
    Flag("-f", "--follow", is_flag=True, help="Specify if the logs should be streamed."),
    Flag("--tail", type=click.INT, help="Lines of recent log of each pod to display (default: all)."),
    Flag("--previous", is_flag=True, help="Print the logs of containers that have ended."),
    options.namespace(),
    complete=stores.names,
)
def logs(ctx: click.Context, names: Sequence[str], **flags: Any) -> None:
    """The logs of all pods; where there are several, each line names its pod."""
    name = single(names, "'kn bridge logs' requires name of the bridge as single argument")
    store = stores.store(flags["namespace"])
    cluster = stores.of(store)
    assert cluster is not None
    store.get(name)
    pods = [pod["metadata"]["name"] for pod in live.pods(cluster, name, store.namespace)]
    if not pods:
        click.echo("No pods found.")
    query = {
        "container": CONTAINER,
        **({"follow": "true"} if flags["follow"] else {}),
        **({"previous": "true"} if flags["previous"] else {}),
        **({"tailLines": str(flags["tail"])} if flags["tail"] is not None else {}),
    }
    lines: SimpleQueue[str | Failure | None] = SimpleQueue()
    for pod in pods:
        prefix = f"[{pod}] " if len(pods) > 1 else ""
        Thread(target=_tail, args=(cluster, store.namespace, pod, prefix, query, lines), daemon=True).start()
    _print(lines, len(pods))


@command(
    "send",
    "Send a message to a bridge, as a device",
    "NAME [PATH]",
    """
    # Be a CoAP device of bridge 'iot'
    kn bridge send iot /sensors/7 -d '{"t": 21}'

    # Be an MQTT device
    kn bridge send iot sensors/7 --endpoint mqtt -d '{"t": 21}'
    """,
    Flag("--endpoint", help="The listener, by name (default: the first)."),
    Flag("-m", "--method", help="CoAP: GET, or POST if there is data."),
    Flag("-d", "--data", help="The payload; @FILE reads a file, - stdin."),
    Flag("-t", "--type", help="The payload's media type."),
    Flag("--qos", help="MQTT: 0, 1 which waits for PUBACK (the default), or 2 for PUBCOMP."),
    Flag("--response-topic", help="MQTT 5: where to await the answer."),
    Flag("--mqtt-version", help="MQTT: 5, or 3.1.1, which only publishes."),
    Flag("--non", is_flag=True, help="CoAP: a message that is not confirmed."),
    Flag("--timeout", help="Seconds to wait; a cold start takes a while."),
    Flag("--count", help="Send it so many times."),
    options.namespace(),
    complete=stores.names,
)
def send(ctx: click.Context, names: Sequence[str], **flags: Any) -> None:
    """Run `thinbridge send` with an address of the bridge; its exit status is ours."""
    if len(names) not in (1, 2):
        raise Failure("'kn bridge send' requires name of the bridge, and perhaps a path or topic, as arguments")
    url = _url(names[0], names[1] if len(names) > 1 else "", flags)
    words = [f"--{flag.replace('_', '-')}={flags[flag]}" for flag in PASSED if flags[flag] is not None]
    words += ["--non"] if flags["non"] else []
    click.echo(url, err=True)
    done = subprocess.run([sys.executable, "-m", "thinbridge.cli", "send", url, *words], check=False)
    ctx.exit(1 if done.returncode else 0)


def _delete(store: stores.Store, name: str, flags: dict[str, Any]) -> None:
    store.delete(name, flags["wait"])
    cluster = stores.of(store)
    if flags["wait"] and cluster is not None:
        patience = waiting.Patience(flags["wait_timeout"], flags["wait_window"])
        waiting.until_gone(cluster, name, store.namespace, patience)
    click.echo(f"Bridge '{name}' successfully deleted in namespace '{store.namespace}'.")


def _tail(
    cluster: Cluster,
    namespace: str,
    pod: str,
    prefix: str,
    query: dict[str, str],
    lines: "SimpleQueue[str | Failure | None]",
) -> None:
    """Queue a pod's lines; None is the end."""
    try:
        for line in cluster.lines(f"{PODS.path(namespace, pod)}/log", query, None):
            lines.put(f"{prefix}{line}")
    except Failure as error:
        lines.put(Failure(f"{pod}: {error}"))
    lines.put(None)


def _print(lines: "SimpleQueue[str | Failure | None]", open_: int) -> None:
    failures: list[str] = []
    while open_:
        line = lines.get()
        if line is None:
            open_ -= 1
        elif isinstance(line, Failure):
            failures.append(str(line))
        else:
            click.echo(line)
    if failures:
        raise Failure("\nError: ".join(failures))


def _url(name: str, path: str, flags: dict[str, Any]) -> str:
    """The address to use: from outside if there is one, for the listener that is named, else the first."""
    bridge = stores.store(flags["namespace"]).get(name)
    addresses = bridge.get("status", {}).get("addresses", [])
    names = list(dict.fromkeys(one["name"] for one in addresses))
    if not names:
        raise Failure(f"bridge '{name}' has no address yet; 'kn bridge wait {name}' waits until it has")
    endpoint = flags["endpoint"] or names[0]
    if endpoint not in names:
        raise Failure(f"bridge '{name}' has no listener '{endpoint}'; there are: {', '.join(names)}")
    urls = [one["url"] for one in addresses if one["name"] == endpoint]
    url = next((one for one in urls if reach(one) == "outside"), urls[0])
    return f"{url}/{quote(path.lstrip('/'), safe='/?&=%')}" if path else url
