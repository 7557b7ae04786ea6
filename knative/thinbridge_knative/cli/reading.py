"""`kn bridge list`, `describe`, `export`, `endpoints` and `list-types`."""

from collections.abc import Sequence
from typing import Any, Final

import click

from thinbridge_knative import live
from thinbridge_knative.cli import edits, options, stores
from thinbridge_knative.cli.grammar import Flag, command, single
from thinbridge_knative.cli.writing import portable
from thinbridge_knative.client import Cluster, Object
from thinbridge_knative.destinations import shown
from thinbridge_knative.failures import Failure
from thinbridge_knative.output import (
    FORMATS,
    Attributes,
    age,
    check_format,
    condition,
    conditions,
    machine,
    reason,
    table,
    tally,
)
from thinbridge_knative.resource import API_VERSION

WIDEST: Final = 100
"""Characters of labels and annotations that `describe` shows on one line."""
NAMELESS: Final = tuple(one for one in FORMATS if one != "name")
"""What can be printed of things that are no objects of the cluster."""


@command(
    "list",
    "List bridges",
    "[NAME]",
    """
    # List all bridges
    kn bridge list

    # List all bridges in YAML format
    kn bridge list -o yaml
    """,
    Flag(
        "-A",
        "--all-namespaces",
        is_flag=True,
        help="If present, list the requested object(s) across all namespaces. Namespace in current context is ignored "
        "even if specified with --namespace.",
    ),
    *options.listing(),
    options.namespace(),
    options.target(),
    complete=stores.names,
)
def list_(ctx: click.Context, names: Sequence[str], **flags: Any) -> None:
    """A line for each bridge."""
    check_format(flags["output"])
    store = stores.store(flags["namespace"], flags["target"])
    everywhere = flags["all_namespaces"]
    found = store.all(everywhere)
    found["items"] = [one for one in found["items"] if not names or one["metadata"]["name"] in names]
    if flags["output"]:
        click.echo(machine(found, flags["output"], flags["show_managed_fields"]), nl=False)
    elif not found["items"]:
        click.echo("No bridges found.")
    else:
        first = ("NAMESPACE",) if everywhere else ()
        rows = [_row(one, everywhere) for one in sorted(found["items"], key=_order)]
        header = (*first, "NAME", "LISTENERS", "SINK", "AGE", "CONDITIONS", "READY", "REASON")
        click.echo(table(header, rows, not flags["no_headers"]), nl=False)


@command(
    "describe",
    "Show details of a bridge",
    "NAME",
    """
    # Describe a bridge with name 'iot'
    kn bridge describe iot

    # Print only where devices reach it
    kn bridge describe iot -o url
    """,
    *options.printing(),
    options.namespace(),
    options.target(),
    Flag("-v", "--verbose", is_flag=True, help="More output."),
    complete=stores.names,
)
def describe(ctx: click.Context, names: Sequence[str], **flags: Any) -> None:
    """Everything about one bridge, its pods' sessions and rates included."""
    name = single(names, "'kn bridge describe' requires name of the bridge as single argument")
    output = flags["output"]
    check_format(None if output == "url" else output)
    store = stores.store(flags["namespace"], flags["target"])
    bridge = store.get(name)
    if output == "url":
        click.echo("".join(f"{one['url']}\n" for one in _addresses(bridge)), nl=False)
    elif output:
        click.echo(machine(bridge, output, flags["show_managed_fields"]), nl=False)
    else:
        click.echo(str(_description(bridge, stores.of(store), flags["verbose"])), nl=False)


@command(
    "export",
    "Export a bridge",
    "NAME",
    """
    # Export a bridge in YAML format
    kn bridge export iot -n bar -o yaml
    """,
    *options.printing(),
    options.namespace(),
    complete=stores.names,
)
def export(ctx: click.Context, names: Sequence[str], **flags: Any) -> None:
    """The bridge as a manifest for another cluster."""
    name = single(names, "'kn bridge export' requires name of the bridge as single argument")
    if not flags["output"]:
        raise Failure("'kn bridge export' requires output format")
    check_format(flags["output"])
    click.echo(machine(portable(stores.store(flags["namespace"]).get(name)), flags["output"]), nl=False)


