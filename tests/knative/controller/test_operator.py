"""kopf only watches: which events lead to which bridge, and that nothing is written onto a resource."""

import asyncio
import signal
import subprocess
import sys
from typing import Any

import kopf
import pytest
from tests.knative.controller.world import FakeWorld

from thinbridge_knative.controller import operator
from thinbridge_knative.controller.operator import OWNED
from thinbridge_knative.controller.worker import Metrics, Pace, Worker
from thinbridge_knative.failures import NotInstalled
from thinbridge_knative.resource import CRD_NAME, SOURCE_LABEL


class Asked(Worker):
    """Remembers which bridges are to be looked at."""

    def __init__(self) -> None:
        super().__init__(lambda namespace, name: True, Pace(), Metrics())
        self.keys: list[tuple[str, str]] = []

    def add(self, key: tuple[str, str]) -> None:
        self.keys.append(key)


def watching(world: Any, worker: Worker) -> Any:
    registry: Any = operator.operator(world, worker, Metrics(), 0)
    return registry


def test_nothing_is_handled_in_a_way_that_writes_finalizers_or_annotations() -> None:
    registry = watching(FakeWorld(), Asked())
    assert registry._changing.get_all_handlers() == []
    assert registry._spawning.get_all_handlers() == []
    assert len(registry._watching.get_all_handlers()) == 2 + len(OWNED)


def test_an_event_leads_to_its_bridge() -> None:
    worker = Asked()
    for handler in watching(FakeWorld(), worker)._watching.get_all_handlers():
        if handler.fn.__name__ != "definition":
            labels = {"app.kubernetes.io/instance": "iot"}
            asyncio.run(
                handler.fn(namespace="home", name="iot" if handler.fn.__name__ == "bridge" else "x", labels=labels)
            )
    assert worker.keys == [("home", "iot")] * 4


def test_an_object_that_names_no_bridge_leads_nowhere() -> None:
    worker = Asked()
    for handler in watching(FakeWorld(), worker)._watching.get_all_handlers():
        if handler.fn.__name__ == "owned":
            asyncio.run(handler.fn(namespace="home", name="x", labels={"app.kubernetes.io/instance": ""}))
            asyncio.run(handler.fn(namespace="home", name="x", labels={}))
    assert worker.keys == []


def test_only_what_the_controller_made_is_sent_to_it_and_silence_is_noticed() -> None:
    settings = kopf.OperatorSettings()
    operator.watch(settings)
    selectors = settings.watching.label_selectors
    for group, version, plural in OWNED:
        resource = kopf.Resource(group, version, plural, kind=plural.title(), namespaced=True)
        assert list(selectors.collect(resource)) == ["app.kubernetes.io/managed-by=thinbridge-controller"]
    bridges = kopf.Resource("thinbridge.dev", "v1alpha1", "bridges", kind="Bridge", namespaced=True)
    pods = kopf.Resource("", "v1", "pods", kind="Pod", namespaced=True)
    assert [*selectors.collect(bridges), *selectors.collect(pods)] == []
    assert settings.watching.inactivity_timeout < 75  # for so long the API server remembers what was missed
    assert settings.posting.enabled is False


def test_the_crd_is_labelled_as_soon_as_bridges_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    class Young(FakeWorld):
        tries = 0

        def find(self, *_: Any) -> list[Any]:
            self.tries += 1
            if self.tries < 3:
                raise NotInstalled
            return []

    monkeypatch.setattr(operator, "PAUSE", 0.0)
    world = Young()
    world.put("CustomResourceDefinition", CRD_NAME, "")
    [handler] = [
        one for one in watching(world, Asked())._watching.get_all_handlers() if one.fn.__name__ == "definition"
    ]
    assert handler.when(name=CRD_NAME)
    assert not handler.when(name="other")
    asyncio.run(handler.fn())
    assert world.objects["CustomResourceDefinition", "", CRD_NAME]["metadata"]["labels"] == {SOURCE_LABEL: "true"}


def test_without_an_image_it_says_so() -> None:
    command = [sys.executable, "-m", "thinbridge_knative.controller"]
    done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (2, "Error: BRIDGE_IMAGE: (none): name the image of bridges\n")


@pytest.mark.parametrize(("fails", "signals"), [(True, [signal.SIGTERM]), (False, [])])
def test_a_worker_that_fails_ends_the_controller(
    fails: bool, signals: list[signal.Signals], monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[signal.Signals] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)

    async def work() -> None:
        if fails:
            raise KeyError("surprise")
        await asyncio.Event().wait()

    async def scenario() -> None:
        task = asyncio.create_task(work())
        task.add_done_callback(operator._ended)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
    assert raised == signals
