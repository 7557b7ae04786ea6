"""Finds clients that take each other's Session over and over: two devices with one client identifier, or an attack.

One per listener, asked by `MQTT.enter`. The newcomer is refused, so that the fight ends and one of them works.
"""

from collections import OrderedDict
from typing import Final

WINDOW: Final = 60.0
"""Seconds in which takeovers of one client identifier are counted."""

REMEMBERED: Final = 1024
"""Client identifiers whose takeovers are counted; those of the longest ago are forgotten first."""


class Flaps:
    """Takeovers by client identifier.

    Args:
        limit: how many within `WINDOW` are still a device that reconnects; 0: any number.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._times: OrderedDict[str, list[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._times)

    def takeover(self, client_id: str, now: float) -> bool:
        """Somebody wants the Session of a client that is connected; whether that may be."""
        if not self._limit:
            return True
        times = [time for time in self._times.pop(client_id, ()) if now - time < WINDOW]
        allowed = len(times) < self._limit
        if allowed:
            times.append(now)
        self._times[client_id] = times
        if len(self._times) > REMEMBERED:
            self._times.popitem(last=False)
        return allowed