@command(
    "endpoints",
    "List where devices reach a bridge",
    "NAME",
    """
    # List what to type to reach bridge 'iot'
    kn bridge endpoints iot
    """,
    *options.listing(),
    options.namespace(),
    complete=stores.names,
)
def endpoints(ctx: click.Context, names: Sequence[str], **flags: Any) -> None:
    """The addresses of each listener, and from where they can be used."""
    name = single(names, "'kn bridge endpoints' requires name of the bridge as single argument")
    check_format(flags["output"], NAMELESS)
    bridge = stores.store(flags["namespace"]).get(name)
    found = [{"name": one["name"], "from": reach(one["url"]), "url": one["url"]} for one in _addresses(bridge)]
    if flags["output"]:
        whole = {"apiVersion": API_VERSION, "kind": "EndpointList", "items": found}
        click.echo(machine(whole, flags["output"]), nl=False)
    elif not found:
        click.echo("No endpoints found.")
    else:
        rows = [(one["name"], one["from"], one["url"]) for one in found]
        click.echo(table(("NAME", "FROM", "URL"), rows, not flags["no_headers"]), nl=False)
        if (bridge["spec"].get("expose") or {}).get("type", "ClusterIP") == "ClusterIP":
            click.echo(f"\nTo reach it from outside: kn bridge update {name} --expose NodePort", err=True)


@command(
    "list-types",
    "List event types of the protocols",
    "",
    """
    # List the protocols that a listener may name, with the events that they make
    kn bridge list-types
    """,
    *options.listing(),
)
def list_types(ctx: click.Context, names: Sequence[str], **flags: Any) -> None:
    """A line for each event type of the protocols that are installed here."""
    from thinbridge import registry

    check_format(flags["output"], NAMELESS)
    types = [
        {
            "type": event.type,
            "protocol": one.name,
            "port": registry.schemes(one.protocol)[one.name][1],
            "description": event.description,
        }
        for one in registry.installed()
        if one.protocol is not None
        for event in one.protocol.event_types
    ]
    if flags["output"]:
        whole = {"apiVersion": API_VERSION, "kind": "EventTypeList", "items": types}
        click.echo(machine(whole, flags["output"]), nl=False)
        return
    rows = [tuple(map(str, one.values())) for one in types]
    click.echo(table(("TYPE", "PROTOCOL", "PORT", "DESCRIPTION"), rows, not flags["no_headers"]), nl=False)


def reach(url: str) -> str:
    """From where an address can be used: names of Services are the cluster's own."""
    return "cluster" if url.rpartition(":")[0].endswith(".svc") else "outside"


def _order(bridge: Object) -> tuple[bool, str, str]:
    """By name; the namespace `default` first, as kn has it."""
    meta = bridge["metadata"]
    return meta["namespace"] != "default", meta["namespace"], meta["name"]


def _row(bridge: Object, everywhere: bool) -> tuple[str, ...]:
    meta, spec = bridge["metadata"], bridge["spec"]
    return (
        *((meta["namespace"],) if everywhere else ()),
        meta["name"],
        ",".join(one["url"].partition("?")[0] for one in spec.get("listen", [])),
        shown(spec.get("sink"), meta["namespace"]),
        age(meta.get("creationTimestamp")),
        tally(bridge),
        condition(bridge).get("status", ""),
        reason(bridge),
    )


def _addresses(bridge: Object) -> list[dict[str, str]]:
    return list(bridge.get("status", {}).get("addresses", []))


