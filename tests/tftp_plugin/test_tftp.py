"""The odd protocol: promises, a terrible network, its own fresh ports, and real peers, through an installation."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path as FilePath
from urllib.parse import unquote_to_bytes

import pytest
from tests.tftp_plugin.thinbridge_tftp import ACK, DATA, ERROR, RRQ, WRQ, TFTPSettings, Transfer
from tests.tftp_plugin.thinbridge_tftp import TFTP as Core

from thinbridge import registry
from thinbridge.device.base import Result
from thinbridge.protocols.base import (
    LISTENER,
    Closed,
    Endpoint,
    Entropy,
    Event,
    Inbound,
    Outcome,
    Path,
    Protocol,
    Reply,
    Session,
    Stateless,
)
from thinbridge.shells.datagram import DatagramShell
from thinbridge.testing import Conversation, Faults, Function, check_protocol, converse, seeded

HERE = FilePath(__file__).parent
LOCAL = "192.0.2.1", 69
PEER = "198.51.100.7", 40_000


def make(entropy: Entropy) -> Core:
    return Core(TFTPSettings(), entropy)


def request(opcode: int, name: bytes, mode: bytes = b"octet") -> bytes:
    return bytes((0, opcode)) + name + b"\0" + mode + b"\0"


def numbered(opcode: int, block: int, data: bytes = b"") -> bytes:
    return bytes((0, opcode)) + block.to_bytes(2, "big") + data


class Reader:
    """A TFTP client that reads one file: sans-IO, with its own retransmission (RFC 1350 §2)."""

    result: Result | None = None

    def __init__(self, name: bytes) -> None:
        self._last = request(RRQ, name)
        self._out = [self._last]
        self._content = b""
        self._block = 0
        self._timer = 0.0
        self._patience = 0.0

    def start(self, now: float) -> None:
        self._timer, self._patience = now + 2, now + 90

    def receive(self, data: bytes, now: float) -> None:
        if data[1] == ERROR:
            self.result = self.result or Result(False, f"ERROR {data[3]}")
        elif data[1] == DATA:
            block = int.from_bytes(data[2:4], "big")
            if block == self._block + 1:
                self._block += 1
                self._content += data[4:]
                if len(data) < 516:
                    self.result = Result(True, "read", None, self._content)
            if block == self._block:
                self._say(numbered(ACK, block), now)

    def _say(self, data: bytes, now: float) -> None:
        self._last, self._timer = data, now + 2
        self._out.append(data)

    def data_to_send(self) -> Sequence[bytes]:
        out, self._out = self._out, []
        return out

    def next_timer(self) -> float | None:
        return None if self.result else self._timer

    def handle_timer(self, now: float) -> None:
        if now > self._patience:
            self.result = Result(False, "timeout")
        else:
            self._say(self._last, now)


def label(inbound: Inbound) -> bytes:
    """A read has no payload: its message id is in the file's name."""
    return unquote_to_bytes(inbound.subject or "").removeprefix(b"message ")


def label_and_more(inbound: Inbound) -> bytes:
    """A file that names itself, two blocks long."""
    return label(inbound) + bytes(800)


def test_keeps_all_promises() -> None:
    check_protocol(
        make,
        Conversation("read", (request(RRQ, b"a.txt"),), repeat=0, follow=True),
        Conversation("write", (request(WRQ, b"a.txt"), numbered(DATA, 1, b"hello")), repeat=0, follow=True),
        Conversation(
            "write two blocks",
            (request(WRQ, b"a.txt"), numbered(DATA, 1, bytes(512)), numbered(DATA, 2)),
            repeat=0,
            follow=True,
        ),
    )


def test_reads_over_a_terrible_network() -> None:
    bad = Faults(loss=0.2, duplicate=0.2, reorder=0.2, jitter=0.2)
    whole = 0
    for seed in range(100):
        function = Function(seed, reply=label_and_more, latency=(0, 8), refuse=0.1)
        setting = {"up": bad, "down": bad, "function": function, "identify": label}
        world = converse(make, Reader, seed=seed, follow=True, fresh=True, messages=2, world=setting)
        assert not world.owner.live
        assert isinstance(world.protocol, Core)
        assert not world.protocol.transfers
        whole += len(world.ledger.replies)
    assert whole > 450  # of 600: a tenth is refused, the rest met more loss than five retransmissions bear


