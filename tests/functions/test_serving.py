"""`@handler` as functions-framework sees it: one function for Flask and for Starlette; what a crash says, and where."""

import asyncio
import inspect
import logging
import subprocess
import sys
import threading
import types
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import flask
import pytest
from functions_framework import _function_registry as registry
from tests.functions.apps import App, over_asgi, running
from werkzeug.test import EnvironBuilder

from thinbridge_functions import Event, handler, later, reject, retry
from thinbridge_functions.codec import decode, encode
from thinbridge_functions.testing import call, coap

REQUEST = coap("POST", "a/größe", "ü")


@handler
def echo(event: Event) -> Event:
    """Says it again."""
    return event


@handler
async def echo_async(event: Event) -> Event:
    """Says it again."""
    return event


def flask_request(method: str = "POST", path: str = "/", event: Event = REQUEST) -> flask.Request:
    headers, body = encode(event.attributes, event.data)
    return flask.Request(EnvironBuilder(path, method=method, headers=list(headers), data=body).get_environ())


@pytest.mark.parametrize("function", [echo, echo_async])
def test_it_is_what_the_framework_takes(function: Any) -> None:
    assert isinstance(function, types.FunctionType)
    assert registry.get_func_signature_type(function.__name__, "cloudevent") == "http"
    assert function.__doc__ == "Says it again."


def test_only_an_async_handler_makes_the_framework_choose_asgi() -> None:
    assert "echo_async" in registry.ASGI_FUNCTIONS
    assert inspect.iscoroutinefunction(echo_async)
    assert "echo" not in registry.ASGI_FUNCTIONS
    assert not inspect.iscoroutinefunction(echo)


def test_called_with_an_event_it_is_ones_own_function() -> None:
    assert echo(REQUEST) is REQUEST
    assert asyncio.run(echo_async(REQUEST)) is REQUEST


def test_flask() -> None:
    response: flask.Response = echo(flask_request())  # type: ignore[arg-type, assignment]
    assert response.status_code == 200
    assert response.mimetype == "application/cloudevents+json"
    assert response.get_json()["type"] == "dev.thinbridge.coap.request.reply"


def test_an_empty_answer_claims_no_media_type() -> None:
    @handler
    def nothing(event: Event) -> None: ...

    response: Any = nothing(flask_request())  # type: ignore[arg-type]
    assert (response.status_code, response.get_data()) == (204, b"")
    assert "content-type" not in response.headers


@pytest.mark.parametrize("function", [echo, echo_async])
def test_starlette(function: Any) -> None:
    status, headers, body = over_asgi(function, "POST", "/", *encode(REQUEST.attributes, REQUEST.data))
    assert status == 200
    assert headers["content-type"] == "application/cloudevents+json"
    assert b'"dev.thinbridge.coap.request.reply"' in body


def test_starlette_runs_a_sync_handler_on_a_thread_and_an_async_one_on_its_loop() -> None:
    threads: list[threading.Thread] = []

    @handler
    def sync(event: Event) -> None:
        threads.append(threading.current_thread())

    @handler
    async def on_loop(event: Event) -> None:
        threads.append(threading.current_thread())

    for function in (sync, on_loop):
        assert over_asgi(function, "POST", "/", *encode(REQUEST.attributes, REQUEST.data))[0] == 204
    assert [thread is threading.main_thread() for thread in threads] == [False, True]


def test_starlette_hands_its_context_to_the_thread() -> None:
    execution: ContextVar[str] = ContextVar("execution")

    @handler
    def sync(event: Event) -> str:
        return execution.get()

    execution.set("id-7")  # as the framework does for its logs
    assert over_asgi(sync, "POST", "/", *encode(REQUEST.attributes, b""))[0] == 200


@pytest.mark.parametrize("function", [echo, echo_async])
def test_starlette_has_health_and_helpful_refusals(function: Any) -> None:
    assert over_asgi(function, "GET", "/health/live", (), b"")[0] == 200
    status, headers, body = over_asgi(function, "POST", "/", (), b"")
    assert (status, headers["content-type"]) == (400, "text/plain;charset=utf-8")
    assert body.startswith(b"not a CloudEvent")


