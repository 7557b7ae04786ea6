"""The one door to `kubernetes`: configuration and credentials are its own, requests are plain REST on its connections.

Objects are dictionaries, as the API server sends them: Bridges, Services and sinks of any group are read alike, and a
field that we don't know survives an update. `kubernetes` takes 0.3 s to import, so that happens at the first request.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

from thinbridge_knative.failures import ApiFailure, Failure, NoConfig, NotInstalled, Unreachable
from thinbridge_knative.resource import GROUP, PLURAL, VERSION

if TYPE_CHECKING:
    import urllib3
    from kubernetes.client import ApiClient

Object = dict[str, Any]

IN_CLUSTER_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
PATIENCE: Final = 30.0
"""Seconds for an answer; a watch or a followed log may be silent for as long as its caller waits."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object, by where the API server serves it."""

    group: str
    version: str
    plural: str

    @property
    def root(self) -> str:
        """The URL path of all kinds of its group and version."""
        version = _segment(self.version)
        return f"/apis/{_segment(self.group)}/{version}" if self.group else f"/api/{version}"

    def path(self, namespace: str | None, name: str = "") -> str:
        """Its URL path; no namespace: all of them, or a kind that has none."""
        scope = f"/namespaces/{_segment(namespace)}" if namespace else ""
        return f"{self.root}{scope}/{_segment(self.plural)}" + (f"/{_segment(name)}" if name else "")


BRIDGES: Final = Resource(GROUP, VERSION, PLURAL)
PODS: Final = Resource("", "v1", "pods")
SERVICES: Final = Resource("", "v1", "services")


@dataclass(frozen=True, slots=True)
class Access:
    """Which cluster, as whom: the global flags."""

    kubeconfig: str | None = None
    context: str | None = None
    user: str | None = None
    """`--as`."""
    groups: tuple[str, ...] = ()
    uid: str | None = None
    log_http: bool = False


