"""Who observes what, over all sessions of an endpoint (RFC 7641 §1.2: the list of observers). Bounded.

`CoAP` has one; `observations` keeps it up to date, `CoAP.publish` asks it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from thinbridge.protocols.base import Reply, Session

if TYPE_CHECKING:
    from thinbridge.protocols.coap.observation import Observation


class Observers:
    """Observations by subject.

    Args:
        limit: how many there may be.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._by_subject: dict[str, dict[Observation, None]] = {}
        self._turn = 0

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        """Whether there is no room for another."""
        return self._count >= self._limit

    def add(self, observation: "Observation") -> None:
        """One more."""
        self._by_subject.setdefault(observation.subject, {})[observation] = None
        self._count += 1

    def discard(self, observation: "Observation") -> None:
        """It is over."""
        observations = self._by_subject[observation.subject]
        del observations[observation]
        if not observations:
            del self._by_subject[observation.subject]
        self._count -= 1

    def turn(self) -> int:
        """A number for a state of a resource, in the order in which they were heard of: a later one is newer."""
        self._turn += 1
        return self._turn

    def publish(self, subject: str, reply: Reply, now: float) -> Iterator[Session]:
        """Notify every observer of a subject, each when the iterator comes to it; their sessions.

        What came for one of them in between is newer, whenever that is: the order is that of the calls.
        """
        return self._publish(list(self._by_subject.get(subject, ())), reply, self.turn(), now)

    @staticmethod
    def _publish(observations: list["Observation"], reply: Reply, turn: int, now: float) -> Iterator[Session]:
        for observation in observations:
            if observation.over:  # since the list was made
                continue
            observation.session.notify(observation, reply, turn, now)
            if observation.granted:  # before that it may never be; what it is to hear waits
                yield observation.session
