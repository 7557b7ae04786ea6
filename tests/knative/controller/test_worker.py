"""When a look is taken: soon, once, never twice at once, again until it is settled."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable

import pytest
from tests.waiting import until

from thinbridge_knative.controller.worker import Metrics, Pace, Worker
from thinbridge_knative.failures import Failure

KEY = ("home", "iot")
QUICK = Pace(settled=0.05, waiting=0.01, failed=0.01, failed_max=0.02, workers=2)
SLOW = Pace(settled=60, waiting=60, failed=60, failed_max=60, workers=2)


class Looks:
    """Looks that answer as told; the last answer stays."""

    def __init__(self, *answers: bool | Exception | None) -> None:
        self.answers = list(answers)
        self.taken: list[tuple[str, str]] = []
        self.hold = threading.Event()
        self.hold.set()

    def __call__(self, namespace: str, name: str) -> bool | None:
        self.taken.append((namespace, name))
        assert self.hold.wait(10)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def play(looks: Looks, pace: Pace, scenario: Callable[[Worker], Awaitable[None]]) -> Metrics:
    metrics = Metrics()

    async def main() -> None:
        worker = Worker(looks, pace, metrics)
        task = asyncio.create_task(worker.run())
        try:
            await scenario(worker)
        finally:
            looks.hold.set()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    return metrics


def count(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"thinbridge_controller_{name}", labels)


def test_many_events_are_one_look() -> None:
    looks = Looks(True)

    async def scenario(worker: Worker) -> None:
        for _ in range(5):
            worker.add(KEY)
        await until(lambda: looks.taken)
        await asyncio.sleep(0.05)

    metrics = play(looks, SLOW, scenario)
    assert looks.taken == [KEY]
    assert count(metrics, "bridges", ready="true") == 1
    assert count(metrics, "reconciles_total", outcome="ready") == 1


def test_an_event_during_a_look_is_another_look_afterwards() -> None:
    looks = Looks(True)
    looks.hold.clear()

    async def scenario(worker: Worker) -> None:
        worker.add(KEY)
        await until(lambda: looks.taken)
        worker.add(KEY)
        worker.add(KEY)
        await asyncio.sleep(0.05)
        assert len(looks.taken) == 1  # never two at once
        looks.hold.set()
        await until(lambda: len(looks.taken) == 2)
        await asyncio.sleep(0.05)

    play(looks, SLOW, scenario)
    assert len(looks.taken) == 2


def test_one_that_hangs_does_not_stop_the_others() -> None:
    looks = Looks(True)
    looks.hold.clear()

    async def scenario(worker: Worker) -> None:
        worker.add(KEY)
        worker.add(("home", "other"))
        await until(lambda: len(looks.taken) == 2)

    play(looks, SLOW, scenario)


def test_what_is_not_ready_is_looked_at_again_and_what_is_now_and_then() -> None:
    looks = Looks(False, False, True)

    async def scenario(worker: Worker) -> None:
        worker.add(KEY)
        await until(lambda: len(looks.taken) == 5)

    metrics = play(looks, QUICK, scenario)
    assert count(metrics, "reconciles_total", outcome="waiting") == 2


def test_an_event_comes_before_the_next_look_that_was_due() -> None:
    looks = Looks(False, True)

    async def scenario(worker: Worker) -> None:
        worker.add(KEY)
        await until(lambda: len(looks.taken) == 1)
        await asyncio.sleep(0.02)
        worker.add(KEY)
        await until(lambda: len(looks.taken) == 2)

    play(looks, SLOW, scenario)


def test_what_is_gone_is_forgotten() -> None:
    looks = Looks(True, None)

    async def scenario(worker: Worker) -> None:
        worker.add(KEY)
        await until(lambda: len(looks.taken) == 2)
        await asyncio.sleep(0.1)

    metrics = play(looks, QUICK, scenario)
    assert len(looks.taken) == 2
    assert count(metrics, "bridges", ready="true") == 0
    assert count(metrics, "reconciles_total", outcome="gone") == 1


def test_failures_are_tried_again_more_and_more_slowly(caplog: pytest.LogCaptureFixture) -> None:
    looks = Looks(Failure("no cluster"), KeyError("surprise"), Failure("no cluster"), True)

    async def scenario(worker: Worker) -> None:
        worker.add(KEY)
        await until(lambda: len(looks.taken) == 4)

    with caplog.at_level(logging.WARNING, "thinbridge.controller"):
        metrics = play(looks, QUICK, scenario)
    told = [(line.__dict__["fields"]["seconds"], line.exc_info is not None) for line in caplog.records]
    assert told == [(0.01, False), (0.02, True), (0.02, False)]  # a traceback only where nobody knows why
    assert count(metrics, "reconciles_total", outcome="failed") == 3
