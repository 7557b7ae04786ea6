"""One message of a session at a time, where a route asks for it. The bridge asks before each delivery.

What waits keeps its place, and its own deadline. It takes memory like what is delivered; `Delivery.hold` counts it.
"""

from collections import deque
from collections.abc import Callable, Hashable


class Turns:
    """Queues by key; those that nobody waits in take nothing."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[Callable[[], None]]] = {}

    def busy(self, key: Hashable) -> bool:
        """Whether one of that key is at it, so that the next has to wait."""
        return key in self._waiting

    def enter(self, key: Hashable, start: Callable[[], None]) -> None:
        """Start at once if nobody of that key is at it, else when all before have left."""
        queue = self._waiting.get(key)
        if queue is not None:
            queue.append(start)
        else:
            self._waiting[key] = deque()
            start()

    def leave(self, key: Hashable) -> None:
        """The one that is at it has ended: the next starts."""
        queue = self._waiting.get(key)
        if queue is None:
            return
        if queue:
            queue.popleft()()
        else:
            del self._waiting[key]

    def clear(self) -> None:
        """Nobody starts any more."""
        self._waiting.clear()
