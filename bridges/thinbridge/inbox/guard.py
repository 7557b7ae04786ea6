"""Who may publish to everyone who listens to a subject. `inbox.app` asks it.

A reply address is a capability: nobody can guess it. A subject is no secret: off loopback it takes the bridge's token.
"""

import hmac
import time
from ipaddress import ip_address
from typing import Final

from thinbridge.delivery.token import Token
from thinbridge.errors import SettingsError

LOCALHOST: Final = "localhost"


class Guard:
    """Checks the bearer token of a request.

    Args:
        host: where the inbox listens, as it was said.
        token_file: where the token lies, read again when it changes; None: there is none.
    """

    def __init__(self, host: str, token_file: str | None) -> None:
        self._file = token_file
        self._token = None if token_file is None else Token(token_file)
        self._open = token_file is None and _is_loopback(host)

    def check(self) -> None:
        """See that the token is there: with a wrong path nobody could publish, and nobody would know why.

        Raises:
            SettingsError: it is not.
        """
        if self._token is not None and not self._token.line(time.monotonic()):
            raise SettingsError("http.token_file", self._file, "give a file that holds a token, and no more")

    def admits(self, authorization: bytes | None) -> bool:
        """Whether a request with this `Authorization` may publish. Nobody may while there is no token off loopback."""
        if self._open:
            return True
        line = self._token.line(time.monotonic()) if self._token is not None else ""
        expected = line.partition(": ")[2].strip().encode()
        return bool(expected) and hmac.compare_digest(expected, (authorization or b"").strip())


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == LOCALHOST
