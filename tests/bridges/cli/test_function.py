"""The function's process: a real functions-framework, started, watched and ended."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import until

from thinbridge.cli.dev import function as module
from thinbridge.cli.dev.function import Function, NotStarted, Process
from thinbridge.cli.dev.printer import Printer

HANDLER = """\
import os
from thinbridge_functions import handler
print("hello from the start", "x" * 100_000)
open("pid", "w", encoding="utf-8").write(str(os.getpid()))

@handler
def on(event):
    return b"hi"
"""


class Quiet(Printer):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def show(self, text: str) -> None:
        self.lines.append(text[10:])

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def written(folder: Path, text: str) -> Path:
    (folder / "main.py").write_text(text, "utf-8")
    return folder


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await test()

    asyncio.run(bounded())


EVENT = b"POST / HTTP/1.0\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /me\r\nce-type: test\r\n\r\n"


async def get(process: Process, request: bytes = b"GET / HTTP/1.0\r\n\r\n") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(request)
    answer = await reader.readline()
    writer.close()
    return answer


@pytest.mark.parametrize("asynchronous", [False, True])
def test_it_starts_serves_and_leaves_nothing(tmp_path: Path, asynchronous: bool) -> None:
    async def test() -> None:
        printer = Quiet()
        text = HANDLER.replace("def on", "async def on") if asynchronous else HANDLER
        process = await Function(written(tmp_path, text), None, 0.0, printer).start()
        assert b" 4" in await get(process)  # no event: refused, by the handler's own code
        assert process.ended.done() is False
        await process.stop()
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text("utf-8")), 0)
        assert printer.lines[0] == "function  starting"
        assert "function  ready after " in printer.text
        assert all(len(line) < 500 for line in printer.lines)

    run(test)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("setup", "shown"),
    [
        ("", ["INFO:mine:seen", "INFO:root:seen too"]),
        ("logging.basicConfig(format='own %(message)s')", ["own seen", "own seen too"]),
    ],
)
def test_what_it_logs_is_shown(tmp_path: Path, asynchronous: bool, setup: str, shown: list[str]) -> None:
    text = f"import logging\n{setup}\n{HANDLER}".replace(
        "    return", "    logging.getLogger('mine').info('seen')\n    logging.info('seen too')\n    return"
    )
    text = text.replace("def on", "async def on") if asynchronous else text

    async def test() -> None:
        printer = Quiet()
        process = await Function(written(tmp_path, text), None, 0.0, printer).start()
        assert b" 200" in await get(process, EVENT)
        await process.stop()
        assert [line for line in printer.lines if "seen" in line] == [f"function  | {line}" for line in shown]
        assert sum(line.startswith("function  | ") for line in printer.lines) == 3  # it says hello, too

    run(test)


def test_it_is_ended_at_once_and_when_nobody_waits_for_its_end_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_LIMIT", 60)

    async def test() -> None:
        function = Function(written(tmp_path, HANDLER), None, 0.0, Quiet())
        process = await function.start()
        await process.stop(at_once=True)
        assert process.ended.result() == -9
        process = await function.start()
        os.kill(int(process._child.pid), signal.SIGSTOP)  # deaf to what asks it to end
        stopping = asyncio.create_task(process.stop())
        await asyncio.sleep(0.05)
        stopping.cancel()
        assert await process.ended == -9
        await process.stop()

    run(test)


def test_a_cold_start_takes_its_time(tmp_path: Path) -> None:
    async def test() -> None:
        printer = Quiet()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        process = await Function(written(tmp_path, HANDLER), "on", 0.3, printer).start()
        assert loop.time() - begun >= 0.3
        await process.stop()
        assert printer.lines[0] == "function  starting, 0.3 s cold start"

    run(test)


@pytest.mark.parametrize(
    ("text", "shown", "problem"),
    [
        (f"{HANDLER}def off(:\n", "main.py", "SyntaxError: invalid syntax"),
        (f"{HANDLER}raise ValueError('no\\x1b model')\n", "raise ValueError", r"ValueError: no\x1b model"),
        (f"{HANDLER}@handler\ndef off(event): ...\n", "", "choose one with --target: on, off"),
        (f"{HANDLER}raise SystemExit(7)\n", "hello from the start", "hello from the start"),
        ("from functions_framework import http\nraise SystemExit(7)\n@http\ndef on(r): ...\n", "", "exit status 7"),
    ],
)
def test_broken_code_is_told_readably(tmp_path: Path, text: str, shown: str, problem: str) -> None:
    async def test() -> None:
        printer = Quiet()
        with pytest.raises(NotStarted):
            await Function(written(tmp_path, text), None, 0.0, printer).start()
        assert shown in printer.text
        assert "site-packages" not in printer.text
        assert problem in printer.lines[-1]
        assert printer.lines[-1].endswith("; messages are kept and tried again")

    run(test)


@pytest.mark.parametrize(
    ("text", "last"),
    [
        (f"{HANDLER}raise ValueError\n", "function  | the same again"),
        ("from functions_framework import http\nraise SystemExit(7)\n@http\ndef on(r): ...\n", "as before"),
    ],
)
def test_code_that_is_still_broken_is_told_in_a_line(tmp_path: Path, text: str, last: str) -> None:
    async def test() -> None:
        printer = Quiet()
        function = Function(written(tmp_path, text), None, 0.0, printer)
        for _ in range(2):
            with pytest.raises(NotStarted):
                await function.start()
        again = printer.lines[printer.lines.index("function  starting", 1) + 1 :]
        assert [line for line in again if "hello" not in line] == again[-1:]
        assert again[-1].endswith(last)

    run(test)


def test_a_function_that_never_listens_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START_LIMIT", 0.2)

    async def test() -> None:
        printer = Quiet()
        with pytest.raises(NotStarted, match=r"no connection accepted within 0\.2 s"):
            await Function(written(tmp_path, f"import time\ntime.sleep(60)\n{HANDLER}"), None, 0.0, printer).start()

    run(test)


def test_a_function_that_ignores_sigterm_is_ended_the_hard_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_LIMIT", 0.2)
    stubborn = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf')\ntime.sleep(60)\n"

    async def test() -> None:
        printer = Quiet()
        function = Function(written(tmp_path, stubborn + HANDLER), None, 0.0, printer)
        starting = asyncio.create_task(function.start())
        await until(lambda: "deaf" in printer.text)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    run(test)
