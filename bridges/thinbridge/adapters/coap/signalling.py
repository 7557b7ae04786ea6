"""What both ends of a connection say about the connection itself (RFC 8323 §5): aiocoap's part of it, without I/O."""

import logging
from typing import Final

from aiocoap import Message
from aiocoap.numbers.codes import PING, PONG, RELEASE
from aiocoap.transports.rfc8323common import CloseConnection, RFC8323Remote

from thinbridge.adapters.coap.framing import Framing

BASE: Final = 1152
"""Bytes of a message that every peer takes (RFC 8323 §5.3.1)."""

_silent = logging.getLogger("thinbridge.adapters.coap")
_silent.disabled = True  # aiocoap logs what devices send; what happens to connections is counted


class Signalling(RFC8323Remote):  # type: ignore[misc]  # aiocoap has no types
    """CSM, Ping, Pong, Release and Abort of one connection.

    Args:
        max_message: bytes of a message that this side takes.
    """

    log = _silent

    _framing: Framing

    def __init__(self, max_message: int) -> None:
        super().__init__()
        self._my_max_message_size = max_message
        self.out: list[bytes] = []
        """Frames to send."""
        self.aborted = False
        """An Abort is among them: the connection ends."""
        self.released = False
        """The peer said Release or Abort: it wants nothing more."""
        self.said = False
        """Our CSM is among what is sent; nothing goes out before it (RFC 8323 §5.3)."""

    @property
    def greeted(self) -> bool:
        """Its CSM has come; nothing else may come first (RFC 8323 §5.3)."""
        return self._remote_settings is not None

    @property
    def peer_takes(self) -> int:
        """Bytes of a message that the peer takes."""
        settings = self._remote_settings or {}
        return int(settings.get("max-message-size", BASE))

    def greet(self, framing: Framing) -> None:
        """Send our CSM, in the framing of the connection."""
        self._framing = framing
        self.said = True
        self._send_initial_csm()

    def hear(self, frame: bytes) -> None:
        """A signalling message came. Never raises."""
        try:
            self._process_signaling(self._framing.signalled(frame))
        except CloseConnection:
            self.released = True
        except Exception:  # aiocoap's decoder raises what its parts raise
            self.abort("malformed message")

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._send_message(Message(code=PING))

    def release(self) -> None:
        """Say that the connection is about to end in order."""
        if self.said:
            self._send_message(Message(code=RELEASE))

    def _process_signaling(self, message: Message) -> None:
        critical = any(option.number.is_critical() for option in message.opt.option_list())
        if message.code == PING and not critical:
            self._send_message(Message(code=PONG, _token=message.token))  # aiocoap's own way there is deprecated by it
        else:
            super()._process_signaling(message)

    def _send_message(self, message: Message) -> None:
        self.out.append(self._framing.signal(message))

    def _abort_with(self, message: Message) -> None:
        self.aborted = True
        if self.said:
            self._send_message(message)
