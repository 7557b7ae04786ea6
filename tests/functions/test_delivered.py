"""The return table as a bridge reads it: a real handler behind the real framework, events by the real delivery."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.functions.apps import App, running

from thinbridge import events
from thinbridge.delivery import Answer, Delivery, Terms, Verdict
from thinbridge.routes import Destination
from thinbridge_functions.testing import coap

MAIN = """
from thinbridge_functions import Event, Reply, handler, later, reject, retry

ANSWERS = {
    "none": None,
    "bytes": b"\\x00\\xff",
    "größe": "größe",
    "created": Reply({}, status=201, location="/größe"),
    "later": later(),
    "reject": reject("no such sensor", status=404),
    "unauthorized": reject("who are you?", status=401),
    "unavailable": Reply("off", status=503),
    "retry": retry(after=0),
}

@handler
def table(event: Event) -> object:
    return ANSWERS[event.subject]
"""


@pytest.fixture(params=["wsgi", "asgi"], scope="module")
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    main: Path = tmp_path_factory.mktemp("table") / "main.py"
    main.write_text(MAIN)
    served = App(main, "table", *(["--asgi"] if request.param == "asgi" else []))
    with running(served):
        yield served


async def delivered(app: App, subject: str) -> tuple[Answer, int]:
    """What the bridge made of the answer, and how many more times it asked."""
    event = coap("POST", subject, b"x")
    delivery = Delivery(rng=lambda: 0.0)
    over: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    terms = Terms(Destination(f"http://127.0.0.1:{app.port}/"), retries=2)
    deadline = asyncio.get_running_loop().time() + 20
    delivery.deliver(events.Event(event.get_attributes(), event.data), terms, deadline, over.set_result)
    answer = await over
    await delivery.close()
    return answer, delivery.counters["retried"]


@pytest.mark.parametrize(
    ("subject", "verdict", "status", "data", "retried"),
    [
        ("none", Verdict.ACCEPTED, 204, None, 0),
        ("bytes", Verdict.ACCEPTED, 200, b"\x00\xff", 0),
        ("größe", Verdict.ACCEPTED, 200, "größe".encode(), 0),
        ("created", Verdict.ACCEPTED, 201, b"{}", 0),
        ("later", Verdict.ACCEPTED, 202, None, 0),
        ("reject", Verdict.REFUSED, 404, b"no such sensor", 0),
        ("unauthorized", Verdict.REFUSED, 401, b"who are you?", 0),
        ("unavailable", Verdict.REFUSED, 503, b"off", 0),
        ("retry", Verdict.UNKNOWN, 503, None, 2),
        ("crash", Verdict.UNKNOWN, 500, None, 2),
    ],
)
def test_table(app: App, subject: str, verdict: Verdict, status: int, data: bytes | None, retried: int) -> None:
    answer, again = asyncio.run(delivered(app, subject))
    assert (answer.verdict, answer.status, again) == (verdict, status, retried)
    assert (answer.event.data if answer.event else None) == data
    if subject == "created":
        assert dict(answer.headers)[b"location"] == b"/gr%C3%B6%C3%9Fe"
