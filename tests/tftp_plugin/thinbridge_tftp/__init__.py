"""TFTP (RFC 1350) for thinbridge: reading a file is an event whose answer is its content, writing one is an event.

A transfer is a session. It answers from a port of its own, its TID (§4), which the owner opens when something is first
sent by it. A transfer is known by its request until its fresh port is spoken to, and by that port from then on.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar, Final
from urllib.parse import quote

from thinbridge.errors import DecodeError
from thinbridge.protocols.base import (
    LISTENER,
    Event,
    EventType,
    Inbound,
    Outbound,
    Outcome,
    Path,
    Protocol,
    Pushed,
    PushResult,
    Reply,
    Sent,
    Session,
    Stateless,
    Transport,
)

READ_EVENT: Final = "org.example.tftp.read"
WRITE_EVENT: Final = "org.example.tftp.write"

RRQ, WRQ, DATA, ACK, ERROR = range(1, 6)  # RFC 1350 §5
BLOCK: Final = 512
MAX_FILE: Final = 0xFFFF * BLOCK - 1
"""Bytes: the number of a block has 16 bits, and the last block is not full."""
MODES: Final = ("octet", "netascii")  # §1; netascii is passed on as it is: bytes are never altered

UNDEFINED, NOT_FOUND, ACCESS, FULL, ILLEGAL, UNKNOWN_TID = range(6)  # appendix, error codes
_ERRORS: Final = {404: NOT_FOUND, 401: ACCESS, 403: ACCESS, 413: FULL}


@dataclass(frozen=True)
class TFTPSettings:
    """Keys of a `tftp://` listener."""

    retry: float = 1.0
    """Seconds until the first retransmission; doubles each time."""
    retries: int = 5
    """Retransmissions of one packet: 63 s in all, what clients wait too."""
    patience: float = 120.0
    """Seconds to wait for the function, or for the peer's next block; a cold start takes 30."""
    max_upload: int = 1 << 20
    """Bytes of a file that is written: it is one event, and brokers take about so much."""


def error(code: int, text: str) -> bytes:
    """An ERROR packet."""
    return bytes((0, ERROR, 0, code)) + text.encode("ascii", "replace") + b"\0"


def parse_request(data: bytes) -> tuple[int, str]:
    """Opcode and file name of an RRQ or WRQ (§5, figure 5-1).

    Raises:
        DecodeError: it is none; `code` is the ERROR to answer with.
    """
    if len(data) < 2 or data[0] or data[1] not in (RRQ, WRQ):
        raise DecodeError("no_request", ILLEGAL)
    name, mode, *_ = [*data[2:].split(b"\0"), b"", b""]
    if mode.lower().decode("latin-1") not in MODES:
        raise DecodeError("no_such_mode", ILLEGAL)
    if not name or len(name) > BLOCK:
        raise DecodeError("no_name", ILLEGAL)
    return data[1], quote(name.decode("latin-1").lstrip("/"), safe="/", encoding="latin-1")


class TFTP(Protocol):
    """Files in, files out."""

    name: ClassVar[str] = "tftp"
    transport = Transport.DATAGRAM
    port = 69
    event_types = (
        EventType(READ_EVENT, "a device reads a file; the answer is its content", ("peer",)),
        EventType(WRITE_EVENT, "a device has written a file", ("peer",)),
    )
    Settings = TFTPSettings
    settings: TFTPSettings

    def __init__(self, settings: TFTPSettings, *args: object) -> None:
        super().__init__(settings, *args)  # type: ignore[arg-type]
        self.transfers: dict[int, Any] = {}
        """A fresh port's number → its transfer's key (peer, opcode, name); as many as there are sessions."""
        self.numbers = count(1)

    def locate(self, data: bytes, path: Path, now: float) -> Hashable | Stateless | None:
        """A request's transfer is its sender's; on a fresh port only its own peer is heard (§4)."""
        if path.socket == LISTENER:
            if path.multicast:
                return None
            try:
                opcode, name = parse_request(data)
            except DecodeError as wrong:
                self.counters[wrong.reason] += 1
                return Stateless(error(wrong.code, "")) if data[1:2] != bytes((ERROR,)) else None
            if opcode == RRQ and not path.verified:
                self.counters["unproven"] += 1
                return Stateless(error(ACCESS, "unproven"))
            return path.peer, opcode, name
        key = self.transfers.get(path.socket)
        if key is not None and key[0] != path.peer:
            self.counters["wrong_tid"] += 1
            return Stateless(error(UNKNOWN_TID, "")) if data[1:2] != bytes((ERROR,)) else None
        return key

    def open(self, key: Hashable, path: Path, now: float) -> "Transfer":
        """A new transfer, and the number of its port."""
        number = next(self.numbers)
        self.transfers[number] = key
        return Transfer(self, path._replace(socket=number), now)


