"""`thinbridge run` as a process: health, logs, drain, and every mistake as one line."""

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from tests.bridges.cli.processes import COMMAND, Program, environ, free, program, seconds_since

LISTEN = ("--listen", "udp://127.0.0.1:0", "--http", "127.0.0.1:0")
ECHO = str(Path(__file__).parents[3] / "functions" / "examples" / "echo")


@contextmanager
def sink(hold: Event | None = None, heard: "list[Message[str, str]] | None" = None) -> Iterator[str]:
    """A function that answers with what it was sent, once `hold` lets it; what it has `heard` are headers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if heard is not None:
                heard.append(self.headers)
            if hold is not None:
                hold.wait(30)
            try:
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except BrokenPipeError:
                pass  # the bridge has ended

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def device(port: int) -> Iterator[socket.socket]:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.connect(("127.0.0.1", port))
        yield sock


def get(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_a_message_comes_back_and_sigterm_ends_it_with_0() -> None:
    with sink() as url, program("run", *LISTEN, "--sink", url) as running:
        with device(running.port("udp")) as sock:
            sock.send(b"hello")
            assert sock.recv(100) == b"hello"
        port, http = running.port("udp"), running.port("http")
        assert running.end() == 0
        assert free(port)
        assert free(http, socket.SOCK_STREAM)
    logs = [json.loads(line) for line in running.err]  # no terminal: JSON lines, and nothing else
    assert [log["severity"] for log in logs] == ["INFO"] * len(logs)
    assert running.out == []


def test_a_listener_that_hears_forged_addresses_says_so() -> None:
    with sink() as url, program("run", "--listen", "udp:0", "--http", "127.0.0.1:0", "--sink", url) as running:
        running.line(r"\bready\b")
        assert "addresses can be forged here" in running.text
    with sink() as url, program("run", *LISTEN, "--sink", url) as running:
        running.line(r"\bready\b")
        assert "forged" not in running.text
    with program("dev", ECHO, "--listen", "udp:0", "--http", "127.0.0.1:0") as running:
        running.line("udp +addresses can be forged here", 60)


def test_health_and_metrics_are_served() -> None:
    with program("run", *LISTEN, "--sink", "http://127.0.0.1:1/", "--name", "site-a") as running:
        base = running.url("http")
        assert get(f"{base}/health/live")[0] == 200
        status, body = get(f"{base}/health/ready")
        assert (status, json.loads(body)["endpoints"][0]["name"]) == (200, "udp")
        assert b"thinbridge" in get(f"{base}/metrics")[1]
        hangup = signal.SIGHUP if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else signal.SIGTERM
        assert running.end(hangup) == 0  # as when its terminal is closed


def test_the_file_and_the_environment_are_read(tmp_path: Path) -> None:
    file = tmp_path / "bridge.yaml"
    file.write_text("listen: [{url: 'udp://127.0.0.1:0', name: door}]\nhttp: {listen: '127.0.0.1:0'}\n", "utf-8")
    env = {
        "THINBRIDGE_CONFIG": str(file),
        "K_SINK": "http://127.0.0.1:1/",
        "K_CE_OVERRIDES": "",
        "THINBRIDGE_DRAIN": "1",
    }
    with program("run", "--log-format", "text", env=env) as running:
        assert running.port("door")
        running.line("INFO .*ready sink=http://127.0.0.1:1/")
        assert running.end(signal.SIGINT) == 0


@pytest.mark.parametrize(("env", "namespace"), [({}, None), ({"POD_NAMESPACE": "greenhouse"}, "greenhouse")])
def test_a_sink_hears_from_which_namespace_of_a_cluster(env: dict[str, str], namespace: str | None) -> None:
    heard: list[Message[str, str]] = []
    with (
        sink(heard=heard) as url,
        program("run", *LISTEN, "--sink", url, env=env) as running,
        device(running.port("udp")) as sock,
    ):
        sock.send(b"hello")
        assert sock.recv(100) == b"hello"
    assert [one.get("kn-namespace") for one in heard] == [namespace]
    assert heard[0]["ce-source"] == f"/apis/v1/namespaces/{namespace or 'local'}/bridges/bridge"


def test_what_is_open_is_finished_before_the_end() -> None:
    hold = Event()
    with sink(hold) as url, program("run", *LISTEN, "--sink", url) as running, device(running.port("udp")) as sock:
        sock.send(b"accepted")
        wait_for_exchange(running)
        running.process.send_signal(signal.SIGTERM)
        running.line("draining")
        assert get(f"{running.url('inbox')}/health/ready")[0] == 200  # drain included
        hold.set()
        assert sock.recv(100) == b"accepted"
        assert running.wait() == 0
    assert running.count("drained") == 1


def test_a_drain_ends_when_its_time_is_up() -> None:
    hold = Event()
    with sink(hold) as url, program("run", *LISTEN, "--sink", url, "--drain", "0.2") as running:
        with device(running.port("udp")) as sock:
            sock.send(b"never answered")
            wait_for_exchange(running)
            start = time.monotonic()
            assert running.end() == 0
            assert 0.2 <= seconds_since(start) < 5
        hold.set()
    assert running.count("ran out of time") == 1


def test_a_second_signal_ends_it_at_once() -> None:
    hold = Event()
    with sink(hold) as url, program("run", *LISTEN, "--sink", url) as running:
        with device(running.port("udp")) as sock:
            sock.send(b"never answered")
            wait_for_exchange(running)
            running.process.send_signal(signal.SIGTERM)
            running.line("draining")
            start = time.monotonic()
            assert running.end() == 130
            assert seconds_since(start) < 5
        hold.set()
    assert "Traceback" not in running.text


def test_without_its_binding_it_lives_and_is_not_ready() -> None:
    with program("run", *LISTEN, "--sink-from-binding") as running:
        running.line("waiting")
        base = running.url("http")
        assert get(f"{base}/health/live")[0] == 200
        status, body = get(f"{base}/health/ready")
        assert status == 503
        assert b"K_SINK" in body
        assert running.end() == 0


def mistake(*arguments: str, **env: str) -> str:
    """The one line of a start that fails."""
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, encoding="utf-8", timeout=20, env=environ(env), check=False
    )
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("Error: ").rstrip()


def test_a_bad_setting_is_one_line_and_2() -> None:
    assert mistake("run", "--listen", "upd:9000", "--sink", "http://127.0.0.1:1/").startswith(
        "--listen: upd:9000: unknown"
    )
    assert mistake("run", "--listen", "udp:9000", THINBRIDGE_SINK="nowhere").startswith("THINBRIDGE_SINK: nowhere: use")
    assert mistake("run", "--config", "missing.yaml").startswith("--config: missing.yaml: give a file")


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_taken_port_is_one_line_and_nothing_stays_open(kind: socket.SocketKind) -> None:
    scheme = "udp" if kind is socket.SOCK_DGRAM else "mqtt"
    with socket.socket(type=kind) as taken, socket.socket(type=socket.SOCK_DGRAM) as first:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        first.bind(("127.0.0.1", 0))
        before = first.getsockname()[1]
        first.close()
        url = f"{scheme}://127.0.0.1:{taken.getsockname()[1]}"
        listen = ("--listen", f"udp://127.0.0.1:{before}", "--listen", url)
        line = mistake("run", *listen, "--sink", "http://127.0.0.1:1/", "--http", "127.0.0.1:0")
        assert line.startswith(f"listen: {url}: Address already in use; ")
        assert free(before)


def wait_for_exchange(running: Program) -> None:
    """Until the bridge has a message on its way."""
    end = time.monotonic() + 10
    while json.loads(get(f"{running.url('inbox')}/health/ready")[1])["in_flight"] == 0:
        assert time.monotonic() < end