@pytest.mark.parametrize(("answer", "status"), [(reject("no", status=409), 409), (retry(after=3), 503), (later(), 202)])
def test_an_answer_may_be_returned_or_raised(answer: Exception, status: int) -> None:
    @handler
    def returns(event: Event) -> Exception:
        return answer

    @handler
    def raises(event: Event) -> None:
        raise answer

    @handler
    async def raises_async(event: Event) -> None:
        raise answer

    functions: list[Any] = [returns, raises, raises_async]
    assert [call(function).status for function in functions] == [status] * 3


def test_an_answer_that_is_raised_again_and_again_holds_no_frames() -> None:
    busy = retry(after=5)

    @handler
    def function(event: Event) -> None:
        raise busy

    call(function)
    assert busy.__traceback__ is None


def crash(event: Event) -> None:
    raise RuntimeError("password=hunter2")


async def crash_async(event: Event) -> None:
    raise RuntimeError("password=hunter2")


def nonsense(event: Event) -> int:
    return 7


def unsayable(event: Event) -> Exception:
    return reject("\ud800")


@pytest.mark.parametrize("function", [crash, crash_async])
def test_a_crash_is_a_bare_500_and_a_traceback_in_the_log(function: Any, caplog: pytest.LogCaptureFixture) -> None:
    result = call(handler(function), REQUEST)
    assert (result.status, result.headers, result.event) == (500, {}, None)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("thinbridge_functions", logging.ERROR)
    assert f"{function.__name__} failed on <Event" in caplog.text
    assert "Traceback" in caplog.text
    assert REQUEST["replyto"] not in caplog.text


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (nonsense, "int can't be an answer's data: use bytes, str, dict or list, None for no data"),
        (unsayable, "'utf-8' codec can't encode character"),
    ],
)
def test_an_answer_that_is_none_names_its_handler(function: Any, told: str, caplog: pytest.LogCaptureFixture) -> None:
    result = call(handler(function), REQUEST)
    assert (result.status, result.headers, result.event) == (500, {}, None)
    assert f"{function.__name__} answered with what can't be sent: {told}" in caplog.text
    assert "Traceback" not in caplog.text


def test_data_that_is_no_json_is_the_devices_fault() -> None:
    @handler
    def reads(event: Event) -> Any:
        return event.json()

    result = call(reads, b"{")
    assert (result.status, result.text()) == (400, "the data is no JSON")


def test_a_reply_names_its_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K_SERVICE", "greenhouse")
    assert call(handler(lambda_ := named("f"))).attributes["source"] == "greenhouse"
    monkeypatch.delenv("K_SERVICE")
    assert call(handler(lambda_)).attributes["source"] == "f"
    assert call(handler(named("größe"))).attributes["source"] == "gr%C3%B6%C3%9Fe"


def named(name: str) -> Any:
    def function(event: Event) -> str:
        return "x"

    function.__name__ = name
    return function


def test_a_sync_handler_does_not_load_what_only_asgi_needs() -> None:
    program = """if True:
        import sys, functions_framework
        before = set(sys.modules)
        from thinbridge_functions import handler
        handler(lambda event: None)
        heavy = {"asyncio", "starlette", "thinbridge.protocols", "pydantic", "httptools"}
        print(sorted(heavy & (set(sys.modules) - before)))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


MAIN = """
from thinbridge_functions import Event, handler

@handler
async def on_loop(event: Event) -> bytes:
    return event.data

@handler
def broken(event: Event) -> None:
    raise RuntimeError("password=hunter2")
"""


def test_behind_the_framework_itself(tmp_path: Path) -> None:
    main = tmp_path / "main.py"
    main.write_text(MAIN)
    by_itself, debug, broken = App(main, "on_loop"), App(main, "broken", "--debug"), App(main, "broken")
    with running(by_itself, debug, broken):
        status, headers, body = by_itself.request("POST", "/", *encode(REQUEST.attributes, REQUEST.data))
        assert (status, headers["server"]) == (200, "uvicorn")  # chosen without --asgi
        assert decode(headers.items(), body)[1] == REQUEST.data
        assert debug.post(REQUEST) == broken.post(REQUEST) == (500, None, b"")
    assert "RuntimeError: password=hunter2" in broken.close()
