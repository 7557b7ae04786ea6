"""A small API server on loopback that the real `kubernetes` client talks to.

It answers as the real one does where `kn bridge` looks: `Status` objects with their messages, versions, watches, logs
and the proxy of pods. `controller` stands for thinbridge-controller: it is called after each write of a bridge.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Object = dict[str, Any]

PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+/[^/]+))(?:/namespaces/(?P<ns>[^/]+))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<rest>.+))?)?"
)
KINDS = {"bridges": "Bridge", "services": "Service", "brokers": "Broker", "pods": "Pod"}


class FakeApi:
    """Objects, and what is wrong with the cluster."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str, str], Object] = {}
        """By (group and version, plural, namespace, name)."""
        self.pages: dict[str, str | list[str]] = {}
        """What a pod's `…/log` or `…/proxy/…` answers; a list is used up from the front, its last stays."""
        self.forbidden: set[tuple[str, str]] = set()
        """(method, plural)"""
        self.installed = True
        """Whether the CRD is there."""
        self.conflicts = 0
        """How many PUTs are refused because somebody else was faster."""
        self.controller: Callable[[Object], None] = lambda bridge: None
        self.on_watch: Callable[[], None] = lambda: None
        """Called when somebody starts to watch: what happens while they wait."""
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.version = 100
        self.events: list[tuple[int, str, Object]] = []
        self.changed = threading.Condition()

    def add(self, api: str, plural: str, name: str, namespace: str = "default", **rest: Any) -> Object:
        """Put an object there."""
        metadata = {**rest.pop("metadata", {}), "name": name, "namespace": namespace}
        thing = {"apiVersion": api, "kind": KINDS[plural], "metadata": metadata, **rest}
        self.write(api, plural, thing)
        return thing

    def bridge(self, name: str = "iot", namespace: str = "default") -> Object:
        """A bridge as it is now."""
        return self.objects["thinbridge.dev/v1alpha1", "bridges", namespace, name]

    def write(self, api: str, plural: str, thing: Object, event: str = "ADDED") -> None:
        """Store a new version and tell the watchers."""
        with self.changed:
            self.version += 1
            meta = thing["metadata"]
            meta |= {"resourceVersion": str(self.version), "uid": meta.get("uid", "u-1")}
            meta.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
            self.objects[api, plural, meta["namespace"], meta["name"]] = thing
            self.events.append((self.version, event, deepcopy(thing)))
            self.changed.notify_all()

    def status(self, bridge: Object, **status: Any) -> None:
        """What the controller writes."""
        current = self.bridge(bridge["metadata"]["name"], bridge["metadata"]["namespace"])
        current["status"] = {"observedGeneration": current["metadata"].get("generation"), **status}
        self.write("thinbridge.dev/v1alpha1", "bridges", current, "MODIFIED")

    def ready(self, bridge: Object) -> None:
        """A controller that finds nothing wrong."""
        listeners = [(one["url"].partition(":")[0], one["url"].rpartition(":")[2]) for one in bridge["spec"]["listen"]]
        meta = bridge["metadata"]
        self.status(
            bridge,
            conditions=[condition("Ready", "True"), condition("Deployed", "True"), condition("SinkProvided", "True")],
            sinkUri="http://thermostat.default.svc.cluster.local",
            replicas=1,
            addresses=[
                {"name": scheme, "url": f"{scheme}://{host}:{port}"}
                for scheme, port in listeners
                for host in (f"{meta['name']}.{meta['namespace']}.svc", "10.0.0.7")
            ],
        )

    def broken(self, reason: str, message: str) -> Callable[[Object], None]:
        """A controller that can't."""
        return lambda bridge: self.status(bridge, conditions=[condition("Ready", "False", reason, message)])


def condition(kind: str, status: str, reason: str = "", message: str = "") -> Object:
    return {
        "type": kind,
        "status": status,
        **({"reason": reason} if reason else {}),
        **({"message": message} if message else {}),
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


@contextmanager
def serving(api: FakeApi, folder: Path) -> Iterator[Path]:
    """Serve it; yields a kubeconfig."""

    class Handler(_Handler):
        fake = api

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield kubeconfig(folder, f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def kubeconfig(folder: Path, server: str, namespace: str | None = None) -> Path:
    context = {"cluster": "c", "user": "u", **({"namespace": namespace} if namespace else {})}
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "a", "context": context}],
        "current-context": "a",
    }
    path.write_text(json.dumps(content))
    return path


