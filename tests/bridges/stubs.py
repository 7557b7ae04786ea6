"""The smallest session and endpoint that there can be, for tests of rooms above them."""

from collections.abc import Callable, Mapping, Sequence

from thinbridge.protocols.base import (
    Decision,
    Endpoint,
    Event,
    OnEvent,
    Outbound,
    Path,
    PushResult,
    Reply,
    Sent,
    Session,
)


class StubSession(Session):
    """Says nothing, takes every answer."""

    id = "5e55"

    def receive(self, data: bytes, path: Path, now: float) -> None: ...

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        return True

    def close(self, reason: str, now: float) -> None:
        self.closed = True

    def next_event(self) -> Event | None:
        return None

    def data_to_send(self) -> Sequence[Sent]:
        return ()


class StubEndpoint(Endpoint):
    """An endpoint without a socket: a test plays the devices through `report`, and reads what they were answered."""

    url = "stub://"
    protocol = "stub"

    def __init__(self, name: str = "stub") -> None:
        self.name = name
        self.report: OnEvent
        self.answers: list[tuple[Session, int, Reply]] = []
        self.pushes: list[tuple[Session, int | None, Outbound]] = []
        self.published: list[tuple[str, Outbound]] = []
        self.decisions: list[Decision] = []
        self.push_result = PushResult.DELIVERED
        self.takes_answers = True
        self.life: list[str] = []
        self.fails: Exception | None = None
        self.unsettled = 0  # how often a drain finds it so

    async def open(self) -> None:
        if self.fails:
            raise self.fails
        self.life.append("open")

    def serve(self, on_event: OnEvent) -> None:
        self.report = on_event
        self.life.append("serve")

    def answer(self, session: Session, exchange: int, reply: Reply) -> bool:
        self.answers.append((session, exchange, reply))
        return self.takes_answers

    def push(
        self, session: Session, target: int | None, outbound: Outbound, done: Callable[[PushResult], None]
    ) -> None:
        self.pushes.append((session, target, outbound))
        done(self.push_result)

    def authorized(self, session: Session, decision: Decision) -> None:
        self.decisions.append(decision)

    async def publish(self, subject: str, outbound: Outbound) -> int:
        self.published.append((subject, outbound))
        return 3

    def drain(self) -> None:
        self.life.append("drain")

    @property
    def settled(self) -> bool:
        self.unsettled -= 1
        return self.unsettled < 0

    async def close(self) -> None:
        self.life.append("close")

    @property
    def sessions(self) -> int:
        return 0

    @property
    def counters(self) -> Mapping[str, int]:
        return {}
