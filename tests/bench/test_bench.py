"""The bench runs: every case for a fraction of a second, with both kinds of load. No speed is judged here."""

import json
import socket
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console
from tests.bench import bench
from tests.bench.processes import HERE, Load, compiled
from tests.bench.rounds import FLOOR, THINBRIDGE, Result, Round
from tests.bench.suite import Options, Suite
from tests.bench.suites import round_trips
from tests.bench.suites.round_trips import CASES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads CPU time of other processes as Linux gives it")

IN_PYTHON = [sys.executable, str(HERE / "load.py")]


@pytest.mark.parametrize("case", CASES)
def test_a_short_bench_of_everybody(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = bench.main(["--only", case, "--rounds", "1", "--seconds", "0.2", "--json", str(tmp_path / "b.json")])
    printed = capsys.readouterr().out
    assert status == 0, printed
    result = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))["suites"][case]
    assert list(result["rounds"]) == list(CASES[case].bridges)
    for (one,) in result["rounds"].values():
        assert one["messages"] > 20
        assert one["posts"] == one["messages"]
        assert 1 < one["cpu_us_per_message"] < 100_000
    assert f"at most {CASES[case].target} × floor; measured" in printed


SMALL = [suite for suite in bench.suites() if suite.name not in CASES]


@pytest.mark.parametrize("suite", [pytest.param(suite, id=suite.name) for suite in SMALL])
def test_a_little_of_every_other_suite(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    table = suite.measure(Options(rounds=1, seconds=0.2, scale=0.01), lambda line: None)
    assert table.rows
    assert not table.wrong
    table.show(Console(width=200))
    assert table.title in capsys.readouterr().out


@pytest.mark.parametrize("case", CASES)
def test_the_load_without_a_compiler(
    case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(round_trips, "compiled", lambda folder: IN_PYTHON)
    assert bench.main(["--only", case, "--peer", "floor", "--rounds", "1", "--seconds", "0.2"]) == 0
    assert "Load and sink in PYTHON" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["c", "python"])
def test_an_answer_before_the_sink_s_is_seen(kind: str, tmp_path: Path) -> None:
    """An echo that asks nobody: what a bridge must never be."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as echo:
        echo.bind(("127.0.0.1", 0))
        echo.settimeout(2)
        thread = threading.Thread(target=_echo, args=(echo,))
        with Load([*(compiled(str(tmp_path)) if kind == "c" else IN_PYTHON), "udp"], 0) as load:
            load.sink()
            thread.start()
            counted = load.round(echo.getsockname()[1], 1.0)
        thread.join(5)
    assert counted["posts"] == 0
    assert counted["early"] == counted["messages"] > 0


def _echo(sock: socket.socket) -> None:
    """Until nothing came for a while."""
    while True:
        try:
            sock.sendto(*sock.recvfrom(2048))
        except TimeoutError:
            return


def test_a_bridge_that_does_not_start_is_said_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(CASES["udp"].bridges, THINBRIDGE, lambda case, sink: [sys.executable, "-c", "exit('no way')"])
    assert bench.main(["--only", "udp", "--peer", THINBRIDGE, "--rounds", "1", "--seconds", "0.1"]) == 1
    assert "thinbridge: does not start: no way" in capsys.readouterr().out


def test_an_earlier_bridge_takes_turns(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--only", "udp", "--peer", THINBRIDGE, "--rounds", "1", "--seconds", "0.2", "--against"]
    assert bench.main([*flags, "HEAD"]) == 0
    assert "× thinbridge HEAD\n" in capsys.readouterr().out
    assert bench.main([*flags, "nothing"]) == 1
    assert "thinbridge nothing: fatal: not a valid object name: nothing" in capsys.readouterr().out


def _rounds(*microseconds: float, lost: int = 0) -> list[Round]:
    load = {"messages": 1000, "seconds": 1.0, "lost": lost, "wrong": 0, "early": 0, "repeated": 0}
    return [Round(load, each / 1e3, 1) for each in microseconds]


def test_the_target_is_judged_by_the_median_of_neighbours() -> None:
    result = Result(CASES["udp"], {THINBRIDGE: _rounds(30, 34, 90), FLOOR: _rounds(20, 20, 50)})
    assert result.verdict() == "target: at most 1.7 × floor; measured 1.70 (1.50–1.80): met"
    result = Result(CASES["udp"], {THINBRIDGE: _rounds(35), FLOOR: _rounds(20)})
    assert result.verdict().endswith("1.75 (1.75–1.75): NOT MET")
    assert Result(CASES["udp"], {FLOOR: _rounds(20)}).verdict().endswith("not measured")


def test_a_lost_message_of_ours_is_a_fault_and_one_of_a_peer_is_not() -> None:
    assert Result(CASES["udp"], {THINBRIDGE: _rounds(30, lost=2)}).wrong() == ["2 messages lost"]
    assert Result(CASES["udp"], {"asyncio+aiohttp": _rounds(30, lost=2)}).wrong() == []


def test_the_list_names_every_suite(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [one.name for one in bench.suites()]
    assert bench.main(["--only", "nothing"]) == 2
    assert "no suite is called nothing" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--rounds", "0"], ["--seconds", "0"], ["--rounds", "9", "--seconds", "60"]])
def test_rounds_are_bounded(flags: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench.main(flags)
