"""Which schemes are installed: the entry points `thinbridge.protocols`, ours and a stranger's found alike.

Asked by `settings` (a listener's scheme), `bridge` and `thinbridge protocols list`. Only what is asked for is imported,
so a distribution that is broken stops nobody but its own users.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from thinbridge.errors import SettingsError
from thinbridge.protocols.base import Adapter, Protocol, Scheme

GROUP: Final = "thinbridge.protocols"


@dataclass(frozen=True, slots=True)
class Installed:
    """One entry point, and what came of loading it."""

    name: str
    """The URL scheme."""
    distribution: str
    """Who brought it: `thinbridge 0.1.0`."""
    protocol: type[Scheme] | None
    """None: it can't be used, `problem` says why."""
    problem: str = ""


def find(name: str) -> type[Scheme]:
    """What a URL scheme stands for.

    Raises:
        SettingsError: no such protocol is installed, two distributions claim the name, or it can't be loaded.
    """
    return _load(name, [entry for entry in _entries() if entry.name == name])


def schemes(protocol: type[Scheme]) -> Mapping[str, tuple[str, int]]:
    """The URL schemes of a protocol: what carries it there, and the default port."""
    own = {protocol.name: ("tcp", protocol.port)} if hasattr(protocol, "name") else {}
    return own | dict(protocol.carriers.schemes) if issubclass(protocol, Protocol) else own


def installed() -> list[Installed]:
    """Everything that claims to be a protocol, sorted by name; what can't be used says why. Never raises."""
    entries = _entries()
    return [_try(entry, [twin for twin in entries if twin.name == entry.name]) for entry in entries]


def names() -> list[str]:
    """The schemes that are installed; imports none of them."""
    return sorted({entry.name for entry in _entries()})


@cache
def _entries() -> Sequence[EntryPoint]:
    """Read once: what is installed while a process runs is found by the next."""
    return sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, _distribution(entry)))


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"


def _try(entry: EntryPoint, twins: list[EntryPoint]) -> Installed:
    try:
        return Installed(entry.name, _distribution(entry), _load(entry.name, twins))
    except SettingsError as error:
        return Installed(entry.name, _distribution(entry), None, error.fix)


def _load(name: str, entries: list[EntryPoint]) -> type[Scheme]:
    if not entries:
        raise SettingsError("protocol", name, f"unknown protocol; installed: {', '.join(names()) or 'none'}")
    if len(entries) > 1:
        claimants = " and ".join(_distribution(entry) for entry in entries)
        raise SettingsError("protocol", name, f"claimed by {claimants}; uninstall one of them")
    [entry] = entries
    try:
        protocol = entry.load()
    except Exception as error:  # a stranger's module may raise anything
        problem = f"{type(error).__name__}: {error}"
        raise SettingsError("protocol", name, f"{_distribution(entry)} is broken: {problem}") from error
    if not (isinstance(protocol, type) and issubclass(protocol, (Protocol, Adapter))):
        raise SettingsError("protocol", name, f"{_distribution(entry)} is broken: {entry.value} is no Protocol")
    if name not in schemes(protocol):
        raise SettingsError("protocol", name, f"{_distribution(entry)} is broken: {entry.value}.name is not {name!r}")
    return protocol
