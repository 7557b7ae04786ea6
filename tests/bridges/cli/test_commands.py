"""The commands as they are typed: help, send, protocols, routes."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest
import yaml
from tests.bridges.cli.processes import environ, program
from tests.bridges.cli.test_run import LISTEN, sink
from typer.testing import CliRunner

from thinbridge.cli.main import app
from thinbridge.protocols.mqtt import codec, connect, subscribe

COMMANDS = ("", "run", "dev", "send", "protocols", "protocols list", "routes", "routes explain")
CONFIG = """\
listen: ["coap:5683", "coap:5684?name=inside", "udp:9000"]
sink: {uri: http://sink/}
dead_letter: {uri: http://letters/}
routes:
  - {name: inner, endpoint: inside, mode: later}
  - {name: doors, type: dev.thinbridge.coap.*, subject: doors/*, sink: {uri: http://doors/}, mode: event}
"""


class Done(NamedTuple):
    """What a command left behind."""

    status: int
    stdout: bytes
    stderr: bytes


def thinbridge(*arguments: str, status: int = 0, stdin: bytes = b"") -> Done:
    """A command, run in this process: the others are run as processes in test_run.py and test_dev.py."""
    result = CliRunner().invoke(app, arguments, input=stdin)
    done = Done(result.exit_code, result.stdout_bytes, result.stderr_bytes)
    assert done.status == status, done
    return done


def refused(*arguments: str) -> str:
    """The one line of a command that can't be done."""
    line = thinbridge(*arguments, status=2).stderr.decode()
    assert line.startswith("Error: ")
    assert line.count("\n") == 1
    return line.removeprefix("Error: ").rstrip()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = thinbridge(*command.split(), "--help")
    assert b"Usage: " in done.stdout
    assert command in ("protocols", "routes") or b"Examples:\n    thinbridge " in done.stdout
    assert max(map(len, done.stdout.decode().splitlines())) <= 120


HELP = """\
import sys
sys.argv[1:] = ["dev", "--help"]
from thinbridge.cli import main
try:
    main()
except SystemExit:
    print([name for name in ("uvloop", "yaml", "watchfiles", "thinbridge.bridge") if name in sys.modules])
"""


def test_help_imports_nothing_heavy() -> None:
    """What makes it answer at once; seconds are no test, a machine may be busy."""
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, timeout=30, check=True)
    assert done.stdout.splitlines()[-1] == b"[]"


def test_version_and_completion() -> None:
    assert thinbridge("--version").stdout.startswith(b"thinbridge 0.")
    complete = environ({"_THINBRIDGE_COMPLETE": "complete_bash", "COMP_WORDS": "thinbridge pro", "COMP_CWORD": "1"})
    binary = Path(sys.executable).parent / "thinbridge"
    done = subprocess.run([binary], capture_output=True, timeout=30, env=complete, check=False)
    assert b"protocols" in done.stdout


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("run --mode ", "request event later"),
        ("dev --mode e", "event"),
        ("run --log-level ", "debug info warning error"),
        ("run --log-format ", "auto json text"),
        ("send -m P", "POST PUT PATCH"),
        ("send --method i", "iPATCH"),
        ("send --qos ", "0 1 2"),
        ("send -V ", "5 3.1.1"),
        ("protocols list -o ", "table json yaml"),
    ],
)
def test_completion_offers_what_a_flag_takes(words: str, offered: str) -> None:
    line = f"thinbridge {words}"
    complete = {
        "_THINBRIDGE_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    done = CliRunner().invoke(app, [], env=complete, prog_name="thinbridge")
    assert done.stdout.split() == offered.split()


def test_a_flag_that_is_none_is_2() -> None:
    done = thinbridge("run", "--lisen", "udp:9000", status=2)
    assert b"No such option: --lisen" in done.stderr


# --- send -------------------------------------------------------------------------------------------------------


def test_send_prints_data_on_stdout_and_the_word_for_it_on_stderr(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"from a file\x00")
    with sink() as url, program("run", *LISTEN, "--listen", "coap://127.0.0.1:0", "--sink", url) as running:
        udp, coap = running.url("udp"), running.url("coap")
        done = thinbridge("send", udp, "-d", "hello")
        assert (done.stdout, done.stderr) == (b"hello", b"reply\n")
        assert thinbridge("send", udp, "-d", f"@{file}").stdout == b"from a file\x00"
        assert thinbridge("send", udp, "-d", "-", stdin=b"\xff\xfe").stdout == b"\xff\xfe"
        assert thinbridge("send", udp, "-d", "x", "--count", "3").stdout == b"x\nx\nx"
        done = thinbridge("send", f"{coap}/a?b=c", "-m", "put", "-d", "21", "-t", "text/plain;charset=utf-8")
        assert (done.stdout, done.stderr[:4]) == (b"21", b"2.04")
        assert thinbridge("send", f"{coap}/a", "--non", "-d", "21").stdout == b"21"


def test_send_without_an_answer_is_1() -> None:
    with program("run", *LISTEN, "--listen", "coap://127.0.0.1:0", "--sink", "http://127.0.0.1:1/") as running:
        done = thinbridge("send", f"{running.url('coap')}/a", status=1)
        assert done.stderr.startswith(b"5.03")
        udp = running.url("udp")
        assert b"no answer" in thinbridge("send", udp, "-d", "x", "--timeout", "0.2", status=1).stderr
    assert b"Connection refused" in thinbridge("send", udp, "-d", "x", status=1).stderr


def test_send_is_done_at_the_puback_if_no_answer_follows() -> None:
    listen = ("--listen", "mqtt://127.0.0.1:0", "--http", "127.0.0.1:0", "--mode", "event")
    with sink() as url, program("run", *listen, "--sink", url) as running:
        for more in ((), ("--timeout", "0.5")):
            done = thinbridge("send", f"{running.url('mqtt')}/none", "-d", "x", *more)
            assert (done.stdout, done.stderr) == (b"", b"PUBACK, no answer on the response topic\n")


@contextmanager
def broker(*answers: bytes) -> Iterator[str]:
    """Answers one client's packets, each with the next of these; closes after one more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)

        def play() -> None:
            with server.accept()[0] as connection:
                connection.settimeout(30)
                for answer in answers:
                    connection.recv(100)
                    connection.sendall(answer)
                connection.recv(100)

        thread = Thread(target=play)
        thread.start()
        yield f"mqtt://127.0.0.1:{server.getsockname()[1]}/a"
        thread.join()


def test_send_says_what_a_closed_connection_kept_back() -> None:
    with broker(b"\x20\x02\x00\x00") as url:  # CONNACK
        done = thinbridge("send", url, "-V", "3.1.1", "-d", "x", status=1)
    assert done.stderr == b"connection closed before PUBACK\n"


@pytest.mark.parametrize("named", [True, False])
def test_send_takes_what_is_published_to_a_topic_that_was_named(named: bool) -> None:
    answers = connect.encode_connack(0, False, True), subscribe.encode_suback(codec.SUBACK, 1, [1], True)
    published = codec.encode_publish(codec.Publish("lamp", b"on"), True)
    with broker(*answers, published) as url:
        if named:
            done = thinbridge("send", url, "-d", "x", "--response-topic", "lamp")
            assert (done.stdout, done.stderr) == (b"on", b"PUBLISH\n")
        else:
            done = thinbridge("send", url, "-d", "x", "--timeout", "2", status=1)
            assert (done.stdout, done.stderr) == (b"", f"{url}: no answer\n".encode())


def test_send_with_words_that_are_none_is_2() -> None:
    assert refused("send", "http://127.0.0.1/").startswith("URL: http://127.0.0.1/: write it as coap://")
    assert refused("send", "udp://127.0.0.1", "-d", "@missing") == (
        "--data: @missing: give a file that can be read: No such file or directory"
    )
    assert refused("send", "udp://127.0.0.1", "--count", "0") == "--count: 0: use a whole number, 1 or more"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("mqtt://h/a?b -d x", "URL: mqtt://h/a?b: name a topic without wildcards, ? as %3F: mqtt://host/sensors/7"),
        ("mqtt://h/a#b -d x", "URL: mqtt://h/a#b: name a topic without wildcards, ? as %3F: mqtt://host/sensors/7"),
        ("mqtt://h/ -d x", "URL: mqtt://h/: name a topic without wildcards, ? as %3F: mqtt://host/sensors/7"),
        ("coap://h/a#b", "URL: coap://h/a#b: leave out the fragment; a # in a path is %23"),
        ("udp://h:9/a -d x", "URL: udp://h:9/a: UDP has no paths; write it as udp://h:9"),
        ("mqtt://h/a --qos 3", "--qos: 3: use a whole number, 0 to 2"),
        ("coap://h/a --timeout inf", "--timeout: inf: use a number, 0.001 or more"),
        ("coap://h/a --timeout soon", "--timeout: soon: use a number, 0.001 or more"),
        ("coap://h/a --qos 0", "--qos: 0: leave it out: coap has no such thing"),
        ("coap://h/a --observe -d x", "--observe: POST: observe by GET or FETCH"),
        ("mqtt://h/a --observe", "--observe: True: leave it out: mqtt has no such thing"),
        ("udp://h -d x --stay 3", "--stay: 3.0: leave it out: udp has no such thing"),
        ("mqtt://h/a --non", "--non: True: leave it out: mqtt has no such thing"),
        ("udp://h -t text/plain -d x", "--type: text/plain: leave it out: udp has no such thing"),
        ("mqtt://h/a -V 3.1.1 -t text/plain", "--type: text/plain: use it with MQTT 5 only"),
    ],
)
def test_send_refuses_what_it_would_lose(arguments: str, line: str) -> None:
    assert refused("send", *arguments.split()) == line


def test_a_summary_is_not_cut() -> None:
    for command in ("", "protocols", "routes"):
        commands = thinbridge(*command.split(), "--help").stdout.decode().partition("Commands:")[2]
        assert "..." not in commands
    assert b"<" not in thinbridge("send", "--help").stdout + thinbridge("dev", "--help").stdout


# --- protocols --------------------------------------------------------------------------------------------------


def test_protocols_list() -> None:
    lines = thinbridge("protocols", "list").stdout.decode().splitlines()
    assert lines[0].split() == ["NAME", "PORT", "OVER", "FROM", "EVENTS"]
    rows = {name: (port, over) for name, port, over, *_ in map(str.split, lines[1:])}
    assert rows["coap"] == ("5683", "udp")
    assert rows["coaps+tcp"] == ("5684", "tls")
    assert rows["coap+ws"] == ("80", "ws")
    assert rows["coaps+ws"] == ("443", "wss")
    assert rows["coap+tcp"] == ("5683", "tcp")
    assert ["udp", "9000", "udp", "thinbridge"] in [line.split()[:4] for line in lines]


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_protocols_list_for_programs(output: str) -> None:
    text = thinbridge("protocols", "list", "-o", output).stdout
    found = {one["name"]: one for one in (json.loads(text) if output == "json" else yaml.safe_load(text))}
    assert found["udp"]["options"]["idle"] == 300
    assert found["udp"]["events"][0]["type"] == "dev.thinbridge.udp.datagram"


def test_a_format_that_there_is_not_is_one_line() -> None:
    line = refused("protocols", "list", "-o", "xml")
    assert line == "--output: xml: use table, json or yaml"


def test_a_file_without_permission_is_our_own_line(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_text = Path.read_text

    def denied(path: Path, *arguments: Any, **more: Any) -> str:
        if path == config:
            raise PermissionError(13, "Permission denied")
        return read_text(path, *arguments, **more)

    monkeypatch.setattr("os.access", lambda *arguments, **more: False)  # typer's own check would ask it
    monkeypatch.setattr(Path, "read_text", denied)
    line = f"--config: {config}: give a file that can be read: Permission denied"
    assert refused("run", "--config", str(config)) == line
    assert refused("routes", "explain", "udp://127.0.0.1", "--config", str(config)) == line


# --- routes -----------------------------------------------------------------------------------------------------


def explained(config: Path, *arguments: str) -> dict[str, str]:
    done = thinbridge("routes", "explain", *arguments, "--config", str(config))
    pairs = (line.partition(":") for line in done.stdout.decode().splitlines())
    return {key: value.strip() for key, _, value in pairs}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "bridge.yaml"
    file.write_text(CONFIG, "utf-8")
    return file


def test_routes_explain_says_which_and_why(config: Path) -> None:
    assert explained(config, "coap://127.0.0.1/doors/7") == {
        "endpoint": "coap",
        "type": "dev.thinbridge.coap.request",
        "subject": "doors/7",
        "not": "routes[0] inner, since its endpoint is inside",
        "route": "routes[1] doors, since type dev.thinbridge.coap.* and subject doors/*",
        "sink": "http://doors/",
        "dead letter": "http://letters/",
        "mode": "event",
        "content": "auto",
        "timeout": "60 s",
    }


def test_routes_explain_knows_the_endpoint_by_port_and_by_name(config: Path) -> None:
    by_port = explained(config, "coap://127.0.0.1:5684/doors/7")
    assert by_port == explained(config, "coap://127.0.0.1/doors/7", "--endpoint", "inside")
    assert (by_port["route"], by_port["mode"]) == ("routes[0] inner, since endpoint inside", "later")


def test_routes_explain_knows_the_default(config: Path) -> None:
    udp = explained(config, "udp://127.0.0.1:9000", "--mode", "event")
    assert (udp["subject"], udp["route"], udp["mode"]) == ("udp", "the default, since no other route fits", "event")
    root = explained(config, "coap://127.0.0.1")
    assert (root["subject"], root["sink"]) == ("(none)", "http://sink/")


@pytest.mark.parametrize(
    ("url", "subject"),
    [
        ("coap://127.0.0.1/doors%2f7", "doors%2F7"),
        ("coap://127.0.0.1/a%20b/%c3%bc%ff/", "a b/ü%FF/"),
        ("coap://127.0.0.1//a?b=c", "/a"),
        ("mqtt://127.0.0.1/doors%2f7", "doors/7"),
        ("mqtt://127.0.0.1/%2fdoors", "/doors"),
        ("udp://127.0.0.1/", "udp"),
    ],
)
def test_routes_explain_has_the_subject_that_the_protocol_makes(url: str, subject: str) -> None:
    text = thinbridge("routes", "explain", url).stdout.decode()
    assert f"subject:     {subject}\n" in text
    assert ("retry for:   900 s\n" in text) is url.startswith("mqtt")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("udp://127.0.0.1/a", "URL: udp://127.0.0.1/a: UDP has no paths; write it as udp://127.0.0.1"),
        (
            "mqtt://127.0.0.1/",
            "URL: mqtt://127.0.0.1/: name a topic without wildcards, ? as %3F: mqtt://host/sensors/7",
        ),
        ("foo", "URL: foo: write it as a device does: coap://host/sensors/7"),
        ("coap://[::1/a", "URL: coap://[::1/a: write it as a device does: coap://host/sensors/7"),
        ("coap://h/a --type nope", "--type: nope: use one that coap has: dev.thinbridge.coap.request"),
    ],
)
def test_routes_explain_refuses_what_no_device_can_send(arguments: str, line: str) -> None:
    assert refused("routes", "explain", *arguments.split()) == line


def test_routes_explain_needs_no_file() -> None:
    text = thinbridge("routes", "explain", "mqtt://127.0.0.1/a/b").stdout.decode()
    assert "route:       the default, since there are no others\nsink:        (none yet: K_SINK)" in text


def test_routes_explain_says_what_it_cannot(config: Path) -> None:
    file = ("--config", str(config))
    known = "there are: coap (coap:5683), inside (coap:5684?name=inside), udp (udp:9000)"
    assert (
        refused("routes", "explain", "mqtt://127.0.0.1/a", *file)
        == f"URL: mqtt://127.0.0.1/a: no such endpoint; {known}"
    )
    assert refused("routes", "explain", "coap://127.0.0.1/a", "--endpoint", "x", *file) == (
        f"--endpoint: x: no such endpoint; {known}"
    )
    assert refused("routes", "explain", "smtp://127.0.0.1/a", *file).startswith(
        "URL: smtp://127.0.0.1/a: unknown protocol"
    )