def _description(bridge: Object, cluster: Cluster | None, verbose: bool) -> Attributes:
    meta, spec = bridge["metadata"], bridge["spec"]
    page = Attributes()
    page.add("Name", meta["name"])
    page.add("Namespace", meta["namespace"])
    _mapping(page, "Labels", meta.get("labels", {}), verbose)
    _mapping(page, "Annotations", meta.get("annotations", {}), verbose)
    page.add("Age", age(meta.get("creationTimestamp")))
    for label, value in _facts(spec, bridge.get("status", {})).items():
        page.add(label, value)
    page.end()
    _sink(page, "Sink", spec.get("sink"), meta["namespace"])
    if "dead_letter" in spec:
        _sink(page, "Dead Letter", spec["dead_letter"], meta["namespace"])
    page.end()
    if extensions := (spec.get("ceOverrides") or {}).get("extensions"):
        page.add("CloudEvent Overrides")
        for key in sorted(extensions):
            page.add(key, extensions[key], 1)
        page.end()
    _listeners(page, bridge)
    if spec.get("routes"):
        _routes(page, spec["routes"], meta["namespace"])
    if cluster is not None:
        _pods(page, live.look(cluster, meta["name"], meta["namespace"]))
    conditions(page, bridge, verbose)
    return page


def _facts(spec: Object, status: Object) -> dict[str, str]:
    facts = {
        "Replicas": f"{status.get('replicas', 0)}/{spec.get('replicas', 1)}",
        "Expose": str((spec.get("expose") or {}).get("type", "ClusterIP")),
        "Mode": str(spec.get("mode", "request")),
    }
    return {**facts, **({"Image": spec["image"]} if spec.get("image") else {})}


def _mapping(page: Attributes, label: str, mapping: dict[str, str], verbose: bool) -> None:
    """On one line, cut where it is too long, or with `-v` one line each; bookkeeping of tools only then."""
    pairs = [f"{key}={mapping[key]}" for key in sorted(mapping) if verbose or "kubernetes.io/" not in key]
    if verbose:
        for index, pair in enumerate(pairs):
            page.add(label if index == 0 else "", pair)
    elif pairs:
        text = ", ".join(pairs)
        room = WIDEST - len(label) - 2
        page.add(label, text if len(text) <= room else f"{text[: room - 4]} ...")


def _sink(page: Attributes, label: str, sink: Object | None, namespace: str) -> None:
    page.add(label)
    ref = (sink or {}).get("ref")
    if ref:
        page.add("Name", ref.get("name"), 1)
        if ref.get("namespace") not in (None, "", namespace):
            page.add("Namespace", ref["namespace"], 1)
        page.add("Resource", f"{ref.get('kind')} ({ref.get('apiVersion')})", 1)
    if (sink or {}).get("uri"):
        page.add("URI", (sink or {})["uri"], 1)


def _listeners(page: Attributes, bridge: Object) -> None:
    """Each listener by name, with what devices type below it."""
    page.add("Listeners")
    addresses = _addresses(bridge)
    for name, listener in zip(edits.listener_names(bridge["spec"]), bridge["spec"].get("listen", []), strict=True):
        page.add(name, listener["url"], 1)
        for address in addresses:
            if address["name"] == name:
                page.add("", address["url"], 1)
    page.end()


def _routes(page: Attributes, routes: Sequence[Object], namespace: str) -> None:
    page.add("Routes")
    for index, route in enumerate(routes):
        terms = [
            f"{key}={shown(value, namespace) if isinstance(value, dict) else value}"
            for key, value in route.items()
            if key != "name"
        ]
        page.add(str(route.get("name", index)), ", ".join(terms), 1)
    page.end()


def _pods(page: Attributes, pods: Sequence[live.Pod]) -> None:
    """A line for each endpoint of each pod; what is wrong with it below."""
    page.add("Pods", "" if pods else "none")
    rows = [
        (pod.name, str(pod.ready).lower(), name, str(one.sessions), f"{one.messages:.1f}", f"{one.dropped:.1f}")
        for pod in pods
        for name, one in (pod.endpoints or {"-": live.Rates(0, 0, 0)}).items()
    ]
    if rows:
        header = ("NAME", "READY", "ENDPOINT", "SESSIONS", "MESSAGES/S", "DROPPED/S")
        for line in table(header, rows).splitlines():
            page.line(line)
    for pod in pods:
        for trouble in pod.troubles:
            page.line(f"! {pod.name}: {trouble}")
    page.end()