class Bench:
    """One core without a network."""

    def __init__(self, settings: TFTPSettings | None = None) -> None:
        self.core = Core(settings or TFTPSettings(), seeded(1))
        self.path = Path(PEER, LOCAL, LISTENER, False, True)

    def begin(self, data: bytes) -> Session:
        key = self.core.locate(data, self.path, 0.0)
        session = self.core.open(key, self.path, 0.0)
        session.receive(data, self.path, 0.0)
        return session


def said(session: Session) -> list[bytes]:
    return [data or b"" for data, _ in session.data_to_send()]


def test_answers_from_a_fresh_port() -> None:
    bench = Bench()
    session = bench.begin(request(WRQ, b"a"))
    [(data, path)] = session.data_to_send()
    assert (data, path.peer) == (numbered(ACK, 0), PEER)
    assert path.socket != LISTENER
    assert bench.core.locate(numbered(DATA, 1), path, 0.0) == bench.core.locate(request(WRQ, b"a"), bench.path, 0.0)


def test_a_wrong_tid_hears_error_5_and_disturbs_nothing() -> None:
    bench = Bench()
    [(_, path)] = bench.begin(request(WRQ, b"a")).data_to_send()
    stranger = path._replace(peer=("203.0.113.5", 1))
    assert bench.core.locate(numbered(DATA, 1), stranger, 0.0) == Stateless(b"\0\5\0\5\0")
    assert bench.core.locate(numbered(ERROR, 0), stranger, 0.0) is None  # an ERROR is never answered
    assert bench.core.counters["wrong_tid"] == 2


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"", Stateless(b"\0\5\0\4\0")),
        (numbered(ACK, 1), Stateless(b"\0\5\0\4\0")),
        (numbered(ERROR, 1), None),
        (request(RRQ, b"a", b"mail"), Stateless(b"\0\5\0\4\0")),
        (request(RRQ, b""), Stateless(b"\0\5\0\4\0")),
    ],
)
def test_no_request_opens_nothing(data: bytes, answer: Stateless | None) -> None:
    bench = Bench()
    assert bench.core.locate(data, bench.path, 0.0) == answer


def test_multicast_and_unproven_readers_get_nothing_much() -> None:
    bench = Bench()
    assert bench.core.locate(request(RRQ, b"a"), bench.path._replace(multicast=True), 0.0) is None
    assert bench.core.locate(request(RRQ, b"a"), bench.path._replace(verified=False), 0.0) == Stateless(
        b"\0\5\0\2unproven\0"
    )


@pytest.mark.parametrize(("status", "code"), [(404, 1), (403, 2), (413, 3), (500, 0)])
def test_a_refusal_is_an_error_packet(status: int, code: int) -> None:
    session = Bench().begin(request(RRQ, b"a"))
    assert session.answer(1, Reply(Outcome.REFUSED, status), 0.0)
    assert said(session)[0][:4] == numbered(ERROR, code)
    assert session.closed


def test_an_upload_over_the_limit_is_refused() -> None:
    bench = Bench(TFTPSettings(max_upload=600))
    session = bench.begin(request(WRQ, b"a"))
    [(_, path)] = session.data_to_send()
    session.receive(numbered(DATA, 1, bytes(512)), path, 0.0)
    session.receive(numbered(DATA, 2, bytes(512)), path, 0.0)
    assert said(session)[-1][:4] == numbered(ERROR, 3)
    assert session.next_event() is None


def test_a_file_of_whole_blocks_ends_with_an_empty_one() -> None:
    session = Bench().begin(request(RRQ, b"dir/a b"))
    event = session.next_event()
    assert isinstance(event, Inbound)
    assert event.subject == "dir/a%20b"
    session.answer(1, Reply(Outcome.ACCEPTED, 200, None, bytes(512)), 0.0)
    [(first, path)] = session.data_to_send()
    assert first == numbered(DATA, 1, bytes(512))
    session.receive(numbered(ACK, 1), path, 0.0)
    assert said(session) == [numbered(DATA, 2)]
    session.receive(numbered(ACK, 2), path, 0.0)
    assert session.closed


def test_old_acks_and_strange_packets_move_nothing() -> None:
    session = Bench().begin(request(RRQ, b"a"))
    session.answer(1, Reply(Outcome.ACCEPTED, 200, None, bytes(600)), 0.0)
    [(_, path)] = session.data_to_send()
    session.receive(numbered(ACK, 0), path, 0.0)
    session.receive(b"\0", path, 0.0)
    assert said(session) == []
    session.receive(numbered(DATA, 1), path, 0.0)  # illegal while reading
    assert said(session) == [b"\0\5\0\4\0"]
    assert session.closed


