"""CoAP over a reliable transport (RFC 8323): one connection, sans-IO. Made by `CoAPTCP.open`, for a stream shell.

aiocoap speaks of the connection, our core of requests. To the core a connection is a network without loss: each request
is the datagram of a CON with a Message ID of its own, and what the core sends as a CON is acknowledged a moment later.
So all that requests can do is there once, in `protocols.coap`, whatever carries them.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from thinbridge.adapters.coap.bert import Runs
from thinbridge.adapters.coap.framing import TCP, Frame, Framing, WebSocket, datagram
from thinbridge.adapters.coap.signalling import Signalling
from thinbridge.protocols.base import Event, Inbound, Path, Sent
from thinbridge.protocols.coap.codec import empty
from thinbridge.protocols.coap.codes import CONTINUE, EMPTY, Type, code
from thinbridge.protocols.coap.memory import EXCHANGE_LIFETIME, Entry, Memory
from thinbridge.protocols.coap.session import CoAPSession

if TYPE_CHECKING:
    from thinbridge.adapters.coap import CoAPTCP

OVERHEAD: Final = 128
"""Bytes of a message for its head and options: what Max-Message-Size leaves beside them is for the payload."""

SIGNAL: Final = 7
"""Class of the codes that speak of the connection (RFC 8323 §5.1)."""

CSM: Final = code("7.01")

AT_ONCE: Final = 64
"""Messages that are read before others have their turn: as many as may wait for their answers, some milliseconds. One
piece of a stream may hold a hundred thousand."""

WEBSOCKET: Final = bytes(2)
"""How what comes by WebSocket begins: with the length of a short message. By TCP that would be an empty message, and
the first is a CSM."""


class _Memory(Memory):
    """Requests until they are answered: over a connection nothing is repeated."""

    def known(self, mid: int, digest: int, now: float) -> Entry | None:
        """None: an equal request is another one, and there may be more than there are Message IDs."""
        return None

    def store(self, entry: Entry, reply: bytes) -> None:
        """It is answered."""
        self._arrived.remove(entry)
        self._forget(entry)

    def note(self, entry: Entry, reply: bytes) -> None:
        """It was refused."""


class StreamSession(CoAPSession):
    """A device's connection."""

    def __init__(self, protocol: "CoAPTCP", path: Path, now: float) -> None:
        super().__init__(protocol, path, path, now)
        self.device = path.identity.name if path.identity else None
        self._terms = protocol.settings
        self._framing: Framing = TCP()
        self._signalling = Signalling(self._terms.max_message)
        self._memory = _Memory(protocol.shared, self._terms.remembered, 1, Counter())
        self._runs = Runs()
        self._spool = bytearray()
        self._mid = 0
        self._frames: list[bytes] = []
        self._delivered: list[int] = []  # Message IDs that the core has yet to hear are acknowledged
        self._begun = self._heard = self._now = now
        self._pinged = False

    # --- From the device --------------------------------------------------------------------------------------

    def receive(self, data: bytes, path: Path, now: float) -> None:
        """A piece of the stream."""
        self._heard = self._now = now
        self._pinged = False
        if not self._spool:
            self._begun = now
        self._spool += data
        if not self._signalling.said:  # the device speaks first, or it might be none (RFC 8323 §3.3 lets us wait)
            if len(self._spool) < len(WEBSOCKET):
                return
            if self._spool.startswith(WEBSOCKET):
                self._framing = WebSocket()
            self._signalling.greet(self._framing)
        self._read_frames(path)

    def _read_frames(self, path: Path) -> None:
        """The messages that are all here; where they are many, the others when `handle_timer` is called."""
        self.paused = False
        for _ in range(AT_ONCE):
            if self.closed or not self._read_frame(path):
                return
        self.paused = True

    def _read_frame(self, path: Path) -> bool:
        """One message; False: the next is not all here."""
        at = self._framing.split(self._spool)
        if at is None:
            return False
        if at.end > self._terms.max_message:
            self._abort("too_large")  # RFC 8323 §5.3.1
        elif at.end <= at.code:
            self._abort("malformed_truncated")
        elif at.end > len(self._spool):
            return False
        else:
            frame = bytes(self._spool[: at.end])
            del self._spool[: at.end]
            self._begun = self._now
            self._take(frame, at, path)
        return True

    def _take(self, frame: bytes, at: Frame, path: Path) -> None:
        kind = frame[at.code] >> 5
        if not self._signalling.greeted and frame[at.code] != CSM:
            self._abort("no_csm")  # RFC 8323 §3.3: it is the first
        elif kind == SIGNAL:
            self._signalled(frame, at)
        elif frame[at.code] == EMPTY:
            pass  # RFC 8323 §3.4: ignored; it keeps a connection alive
        elif kind:
            self._counters["unexpected"] += 1  # a response that nobody asked for
        else:
            self._requested(datagram(frame, at, 0), path)

    def _signalled(self, frame: bytes, at: Frame) -> None:
        self._signalling.hear(frame)
        if self._signalling.aborted:
            self._abort("malformed_signal")
        elif self._signalling.released:
            self.drain(self._now)
        elif frame[at.code] == CSM:  # the first, or one that says something new (RFC 8323 §5.3)
            room = min(self._terms.max_payload, max(16, self._signalling.peer_takes - OVERHEAD))
            self.transfers.limit(room)

    def _requested(self, request: bytes, path: Path) -> None:
        """A request; if it is a run of blocks, these, until the core has something to say but "Continue"."""
        *run, last = self._runs.unfold(request)
        if run:
            self._say(super().data_to_send())  # what others were answered is no answer to it
        for piece in run:
            super().receive(self._numbered(piece), path, self._now)
            sent = super().data_to_send()
            if any(data and data[1] != CONTINUE for data, _ in sent):
                self._say(sent)
                return
        super().receive(self._numbered(last), path, self._now)

    def _numbered(self, request: bytes) -> bytes:
        self._mid = self._mid + 1 & 0xFFFF
        return request[:2] + self._mid.to_bytes(2, "big") + request[4:]

    def eof(self, path: Path, now: float) -> None:
        """The device is gone; what it asked for is delivered all the same."""
        super().close("disconnected", now)

    # --- From the bridge --------------------------------------------------------------------------------------

    def close(self, reason: str, now: float) -> None:
        """Say so, and end."""
        if not self.closed:
            self._signalling.release()
            super().close(reason, now)

    def _abort(self, counter: str) -> None:
        """The device does not keep to the protocol: tell it, and end (RFC 8323 §5.6)."""
        self._counters[counter] += 1
        if not self._signalling.aborted:
            self._signalling.abort(counter.replace("_", " "))
        super().close(counter, self._now)

    # --- The owner's side ---------------------------------------------------------------------------------------

    def next_event(self) -> Event | None:
        """What the core has, without what makes repeats known: here there are none, so each is a new message."""
        event = super().next_event()
        if type(event) is Inbound:
            return event._replace(repeat_key=None, repeat_window=0.0)
        return event

    def data_to_send(self) -> Sequence[Sent]:
        """Frames."""
        self._say(super().data_to_send())
        frames = [*self._signalling.out, *self._frames]
        self._signalling.out.clear()
        self._frames.clear()
        if self._signalling.released and not (self._open or self.unsettled):
            super().close("released", self._now)
        return [(frame, self._path) for frame in frames]

    def _say(self, sent: Sequence[Sent]) -> None:
        """What the core sends, in the words of the connection."""
        for data, _ in sent:
            assert data is not None, "the core closes no paths"
            kind = data[0] >> 4 & 3
            if kind == Type.CON:
                self._delivered.append(data[2] << 8 | data[3])
            if data[1] != EMPTY:
                self._frames.append(self._framing.frame(self._runs.refold(data)))
            elif kind == Type.RST:
                self._abort("malformed")  # the core has counted why

    def next_timer(self) -> float:
        """The core's own, or the connection's."""
        return 0.0 if self._delivered or self.paused else min(super().next_timer(), self._patience())

    def _patience(self) -> float:
        """When to do something about a device that says nothing."""
        if not self._signalling.greeted:
            return self._begun + self._terms.csm_timeout
        silent = self._heard + self._terms.keep_alive + (self._terms.pong_timeout if self._pinged else 0.0)
        return min(silent, self._begun + self._terms.message_timeout) if self._spool else silent

    def handle_timer(self, now: float) -> None:
        """Acknowledge what the connection has taken; ask a silent device for a sign of life, or give it up."""
        self._now = now
        delivered, self._delivered = self._delivered, []
        for mid in delivered:
            super().receive(empty(Type.ACK, mid), self._path, now)
        super().handle_timer(now)
        if self.paused:
            self._read_frames(self._path)
        if self.closed or self._patience() > now:
            return
        if not self._signalling.greeted:
            self._abort("no_csm")
        elif self._spool:
            self._abort("too_slow")
        elif self._pinged:
            self._abort("no_pong")
        else:
            self._pinged = True
            self._signalling.ping()

    def _nothing_left(self, now: float) -> None:
        """Nothing is remembered; the connection is still there."""
        self._memory.clear()
        self._sweep = now + EXCHANGE_LIFETIME
