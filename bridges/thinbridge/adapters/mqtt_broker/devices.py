"""Who is behind the broker: the sessions that messages belong to. Pure.

A broker has no devices, only topics. Where a template says which level of a topic is the device's name, each device has
a session of its own, so that its events have its `deviceid` and can keep their order; all other messages share one.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from thinbridge import contract
from thinbridge.adapters.mqtt_broker.settings import DEVICE, BrokerSettings
from thinbridge.adapters.mqtt_broker.window import Use
from thinbridge.protocols.base import Event, Inbound, Path, Reply, Sent, Session
from thinbridge.protocols.mqtt import topics
from thinbridge.protocols.mqtt.cloudevents import Message
from thinbridge.protocols.mqtt.exchanges import Exchanges

MAX_NAME: Final = 256
"""Characters of a device's name: it becomes `deviceid` and `partitionkey`, headers of every event."""


class BrokerSession(Session):
    """A device as its topics name it, or everybody else. Its endpoint calls it directly: it has no bytes of its own.

    Args:
        id: random.
        device: the device's name, None for everybody else.
        settings: the listener's.
        counters: what was forgotten early.
    """

    def __init__(self, id: str, device: str | None, settings: BrokerSettings, counters: Counter[str]) -> None:
        self.id, self.device = id, device
        self.exchanges = Exchanges(settings.replies, settings.replies_bytes, counters)

    def begin(self, use: Use, topic: str, message: Message) -> Inbound:
        """A message of its own, to be reported."""
        self.exchanges.begin(use, message.response, message.correlation, use.octets)
        use.inbound = Inbound(
            use.number,
            contract.MQTT_MESSAGE,
            topic,
            message.attributes,
            message.content_type,
            message.data,
            use.key or None,
            0.0,
            use.qos > 0,
            use.response is not None,
            message.expires,
            message.event,
        )
        return use.inbound

    def receive(self, data: bytes, path: Path, now: float) -> None:
        """Nothing: no shell drives it."""

    def answer(self, exchange: int, reply: Reply, now: float) -> bool:
        """Its endpoint answers."""
        return False

    def close(self, reason: str, now: float) -> None:
        """Forgotten by its endpoint."""
        self.exchanges.clear()
        self.closed = True

    def next_event(self) -> Event | None:
        """None: its endpoint reports."""
        return None

    def data_to_send(self) -> Sequence[Sent]:
        """Nothing."""
        return ()


class Devices:
    """The sessions of one endpoint.

    Args:
        settings: the listener's.
        counters: what was evicted.
        session_id: makes a random id.
        closed: told of a session that is forgotten.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        counters: Counter[str],
        session_id: Callable[[], str],
        closed: Callable[[BrokerSession], None],
    ) -> None:
        self._settings, self._counters = settings, counters
        self._session_id, self._closed = session_id, closed
        self._templates = [tuple(text.split("/")) for text in settings.device_topics]
        self._named: OrderedDict[str, BrokerSession] = OrderedDict()  # the one that is silent for longest first
        self._others: BrokerSession | None = None

    def __len__(self) -> int:
        return len(self._named) + (self._others is not None)

    def session(self, topic: str, limit: int) -> BrokerSession:
        """The session of a message.

        Args:
            topic: its topic.
            limit: how many sessions there may be; over it goes one that waits for nothing.
        """
        name = device_of(self._templates, topic)
        if name is None:
            if self._others is None:
                self._others = self._new(None)
            return self._others
        session = self._named.get(name)
        if session is None:
            session = self._named[name] = self._new(name)
            if len(self._named) > limit:
                self._evict()
        else:
            self._named.move_to_end(name)
        return session

    def _new(self, name: str | None) -> BrokerSession:
        return BrokerSession(self._session_id(), name, self._settings, self._counters)

    def _evict(self) -> None:
        """The one silent for longest that has nothing open; where all have, the window bounds how many those are."""
        for name, session in self._named.items():
            if not session.exchanges:
                del self._named[name]
                self._counters["evicted"] += 1
                self._forget(session)
                return

    def _forget(self, session: BrokerSession) -> None:
        session.close("evicted", 0.0)
        self._closed(session)

    def close(self) -> None:
        """All are over."""
        for session in self._all():
            self._forget(session)
        self._named.clear()
        self._others = None

    def _all(self) -> Iterable[BrokerSession]:
        return [*self._named.values(), *([self._others] if self._others is not None else [])]


def device_of(templates: Iterable[tuple[str, ...]], topic: str) -> str | None:
    """The device's name in a topic, by the first template that takes it; None: none does, or it is too long."""
    for levels in templates:
        filter_levels = tuple("+" if level == DEVICE else level for level in levels)
        if topics.matches(filter_levels, topic):
            name = topic.split("/")[levels.index(DEVICE)]
            return name if 0 < len(name) <= MAX_NAME else None
    return None
