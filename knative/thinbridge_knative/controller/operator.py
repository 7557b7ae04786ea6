"""Watches the cluster with kopf, and tells the worker which bridge to look at; the only door to kopf.

Only `event` handlers: kopf's other kinds write annotations and finalizers onto the resource, and these write nothing.
"""

import asyncio
import logging
import signal
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import kopf
from prometheus_client import start_http_server

from thinbridge.telemetry import fields
from thinbridge_knative.client import Access, Cluster
from thinbridge_knative.controller.reconciler import Reconciler
from thinbridge_knative.controller.registration import register
from thinbridge_knative.controller.worker import Metrics, Pace, Worker
from thinbridge_knative.controller.world import DEFINITIONS, ClusterWorld, World
from thinbridge_knative.failures import Failure
from thinbridge_knative.resource import CONTROLLER, CRD_NAME, GROUP, INSTANCE, MANAGED_BY, PLURAL, VERSION

log = logging.getLogger("thinbridge.controller")

OWNED: Final = (("apps", "v1", "deployments"), ("sources.knative.dev", "v1", "sinkbindings"), ("", "v1", "services"))
"""What is watched beside bridges. Not ConfigMaps and pods: there are too many of other people's in a cluster."""


TRIES: Final = 10
"""At the label of a new CRD, which is served within a second."""
PAUSE: Final = 1.0
"""Seconds between two of them."""


def operator(world: World, worker: Worker, metrics: Metrics, metrics_port: int) -> kopf.OperatorRegistry:
    """The handlers: where events come from, and what runs beside them."""
    registry = kopf.OperatorRegistry()
    running: list[asyncio.Task[None]] = []

    @kopf.on.login(registry=registry)
    def login(**keywords: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_kubeconfig(**keywords) or kopf.login_with_service_account(**keywords)

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        watch(settings)
        start_http_server(metrics_port, registry=metrics.registry)
        task = asyncio.create_task(worker.run())
        task.add_done_callback(_ended)
        running.append(task)

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        for task in running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @kopf.on.event("apiextensions.k8s.io", "v1", DEFINITIONS, registry=registry, when=_is_ours)
    async def definition(**_: Any) -> None:
        for _try in range(TRIES):
            try:
                await asyncio.to_thread(register, world)
            except Failure as error:
                log.info("bridges are not served yet", extra=fields(error=str(error)))
                await asyncio.sleep(PAUSE)
            else:
                return

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def bridge(namespace: str | None, name: str | None, **_: Any) -> None:
        worker.add((namespace or "", name or ""))

    async def owned(namespace: str | None, labels: Mapping[str, str], **_: Any) -> None:
        if bridge := labels.get(INSTANCE):
            worker.add((namespace or "", bridge))

    for group, version, plural in OWNED:
        kopf.on.event(group, version, plural, registry=registry)(owned)
    return registry


def watch(settings: kopf.OperatorSettings) -> None:
    """What kopf asks the API server for; that a connection died quietly, it notices by itself (since 1.44)."""
    settings.posting.enabled = False  # conditions say it, and events need one more permission
    for kind in OWNED:  # the API server selects: most Services and Deployments of a cluster are none of ours
        settings.watching.label_selectors[kind] = f"{MANAGED_BY}={CONTROLLER}"


def run(image: str, health_port: int, metrics_port: int) -> None:
    """Run until SIGTERM."""
    metrics = Metrics()
    world = ClusterWorld(Cluster(Access()))
    worker = Worker(Reconciler(world, image, _now), Pace(), metrics)
    log.info("controller", extra=fields(image=image))
    kopf.run(
        registry=operator(world, worker, metrics, metrics_port),
        clusterwide=True,
        standalone=True,
        liveness_endpoint=f"http://0.0.0.0:{health_port}/health",
    )


def _ended(task: asyncio.Task[None]) -> None:
    """A controller that looks at nothing any more must not seem well: it ends, and Kubernetes starts it anew."""
    if not task.cancelled():
        log.critical("the worker has ended", exc_info=task.exception())
        signal.raise_signal(signal.SIGTERM)


def _is_ours(name: str | None, **_: Any) -> bool:
    return name == CRD_NAME


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
