"""`thinbridge dev` as a process: at zero, a demo, a change, a mistake, a taken port, the end."""

import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.bridges.cli.processes import Program, free, program, seconds_since
from tests.bridges.cli.test_run import mistake
from tests.waiting import until_now

from thinbridge.cli.dev.function import STOP_LIMIT
from thinbridge.cli.dev.stage import impatient
from thinbridge.cli.message import Message
from thinbridge.device.base import Result
from thinbridge.routes import Mode, Route
from thinbridge.settings import load

ECHO = str(Path(__file__).parents[3] / "functions" / "examples" / "echo")
HERE = (
    *("--listen", "coap://127.0.0.1:0", "--listen", "mqtt://127.0.0.1:0", "--listen", "udp://127.0.0.1:0"),
    *("--http", "127.0.0.1:0"),
)
HANDLER = "from thinbridge_functions import handler\n\n@handler\ndef on(event):\n    return b'old'\n"


@contextmanager
def dev(*arguments: str) -> Iterator[Program]:
    with program("dev", *arguments, *HERE) as running:
        running.line("Ctrl-C ends it", 60)
        yield running


def say(url: str, data: bytes = b"hello", timeout: float = 20) -> Result:
    result = Message(url, data).send(timeout)
    assert result is not None, url
    return result


def written(folder: Path, text: str) -> Path:
    file = folder / "main.py"
    file.write_text(text, "utf-8")
    return file


def test_all_three_protocols_come_back_from_a_function_at_zero() -> None:
    with dev(ECHO, "--cold-start", "0.5", "--idle", "1") as running:
        assert running.count("function  starting") == 0
        assert running.count("function  serves .*echo/main.py: echo") == 1
        start = time.monotonic()
        assert say(f"{running.url('coap')}/sensors/7") == Result(True, "2.04", "application/octet-stream", b"hello")
        assert seconds_since(start) >= 0.5
        assert say(f"{running.url('mqtt')}/sensors/7").data == b"hello"
        assert say(running.url("udp")).data == b"hello"
        running.line(r"function  stopped, idle for 1 s")
        assert say(running.url("udp"), b"again").data == b"again"
        assert running.count("function  starting, 0.5 s cold start") == 2
        running.line(r"coap +127.0.0.1:\d+ POST sensors/7 hello → dev.thinbridge.coap.request → 200, .*s → 2.04 hello")
        running.line(r"mqtt +send-[0-9a-f]+ sensors/7 hello → dev.thinbridge.mqtt.message → 200, .* → hello")
        running.line(r"udp +127.0.0.1:\d+ again → dev.thinbridge.udp.datagram → 200, .* → again")
        ports = {name: running.port(name) for name in ("coap", "mqtt", "udp", "http")}
        assert running.end() == 0
    assert all(free(ports[name]) for name in ("coap", "udp"))
    assert all(free(ports[name], socket.SOCK_STREAM) for name in ("mqtt", "http"))
    assert "Traceback" not in running.text
    assert "Warning" not in running.text


def test_the_demo_and_the_banner_are_what_one_types() -> None:
    with dev(ECHO, "--demo") as running:
        assert running.count(r"^\$ .*thinbridge.* send (coap|mqtt|udp)://127\.0\.0\.1:\d+") == 3
        assert running.count("^hello$") == 3
        udp = running.port("udp")
        assert running.count(rf"^  echo -n hello \| nc -u -w 3 127\.0\.0\.1 {udp}$") == 1
        assert running.end(signal.SIGINT) == 0


@pytest.mark.parametrize("asynchronous", [False, True])
def test_killed_it_leaves_no_function_behind(tmp_path: Path, asynchronous: bool) -> None:
    text = HANDLER.replace("def on", "async def on") if asynchronous else HANDLER
    hold = "import socket\nheld = socket.socket()\nheld.bind(('127.0.0.1', 0))\n"
    written(tmp_path, hold + text.replace("b'old'", "str(held.getsockname()[1])"))
    with dev(str(tmp_path)) as running:
        port = int(say(running.url("udp")).data)
        assert not free(port, socket.SOCK_STREAM)
        running.process.kill()
        until_now(lambda: free(port, socket.SOCK_STREAM))


