"""`kn bridge create`, `apply`, `update`, `import`: all is checked before the one request that changes anything."""

from collections.abc import Sequence
from typing import Any, Final

import click

from thinbridge_knative.cli import edits, options, stores, undo, waiting
from thinbridge_knative.cli.grammar import Flag, command, missing, single
from thinbridge_knative.client import Object
from thinbridge_knative.failures import ApiFailure, Failure
from thinbridge_knative.resource import KIND

UNDO: Final = "\nBridge '{0}' has been {1} in namespace '{2}'; to undo it: {3}"
KEPT: Final = ("name", "namespace", "labels", "annotations")
"""Of an object's metadata, what is not this one cluster's own."""


@command(
    "create",
    "Create a bridge",
    "NAME --listen LISTEN --sink SINK",
    """
    # Create a bridge 'iot' from CoAP, MQTT and UDP devices to the Knative service 'thermostat'
    kn bridge create iot --listen coap:5683 --listen mqtt:1883 --listen udp:9000 --sink ksvc:thermostat

    # Create a bridge to a broker, reachable on a port of every node
    kn bridge create meters --listen mqtt:1883 --mode later --sink broker:default --expose NodePort

    # Create a bridge from the file that 'thinbridge run --config' used on a laptop
    kn bridge create iot --filename bridge.yaml --sink ksvc:thermostat

    # Write the bridge to a folder for GitOps instead of a cluster
    kn bridge create iot --listen coap:5683 --sink ksvc:thermostat --target=/user/knfiles
    """,
    *options.bridge(),
    options.filename(),
    options.namespace(),
    Flag("--force", is_flag=True, help="Create bridge forcefully, replaces existing bridge if any."),
    options.target(),
    *options.waiting("create"),
)
def create(ctx: click.Context, names: Sequence[str], **flags: Any) -> None:
    """Make a bridge; with `--force`, over the one that is there."""
    store, bridge = _declared(ctx, names, flags, "to create ")
    name, namespace = bridge["metadata"]["name"], store.namespace
    there = _existing(store, name)
    if there is None:
        store.create(bridge)
        _finish(store, name, "Creating", "created", flags, undo.creation(name, namespace))
        return
    if not flags["force"]:
        raise Failure(
            f"cannot create bridge '{name}' in namespace '{namespace}' because the bridge already exists and no "
            "--force option was given"
        )
    replaced = _over(there, bridge)
    if replaced == there:
        click.echo(f"Bridge '{name}' replaced in namespace '{namespace}' (unchanged).")
        return
    store.replace(replaced)
    _finish(store, name, "Replacing", "replaced", flags, undo.change(there, replaced))


@command(
    "apply",
    "Apply a bridge declaration",
    "NAME --listen LISTEN --sink SINK",
    """
    # Create an initial bridge with using 'kn bridge apply', if the bridge has not been already created
    kn bridge apply iot --listen coap:5683 --sink ksvc:thermostat

    # Apply the bridge again which is a no-operation if none of the options changed
    kn bridge apply iot --listen coap:5683 --sink ksvc:thermostat

    # Read the bridge declaration from a file
    kn bridge apply iot --filename my-bridge.yaml
    """,
    *options.bridge(),
    options.filename(),
    options.namespace(),
    options.target(),
    *options.waiting("apply"),
)
def apply(ctx: click.Context, names: Sequence[str], **flags: Any) -> None:
    """Make a bridge what the flags say, whether it is there or not (server-side apply)."""
    store, bridge = _declared(ctx, names, flags, "")
    name = bridge["metadata"]["name"]
    there = _existing(store, name)
    if there is not None and stores.of(store) and not _applied(there):
        click.echo("Warning: 'kn bridge apply' should be used only for bridges created by 'kn bridge apply'")
    made = store.apply(bridge)
    if there is not None and _same(there, made):
        click.echo(f"No changes to apply to bridge '{name}'.")
        return
    if there is None:
        _finish(store, name, "Creating", "created", flags, undo.creation(name, store.namespace))
    else:
        _finish(store, name, "Applying", "applied", flags, undo.change(there, made))


@command(
    "update",
    "Update a bridge",
    "NAME",
    """
    # Send the events of bridge 'iot' elsewhere
    kn bridge update iot --sink broker:default

    # Add a listener, remove another one
    kn bridge update iot --listen udp:9001?name=meters --listen mqtt-

    # Let devices reach it on a port of every node
    kn bridge update iot --expose NodePort
    """,
    *options.bridge(),
    options.namespace(),
    options.target(),
    *options.waiting("update"),
    complete=stores.names,
)
def update(ctx: click.Context, names: Sequence[str], **flags: Any) -> None:
    """Change what the flags say, and nothing else; again if somebody else wrote in between."""
    name = single(names, "requires the name of the bridge as single argument")
    if not any(flags[flag] not in (None, ()) for flag in edits.EDITS):
        raise Failure("flag(s) not set\nUsage: update NAME")
    store = stores.store(flags["namespace"], flags["target"])
    there, changed = _change(store, name, flags)
    if changed == there:
        click.echo(f"Bridge '{name}' updated in namespace '{store.namespace}' (unchanged).")
        return
    _finish(store, name, "Updating", "updated", flags, undo.change(there, changed))


