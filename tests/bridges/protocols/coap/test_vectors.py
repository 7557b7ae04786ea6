"""`coap.json` and `coap-cloudevents.json` in `tests/vectors/`, which another gateway could walk, too.

Bytes in → event out, HTTP answer in → bytes out.
"""

import json
import re
from pathlib import Path as FilePath
from typing import Any

import pytest

from thinbridge.delivery import Answer, Verdict
from thinbridge.events import decode
from thinbridge.mapping import to_reply
from thinbridge.protocols.base import LISTENER, Closed, Event, Inbound, Path, Session
from thinbridge.protocols.coap import CoAP, CoAPSettings
from thinbridge.routes import Mode, Route
from thinbridge.testing import Owner, seeded

VECTORS = FilePath(__file__).parents[3] / "vectors"
CASES: list[dict[str, Any]] = [
    case
    for name in ("coap.json", "coap-cloudevents.json")
    for case in json.loads((VECTORS / name).read_text("utf-8"))["cases"]
]

LENGTHS = {"mid": 2, "echo": 6}
"""Bytes of what the gateway chooses itself."""


def described(inbound: Inbound) -> dict[str, Any]:
    """A message as the vectors write it: what the protocol, and the device itself, says about its event."""
    event: dict[str, Any] = {"type": inbound.type, **inbound.attributes}
    del event["peer"]
    if inbound.subject is not None:
        event["subject"] = inbound.subject
    if inbound.content_type is not None:
        event["datacontenttype"] = inbound.content_type
    if inbound.event is not None:
        event["event"] = inbound.event
    event["data"] = inbound.data.hex()
    return event


def answered(step: dict[str, Any]) -> Answer:
    """An HTTP answer, as delivery judges it when it has tried for long enough."""
    status = step["status"]
    headers = [(name.encode(), value.encode()) for name, value in step.get("headers", {}).items()]
    body = bytes.fromhex(step.get("body", ""))
    event = decode(headers, body)
    seconds = step.get("headers", {}).get("retry-after")
    return Answer(verdict(status, event is not None, step), status, headers, body, event, seconds and float(seconds))


def verdict(status: int, is_event: bool, step: dict[str, Any]) -> Verdict:
    if not step.get("reached", True):
        return Verdict.UNREACHED
    if 200 <= status < 300:
        return Verdict.ACCEPTED
    if is_event:
        return Verdict.REFUSED
    if status >= 500 or status in (404, 408, 409, 429):
        return Verdict.UNKNOWN
    return Verdict.BAD_GATEWAY if status in (401, 403, 407) else Verdict.REFUSED


class Walk:
    """One case, step by step."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.now = 1000.0
        self.owner = Owner(CoAP(CoAPSettings(), seeded(1)), self._reported, self._sent)
        self.path = Path(("198.51.100.7", 40_000), ("192.0.2.1", 5683), LISTENER, False, case.get("proven", True))
        self.inbound: list[tuple[Session, Inbound]] = []
        self.sent: list[str] = []
        self.chosen: dict[str, str] = {}

    def _reported(self, session: Session, event: Event | Closed) -> None:
        if isinstance(event, Inbound):
            self.inbound.append((session, event))

    def _sent(self, data: bytes | None, path: Path) -> None:
        assert path == self.path
        assert data is not None
        self.sent.append(data.hex())

    def step(self, step: dict[str, Any]) -> None:
        """Do it, and compare."""
        known = len(self.inbound)
        self.sent.clear()
        if "device" in step:
            self.owner.datagram(bytes.fromhex(self._filled(step["device"])), self.path, self.now)
        if "answer" in step:
            session, inbound = self.inbound[step["answer"].get("message", -1)]
            reply = to_reply(answered(step["answer"]), Route(mode=Mode(step["answer"].get("mode", "request"))))
            assert self.owner.answer(session, inbound.exchange, reply, self.now)
        if "wait" in step:
            self._wait(step["wait"])
        self._compare(step.get("gateway", []))
        assert [described(inbound) for _, inbound in self.inbound[known:]] == step.get("events", [])

    def _wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (when := self.owner.next_timer()) is not None and when <= end:
            self.now = max(self.now, when)
            self.owner.handle_timers(self.now)
        self.now = end

    def _compare(self, expected: list[str]) -> None:
        assert len(self.sent) == len(expected), self.sent
        for data, text in zip(self.sent, expected, strict=True):
            pattern = re.sub(r"<(\w+)>", r"(?P<\1>[0-9a-f]*)", self._filled(text))
            found = re.fullmatch(pattern, data)
            assert found, f"{data} is not {text}"
            self.chosen |= found.groupdict()
        assert all(len(value) == 2 * LENGTHS[name] for name, value in self.chosen.items())

    def _filled(self, text: str) -> str:
        for name, value in self.chosen.items():
            text = text.replace(f"<{name}>", value)
        return text


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_case(case: dict[str, Any]) -> None:
    walk = Walk(case)
    for step in case["steps"]:
        walk.step(step)
    assert not walk.owner.faults


def test_the_vectors_are_many_and_each_has_a_name_and_a_clause() -> None:
    assert len(CASES) >= 40
    assert len({case["name"] for case in CASES}) == len(CASES)
    assert all(case["clause"] for case in CASES)
