"""`kn bridge delete`, `wait`, `logs`, `send`, `completion`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from socket import AF_INET, SOCK_DGRAM, socket
from threading import Thread

import pytest
from tests.knative.cli.conftest import Kn
from tests.knative.cli.fake import FakeApi

from thinbridge_knative.cli import main

LABELS = {"app.kubernetes.io/name": "thinbridge", "app.kubernetes.io/instance": "iot"}
IOT = ("create", "iot", "--listen", "udp:9000", "--sink", "thermostat", "--no-wait")


def test_delete_goes_on_after_a_failure(api: FakeApi, kn: Kn) -> None:
    kn(*IOT)
    assert kn("delete", "nobody", "iot", "noone") == (
        1,
        "Bridge 'iot' successfully deleted in namespace 'default'.\n",
        'Error: bridges.thinbridge.dev "nobody" not found\nError: bridges.thinbridge.dev "noone" not found\n'
        "Run 'kn bridge --help' for usage\n",
    )


def test_delete_all(api: FakeApi, kn: Kn) -> None:
    assert kn("delete", "--all")[1] == "No bridges found.\n"
    kn(*IOT)
    assert kn("delete", "--all", "--wait")[1] == "Bridge 'iot' successfully deleted in namespace 'default'.\n"
    assert ("DELETE", "/apis/thinbridge.dev/v1alpha1/namespaces/default/bridges/iot?propagationPolicy=Foreground") in (
        api.requests
    )


def test_wait(api: FakeApi, kn: Kn) -> None:
    kn(*IOT)
    assert kn("wait", "iot")[1] == (
        "Waiting for Bridge 'iot' in namespace 'default':\n\n\nBridge 'iot' in namespace 'default' is ready.\n"
    )


def test_logs_name_their_pod_where_there_are_several(api: FakeApi, kn: Kn) -> None:
    kn(*IOT)
    assert kn("logs", "iot")[1] == "No pods found.\n"
    for name in ("iot-bridge-1", "iot-bridge-2"):
        api.add("v1", "pods", name, metadata={"labels": LABELS}, status={})
        api.pages[f"/api/v1/namespaces/default/pods/{name}/log"] = f"one of {name}\ntwo"
        if name.endswith("1"):
            assert kn("logs", "iot", "--tail", "5")[1] == "one of iot-bridge-1\ntwo\n"
    assert api.requests[-1][1].endswith("?container=bridge&tailLines=5")
    out = kn("logs", "iot", "--follow")[1]
    assert sorted(out.splitlines()) == [
        *("[iot-bridge-1] one of iot-bridge-1", "[iot-bridge-1] two"),
        *("[iot-bridge-2] one of iot-bridge-2", "[iot-bridge-2] two"),
    ]


def test_logs_of_a_pod_that_has_none(api: FakeApi, kn: Kn) -> None:
    kn(*IOT)
    api.add("v1", "pods", "iot-bridge-1", metadata={"labels": LABELS}, status={})
    status, _, err = kn("logs", "iot")
    assert (status, err.splitlines()[0]) == (
        1,
        "Error: iot-bridge-1: error trying to reach service: dial tcp: connection refused",
    )


@contextmanager
def udp_echo() -> Iterator[int]:
    """Answers one datagram."""
    with socket(AF_INET, SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(20)

        def answer() -> None:
            data, peer = sock.recvfrom(100)
            sock.sendto(b"echo " + data, peer)

        thread = Thread(target=answer)
        thread.start()
        yield sock.getsockname()[1]
        thread.join(20)


def test_send_is_a_device_at_the_outermost_address(api: FakeApi, kn: Kn) -> None:
    kn(*IOT)
    with udp_echo() as port:
        addresses = [{"name": "udp", "url": "udp://iot.default.svc:9000"}]
        addresses += [{"name": "udp", "url": f"udp://127.0.0.1:{port}"}]
        api.status(api.bridge(), addresses=addresses)
        status, out, err = kn("send", "iot", "-d", "hello")
    assert (status, out) == (0, "echo hello")
    assert err.startswith(f"udp://127.0.0.1:{port}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "bridge 'iot' has no address yet; 'kn bridge wait iot' waits until it has"),
        (("--endpoint", "mqtt"), "bridge 'iot' has no listener 'mqtt'; there are: udp"),
    ],
)
def test_send_to_nowhere(words: tuple[str, ...], message: str, api: FakeApi, kn: Kn) -> None:
    if not words:
        api.controller = lambda bridge: None
    kn(*IOT)
    status, _, err = kn("send", "iot", *words)
    assert (status, err.splitlines()[0]) == (1, f"Error: {message}")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_code(shell: str, kn: Kn) -> None:
    status, out, _ = kn("completion", shell)
    assert status == 0
    assert "kn-bridge" in out
    assert "_KN_BRIDGE_COMPLETE" in out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("kn-bridge del", ["delete"]),
        ("kn-bridge create --lis", ["--listen"]),
        ("kn-bridge delete i", ["iot"]),
        ("kn-bridge describe -n elsewhere i", []),
    ],
)
def test_completion_answers(line: str, words: list[str], api: FakeApi, kn: Kn) -> None:
    kn(*IOT)
    count = str(len(line.split()) - 1)
    shell = {"COMP_WORDS": line, "COMP_CWORD": count, "_KN_BRIDGE_COMPLETE": "bash_complete"}
    code = "from thinbridge_knative.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **shell},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stdout.split() == [f"plain,{word}" for word in words]


def test_kn_is_told_that_nothing_is_shared(kn: Kn) -> None:
    assert kn("manifest")[1] == '{"hasManifest": false}\n'


def test_a_bridge_that_is_deleted_while_waited_for(api: FakeApi, kn: Kn) -> None:
    api.controller = lambda bridge: None
    kn(*IOT)

    def delete() -> None:
        api.write("thinbridge.dev/v1alpha1", "bridges", api.bridge(), "DELETED")

    api.on_watch = delete
    status, _, err = kn("wait", "iot")
    assert (status, err.splitlines()[0]) == (1, "Error: bridge 'iot' was deleted while it was waited for")


def test_deletion_is_waited_for_until_the_last_pod_has_drained(api: FakeApi, kn: Kn) -> None:
    kn(*IOT)
    api.add("v1", "pods", "iot-bridge-1", metadata={"labels": LABELS}, status={})
    status, _, err = kn("delete", "iot", "--wait", "--wait-timeout", "1")
    assert (status, err.splitlines()[0]) == (1, "Error: timeout: bridge 'iot' not deleted after 1 seconds")


@pytest.mark.parametrize(("words", "status"), [(["options"], 0), (["nothing"], 1)])
def test_the_console_script_ends_with_its_status(
    words: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == status


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    command = f'{sys.executable} -c "from thinbridge_knative.cli import main; main()" create --help'
    done = subprocess.run(["sh", "-c", f"{command} | true"], capture_output=True, text=True, timeout=20, check=False)
    assert done.stderr == ""
