"""The transfers of one peer, both ways (RFC 7959): what its session asks of `uploads` and `representations`.

Most devices never have one, so either side is made when the first comes.
"""

from math import inf
from typing import TYPE_CHECKING

from thinbridge.protocols.coap.blockwise import SMALLEST, Block, exponent, operation
from thinbridge.protocols.coap.codec import Message, OptionValue
from thinbridge.protocols.coap.codes import Option
from thinbridge.protocols.coap.representations import Downloads, check
from thinbridge.protocols.coap.request import Request, Response
from thinbridge.protocols.coap.response import number_of
from thinbridge.protocols.coap.uploads import Uploads

if TYPE_CHECKING:
    from thinbridge.protocols.coap import CoAP


class Transfers:
    """Bodies of requests that come in blocks, and responses that go in blocks.

    Args:
        protocol: has the settings, and what all peers share.
    """

    __slots__ = ("_downloads", "_max_payload", "_protocol", "_szx", "_uploads", "used")

    def __init__(self, protocol: "CoAP") -> None:
        self._protocol = protocol
        self._uploads: Uploads | None = None
        self._downloads: Downloads | None = None
        self.used = False
        """Whether there ever was one."""
        self.limit(protocol.settings.max_payload)

    def limit(self, max_payload: int) -> None:
        """Put no more into a message from now on, and ask for no longer blocks."""
        self._max_payload = max_payload
        self._szx = exponent(max_payload)
        for side in (self._uploads, self._downloads):
            if side is not None:
                side.szx = self._szx

    def hints(self, room: int) -> list[OptionValue]:
        """What says which blocks would be taken (RFC 7959 §2.9.3), of messages that have so much room for them."""
        if room < SMALLEST:
            return []
        return [(Option.BLOCK1, Block(0, False, min(self._szx, exponent(room))).encode())]

    def later(self, message: Message, now: float) -> Response | None:
        """The response to a request for a later block that is here; None: it is to be read like any other."""
        return None if self._downloads is None else self._downloads.later(message, now)

    def body(self, message: Message, request: Request, now: float) -> bytes | Response:
        """The request's body, if it is all here; else what asks for the rest of it.

        Raises:
            Refused: the blocks don't fit together, there is no room, or the function can't be asked for that block.
        """
        block = request.block1
        if block is None:
            if request.block2 is not None:
                check(request.block2, request.method, message.payload)
            return message.payload
        if self._uploads is None:
            settings, self.used = self._protocol.settings, True
            self._uploads = Uploads(
                self._protocol.room, settings.uploads, settings.max_upload, self._szx, settings.transfer_idle
            )
        key = operation(message.code, message.options)
        return self._uploads.take(key, block, message.payload, request.size1, now)

    def fitted(self, request: Request, response: Response, now: float, part: str | None = None) -> Response:
        """A response as it can be sent: in blocks if it is too long, or if that was asked for.

        Args:
            request: what it answers.
            response: all of it.
            now: monotonic seconds.
            part: what the response has of the whole, as Content-Range says it; None: all of it.
        """
        long = len(response[2]) > self._max_payload
        if long or request.block2 is not None or request.size2 or part is not None:
            response = self._downloading().first(request, response, now, part)
        if request.block1 is None:
            return response
        code, options, payload = response
        said = (Option.BLOCK1, request.block1.encode())
        return code, sorted([*options, said], key=number_of), payload  # RFC 7959 §2.3

    def _downloading(self) -> Downloads:
        if self._downloads is None:
            protocol, self.used = self._protocol, True
            count, idle = protocol.settings.downloads, protocol.settings.transfer_idle
            self._downloads = Downloads(protocol.representations, count, self._szx, idle, protocol.counters)
        return self._downloads

    def due(self) -> float:
        """When one is to be forgotten; never if there is none."""
        when = inf
        if self._uploads is not None:
            when = self._uploads.due()
        if self._downloads is not None:
            when = min(when, self._downloads.due())
        return when

    def expire(self, now: float) -> None:
        """Forget what is silent for long enough."""
        if self._uploads is not None:
            self._uploads.expire(now)
        if self._downloads is not None:
            self._downloads.expire(now)

    def clear(self) -> None:
        """Forget everything."""
        if self._uploads is not None:
            self._uploads.clear()
        if self._downloads is not None:
            self._downloads.clear()
