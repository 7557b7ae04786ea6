"""Which topics a device may use: `devices/{deviceid}/commands/#`, as a listener's settings say (`may_subscribe`, …).

Compiled once per listener, filled in once per Session. A name is taken literally: one that has `/`, `+` or `#` in it
could reach into another device's topics, so it fits no placeholder (CVE-2017-7650).
"""

from collections.abc import Iterable
from typing import Final

from thinbridge.errors import SettingsError
from thinbridge.protocols.mqtt import topics
from thinbridge.protocols.mqtt.topics import Levels

PLACEHOLDERS: Final = ("{deviceid}", "{clientid}")
EVERYTHING: Final = ("#",)


def check(key: str, texts: Iterable[str]) -> None:
    """Whether all of them are filters, with placeholders that are known and stand for whole levels.

    Raises:
        SettingsError: one is not.
    """
    for text in texts:
        literal = [level for level in text.split("/") if level not in PLACEHOLDERS]
        if not topics.is_filter(text) or any("{" in level or "}" in level for level in literal):
            fix = "use topic filters, in which {deviceid} or {clientid} may stand for a whole level"
            raise SettingsError(key, text, fix)


class Templates:
    """What is allowed to one Session.

    Args:
        texts: the templates.
        device: its `deviceid`.
        client_id: its client identifier.
    """

    __slots__ = ("_filters",)

    def __init__(self, texts: Iterable[str], device: str, client_id: str) -> None:
        names = {"{deviceid}": device, "{clientid}": client_id}
        filled = (tuple(names.get(level, level) for level in text.split("/")) for text in texts if fits(text, names))
        self._filters: tuple[Levels, ...] | None = tuple(filled)
        if EVERYTHING in self._filters:
            self._filters = None

    def allow(self, text: str) -> bool:
        """Whether a topic name or filter lies within one of them."""
        if self._filters is None:
            return True
        levels = tuple(text.split("/"))
        return any(topics.covers(one, levels) for one in self._filters)


def asks(text: str) -> bool:
    """Whether it has a placeholder."""
    return any(place in text for place in PLACEHOLDERS)


def fits(text: str, names: dict[str, str]) -> bool:
    """Whether the names that a template asks for can stand in it."""
    wanted = [name for place, name in names.items() if place in text]
    return all(name and not set(name) & set("/+#") for name in wanted)


def fill(text: str, names: dict[str, str]) -> str:
    """A template with its names in their places."""
    return "/".join(names.get(level, level) for level in text.split("/"))