def test_a_change_takes_effect_with_the_next_message(tmp_path: Path) -> None:
    file = written(tmp_path, HANDLER)
    with dev(str(tmp_path)) as running:
        assert say(running.url("udp")).data == b"old"
        file.write_text(HANDLER.replace("old", "new"), "utf-8")
        running.line("main.py changed")
        assert say(running.url("udp")).data == b"new"


def test_a_mistake_in_the_code_is_readable_and_a_correction_enough(tmp_path: Path) -> None:
    file = written(tmp_path, HANDLER + "a mistake\n")
    with dev(str(file)) as running:
        assert running.count(r"can't start: main.py:6: SyntaxError: invalid syntax; mend it") == 1
        result = say(f"{running.url('coap')}/sensors/7")
        assert (result.ok, result.code[:3]) == (False, "5.0")
        running.line(r"→ 503, gave up, .* → 5.04 not done, the function did not start")
        running.line(r"did not start: SyntaxError: invalid syntax; messages are kept and tried again")
        assert running.count("a mistake") == 1
        assert running.count("site-packages") == 0
        assert "sink http" not in running.text
        file.write_text(f"{HANDLER}more mistakes\n", "utf-8")
        running.line(r"function  main.py:6: SyntaxError")
        file.write_text(HANDLER, "utf-8")
        until_now(
            lambda: (
                Message(f"{running.url('coap')}/sensors/7", b"hello").send(10)
                == Result(True, "2.04", "application/octet-stream", b"old")
            )
        )


def test_a_broken_handler_is_told_once_and_so_is_its_message(tmp_path: Path) -> None:
    file = written(tmp_path, HANDLER.replace("return b'old'", "raise KeyError('nope')"))
    with dev(str(file)) as running:
        assert Message(f"{running.url('mqtt')}/sensors/7", b"hello").send(2) is None
        running.line(r"mqtt .* sensors/7 hello → dev.thinbridge.mqtt.message → 500 → kept and tried again")
        running.line(r"\| the same again")
        assert running.count(r"\| Traceback") == 1
        assert running.count("kept and tried again") == 1


def test_a_message_that_its_device_keeps_is_not_tried_for_long() -> None:
    settings = impatient(load({"listen": ["udp"], "sink": "http://sink/", "mode": "event"}, {}))
    assert settings.routes == (Route(mode=Mode.EVENT, retry_for=30),)


def test_a_function_that_dies_is_started_again(tmp_path: Path) -> None:
    text = HANDLER.replace(
        "    return",
        "    import os, signal\n    if event.data == b'die': os.kill(os.getppid(), signal.SIGKILL)\n    return",
    )
    written(tmp_path, text)
    with dev(str(tmp_path)) as running:
        Message(running.url("udp"), b"die").send(3)
        running.line("ended with status -9; the next message starts it")
        assert say(running.url("udp")).data == b"old"


def test_open_work_is_finished_before_the_end(tmp_path: Path) -> None:
    slow = HANDLER.replace("    return", "    import time\n    print('at it')\n    time.sleep(1)\n    return")
    written(tmp_path, slow)
    with dev(str(tmp_path)) as running, socket.socket(type=socket.SOCK_DGRAM) as device:
        device.settimeout(10)
        device.connect(("127.0.0.1", running.port("udp")))
        device.send(b"hello")
        running.line("at it")
        running.process.send_signal(signal.SIGTERM)
        assert device.recv(100) == b"old"
        assert running.wait() == 0
        assert running.count("bridge +done") == 1


def test_a_second_signal_ends_it_at_once_and_the_function_too(tmp_path: Path) -> None:
    stuck = HANDLER.replace(
        "    return", "    import os, time\n    print('pid', os.getpid())\n    time.sleep(60)\n    return"
    )
    written(tmp_path, stuck)
    with dev(str(tmp_path)) as running, socket.socket(type=socket.SOCK_DGRAM) as device:
        device.connect(("127.0.0.1", running.port("udp")))
        device.send(b"hello")
        pid = int(running.line(r"\| pid (\d+)")[1])
        running.process.send_signal(signal.SIGTERM)
        running.line("draining, up to 15 s, for 1 message; again to end at once")
        start = time.monotonic()
        assert running.end() == 130
        assert seconds_since(start) < STOP_LIMIT
        until_now(
            lambda: not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/stat").read_text("utf-8").split()[2] == "Z"
        )


