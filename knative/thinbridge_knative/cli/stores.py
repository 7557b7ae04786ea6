"""Where bridges are kept: on a cluster, or as files of `--target DIR` for GitOps; commands don't tell them apart."""

import json
from pathlib import Path
from typing import Any, Final, Protocol

import click

from thinbridge.errors import ThinbridgeError
from thinbridge_knative.client import BRIDGES, Access, Cluster, Object
from thinbridge_knative.failures import ApiFailure, Failure
from thinbridge_knative.output import to_yaml
from thinbridge_knative.resource import API_VERSION, CRD_NAME, KIND, SINGULAR

MANAGER: Final = "kn-bridge-apply"
"""The field manager of `apply`."""
TRIES: Final = 3
"""How often an update is tried again that somebody else's write came before; kn's own count."""


class Store(Protocol):
    """Bridges of one namespace, or of all."""

    namespace: str

    def get(self, name: str) -> Object:
        """One bridge; `ApiFailure.missing` if there is none."""

    def all(self, everywhere: bool = False) -> Object:
        """A `BridgeList`."""

    def create(self, bridge: Object) -> Object:
        """Make one."""

    def replace(self, bridge: Object) -> Object:
        """Write one over what was read."""

    def apply(self, bridge: Object) -> Object:
        """Make one, or make it so."""

    def delete(self, name: str, foreground: bool = False) -> None:
        """Have one deleted."""


class OnCluster:
    """The API server's."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace

    def get(self, name: str) -> Object:
        """See `Store`."""
        return self.cluster.get(BRIDGES, name, self.namespace)

    def all(self, everywhere: bool = False) -> Object:
        """See `Store`."""
        return self.cluster.find(BRIDGES, None if everywhere else self.namespace)

    def create(self, bridge: Object) -> Object:
        """See `Store`."""
        return self.cluster.create(BRIDGES, bridge)

    def replace(self, bridge: Object) -> Object:
        """See `Store`."""
        return self.cluster.replace(BRIDGES, bridge)

    def apply(self, bridge: Object) -> Object:
        """See `Store`."""
        return self.cluster.apply(BRIDGES, bridge, MANAGER)

    def delete(self, name: str, foreground: bool = False) -> None:
        """See `Store`."""
        self.cluster.delete(BRIDGES, name, self.namespace, "Foreground" if foreground else "Background")


class InFolder:
    """`DIR/NAMESPACE/bridge/NAME.yaml`, or one file of one bridge."""

    def __init__(self, target: Path, namespace: str) -> None:
        self.namespace = namespace
        self.file = target if target.suffix in (".yaml", ".yml", ".json") else None
        self.folder = target / namespace / SINGULAR
        self.target = target

    def get(self, name: str) -> Object:
        """See `Store`."""
        import yaml

        path = self._path(name)
        if not path.is_file():
            raise _missing(name)
        bridge: Object = yaml.safe_load(path.read_text("utf-8"))
        if self.file and bridge.get("metadata", {}).get("name") != name:
            raise _missing(name)
        return bridge

    def all(self, everywhere: bool = False) -> Object:
        """See `Store`."""
        import yaml

        self._present()
        pattern = f"*/{SINGULAR}/*.yaml" if everywhere else f"{self.namespace}/{SINGULAR}/*.yaml"
        paths = [self.file] if self.file else sorted(self.target.glob(pattern))
        items = [yaml.safe_load(path.read_text("utf-8")) for path in paths if path.is_file()]
        return {"apiVersion": API_VERSION, "kind": f"{KIND}List", "items": items, "metadata": {}}

    def create(self, bridge: Object) -> Object:
        """See `Store`."""
        self._present()
        path = self._path(bridge["metadata"]["name"])
        path.parent.mkdir(parents=True, exist_ok=True)
        text = f"{json.dumps(bridge, indent=4)}\n" if path.suffix == ".json" else to_yaml(bridge)
        path.write_text(text, "utf-8")
        return bridge

    def replace(self, bridge: Object) -> Object:
        """See `Store`."""
        return self.create(bridge)

    def apply(self, bridge: Object) -> Object:
        """See `Store`."""
        return self.create(bridge)

    def delete(self, name: str, foreground: bool = False) -> None:
        """See `Store`."""
        self.get(name)
        self._path(name).unlink()

    def _path(self, name: str) -> Path:
        return self.file or self.folder / f"{name}.yaml"

    def _present(self) -> None:
        folder = self.target.parent if self.file else self.target
        if not folder.is_dir():
            raise Failure(f"directory '{folder}' not present, please create the directory and try again")


def cluster() -> Cluster:
    """The cluster that the global flags of this command name."""
    said: dict[str, Any] = click.get_current_context().find_root().ensure_object(dict)
    return Cluster(Access(**said))


def store(namespace: str | None, target: str | None = None) -> Store:
    """Where this command's bridges are kept."""
    if target:
        return InFolder(Path(target), namespace or "default")
    found = cluster()
    return OnCluster(found, namespace or found.namespace)


def names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Bridges whose names begin so, for a shell that completes a word; none if there is no cluster to ask."""
    try:
        with ctx.scope(cleanup=False):
            found = store(ctx.params.get("namespace"), ctx.params.get("target")).all()["items"]
    except ThinbridgeError:
        return []
    return [name for one in found if (name := str(one["metadata"]["name"])).startswith(incomplete)]


def of(kept: Store) -> Cluster | None:
    """The cluster behind a store; None: there is none."""
    return kept.cluster if isinstance(kept, OnCluster) else None


def _missing(name: str) -> ApiFailure:
    return ApiFailure(404, {"message": f'{CRD_NAME} "{name}" not found', "reason": "NotFound"})
