"""One look at one Bridge: read, compare, apply what differs, write the status.

Nothing is remembered between two looks, so a controller that starts anew goes on where the last one was. What is there
already is compared field by field, and only the fields that we own: Knative's webhook writes into the same template.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from thinbridge.errors import SettingsError, ThinbridgeError
from thinbridge.telemetry import fields
from thinbridge_knative import resource
from thinbridge_knative.addressable import Unresolved, resolve
from thinbridge_knative.controller.comparison import differs
from thinbridge_knative.controller.world import World
from thinbridge_knative.failures import ApiFailure
from thinbridge_knative.objects import objects
from thinbridge_knative.resource import API_VERSION, KIND, READY
from thinbridge_knative.spec import Plan, read
from thinbridge_knative.status import Problem, Seen, status

log = logging.getLogger("thinbridge.controller")

Object = dict[str, Any]

LASTING: Final = frozenset(range(400, 500)) - {408, 409, 429}
"""Answers of the API server that say what is wrong. After others the look is simply taken again: it was too slow, or
has too much to do; somebody else wrote in between."""


class Hindered(ThinbridgeError):
    """The Bridge can't be made what it says; `problem` is what its status tells."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.message)


class Reconciler:
    """Looks at bridges.

    Args:
        world: the cluster.
        image: of bridges whose spec names none.
        now: the time as RFC 3339.
    """

    def __init__(self, world: World, image: str, now: Callable[[], str]) -> None:
        self._world, self._image, self._now = world, image, now

    def __call__(self, namespace: str, name: str) -> bool | None:
        """Look once.

        Returns:
            Whether it is ready, so that nothing is left to wait for; None: there is no such bridge.

        Raises:
            Failure: the cluster did not let us; look again.
        """
        bridge = self._world.get(API_VERSION, KIND, namespace, name)
        if bridge is None or _leaving(bridge):
            return None
        try:
            plan = self._plan(bridge)
        except ApiFailure as error:
            if error.ending:
                return None  # it goes with its namespace, after what it had become
            raise
        told = status(bridge, plan, self._see(bridge), self._now())
        if told != bridge.get("status"):
            self._tell(bridge, told)
            if isinstance(plan, Problem):
                _log(bridge, plan)
        return bool(told["conditions"][0]["status"] == "True")

    def _plan(self, bridge: Object) -> Plan | Problem:
        """What the Bridge says, made so; or why not."""
        namespace = bridge["metadata"]["namespace"]
        try:
            plan = read(bridge, lambda destination: resolve(destination, namespace, self._find))
            self._make(plan)
        except SettingsError as error:
            return Problem("InvalidSpec", str(error))
        except Unresolved as error:
            return Problem("DestinationNotFound", str(error))
        except Hindered as error:
            return error.problem
        return plan

    def _make(self, plan: Plan) -> None:
        """Make it so: first look whether all names are ours, so that a clash leaves nothing half made."""
        wanted = objects(plan, self._image)
        found = [self._live(one) for one in wanted]
        for live in found:
            if live is not None:
                _usable(live, plan)
        for one, live in zip(wanted, found, strict=True):
            if live is None or differs(one, live):
                with _told(_called(one)):
                    self._world.apply(one)
        self._prune(plan, wanted)

    def _prune(self, plan: Plan, wanted: Sequence[Object]) -> None:
        """Remove Services of an exposure that is no longer wanted."""
        names = {one["metadata"]["name"] for one in wanted}
        for service in self._world.find("v1", "Service", plan.namespace, resource.labels(plan.name)):
            if service["metadata"]["name"] not in names and _owned(service, plan.uid) and not _leaving(service):
                self._world.delete({"apiVersion": "v1", "kind": "Service", "metadata": service["metadata"]})

    def _live(self, body: Object) -> Object | None:
        meta = body["metadata"]
        return self._find(body["apiVersion"], body["kind"], meta["namespace"], meta["name"])

    def _find(self, version: str, kind: str, namespace: str, name: str) -> Object | None:
        with _told(f"{kind} {namespace}/{name} can't be read"):
            return self._world.get(version, kind, namespace, name)

    def _see(self, bridge: Object) -> Seen:
        """What is there of it; what is somebody else's, or a predecessor's, says nothing of it."""
        namespace, name, uid = (bridge["metadata"][key] for key in ("namespace", "name", "uid"))
        workload, labels = resource.workload(name), resource.labels(name)
        binding = self._world.get("sources.knative.dev/v1", "SinkBinding", namespace, workload)
        deployment = self._world.get("apps/v1", "Deployment", namespace, workload)
        return Seen(
            binding if binding and _owned(binding, uid) else None,
            deployment if deployment and _owned(deployment, uid) else None,
            [one for one in self._world.find("v1", "Service", namespace, labels) if _owned(one, uid)],
            self._world.find("v1", "Pod", namespace, labels),
        )

    def _tell(self, bridge: Object, told: Mapping[str, Any]) -> None:
        meta = {key: bridge["metadata"][key] for key in ("name", "namespace")}
        self._world.apply_status({"apiVersion": API_VERSION, "kind": KIND, "metadata": meta, "status": told})


def _log(bridge: Object, problem: Problem) -> None:
    """Say a problem once: the Bridge itself remembers what was said of it."""
    meta, conditions = bridge["metadata"], (bridge.get("status") or {}).get("conditions") or ()
    last = next(((one.get("reason"), one.get("message")) for one in conditions if one["type"] == READY), None)
    if last != (problem.reason, problem.message):
        told = fields(bridge=f"{meta['namespace']}/{meta['name']}", reason=problem.reason, error=problem.message)
        log.log(logging.WARNING if problem.status == "False" else logging.INFO, "bridge is hindered", extra=told)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Let a refusal that says what is wrong be read in the status, not only in our log."""
    try:
        yield
    except ApiFailure as error:
        if error.code not in LASTING or error.ending:
            raise
        raise Hindered(Problem(error.reason or "Refused", f"{what}: {error}")) from error


def _usable(live: Object, plan: Plan) -> None:
    """Raise where a name is not ours to use: for ever, or until Kubernetes has removed what a Bridge that was called
    the same left behind.
    """
    if _owned(live, plan.uid) and not _leaving(live):
        return
    if _leaving(live) or _was_owned(live, plan):
        left = f"{_called(live)} is left from before: it is waited for until it is gone"
        raise Hindered(Problem("WaitingForDeletion", left, "Unknown"))
    raise Hindered(Problem("NameTaken", f"{_called(live)} is there already and is not this bridge's"))


def _owned(live: Object, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in _owners(live))


def _was_owned(live: Object, plan: Plan) -> bool:
    ours = (API_VERSION, KIND, plan.name)
    return any((owner["apiVersion"], owner["kind"], owner["name"]) == ours for owner in _owners(live))


def _owners(live: Object) -> Sequence[Object]:
    return live["metadata"].get("ownerReferences") or ()


def _leaving(live: Object) -> bool:
    return bool(live["metadata"].get("deletionTimestamp"))


def _called(body: Object) -> str:
    meta = body["metadata"]
    return f"{body['kind']} {meta['namespace']}/{meta['name']}"
