"""Every error of thinbridge, in one tree; anyone may import it.

ThinbridgeError
├── SettingsError          the operator's: a bad setting; ends the start with one line, exit status 2
│   └── ListenError        the operator's: a port that is taken, an address that is not ours
└── DecodeError            the device's: bytes that are no message; never leaves a session

Bytes from outside never raise out of a session: a codec raises `DecodeError` to its own session, which turns
it into the protocol's refusal or into silence and a counter. What a sink answers is never an exception either:
it is an `Answer` (see `delivery`).
"""


class ThinbridgeError(Exception):
    """The root: catch this to catch all that thinbridge raises on purpose."""


class SettingsError(ThinbridgeError):
    """A setting that cannot be used; `str()` is one line with the key, the value and the fix.

    Args:
        key: the setting's name as the operator wrote it, such as `--listen` or `routes[0].mode`.
        value: what was given.
        fix: what to write instead.
    """

    def __init__(self, key: str, value: object, fix: str) -> None:
        self.key, self.value, self.fix = key, value, fix
        super().__init__(f"{key}: {value!s}: {fix}".replace("\n", " "))


class ListenError(SettingsError):
    """A listener's address that cannot be bound."""


class DecodeError(ThinbridgeError):
    """Bytes that are no valid message of their protocol.

    Args:
        reason: a short fixed phrase, never text from the wire: it becomes a counter's name.
        code: the protocol's own code to refuse with, 0 where there is none.
    """

    def __init__(self, reason: str, code: int = 0) -> None:
        self.reason, self.code = reason, code
        super().__init__(reason)
