"""`tests/vectors/udp.json`: bytes in → event out, HTTP answer in → bytes out. Another gateway could walk it too."""

import json
from pathlib import Path as FilePath
from typing import Any

import pytest

from thinbridge import contract
from thinbridge.delivery import Answer, Verdict
from thinbridge.events import decode
from thinbridge.mapping import to_reply
from thinbridge.protocols.base import LISTENER, Closed, Event, Inbound, Outbound, Path, PushResult, Session
from thinbridge.protocols.udp import UDP, UDPSettings
from thinbridge.routes import Mode, Route
from thinbridge.testing import Owner, seeded

FILE = FilePath(__file__).parents[2] / "vectors" / "udp.json"
CASES: list[dict[str, Any]] = json.loads(FILE.read_text("utf-8"))["cases"]


def described(inbound: Inbound) -> dict[str, str]:
    """A message as the vectors write it: what the protocol says about its event."""
    event = {"type": inbound.type, **inbound.attributes}
    del event["peer"]
    assert inbound.subject is not None
    media_type = inbound.content_type or contract.OCTET_STREAM
    return event | {"subject": inbound.subject, "datacontenttype": media_type, "data": inbound.data.hex()}


def answered(step: dict[str, Any]) -> Answer:
    """An HTTP answer, as delivery judges it when it has tried for long enough."""
    status = step["status"]
    if not step.get("reached", True):
        verdict = Verdict.UNREACHED
    elif status < 300:
        verdict = Verdict.ACCEPTED
    else:
        verdict = Verdict.UNKNOWN if status >= 500 else Verdict.REFUSED
    headers = [(name.encode(), value.encode()) for name, value in step.get("headers", {}).items()]
    body = bytes.fromhex(step.get("body", ""))
    return Answer(verdict, status, headers, body, decode(headers, body), None)


class Walk:
    """One case, step by step."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.now = 1000.0
        self.owner = Owner(UDP(UDPSettings(), seeded(1)), self._reported, self._sent)
        self.path = Path(("198.51.100.7", 40_000), ("192.0.2.1", 9000), LISTENER, False, case.get("proven", True))
        self.inbound: list[tuple[Session, Inbound]] = []
        self.sent: list[str] = []
        self.pushed: list[PushResult] = []

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
            self.owner.datagram(bytes.fromhex(step["device"]), self.path, self.now)
        if "answer" in step:
            session, inbound = self.inbound[step["answer"].get("message", -1)]
            reply = to_reply(answered(step["answer"]), Route(mode=Mode(step["answer"].get("mode", "request"))))
            assert self.owner.answer(session, inbound.exchange, reply, self.now)
        if "push" in step:
            outbound = Outbound(None, bytes.fromhex(step["push"]["data"]))
            self.owner.push(self.inbound[-1][0], None, outbound, self.pushed.append, self.now)
            assert self.pushed.pop().value == step["push"]["result"]
        self.now += step.get("wait", 0)
        self.owner.handle_timers(self.now)
        assert self.sent == step.get("gateway", [])
        assert [described(inbound) for _, inbound in self.inbound[known:]] == step.get("events", [])


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_case(case: dict[str, Any]) -> None:
    walk = Walk(case)
    for step in case["steps"]:
        walk.step(step)
    assert not walk.owner.faults


def test_each_vector_has_a_name_and_a_clause() -> None:
    assert len({case["name"] for case in CASES}) == len(CASES)
    assert all(case["clause"] for case in CASES)