@contextmanager
def held(kind: socket.SocketKind) -> Iterator[int]:
    """A port that somebody else has."""
    with socket.socket(type=kind) as sock:
        sock.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            sock.listen()
        yield sock.getsockname()[1]


@pytest.mark.parametrize("name", ["udp", "http"])
def test_a_taken_port_names_the_flag_that_works(name: str) -> None:
    with held(socket.SOCK_DGRAM if name == "udp" else socket.SOCK_STREAM) as port:
        udp, http = (port, 0) if name == "udp" else (0, port)
        listen = ("--listen", "mqtt://127.0.0.1:0", "--listen", f"udp://127.0.0.1:{udp}?idle=9")
        line = mistake("dev", ECHO, *listen, "--http", f"127.0.0.1:{http}")
    problem, _, flags = line.partition("; use ")
    *before, last = flags.split()
    last = re.sub(r":\d+", ":PORT", last)
    if name == "udp":
        assert problem == f"--listen: udp://127.0.0.1:{port}: Address already in use"
        assert (*before, last) == ("--listen", "mqtt://127.0.0.1:0", "--listen", "udp://127.0.0.1:PORT?idle=9")
    else:
        assert (problem, *before) == (f"--http: 127.0.0.1:{port}: Address already in use", "--http")
        assert last == "127.0.0.1:PORT"


def test_where_all_ports_are_taken_the_flags_work_in_one_go() -> None:
    udp, tcp = socket.SOCK_DGRAM, socket.SOCK_STREAM
    with held(udp) as coap, held(udp) as plain, held(tcp) as mqtt, held(tcp) as http:
        listen = (f"--listen=coap://127.0.0.1:{coap}", f"--listen=mqtt://127.0.0.1:{mqtt}")
        more = (f"--listen=udp://127.0.0.1:{plain}", f"--http=127.0.0.1:{http}")
        flags = mistake("dev", ECHO, *listen, *more).partition("; use ")[2].split()
        with program("dev", ECHO, *flags) as running:
            running.line("Ctrl-C ends it", 60)
            ports = {name: running.port(name) for name in ("coap", "mqtt", "udp", "http")}
    assert len(flags) == 8
    assert ports["coap"] > coap
    assert ports["udp"] > plain
    assert ports["coap"] != ports["udp"]
    assert ports["mqtt"] > mqtt
    assert ports["http"] > http
    assert ports["mqtt"] != ports["http"]


def test_a_port_that_is_not_free_to_take_is_one_line_too() -> None:
    line = mistake("dev", ECHO, "--listen", "udp://192.0.2.1:9000", "--http", "127.0.0.1:0")
    assert line == "listen: udp://192.0.2.1:9000: Cannot assign requested address; choose another port or address"


def test_a_path_without_a_function_is_one_line(tmp_path: Path) -> None:
    assert mistake("dev", str(tmp_path)).startswith(f"PATH: {tmp_path}: give a Python file, or a folder with a main.py")
    assert mistake("dev", ECHO, "--drain", "soon") == "--drain: soon: use a number"


def test_what_no_device_gets_is_no_success(tmp_path: Path) -> None:
    reply = "Reply(b'on', mqtt_topic='lamp/command') if event.subject == 'lamp' else b'x' * 5000"
    written(tmp_path, HANDLER.replace("import handler", "import Reply, handler").replace("b'old'", reply))
    with dev(str(tmp_path)) as running:
        Message(f"{running.url('mqtt')}/lamp", b"hello", version="3.1.1").send(20)
        running.line("200, .* → answer dropped: not_subscribed")
        Message(running.url("udp"), b"hello").send(0.1)
        running.line("200, .* → answer dropped: reply_too_large")


def test_a_later_without_its_mode_is_told(tmp_path: Path) -> None:
    written(tmp_path, HANDLER.replace("import handler", "import handler, later").replace("b'old'", "later()"))
    with dev(str(tmp_path)) as running:
        say(f"{running.url('coap')}/a")
        running.line("202, .* → 2.04 done; 202, but this route's mode is request: see --mode later")