@command(
    "import",
    "Import a bridge",
    "FILENAME",
    """
    # Import a bridge that 'kn bridge export iot -o yaml' wrote
    kn bridge import /path/to/file.yaml
    """,
    options.namespace(),
    *options.waiting("import"),
)
def import_(ctx: click.Context, names: Sequence[str], **flags: Any) -> None:
    """Make the bridge of a file that is not there yet."""
    path = single(names, "'kn bridge import' requires filename of import file as single argument")
    store = stores.store(flags["namespace"])
    bridge = edits.from_file(path, None, store.namespace)
    edits.check(bridge, edits.Origin(path, bridge["spec"], named=False))
    name = bridge["metadata"]["name"]
    if _existing(store, name) is not None:
        raise Failure(
            f"cannot import bridge '{name}' in namespace '{store.namespace}' because the bridge already exists"
        )
    store.create(bridge)
    _finish(store, name, "Importing", "imported", flags, undo.creation(name, store.namespace))


def portable(bridge: Object) -> Object:
    """The bridge without what belongs to its one cluster: what `export` writes and `import` reads."""
    meta = {key: bridge["metadata"][key] for key in KEPT if bridge["metadata"].get(key)}
    return {"apiVersion": bridge["apiVersion"], "kind": KIND, "metadata": meta, "spec": bridge["spec"]}


def _declared(
    ctx: click.Context, names: Sequence[str], flags: dict[str, Any], what: str
) -> tuple[stores.Store, Object]:
    """The bridge that flags and file declare, checked, and where it belongs."""
    from_file = flags["filename"]
    if not from_file:
        missing(listen=flags["listen"], sink=flags["sink"])
    if not (from_file and not names):
        single(names, f"requires the name of the bridge {what}as single argument")
    store = stores.store(flags["namespace"], flags["target"])
    name = names[0] if names else None
    bridge = edits.from_file(from_file, name, store.namespace) if from_file else edits.new(names[0], store.namespace)
    origin = edits.Origin(from_file, bridge["spec"], named=bool(names)) if from_file else None
    try:
        bridge = edits.edit(bridge, flags, stores.of(store))
    except ApiFailure as error:
        what = f"cannot {ctx.info_name} Bridge '{bridge['metadata']['name']}' in namespace '{store.namespace}'"
        raise Failure(f"{what} because: {error}") from error
    edits.check(bridge, origin)
    return store, bridge


def _over(there: Object, bridge: Object) -> Object:
    """The bridge with the spec of another; labels and annotations that others put there stay beside its own."""
    meta = dict(there["metadata"])
    for key in ("labels", "annotations"):
        if key in bridge["metadata"]:
            meta[key] = {**(meta.get(key) or {}), **bridge["metadata"][key]}
    return {**there, "metadata": meta, "spec": bridge["spec"]}


def _change(store: stores.Store, name: str, flags: dict[str, Any]) -> tuple[Object, Object]:
    """Write the changes, if they change anything; the bridge before and after."""
    left = stores.TRIES
    while True:
        left -= 1
        there = store.get(name)
        if there["metadata"].get("deletionTimestamp"):
            raise Failure(f"can't update bridge {name} because it has been marked for deletion")
        changed = edits.edit(there, flags, stores.of(store))
        edits.check(changed)
        try:
            if changed != there:
                store.replace(changed)
            return there, changed
        except ApiFailure as error:
            if not (error.conflict and left):
                raise


def _existing(store: stores.Store, name: str) -> Object | None:
    try:
        return store.get(name)
    except ApiFailure as error:
        if error.missing:
            return None
        raise


def _applied(bridge: Object) -> bool:
    fields = bridge["metadata"].get("managedFields", [])
    return any(one.get("manager") == stores.MANAGER for one in fields)


def _same(there: Object, made: Object) -> bool:
    """Whether nothing was changed: the API server counts versions, files are compared."""
    versions = [one["metadata"].get("resourceVersion") for one in (there, made)]
    return versions[0] == versions[1] if versions[0] else there == made


def _finish(store: stores.Store, name: str, doing: str, done: str, flags: dict[str, Any], undoing: str) -> None:
    """Wait if that is wanted, and say what there is now; or why it is not well, and how to undo what was done."""
    cluster = stores.of(store)
    if cluster is None or not flags["wait"]:
        click.echo(f"Bridge '{name}' {done} in namespace '{store.namespace}'.")
        return
    click.echo(f"{doing} bridge '{name}' in namespace '{store.namespace}':\n")
    patience = waiting.Patience(flags["wait_timeout"], flags["wait_window"])
    try:
        bridge = waiting.until_ready(cluster, name, store.namespace, patience)
    except Failure as error:
        raise Failure(f"{error}{UNDO.format(name, done, store.namespace, undoing)}") from error
    addresses = bridge.get("status", {}).get("addresses", [])
    click.echo(f"\nBridge '{name}' {done} is available at:")
    for address in addresses:
        click.echo(address["url"])