def test_the_peer_may_end_it() -> None:
    session = Bench().begin(request(RRQ, b"a"))
    assert isinstance(session, Transfer)
    session.receive(numbered(ERROR, 0), session._path, 0.0)
    assert session.closed
    assert not session.answer(1, Reply(Outcome.ACCEPTED), 0.0)


# --- Installed, and with real peers --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> FilePath:
    """The distribution, built and installed somewhere of its own."""
    target = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", target, HERE], check=True, timeout=50)
    return target


def test_the_registry_finds_it_with_no_change_elsewhere(installed: FilePath) -> None:
    code = "import json; from thinbridge import registry; print(json.dumps([[one.name, one.distribution, one.problem] \
for one in registry.installed()] + [registry.find('tftp').port]))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        check=True,
        text=True,
        timeout=20,
    )
    *found, port = json.loads(done.stdout)
    assert ["tftp", "thinbridge-tftp 0.1.0", ""] in found
    assert port == 69


FILES = {"config.txt": b"interval=60\n" * 200, "empty": b""}


class Files:
    """A function without a bridge: reads come from `FILES`, writes go to `written`."""

    def __init__(self) -> None:
        self.written: dict[str, bytes] = {}

    def __call__(self, endpoint: Endpoint, session: Session, event: Event | Closed) -> None:
        if not isinstance(event, Inbound) or event.subject is None:
            return
        asyncio.get_running_loop().call_soon(endpoint.answer, session, event.exchange, self._reply(event))

    def _reply(self, event: Inbound) -> Reply:
        assert event.subject is not None
        if event.type.endswith(".write"):
            self.written[event.subject] = event.data
            return Reply(Outcome.ACCEPTED, 204)
        content = FILES.get(event.subject)
        return Reply(Outcome.REFUSED, 404) if content is None else Reply(Outcome.ACCEPTED, 200, None, content)


async def run(*command: str, cwd: FilePath, stdin: bytes | None = None) -> tuple[int, bytes]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(stdin), 20)
    assert process.returncode is not None
    return process.returncode, output


async def serve(installed: FilePath, monkeypatch: pytest.MonkeyPatch) -> tuple[DatagramShell, Files]:
    monkeypatch.syspath_prepend(str(installed))
    registry._entries.cache_clear()  # a process asks once; this one has asked before it was installed
    protocol = registry.find("tftp")
    registry._entries.cache_clear()
    assert issubclass(protocol, Protocol)
    files = Files()
    shell = DatagramShell(protocol(protocol.Settings(), os.urandom, "tftp"), "tftp", "127.0.0.1", 0)
    await shell.open()
    shell.serve(files)
    return shell, files


@pytest.mark.peer("curl")
def test_curl_reads_and_writes(installed: FilePath, monkeypatch: pytest.MonkeyPatch, tmp_path: FilePath) -> None:
    async def main() -> None:
        shell, files = await serve(installed, monkeypatch)
        url = f"tftp://127.0.0.1:{shell.port}"
        assert await run("curl", "-s", f"{url}/config.txt", cwd=tmp_path) == (0, FILES["config.txt"])
        assert (await run("curl", "-s", f"{url}/missing", cwd=tmp_path))[0] == 68  # CURLE_TFTP_NOTFOUND
        (tmp_path / "report.bin").write_bytes(bytes(range(256)) * 5)
        assert (await run("curl", "-s", "-T", "report.bin", f"{url}/report.bin", cwd=tmp_path))[0] == 0
        assert files.written == {"report.bin": bytes(range(256)) * 5}
        await shell.close()

    asyncio.run(main())


@pytest.mark.peer("tftp")
def test_tftp_hpa_reads_and_writes(installed: FilePath, monkeypatch: pytest.MonkeyPatch, tmp_path: FilePath) -> None:
    async def main() -> None:
        shell, files = await serve(installed, monkeypatch)
        (tmp_path / "up.bin").write_bytes(b"u" * 1024)
        script = b"mode octet\nget config.txt\nget empty\nput up.bin\nget missing\nquit\n"
        _, output = await run("tftp", "127.0.0.1", str(shell.port), cwd=tmp_path, stdin=script)
        assert (tmp_path / "config.txt").read_bytes() == FILES["config.txt"]
        assert (tmp_path / "empty").read_bytes() == b""
        assert files.written == {"up.bin": b"u" * 1024}
        assert b"Error code 1" in output
        await shell.close()

    asyncio.run(main())
