"""Every command of the README, run. `make run`, `make test` and `make peers` themselves are run by `.ci/run`."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.process import free_port
from tests.interop.dev import ROOT, Dev, dev
from tests.waiting import until_now

README = (ROOT / "README.md").read_text()
BLOCKS: list[str] = [block.strip() for block in re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)]
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if not block.startswith("mkdir")]


@pytest.fixture(scope="module")
def echo() -> Iterator[Dev]:
    with dev("functions/examples/echo", "--idle", "300") as running:
        yield running


def on_its_ports(command: str, running: Dev) -> str:
    """The same command for the ports that a test has."""
    for scheme in ("coap", "mqtt", "udp"):
        command = re.sub(rf"({scheme}://127\.0\.0\.1)(?=[/ ])", rf"\1:{running.port(scheme)}", command)
    command = command.replace("127.0.0.1 9000", f"127.0.0.1 {running.port('udp')}")
    command = re.sub("^(mosquitto_rr|mosquitto_sub) ", rf"\1 -p {running.port('mqtt')} ", command)
    return command.replace(".venv/bin/thinbridge", f"{sys.executable} -m thinbridge.cli")


def output(command: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(["sh", "-c", command], cwd=cwd, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done
    printed: bytes = done.stdout
    return printed.decode().strip()


def the_command(beginning: str) -> str:
    found = [command for command in COMMANDS if command.startswith(beginning)]
    assert len(found) == 1, (beginning, COMMANDS)
    return found[0]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("coap-client-notls -m", marks=pytest.mark.peer("coap-client-notls")),
        pytest.param("mosquitto_rr", marks=pytest.mark.peer("mosquitto_rr")),
        pytest.param("echo -n hello", marks=pytest.mark.peer("nc")),
        ".venv/bin/thinbridge send coap://127.0.0.1/sensors",
        ".venv/bin/thinbridge send mqtt://127.0.0.1/greeting",
        ".venv/bin/thinbridge send udp://127.0.0.1 -d hello",
    ],
)
def test_a_device_gets_the_functions_reply(command: str, echo: Dev) -> None:
    assert output(on_its_ports(the_command(command), echo)) == "hello"


@pytest.mark.peer("coap-client-notls", "mosquitto_sub", "curl")
def test_what_devices_hear_unasked(tmp_path: Path) -> None:
    [run_it] = [block for block in BLOCKS if block.startswith(".venv/bin/thinbridge dev functions")]
    observed, subscribed = tmp_path / "observed", tmp_path / "subscribed"
    with dev(run_it.split()[2]) as running, observed.open("w") as observes, subscribed.open("w") as subscribes:
        [http] = re.findall(r"inbox on (http://127\.0\.0\.1:\d+)", running.log)
        publish = the_command("curl").replace("http://127.0.0.1:8090", http)
        devices = [
            subprocess.Popen(shlex.split(on_its_ports(the_command(command), running)), stdout=heard)
            for command, heard in (("coap-client-notls -s", observes), ("mosquitto_sub", subscribes))
        ]
        try:
            until_now(lambda: output(publish) == '{"observers": 2}')
            until_now(lambda: all("tea is ready" in heard.read_text() for heard in (observed, subscribed)))
        finally:
            for device in devices:
                device.terminate()
                device.wait(30)


def test_five_minutes_to_an_own_handler(tmp_path: Path) -> None:
    [block] = [block for block in BLOCKS if block.startswith("mkdir")]
    *make_it, run_it = block.splitlines()
    assert run_it == ".venv/bin/thinbridge dev greenhouse"
    output("\n".join(make_it), tmp_path)
    with dev(str(tmp_path / "greenhouse")) as running:
        for place in ("coap://127.0.0.1/house", "mqtt://127.0.0.1/house", "udp://127.0.0.1 -d '{"):
            send = on_its_ports(the_command(f".venv/bin/thinbridge send {place}"), running)
            assert output(send) == '{"open_window":true}'
        coap = on_its_ports(the_command(".venv/bin/thinbridge send coap://127.0.0.1/house"), running)
        for nonsense in ("hello", '{"temp": 27}', '{"t": "warm"}', "[27]"):
            command = coap.replace('{"t": 27}', nonsense)
            refused = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, check=False)
            assert (refused.returncode, b"4.00" in refused.stderr) == (1, True), refused


def test_the_bridge_alone() -> None:
    command = the_command(".venv/bin/thinbridge run").replace(
        ".venv/bin/thinbridge", f"{sys.executable} -m thinbridge.cli"
    )
    http = free_port()
    command = command.replace("coap:5683", f"coap:{free_port()}").replace("mqtt:1883", f"mqtt:{free_port()}")
    process = subprocess.Popen([*shlex.split(command), "--http", f"127.0.0.1:{http}"], stderr=subprocess.DEVNULL)
    try:
        ready = f"http://127.0.0.1:{http}/health/ready"
        probe = [sys.executable, "-c", f"import urllib.request; urllib.request.urlopen({ready!r})"]
        until_now(lambda: subprocess.run(probe, capture_output=True, check=False).returncode == 0)
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_what_only_ci_runs_is_known() -> None:
    """A command that is new in the README fails here until something runs it."""
    known = (
        "make ",
        "coap-client-notls",
        "mosquitto_rr",
        "mosquitto_sub",
        "curl",
        "echo -n",
        ".venv/bin/thinbridge dev",
        ".venv/bin/thinbridge send",
        ".venv/bin/thinbridge run",
    )
    assert [command for command in COMMANDS if not command.startswith(known)] == []


def test_the_handler_on_the_front_page_runs(tmp_path: Path) -> None:
    [snippet] = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    check = "\nfrom thinbridge_functions import testing\n"
    check += "print(testing.call(on_message, b'abc', subject='a/b').data.decode())"
    (tmp_path / "front.py").write_text(snippet + check)
    assert output(f"{sys.executable} front.py", tmp_path) == "a/b: got 3 bytes"


def test_every_link_of_the_readme_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