class Cluster:
    """One API server."""

    def __init__(self, access: Access) -> None:
        self.access = access

    @cached_property
    def namespace(self) -> str:
        """The context's namespace, else the pod's own, else `default`."""
        if context := self._context:
            return str(context.get("namespace") or "default")
        if IN_CLUSTER_NAMESPACE.is_file() and not self._kubeconfig:
            return IN_CLUSTER_NAMESPACE.read_text("utf-8").strip()
        return "default"

    def get(self, resource: Resource, name: str, namespace: str | None) -> Object:
        """One object.

        Raises:
            Failure: there is none, it may not be read, no cluster answers. So do all methods.
        """
        return self._json("GET", resource.path(namespace, name), resource)

    def find(self, resource: Resource, namespace: str | None, labels: Mapping[str, str] | None = None) -> Object:
        """All objects with these labels, as a `List`."""
        query = {"labelSelector": ",".join(f"{key}={value}" for key, value in (labels or {}).items())}
        return self._json("GET", resource.path(namespace), resource, query if labels else {})

    def create(self, resource: Resource, body: Object) -> Object:
        """Make an object; a field that the schema lacks is refused, not dropped."""
        path = resource.path(body["metadata"]["namespace"])
        return self._json("POST", path, resource, {"fieldValidation": "Strict", "fieldManager": "kn-bridge"}, body)

    def replace(self, resource: Resource, body: Object) -> Object:
        """Write an object over the version that it was read at."""
        meta = body["metadata"]
        query = {"fieldValidation": "Strict", "fieldManager": "kn-bridge"}
        return self._json("PUT", resource.path(meta["namespace"], meta["name"]), resource, query, body)

    def apply(self, resource: Resource, body: Object, manager: str) -> Object:
        """Server-side apply: make it or change what `manager` said before, and nothing that others said."""
        meta = body["metadata"]
        query = {"fieldManager": manager, "force": "true", "fieldValidation": "Strict"}
        return self._json("PATCH", resource.path(meta["namespace"], meta["name"]), resource, query, body)

    def delete(self, resource: Resource, name: str, namespace: str, propagation: str = "Background") -> Object:
        """Have an object deleted; what it owns goes with it (`Foreground`: before it)."""
        return self._json("DELETE", resource.path(namespace, name), resource, {"propagationPolicy": propagation})

    def watch(self, resource: Resource, name: str, namespace: str, version: str, seconds: float) -> Iterator[Object]:
        """Events `{type, object}` of one object since `version`, for at most `seconds`."""
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, int(seconds))),
        }
        for line in self.lines(resource.path(namespace), query, seconds + 1):
            yield json.loads(line)

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """What any path answers: a log, a pod's port through the API server's proxy."""
        return bytes(self._request("GET", path, query).data).decode("utf-8", "replace")

    def lines(self, path: str, query: Mapping[str, str], seconds: float | None) -> Iterator[str]:
        """The same line by line, as they come; ends when the server does, or after `seconds` of silence."""
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        response = self._request("GET", path, query, stream=True, patience=seconds)
        rest = b""
        try:
            for chunk in response.stream(8192, decode_content=True):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in whole if line)
        except ReadTimeoutError:
            return
        except HTTPError as error:
            raise Unreachable(self._place, _why(error)) from error
        finally:
            response.close()
        if rest:
            yield rest.decode("utf-8", "replace")

    def _json(
        self, method: str, path: str, resource: Resource, query: Mapping[str, str] | None = None, body: Any = None
    ) -> Object:
        try:
            content: Object = json.loads(self._request(method, path, query, body).data)
        except ApiFailure as error:
            # A 404 that names no object is the path's: the API server knows no such kind.
            if error.missing and resource is BRIDGES and not error.reason == "NotFound":
                raise NotInstalled from error
            raise
        except ValueError as error:
            raise Failure(f"{self._place} is no Kubernetes API server: it answers without JSON") from error
        return content

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        stream: bool = False,
        patience: float | None = PATIENCE,
    ) -> "urllib3.BaseHTTPResponse":
        import urllib3

        url = self._api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        try:
            response = self._api.rest_client.pool_manager.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=self._headers(method),
                preload_content=not stream,
                timeout=urllib3.Timeout(connect=PATIENCE, read=patience),
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(self._place, _why(error)) from error
        if self.access.log_http:
            print(f"{method} {url} {response.status}", file=sys.stderr)
        if response.status >= 400:
            raise _refusal(response)
        return response

    def _headers(self, method: str) -> "urllib3.HTTPHeaderDict":
        """Who we are, and what the body is."""
        from urllib3 import HTTPHeaderDict

        kind = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        headers = HTTPHeaderDict({"Accept": "application/json, */*", "Content-Type": kind, "User-Agent": "kn-bridge"})
        if bearer := self._api.configuration.auth_settings().get("BearerToken"):
            headers["Authorization"] = bearer["value"]
        if self.access.user:
            headers["Impersonate-User"] = self.access.user
        if self.access.uid:
            headers["Impersonate-Uid"] = self.access.uid
        for group in self.access.groups:
            headers.add("Impersonate-Group", group)
        return headers

    @property
    def _place(self) -> str:
        return str(urlsplit(self._api.configuration.host).netloc)

    @cached_property
    def _kubeconfig(self) -> str | None:
        """The files to read, as `kubectl` finds them; None: there are none."""
        if named := self.access.kubeconfig:
            if not Path(named).is_file():
                raise Failure(f"config file '{named}' can not be found")
            return named
        files = os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
        return files if any(Path(file).is_file() for file in files.split(os.pathsep) if file) else None

    @cached_property
    def _context(self) -> Object:
        """The context's own words: cluster, user, namespace."""
        if self._kubeconfig is None:
            return {}
        from kubernetes import config

        try:
            contexts, current = config.list_kube_config_contexts(self._kubeconfig)  # type: ignore[no-untyped-call]
        except Exception as error:  # a kubeconfig may be wrong in any way, and its reader does not say how it fails
            raise NoConfig from error
        if self.access.context:
            current = next((one for one in contexts if one["name"] == self.access.context), None)
        if current is None:
            raise Failure(f'context "{self.access.context}" does not exist')
        return dict(current["context"])

    @cached_property
    def _api(self) -> "ApiClient":
        from kubernetes import client, config

        settings = client.Configuration()
        try:
            if self._kubeconfig and self._context:
                config.load_kube_config(self._kubeconfig, self.access.context, settings, persist_config=False)  # type: ignore[no-untyped-call]
            else:
                config.load_incluster_config(settings)  # type: ignore[no-untyped-call]
        except config.ConfigException as error:
            if self._kubeconfig:
                raise Failure(f"invalid configuration: {error}") from error
            raise NoConfig from error
        return client.ApiClient(settings)


def same_quantity(one: object, other: object) -> bool:
    """Whether two amounts of a resource are the same however they are written; what is no quantity is none's same."""
    from kubernetes.utils.quantity import parse_quantity

    try:
        return one == other or bool(parse_quantity(one) == parse_quantity(other))  # type: ignore[no-untyped-call]
    except ValueError:
        return False


def _segment(text: str) -> str:
    """One segment of a path, whatever people call their things: a slash adds none, and `..` takes none away."""
    return text.replace(".", "%2E") if text in (".", "..") else quote(text, safe=":")


def _refusal(response: "urllib3.BaseHTTPResponse") -> ApiFailure:
    text = bytes(response.data).decode("utf-8", "replace")
    try:
        status = json.loads(text)
    except ValueError:
        status = {}
    return ApiFailure(response.status, status if isinstance(status, dict) else {}, text.strip()[:200])


def _why(error: Exception) -> str:
    """The end of a chain of causes: `Connection refused`, not how urllib3 found out."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    return str(getattr(cause, "strerror", None) or cause).lower()
