"""`tests/vectors/mqtt-bad.json`: bytes that no client may send, with the clause, the reason code, and the end."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.bridges.protocols.mqtt.bench import V5, V311, Bench, Line, codes

from thinbridge.protocols.mqtt import codec, connect, wire
from thinbridge.protocols.mqtt.connect import Connect

FILE = Path(__file__).parents[3] / "vectors" / "mqtt-bad.json"
CASES: list[dict[str, Any]] = json.loads(FILE.read_text("utf-8"))["cases"]

KINDS = {name: getattr(codec, name) for name in (
    "CONNACK", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBACK", "UNSUBACK", "DISCONNECT",
)}  # fmt: skip


def check(case: dict[str, Any], line: Line, v5: bool) -> None:
    """Compare what a device has heard."""
    packets = wire.Framer(wire.MAX_REMAINING).feed(line.raw())
    kinds = [first >> 4 for first, _ in packets]
    assert kinds == ([KINDS[case["answer"]]] if "answer" in case else [])
    for first, body in packets:
        assert codes(first >> 4, body, v5)[:1].hex() == case.get("reason", "")
    assert line.closed is case["closed"]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_case(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["device"])
    play(case, [data])
    play(case, [data[i : i + 1] for i in range(len(data))])


def play(case: dict[str, Any], pieces: list[bytes]) -> None:
    """A device sends the bytes in pieces; another one doesn't notice."""
    v5 = case["version"] == "5"
    bench = Bench()
    other = bench.connect("other")
    line = bench.line()
    line.v5 = v5
    if case.get("hello", True):
        line.send(connect.encode_connect(Connect("d1", V5 if v5 else V311)))
        line.raw()
    for piece in pieces:
        line.send(piece)
    check(case, line, v5)
    assert len(bench.messages) == case.get("events", 0)
    assert not other.closed
    other.send(codec.PING)
    assert other.raw() == codec.PONG
    bench.check()


def test_the_vectors_are_many_and_each_has_a_name_and_a_clause() -> None:
    assert len(CASES) >= 800
    assert len({case["name"] for case in CASES}) == len(CASES)
    assert all(case["clause"].startswith(("MQTT", "CloudEvents")) for case in CASES)


def test_every_packet_type_is_there() -> None:
    for version in ("3.1.1", "5"):
        first = {int(case["device"][0], 16) for case in CASES if case["version"] == version and case.get("hello", True)}
        assert first == set(range(16))