class _Handler(BaseHTTPRequestHandler):
    fake: FakeApi
    protocol_version = "HTTP/1.1"
    timeout = 5  # an idle connection must not outlive its test

    def log_message(self, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        if found := self._place():
            query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
            if found["rest"]:
                self._page(urlsplit(self.path).path)
            elif found["name"]:
                self._answer_object(found)
            elif query.get("watch"):
                self._watch(found, query)
            else:
                self._list(found, query)

    def do_POST(self) -> None:
        if found := self._place():
            self._store(found, self._body(), 201)

    def do_PUT(self) -> None:
        if found := self._place():
            body, old = self._body(), self._find(found)
            if old and (
                self.fake.conflicts or body["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]
            ):
                self.fake.conflicts -= 1
                text = (
                    f'Operation cannot be fulfilled on bridges.thinbridge.dev "{found["name"]}": the object has been '
                    "modified; please apply your changes to the latest version and try again"
                )
                return self._refuse(409, "Conflict", text)
            self._store(found, body, 200)

    def do_PATCH(self) -> None:
        """Server-side apply by one manager: the spec is what it says."""
        if found := self._place():
            assert self.headers["Content-Type"] == "application/apply-patch+yaml"
            body, old = self._body(), self._find(found)
            body["metadata"]["managedFields"] = [{"manager": "kn-bridge-apply", "operation": "Apply"}]
            if old and old["spec"] == body["spec"]:
                return self._answer(200, old)
            self._store(found, body, 200 if old else 201)

    def do_DELETE(self) -> None:
        if found := self._place():
            thing = self._find(found)
            if thing is None:
                return self._missing(found)
            del self.fake.objects[self._key(found, found["name"])]
            self._answer(200, {"kind": "Status", "status": "Success"})

    def _place(self) -> dict[str, str] | None:
        """Where the request goes; None after it was refused."""
        url = urlsplit(self.path)
        self.fake.requests.append((self.command, self.path))
        self.fake.headers.append(dict(self.headers))
        match = PATH.fullmatch(unquote(url.path))
        assert match, self.path
        found = {key: value or "" for key, value in match.groupdict().items()}
        if found["plural"] == "bridges" and not self.fake.installed:
            self._send(404, b"404 page not found\n", "text/plain")
            return None
        if (self.command, found["plural"]) in self.fake.forbidden:
            group = found["group"].partition("/")[0]
            self._refuse(
                403,
                "Forbidden",
                f'{found["plural"]}{"." if group else ""}{group} is forbidden: User "u" cannot access resource '
                f'"{found["plural"]}" in API group "{group}" in the namespace "{found["ns"]}"',
            )
            return None
        return found

    def _key(self, found: dict[str, str], name: str) -> tuple[str, str, str, str]:
        return found["group"] or found["core"], found["plural"], found["ns"], name

    def _find(self, found: dict[str, str]) -> Object | None:
        return deepcopy(self.fake.objects.get(self._key(found, found["name"])))

    def _answer_object(self, found: dict[str, str]) -> None:
        thing = self._find(found)
        if thing is None:
            self._missing(found)
        else:
            self._answer(200, thing)

    def _list(self, found: dict[str, str], query: dict[str, str]) -> None:
        api = found["group"] or found["core"]
        wanted = dict(pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair)
        items = [
            thing
            for (group, plural, namespace, _), thing in self.fake.objects.items()
            if (group, plural) == (api, found["plural"]) and found["ns"] in ("", namespace)
            if wanted.items() <= thing["metadata"].get("labels", {}).items()
        ]
        kind = KINDS[found["plural"]]
        self._answer(200, {"apiVersion": api, "kind": f"{kind}List", "items": items, "metadata": {}})

    def _store(self, found: dict[str, str], body: Object, code: int) -> None:
        name = body["metadata"]["name"]
        old = self.fake.objects.get(self._key(found, name))
        if old and self.command == "POST":
            return self._refuse(409, "AlreadyExists", f'{self._full(found)} "{name}" already exists')
        generation = old["metadata"].get("generation", 1) if old else 0
        body["metadata"]["generation"] = generation + (old is None or old["spec"] != body["spec"])
        body["status"] = (old or {}).get("status", {})
        self.fake.write(found["group"] or found["core"], found["plural"], body, "MODIFIED" if old else "ADDED")
        stored = deepcopy(body)
        self.fake.controller(body)
        self._answer(code, stored)

    def _watch(self, found: dict[str, str], query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.fake.on_watch()
        name, seen = query["fieldSelector"].partition("=")[2], int(query["resourceVersion"])
        with self.fake.changed:
            if not any(version > seen for version, _, _ in self.fake.events):
                self.fake.changed.wait(min(2.0, float(query["timeoutSeconds"])))
            events = [
                (kind, thing)
                for version, kind, thing in self.fake.events
                if version > seen and thing["kind"] == "Bridge" and thing["metadata"]["name"] == name
            ]
        for kind, thing in events:
            line = json.dumps({"type": kind, "object": thing}).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")

    def _page(self, path: str) -> None:
        page = self.fake.pages.get(path)
        if isinstance(page, list):
            page = page.pop(0) if len(page) > 1 else page[0]
        if page is None:
            self._refuse(503, "ServiceUnavailable", "error trying to reach service: dial tcp: connection refused")
        else:
            self._send(200, page.encode(), "text/plain")

    def _full(self, found: dict[str, str]) -> str:
        group = found["group"].partition("/")[0]
        return f"{found['plural']}.{group}" if group else found["plural"]

    def _missing(self, found: dict[str, str]) -> None:
        self._refuse(404, "NotFound", f'{self._full(found)} "{found["name"]}" not found')

    def _refuse(self, code: int, reason: str, message: str) -> None:
        self._answer(code, {"kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": code})

    def _body(self) -> Object:
        content: Object = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return content

    def _answer(self, code: int, thing: Object) -> None:
        self._send(code, json.dumps(thing).encode(), "application/json")

    def _send(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
