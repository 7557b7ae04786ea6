"""EDHOC (RFC 9528), the responder's side, by CoAP (RFC 9528 Appendix A.2): aiocoap's and Lakers', without I/O."""

from typing import Final

from aiocoap import Message
from aiocoap.edhoc import EdhocCredentials
from aiocoap.numbers import BAD_REQUEST
from aiocoap.oscore_sitewrapper import OscoreSiteWrapper

from thinbridge.adapters.coap.keys import Keys, silent

PATH: Final = (".well-known", "edhoc")
TRUE: Final = b"\xf5"
"""What message 1 begins with, and message 3 does not."""


class _Pipe:
    """Where aiocoap finds a request, and puts the response."""

    response: Message

    def __init__(self, request: Message) -> None:
        self.request = request

    def add_response(self, response: Message, is_last: bool = False) -> None:
        self.response = response


class Handshakes(OscoreSiteWrapper):  # type: ignore[misc]  # aiocoap has no types
    """The handshakes of a listener.

    Args:
        keys: who we are, who may come, and where contexts go.
    """

    def __init__(self, keys: Keys) -> None:
        super().__init__(None, keys)
        self.log = silent
        self._own = keys.own

    def hear(self, datagram: bytes) -> Message:
        """A POST to `PATH` came; what is answered. Never raises."""
        try:
            request = Message.decode(datagram)
            request._original_request_uri = ""  # aiocoap would look up our identity by it
            pipe = _Pipe(request)
            if request.payload.startswith(TRUE):
                self._process_edhoc_msg12(pipe)
            else:
                self._process_edhoc_msg34(pipe)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # a panic in Lakers is no Exception
            return Message(code=BAD_REQUEST)
        return pipe.response

    def _get_edhoc_identity(self, origin: str) -> EdhocCredentials | None:
        return self._own
