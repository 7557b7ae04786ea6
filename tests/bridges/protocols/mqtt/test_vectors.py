"""`tests/vectors/mqtt.json`: bytes in → event out, HTTP answer in → bytes out. Another gateway could walk it too."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.bridges.protocols.mqtt.bench import Bench, Line

from thinbridge.delivery import Answer, Verdict
from thinbridge.events import decode
from thinbridge.mapping import to_reply
from thinbridge.protocols.base import Inbound, Outbound
from thinbridge.protocols.mqtt import wire
from thinbridge.routes import Mode, Route

FILE = Path(__file__).parents[3] / "vectors" / "mqtt.json"
CASES: list[dict[str, Any]] = json.loads(FILE.read_text())["cases"]


def described(inbound: Inbound) -> dict[str, str]:
    """A message as the vectors write it: what the protocol says about its event."""
    event = {"type": inbound.type, **dict(inbound.attributes), **dict(inbound.event or {})}
    if inbound.subject is not None:
        event.setdefault("subject", inbound.subject)
    if inbound.content_type is not None:
        event["datacontenttype"] = inbound.content_type
    if inbound.expires is not None:
        event["expires"] = f"{inbound.expires:g}"
    event["data"] = inbound.data.hex()
    return event


def answered(step: dict[str, Any]) -> Answer:
    """An HTTP answer, as delivery judges it when it has tried for long enough."""
    status = step["status"]
    if status < 300:
        verdict = Verdict.ACCEPTED
    elif status >= 500 or status in (404, 408, 409, 429):
        verdict = Verdict.UNKNOWN
    else:
        verdict = Verdict.REFUSED
    headers = [(name.encode(), value.encode()) for name, value in step.get("headers", {}).items()]
    body = bytes.fromhex(step.get("body", ""))
    return Answer(verdict, status, headers, body, decode(headers, body), None)


class Walk:
    """One case, step by step."""

    def __init__(self, case: dict[str, Any], whole: bool) -> None:
        self.bench = Bench(**case.get("settings", {}))
        self.whole = whole
        self.line: Line = self.bench.line()
        self.seen = 0

    def step(self, step: dict[str, Any]) -> None:
        """Do it, and compare."""
        bench = self.bench
        if "connect" in step:
            self.line = bench.line()
        if "device" in step:
            self._send(bytes.fromhex(step["device"]))
        if "answer" in step:
            mode = Mode(step["answer"].get("mode", "request"))
            number = step["answer"].get("message", len(bench.inbound) - 1)
            bench.answer(number, to_reply(answered(step["answer"]), Route(mode=mode)))
        if "push" in step:
            self._push(step["push"])
        if "wait" in step:
            bench.wait(step["wait"])
        if "cut" in step:
            self.line.cut()
        assert self.line.raw().hex() == step.get("gateway", "").replace(" ", "")
        assert self.line.closed is step.get("closed", False)
        assert [described(inbound) for inbound in bench.messages[self.seen :]] == step.get("events", [])
        self.seen = len(bench.inbound)

    def _send(self, data: bytes) -> None:
        for piece in [data] if self.whole else [bytes((byte,)) for byte in data]:
            self.line.send(piece)

    def _push(self, push: dict[str, Any]) -> None:
        attributes = push.get("attributes", {})
        outbound = Outbound(push.get("datacontenttype"), bytes.fromhex(push["data"]), attributes, is_event=True)
        self.bench.push(outbound, push.get("exchange"), next(iter(self.bench.protocol.sessions)))
        if "result" in push:
            assert self.bench.pushed[-1].value == push["result"]


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "bytewise"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_case(case: dict[str, Any], whole: bool) -> None:
    walk = Walk(case, whole)
    for step in case["steps"]:
        walk.step(step)
    walk.bench.check()


def test_the_vectors_are_many_and_each_has_a_name_and_a_clause() -> None:
    assert len(CASES) >= 40
    assert len({case["name"] for case in CASES}) == len(CASES)
    assert all(case["clause"] for case in CASES)


@pytest.mark.parametrize("tail", ["c0", "3005", "ffffffffff"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_packets_do_not_depend_on_what_follows(case: dict[str, Any], tail: str) -> None:
    for data in [bytes.fromhex(step["device"]) for step in case["steps"] if "device" in step]:
        alone = wire.Framer(1 << 20).feed(data)
        assert wire.Framer(1 << 20).feed(data + bytes.fromhex(tail))[: len(alone)] == alone
