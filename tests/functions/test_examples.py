"""Every example behind the real functions-framework, by WSGI and by ASGI; and the thermostat's logic without it."""

import importlib.util
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.functions.apps import App, running

from thinbridge_functions import Event, Pushed, Reply
from thinbridge_functions.testing import call, coap, mqtt, udp

EXAMPLES = Path(__file__).parents[2] / "functions" / "examples"
NAMES = sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir())


def module_of(path: Path) -> ModuleType:
    """A file's module, fresh, under a name of its own: all examples are called `main`."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["wsgi", "asgi"], scope="module")
def apps(request: pytest.FixtureRequest) -> Iterator[dict[str, App]]:
    flags = ["--asgi"] if request.param == "asgi" else []
    env = {"COLD_START": "0.3"}
    started = {name: App(EXAMPLES / name / "main.py", name, *flags, env=env) for name in NAMES}
    with running(*started.values()):
        yield started


def test_every_example_can_be_deployed() -> None:
    assert NAMES == ["answer_later", "echo", "observe_clock", "plain_http", "slow_start", "thermostat"]
    parts = {"main.py", "requirements.txt", "service.yaml", "README.md"}
    for name in NAMES:
        assert {path.name for path in (EXAMPLES / name).iterdir()} >= parts


def test_every_example_is_typed() -> None:
    sources = [str(EXAMPLES / name / "main.py") for name in NAMES]
    command = [sys.executable, "-m", "mypy", "--strict", *sources]
    done = subprocess.run(command, cwd=EXAMPLES.parents[1], capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("event", "data", "content_type"),
    [
        (coap("POST", "a/b", {"t": 1}), b'{"t":1}', "application/json"),
        (coap("PUT", "größe", b"\x00\xff"), b"\x00\xff", "application/octet-stream"),
        (coap("GET", "a/b"), b"GET /a/b\n", "text/plain;charset=utf-8"),
        (coap("DELETE"), b"DELETE /\n", "text/plain;charset=utf-8"),
        (mqtt("a/b", b"hi"), b"hi", "application/octet-stream"),
        (mqtt("a/b"), b"empty a/b\n", "text/plain;charset=utf-8"),
        (udp(b"hi"), b"hi", "application/octet-stream"),
    ],
)
def test_echo(apps: dict[str, App], event: Event, data: bytes, content_type: str) -> None:
    status, reply, _ = apps["echo"].post(event)
    assert reply is not None
    assert (status, reply.data, reply.datacontenttype) == (200, data, content_type)
    assert (reply.type, reply.source, reply["causationid"]) == (f"{event.type}.reply", "echo", event.id)


def test_health_and_strangers(apps: dict[str, App]) -> None:
    assert apps["echo"].request("GET", "/health/ready")[::2] == (200, b"ok\n")
    status, headers, _ = apps["echo"].request("OPTIONS", "/", (("webhook-request-origin", "bridge.example"),))
    assert (status, headers["webhook-allowed-origin"]) == (200, "*")
    status, _, body = apps["echo"].request("POST", "/", (), b"x")
    assert (status, body[:16]) == (400, b"not a CloudEvent")


def test_thermostat(apps: dict[str, App]) -> None:
    app = apps["thermostat"]
    for event in (
        coap("POST", "rooms/bath", {"temperature": 18.5}),
        mqtt("rooms/bath", {"temperature": 18.5}),
        udp({"room": "bath", "temperature": 18.5}),
        coap("GET", "rooms/bath"),
    ):
        status, reply, _ = app.post(event)
        assert reply is not None
        assert (status, reply.json()) == (200, {"setpoint": 20.0, "heating": True})
    status, reply, _ = app.post(udp(b"\xff\x00"))
    assert reply is not None
    assert (status, reply.text()) == (400, "the data is no JSON")


def test_slow_start(apps: dict[str, App]) -> None:
    status, reply, _ = apps["slow_start"].post(udp(b"hi"))
    assert reply is not None
    assert (status, reply.text()[:18]) == (200, "ready after 0.3 s,")


def test_answer_later_without_a_bridge_asks_for_the_event_again(apps: dict[str, App]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and nobody listens
        replyto = f"http://127.0.0.1:{nobody.getsockname()[1]}/r/t/1"
        assert apps["answer_later"].post(mqtt("a/b", b"hi", replyto=replyto))[0] == 503


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(Pushed.DELIVERED, 202), (Pushed.QUEUED, 202), (Pushed.GONE, 202), (Pushed.BUSY, 503), (Pushed.FAILED, 503)],
)
def test_answer_later(monkeypatch: pytest.MonkeyPatch, outcome: Pushed, status: int) -> None:
    main = module_of(EXAMPLES / "answer_later" / "main.py")
    outcomes = {b"hi": outcome}
    monkeypatch.setattr(main, "push", lambda event, answer: outcomes[event.data] if answer == {"seen": 2} else None)
    assert call(main.answer_later, mqtt("a/b", b"hi")).status == status


def test_observe_clock(apps: dict[str, App], monkeypatch: pytest.MonkeyPatch) -> None:
    status, reply, _ = apps["observe_clock"].post(coap("GET", "clock", coapobserve="register"))
    assert reply is not None
    assert (status, reply["coapobserve"], reply["coapmaxage"], reply.text()[2::3]) == (200, "refresh", "5", "::\n")
    main = module_of(EXAMPLES / "observe_clock" / "main.py")
    rung: list[Any] = []

    def ring(event: Event, *what: Any, token: str | None) -> int:
        rung.append(what)
        return len(rung)

    monkeypatch.setattr(main, "publish", ring)
    assert call(main.observe_clock, coap("POST", "clock", b"tea")).json() == {"told": 1}
    assert rung == [("clock", Reply("tea\n", coap_max_age=5))]
    assert call(main.observe_clock, coap("POST", "clock")).status == 400


def test_plain_http(apps: dict[str, App]) -> None:
    status, reply, body = apps["plain_http"].post(coap("GET", "a/b"))
    assert (status, reply) == (200, None)
    assert json.loads(body) == {"type": "dev.thinbridge.coap.request", "subject": "a/b"}


@pytest.mark.parametrize(
    ("event", "status", "reason"),
    [
        (udp(b"["), 400, "the data is no JSON"),
        (udp("[1]"), 400, "send a JSON object"),
        (udp({"temperature": 20}), 404, "no such room"),
        (udp({"room": ["bath"]}), 404, "no such room"),
        (coap("GET", "rooms/attic"), 404, "no such room"),
        (coap("POST", "rooms/bath", {"temperature": "hot"}), 422, "send a number from -40 to 85"),
        (coap("POST", "rooms/bath", {"temperature": True}), 422, "send a number from -40 to 85"),
        (coap("POST", "rooms/bath", {"temperature": 1000}), 422, "send a number from -40 to 85"),
        (coap("POST", "rooms/bath", {"setpoint": None}), 422, "send a number from 5 to 30"),
    ],
)
def test_thermostat_rejects_nonsense(event: Event, status: int, reason: str) -> None:
    result = call(module_of(EXAMPLES / "thermostat" / "main.py").thermostat, event)
    assert (result.status, result.text()) == (status, reason)


def test_thermostat_tells_the_device_about_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    main = module_of(EXAMPLES / "thermostat" / "main.py")
    pushed = []
    monkeypatch.setattr(main, "push", lambda *arguments, **options: pushed.append(arguments))
    command = coap("PUT", "rooms/hall", {"setpoint": 17})
    assert call(main.thermostat, command).json() == {"setpoint": 17.0, "heating": False}
    call(main.thermostat, mqtt("rooms/hall", {"temperature": 12}, replyto="http://bridge/r/t/1"))
    assert call(main.thermostat, command).json() == {"setpoint": 17.0, "heating": True, "told": False}
    ((to, reply),) = pushed
    assert (to, reply.data, reply.mqtt_topic) == (
        "http://bridge/r/t/1",
        {"setpoint": 17.0, "heating": True},
        "rooms/hall/command",
    )
