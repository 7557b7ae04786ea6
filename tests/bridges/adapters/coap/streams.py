"""A device on a CoAP connection in virtual time, and the words in which tests speak to it."""

from tests.bridges.protocols.coap.bench import Played

from thinbridge.adapters.coap import CoAPTCP, StreamSettings
from thinbridge.adapters.coap.framing import TCP, datagram
from thinbridge.protocols.base import Closed, Event, Path, Session
from thinbridge.protocols.coap.codec import Message, OptionValue, decode, encode
from thinbridge.protocols.coap.codes import POST, Type, code
from thinbridge.testing import seeded

DEVICE = Path(("192.0.2.7", 40000), ("198.51.100.1", 5683), 1, verified=True)
CSM, PING, PONG, RELEASE, ABORT = (code(f"7.0{number}") for number in (1, 2, 3, 4, 5))
HELLO = bytes.fromhex("00e1")
"""A CSM that says nothing: 1,152 bytes, no blocks."""


def frame(
    code: int = POST, *options: OptionValue, token: bytes = b"t", payload: bytes = b"", framing: TCP | None = None
) -> bytes:
    """A message as a device sends it."""
    return (framing or TCP()).frame(encode(Message(Type.CON, code, 0, token, options, payload)))


def messages(data: bytes) -> list[Message]:
    """What a device hears, message by message; their types and Message IDs mean nothing."""
    heard = []
    while data:
        at = TCP().split(data)
        assert at is not None
        heard.append(decode(datagram(data[: at.end], at, 0)))
        data = data[at.end :]
    return heard


class Device(Played[Message]):
    """One connection to an endpoint of its own.

    Args:
        hello: its CSM, sent at once; None: it has not said a word yet.
        settings: of the endpoint.
    """

    def __init__(self, hello: bytes | None = HELLO, path: Path = DEVICE, **settings: float) -> None:
        super().__init__(CoAPTCP(StreamSettings(**settings), seeded(1)))  # type: ignore[arg-type]
        self.path = path
        self.gone = False
        self._heard = b""
        self.owner.connect(path, self.now)
        if hello is not None:
            self.greeting = self.send(hello)

    def _report(self, session: Session, event: Event | Closed) -> None:
        super()._report(session, event)
        self.gone = self.gone or isinstance(event, Closed)

    def _take(self, data: bytes | None, path: Path) -> None:
        self._heard += data or b""

    def said(self) -> list[Message]:
        """See `Played`."""
        data, self._heard = self._heard, b""
        return messages(data)

    def send(self, data: bytes) -> list[Message]:
        """It sends; what it hears at once."""
        self.owner.take(data, self.path, self.now)
        return self.said()
