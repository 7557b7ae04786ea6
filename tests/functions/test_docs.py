"""docs/functions.md: its functions are written to files, typed, tested by its own tests, and served as it says."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.functions.apps import App, running
from tests.functions.test_examples import module_of

from thinbridge_functions import Pushed, push
from thinbridge_functions.testing import call, coap

PAGE = Path(__file__).parents[2] / "docs" / "functions.md"
BLOCKS = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, source in BLOCKS:
        (tmp_path / name).write_text(source)
    return tmp_path


def run(folder: Path, *command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_snippet_is_a_file() -> None:
    names = [name for name, _ in BLOCKS]
    assert names == ["main.py", "steering.py", "firmware.py", "later.py", "observed.py", "test_main.py", "plain.py"]
    assert len(names) == PAGE.read_text().count("```python")


def test_the_page_is_typed_and_its_tests_pass(files: Path) -> None:
    run(PAGE.parents[1], "mypy", "--strict", *map(str, sorted(files.glob("*.py"))))
    run(files, "pytest", "-q", "-p", "no:cacheprovider", "test_main.py")


def test_steering(files: Path) -> None:
    steering = module_of(files / "steering.py")
    result = call(steering.create, coap(authid="psk:bob"))
    assert (result.status, result.headers["location"]) == (201, "/sensors/7")
    assert (call(steering.create).status, call(steering.create).text()) == (401, "who are you?")
    assert call(steering.command).attributes["mqtttopic"] == "lamp/command"
    assert call(steering.cached).attributes["coapetag"] == "01"
    assert call(steering.busy).headers == {"retry-after": "5"}


def test_a_part(files: Path) -> None:
    module = module_of(files / "firmware.py")
    assert call(module.firmware, coap("GET", "firmware")).data == module.IMAGE
    size = len(module.IMAGE)
    part = call(module.firmware, coap("GET", "firmware", coaprange="bytes=256-511"))
    assert (part.data, part.attributes["contentrange"]) == (module.IMAGE[256:512], f"bytes 256-511/{size}")
    part = call(module.firmware, coap("GET", "firmware", coaprange="bytes=512-1535"))
    assert (part.data, part.attributes["contentrange"]) == (module.IMAGE[512:], f"bytes 512-{size - 1}/{size}")
    assert call(module.firmware, coap("GET", "firmware", coaprange="bytes=9000-9001")).data == module.IMAGE


def test_later(files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = module_of(files / "later.py")
    pushed: list[Any] = []

    def deliver(*arguments: Any) -> Pushed:
        pushed.append(arguments)
        return Pushed.DELIVERED

    monkeypatch.setattr(module, "push", deliver)
    monkeypatch.setattr(module.threading.Thread, "start", lambda thread: thread.run())
    event = coap("GET", "a")
    assert call(module.measure, event).status == 202
    assert pushed == [(event, {"t": 21})]
    assert capsys.readouterr().out == "Pushed.DELIVERED\n"
    assert push.__kwdefaults__ == {"timeout": 10.0}
    assert {"GONE", "REFUSED", "BUSY"} <= set(Pushed.__members__)


def test_observed(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of(files / "observed.py")
    told: list[Any] = []

    def tell(*arguments: Any) -> int:
        told.append(arguments[1:])
        return 2

    monkeypatch.setattr(module, "publish", tell)
    assert call(module.room, coap("GET", "rooms/7", coapobserve="register")).status == 404
    assert call(module.room, coap("PUT", "rooms/7", "21")).text() == "2 observers"
    assert told == [("rooms/7", "21")]
    result = call(module.room, coap("GET", "rooms/7", coapobserve="register"))
    assert (result.text(), result.attributes["coapobserve"], result.attributes["coapmaxage"]) == ("21", "true", "300")


@pytest.mark.peer("curl")
def test_the_framework_serves_it_and_curl_is_answered(files: Path) -> None:
    (curl,) = re.findall(r"^curl .*$", PAGE.read_text(), re.MULTILINE)
    app, plain = App(files / "main.py", "sensors"), App(files / "plain.py", "plain")
    with running(app, plain):
        command = curl.replace("127.0.0.1:8080", f"127.0.0.1:{app.port}")
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=20)
        assert done.stdout == '{"t":21.0}'
        assert plain.post(coap("GET", "a/b"))[::2] == (200, b'{"subject":"a/b"}\n')
