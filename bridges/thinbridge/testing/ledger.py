"""The ledger of a conversation: what was sent, acknowledged, accepted and answered, and the verdicts on it.

Every message carries an id that its device made, `<device.number>`, somewhere in its payload; a reply that is about a
message carries the same. `World` keeps a ledger in virtual time; tests over real sockets may keep one too.
"""

import re
from collections import Counter
from dataclasses import dataclass, field

_LABEL = re.compile(rb"<\d+\.\d+>")


def label(device: int, number: int) -> bytes:
    """A message's id."""
    return b"<%d.%d>" % (device, number)


def find(data: bytes) -> bytes | None:
    """The id in a payload."""
    found = _LABEL.search(data)
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Heard:
    """What a device was told about its message, as it understands it."""

    accepted: bool
    """"Done": 2.xx, a successful PUBACK."""
    told: bool = True
    """It knows where it stands: accepted, refused, or given up after trying as its protocol has it."""
    data: bytes = b""
    """The reply's payload."""


@dataclass(slots=True)
class Ledger:
    """Append-only lists of message ids, and the verdicts on them."""

    sent: list[bytes] = field(default_factory=list[bytes])
    """By devices."""
    started: list[tuple[bytes, bytes | None]] = field(default_factory=list[tuple[bytes, "bytes | None"]])
    """Deliveries: the message and its `repeat_key`."""
    accepted: list[bytes] = field(default_factory=list[bytes])
    """By the sink, with 2xx."""
    acknowledged: list[bytes] = field(default_factory=list[bytes])
    """Devices that were told "done"."""
    told: list[bytes] = field(default_factory=list[bytes])
    """Devices that know where they stand."""
    replies: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    """(the message that was answered, the message that the reply is about)."""
    phantom: list[bytes] = field(default_factory=list[bytes])
    """Devices were told "done" before the sink had accepted anything. Always empty."""
    doubled: list[bytes] = field(default_factory=list[bytes])
    """Keys whose delivery was started again while it ran, or after it had been settled. Always empty."""
    _over: dict[bytes, bool] = field(default_factory=dict[bytes, bool])

    def begun(self, message: bytes, key: bytes | None) -> None:
        """Note that a delivery was started."""
        self.started.append((message, key))
        if key is not None:
            if self._over.get(key):
                self.doubled.append(key)
            self._over[key] = True  # while it runs

    def ended(self, message: bytes, key: bytes | None, accepted: bool, settled: bool) -> None:
        """Note how a delivery ended.

        Args:
            message: its id.
            key: its `repeat_key`.
            accepted: the sink said 2xx.
            settled: the session was told what the sink says, be it yes or no; if not, a repeat may be delivered again.
        """
        if accepted:
            self.accepted.append(message)
        if key is not None:
            self._over[key] = settled

    def heard(self, message: bytes, heard: Heard) -> None:
        """Note what a device was told."""
        if heard.told:
            self.told.append(message)
        if heard.accepted:
            self.acknowledged.append(message)
            if message not in self.accepted:
                self.phantom.append(message)
        about = find(heard.data)
        if about is not None:
            self.replies.append((message, about))

    @property
    def lost(self) -> set[bytes]:
        """Acknowledged, and not at the sink. Always empty."""
        return set(self.acknowledged) - set(self.accepted)

    @property
    def hidden(self) -> set[bytes]:
        """Sent, and the device will never know what became of it. Empty where the protocol confirms."""
        return set(self.sent) - set(self.told)

    @property
    def crossed(self) -> list[tuple[bytes, bytes]]:
        """Replies that came to another message than they are about. Always empty."""
        return [(message, about) for message, about in self.replies if message != about]

    @property
    def unexpected(self) -> set[bytes]:
        """Delivered, and never sent. Empty unless the network corrupts."""
        return {message for message, _ in self.started} - set(self.sent)

    @property
    def restarted(self) -> list[bytes]:
        """Keys whose delivery was started more than once, for whatever reason. Empty where repeats are remembered."""
        return [key for key, count in Counter(key for _, key in self.started if key is not None).items() if count > 1]

    @property
    def confused(self) -> list[bytes]:
        """Keys that two messages share. Always empty."""
        messages: dict[bytes, bytes] = {}
        return [
            key for message, key in self.started if key is not None and messages.setdefault(key, message) != message
        ]

    @property
    def duplicated(self) -> list[bytes]:
        """At the sink more than once: allowed, to be counted and bounded."""
        return [message for message, count in Counter(self.accepted).items() if count > 1]

    def faults(self) -> list[str]:
        """What must never be, in words; empty when all is well. `hidden` and `duplicated` are the caller's to judge."""
        verdicts = {name: getattr(self, name) for name in ("lost", "phantom", "crossed", "doubled", "confused")}
        return [f"{name}: {found}" for name, found in verdicts.items() if found]