class Transfer(Session):
    """One file on its way."""

    def __init__(self, protocol: TFTP, path: Path, now: float) -> None:
        self.id = protocol.session_id()
        self.identity = path.identity
        self.peer = f"{path.peer[0]}:{path.peer[1]}"
        self.busy = True
        self._protocol = protocol
        self._path = path
        self._opcode = 0
        self._name = ""
        self._file = bytearray()  # what is read, once the function has answered, or what is being written
        self._block = 0  # of DATA: sent last (reading), received last (writing)
        self._waiting = False  # for the function
        self._over = False  # all was said; only repeats are still answered
        self._last = b""  # what is retransmitted
        self._tries = 0
        self._pushes = 0
        self._timer = now + protocol.settings.patience
        self._events: deque[Event] = deque()
        self._out: list[Sent] = []

    # --- In ---------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, path: Path, now: float) -> None:
        """A request, a block, or an acknowledgement."""
        if self.closed:
            return
        if path.socket == LISTENER:
            if not self._opcode:
                self._begin(data, now)
            return
        if len(data) < 4 or data[0]:
            self._protocol.counters["malformed"] += 1
        elif data[1] == ERROR:  # §7: an error ends it, and is never answered
            self._end()
        elif data[1] == ACK and self._opcode == RRQ:
            self._acknowledged(int.from_bytes(data[2:4], "big"), now)
        elif data[1] == DATA and self._opcode == WRQ:
            self._written(int.from_bytes(data[2:4], "big"), data[4:], now)
        else:
            self._fail(ILLEGAL, "")

    def _begin(self, data: bytes, now: float) -> None:
        try:
            self._opcode, self._name = parse_request(data)
        except DecodeError as wrong:
            self._fail(wrong.code, "")
            return
        if self._opcode == RRQ:
            self._report(READ_EVENT, b"", now)
        else:
            self._say(bytes((0, ACK, 0, 0)), now)

    def _acknowledged(self, block: int, now: float) -> None:
        """Only the newest block's ACK moves it on, others are repeats (RFC 1123 §4.2.3.1, Sorcerer's Apprentice)."""
        if self._waiting or block != self._block or not self._block:
            return
        if len(self._last) < 4 + BLOCK:
            self._end()
        else:
            self._next_block(now)

    def _next_block(self, now: float) -> None:
        begin = self._block * BLOCK
        self._block += 1
        self._say(bytes((0, DATA)) + self._block.to_bytes(2, "big") + self._file[begin : begin + BLOCK], now)

    def _written(self, block: int, data: bytes, now: float) -> None:
        if self._waiting:
            return  # the last block again: its ACK waits for the function
        if block != self._block + 1 or self._over:
            if block == self._block:
                self._out.append((self._last, self._path))  # our ACK was lost
            return
        if len(data) > BLOCK or len(self._file) + len(data) > min(self._protocol.settings.max_upload, MAX_FILE):
            self._fail(FULL, "too large")
            return
        self._block = block
        self._file += data
        if len(data) < BLOCK:
            self._report(WRITE_EVENT, bytes(self._file), now)
        else:
            self._say(bytes((0, ACK)) + block.to_bytes(2, "big"), now)

    def _report(self, type: str, data: bytes, now: float) -> None:
        self._waiting = True
        self._timer = now + self._protocol.settings.patience
        self._events.append(Inbound(1, type, self._name, {"peer": self.peer}, None, data))

    # --- The function's answer ----------------------------------------------------------------------------------

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        """What was read goes out block by block; what was written is acknowledged."""
        if not self._waiting or exchange != 1 or self.closed:
            return False
        if reply.outcome is Outcome.PENDING:
            return True
        self._waiting = False
        if reply.outcome is not Outcome.ACCEPTED:
            self._fail(_ERRORS.get(reply.status, UNDEFINED), reply.outcome.value)
        elif self._opcode == WRQ:
            self._over, self.busy = True, False
            self._last = bytes((0, ACK)) + self._block.to_bytes(2, "big")
            self._out.append((self._last, self._path))
            self._timer = now + 2 * self._protocol.settings.retry  # §6: dallying, in case the last ACK was lost
        elif len(reply.data) > MAX_FILE:
            self._fail(FULL, "too large")
        else:
            self._file[:] = reply.data
            self._next_block(now)
        return True

    def push(self, target: int | None, outbound: Outbound, now: float) -> int:
        """TFTP devices can't be sent anything unasked."""
        self._pushes += 1
        self._events.append(Pushed(self._pushes, PushResult.REFUSED))
        return self._pushes

    # --- Out ----------------------------------------------------------------------------------------------------

    def _say(self, data: bytes, now: float) -> None:
        self._last = data
        self._tries = 0
        self._timer = now + self._protocol.settings.retry
        self._out.append((data, self._path))

    def _fail(self, code: int, text: str) -> None:
        self._out.append((error(code, text), self._path))
        self._end()

    def _end(self) -> None:
        self.closed, self.busy = True, False
        self._protocol.transfers.pop(self._path.socket, None)

    def close(self, reason: str, now: float) -> None:
        """Tell the peer."""
        if not self.closed:
            self._fail(UNDEFINED, reason)

    def next_event(self) -> Event | None:
        """The file's event."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> Sequence[Sent]:
        """Packets to the peer, from the transfer's own port."""
        out, self._out = self._out, []
        return out

    def next_timer(self) -> float:
        """The next retransmission, or the end of patience."""
        return self._timer

    def handle_timer(self, now: float) -> None:
        """Send the last packet again, or give up."""
        if now < self._timer or self.closed:
            return
        settings = self._protocol.settings
        if self._waiting or self._over or not self._last or self._tries == settings.retries:
            self._end()
            return
        self._tries += 1
        self._timer = now + settings.retry * 2**self._tries
        self._out.append((self._last, self._path))
