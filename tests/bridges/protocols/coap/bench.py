"""A CoAP endpoint in virtual time, and the words in which tests speak to it."""

from typing import Any, Generic, TypeVar

from thinbridge.protocols.base import Closed, Inbound, Outcome, Path, Reply, Session
from thinbridge.protocols.base import Event as Reported
from thinbridge.protocols.coap import CoAP, CoAPSession, CoAPSettings
from thinbridge.protocols.coap.codec import Message, OptionValue, decode, encode
from thinbridge.protocols.coap.codes import EMPTY, POST, Type
from thinbridge.testing import Owner, seeded

DEVICE = Path(("192.0.2.7", 40000), ("198.51.100.1", 5683), verified=True)
STRANGER = DEVICE._replace(verified=False)
DONE = Reply(Outcome.ACCEPTED, 200, "text/plain", b"done")
PENDING = Reply(Outcome.PENDING, 202)


def ask(
    mid: int = 1,
    *options: OptionValue,
    code: int = POST,
    type: int = Type.CON,
    token: bytes = b"t",
    payload: bytes = b"x",
) -> Message:
    """A request."""
    return Message(type, code, mid, token, options, payload)


def ack(mid: int) -> Message:
    """An empty ACK."""
    return Message(Type.ACK, EMPTY, mid)


def reset(mid: int) -> Message:
    """A RST."""
    return Message(Type.RST, EMPTY, mid)


Heard = TypeVar("Heard")


class Played(Generic[Heard]):
    """An endpoint in virtual time: who drives its core, what that reports, and what a device hears.

    Args:
        core: the endpoint's; not heard of anything yet.
    """

    def __init__(self, core: CoAP) -> None:
        self.core = core
        self.owner = Owner(core, self._report, self._take)
        self.messages: list[tuple[Session, Inbound]] = []
        self.now = 1000.0

    def _report(self, session: Session, event: Reported | Closed) -> None:
        if isinstance(event, Inbound):
            self.messages.append((session, event))

    def _take(self, data: bytes | None, path: Path) -> None:
        raise NotImplementedError

    def said(self) -> list[Heard]:
        """What was sent since the last look."""
        raise NotImplementedError

    def answer(self, reply: Reply = DONE, index: int = -1) -> list[Heard]:
        """The bridge answers a message, the last one unless it is told; what the device hears."""
        session, inbound = self.messages[index]
        assert self.owner.answer(session, inbound.exchange, reply, self.now)
        return self.said()

    def wait(self, seconds: float) -> list[Heard]:
        """Time passes; what the device hears meanwhile."""
        end = self.now + seconds
        while (when := self.owner.next_timer()) is not None and when <= end:
            self.now = max(self.now, when)
            self.owner.handle_timers(self.now)
        self.now = end
        return self.said()


class Bench(Played[Message]):
    """One endpoint, its owner, and everything that was said.

    Args:
        path: where the device is.
        settings: of the endpoint.
    """

    def __init__(self, path: Path = DEVICE, **settings: Any) -> None:
        super().__init__(CoAP(CoAPSettings(**settings), seeded(1), "coap"))
        self.path = path
        self.bytes_out = self.bytes_in = 0
        self._sent: list[tuple[bytes, Path]] = []

    def _take(self, data: bytes | None, path: Path) -> None:
        assert data is not None
        self.bytes_out += len(data)
        self._sent.append((data, path))

    @property
    def counters(self) -> dict[str, int]:
        """What was counted."""
        return dict(self.core.counters)

    @property
    def session(self) -> CoAPSession:
        """The only one that is live."""
        (session,) = self.owner.live
        assert isinstance(session, CoAPSession)
        return session

    @property
    def inbound(self) -> Inbound:
        """The last message that was reported."""
        return self.messages[-1][1]

    def said(self) -> list[Message]:
        """What was sent since the last look."""
        return [message for message, _ in self.heard()]

    def heard(self) -> list[tuple[Message, Path]]:
        """The same, and to whom."""
        sent, self._sent = self._sent, []
        return [(decode(data), path) for data, path in sent]

    def send(self, data: Message | bytes, path: Path | None = None) -> list[Message]:
        """The device sends; what it hears at once."""
        data = encode(data) if isinstance(data, Message) else data
        self.bytes_in += len(data)
        self.owner.datagram(data, path or self.path, self.now)
        return self.said()
