"""The directory of live sessions: who is behind a reply address. The bridge fills it, the inbox asks it.

A session gets an entry at its first message, and loses it when its owner forgets it. The token is the capability in
`replyto`: whoever has it can write to that device, nobody can guess it.
"""

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from thinbridge import contract
from thinbridge.events import Shared
from thinbridge.protocols.base import Endpoint, Entropy, Session

REMEMBERED: Final = 10_000
"""How many tokens of sessions that are gone are remembered, so that a late push hears 410 and not 404."""


class Entry:
    """One live session, as the rest of the bridge knows it."""

    __slots__ = ("endpoint", "open", "replyto", "session", "shared", "token")

    def __init__(self, endpoint: Endpoint, session: Session, token: str, base: str) -> None:
        self.endpoint = endpoint
        self.session = session
        self.token = token
        self.replyto = f"{base}/r/{token}/"
        """Prefix of the session's reply addresses; the exchange's number follows."""
        self.shared: Shared | None = None
        """What its events have in common (`mapping`), of the type that it sent last: nearly all are of one."""
        self.open: dict[int, Any] = {}
        """Exchanges whose delivery, or whose answer by `replyto`, is still to come (`bridge.Exchange`)."""


class Missing(Enum):
    """Why a token finds no session."""

    UNKNOWN = 404
    GONE = 410


class Directory:
    """Tokens and sessions, both ways.

    Args:
        entropy: where tokens come from.
        base: returns the URL that reply addresses start with.
    """

    def __init__(self, entropy: Entropy, base: Callable[[], str]) -> None:
        self._entropy = entropy
        self._base = base
        self._by_session: dict[Session, Entry] = {}
        self._by_token: dict[str, Entry] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_session)

    def entry(self, endpoint: Endpoint, session: Session) -> Entry:
        """The session's entry, made at its first message."""
        entry = self._by_session.get(session)
        if entry is None:
            entry = Entry(endpoint, session, self._entropy(16).hex(), self._base())
            self._by_session[session] = self._by_token[entry.token] = entry
        return entry

    def find(self, token: str) -> Entry | Missing:
        """Who is behind a token."""
        entry = self._by_token.get(token)
        if entry is not None:
            return entry
        return Missing.GONE if token in self._gone else Missing.UNKNOWN

    def remove(self, session: Session) -> Entry | None:
        """The session is over; its entry, if it had one."""
        entry = self._by_session.pop(session, None)
        if entry is not None:
            del self._by_token[entry.token]
            self._gone[entry.token] = None
            if len(self._gone) > REMEMBERED:
                self._gone.popitem(last=False)
        return entry

    def waiting(self) -> list[Any]:
        """All exchanges that are open."""
        return [exchange for entry in self._by_session.values() for exchange in entry.open.values()]


def session_attributes(session: Session) -> dict[str, str]:
    """The attributes that every event of a session has."""
    attributes = {
        contract.SESSIONID: session.id,
        contract.PARTITIONKEY: session.device or session.id,
    }
    if session.device:
        attributes[contract.DEVICEID] = session.device
    if session.identity:
        attributes[contract.AUTHTYPE] = "user" if session.identity.kind == "user" else "service_account"
        attributes[contract.AUTHID] = f"{session.identity.kind}:{session.identity.name}"
    return attributes
