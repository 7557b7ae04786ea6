"""What a device hears: its subscriptions, and what functions send to it. The other half of a Session beside `uplink`.

It is a gateway's: an answer or a push goes to *this* Session, where one of its own subscriptions matches. Called by the
session, which it never calls.
"""

from collections import deque
from typing import TYPE_CHECKING, NoReturn

from thinbridge.errors import DecodeError
from thinbridge.protocols.base import Event, PushResult
from thinbridge.protocols.mqtt import codec, message, properties, reasons, subscribe, topics, wire
from thinbridge.protocols.mqtt.connection import Connection
from thinbridge.protocols.mqtt.message import Publication
from thinbridge.protocols.mqtt.outbound import Outbox
from thinbridge.protocols.mqtt.subscriptions import ALWAYS, IF_NEW, Match, Subscription, Subscriptions
from thinbridge.protocols.mqtt.templates import Templates

if TYPE_CHECKING:
    from thinbridge.protocols.mqtt import MQTT
    from thinbridge.protocols.mqtt.session import MQTTSession


class Downlink:
    """The messages to a device.

    Args:
        protocol: settings, counters, and what the Sessions of a listener share.
        session: whose it is.
        allowed: filters that the device may subscribe to.
        events: where the outcomes of pushes are reported.
    """

    __slots__ = ("_allowed", "_asked", "_outbox", "_protocol", "_retained", "_subscriptions")

    def __init__(self, protocol: "MQTT", session: "MQTTSession", allowed: Templates, events: deque[Event]) -> None:
        settings = protocol.settings
        self._protocol = protocol
        self._allowed = allowed
        self._subscriptions = Subscriptions(session, protocol.listeners, settings.subscriptions)
        self._outbox = Outbox(
            settings.outbound_queue, settings.outbound_bytes, settings.outbound_window, protocol.counters, events
        )
        self._asked: dict[str, Subscription] = {}  # filters whose retained values are still to be looked up
        self._retained: dict[str, Match] = {}  # topics whose values are still to be sent, as they were asked for last

    # --- its connections ------------------------------------------------------------------------------------------

    def attach(self, connection: Connection, now: float) -> None:
        """A connection is there; what waits goes out."""
        self._outbox.attach(connection, now)
        self.catch_up(now)

    def detach(self) -> None:
        """It is gone."""
        self._outbox.detach()

    def end(self) -> None:
        """The Session is over."""
        self._subscriptions.clear()
        self._asked.clear()
        self._retained.clear()
        self._outbox.end()

    # --- SUBSCRIBE ------------------------------------------------------------------------------------------------

    def subscribe(self, connection: Connection, body: bytes) -> None:
        """A SUBSCRIBE: SUBACK (MQTT-3.8.4-1); what is retained follows with `catch_up`."""
        packet_id, values, filters = subscribe.decode_subscribe(body, connection.v5)
        number: int = values.get(properties.SUBSCRIPTION_ID, 0)
        for text, options in filters:
            check_filter(text)
            if connection.v5 and text.startswith("$share/"):
                refuse_share(options)
        # as if each had come alone: MQTT-3.8.4-5; 3.1.1: MQTT-3.8.4-4, MQTT-3.8.4-5
        codes = [self._subscribe(text, Subscription.of(options, number)) for text, options in filters]
        answer(connection, subscribe.encode_suback(codec.SUBACK, packet_id, codes, connection.v5))

    def _subscribe(self, text: str, subscription: Subscription) -> int:
        """The code of one filter (MQTT-3.8.4-6, MQTT-3.8.4-7, MQTT-3.9.3-1)."""
        if text.startswith("$") or not topics.is_taken(text):
            return reasons.FILTER_INVALID
        if not self._allowed.allow(text):
            self._protocol.counters["subscribe_not_allowed"] += 1
            return reasons.NOT_AUTHORIZED
        new = text not in self._subscriptions
        if new and self._subscriptions.full:
            self._protocol.counters["subscriptions_full"] += 1
            return reasons.QUOTA
        self._subscriptions.add(text, subscription)
        handling = subscription.retain_handling  # MQTT-3.3.1-9, MQTT-3.3.1-10, MQTT-3.3.1-11; 3.1.1: MQTT-3.3.1-6
        if handling == ALWAYS or (handling == IF_NEW and new):  # again too: MQTT-3.8.4-4; 3.1.1: MQTT-3.8.4-3
            self._asked[text] = subscription
        return subscription.qos  # whichever was asked for: MQTT-3.2.2-10

    def unsubscribe(self, connection: Connection, body: bytes) -> None:
        """An UNSUBSCRIBE: one UNSUBACK (MQTT-3.10.4-4, MQTT-3.10.4-6), whatever there was (MQTT-3.10.4-5)."""
        packet_id, filters = subscribe.decode_unsubscribe(body, connection.v5)
        codes = [self._unsubscribe(text) for text in filters]  # MQTT-3.11.3-1, MQTT-3.11.3-2
        answer(connection, subscribe.encode_suback(codec.UNSUBACK, packet_id, codes, connection.v5))

    def _unsubscribe(self, text: str) -> int:
        check_filter(text)
        self._asked.pop(text, None)  # what the outbox has, it finishes: MQTT-3.10.4-3
        return reasons.SUCCESS if self._subscriptions.remove(text) else reasons.NO_SUBSCRIPTION

    def catch_up(self, now: float) -> None:
        """Send what is retained for new subscriptions, as far as there is room; acknowledgements make more.

        Called after all that was read at once: so a value goes out once for that, however often it was asked for.
        """
        if self._asked:
            self._look_up()
        while self._retained:
            topic = next(iter(self._retained))
            value = self._protocol.retained.get(topic, now)
            if value is not None and self._subscriptions.match(topic) is not None:  # still: MQTT-3.10.4-2
                if self._outbox and not self._outbox.fits(value, now):
                    return
                self._outbox.add(message.copy(value, self._retained[topic], retained=True), value.size, now)
            del self._retained[topic]

    def _look_up(self) -> None:
        """Which values they are; where filters overlap, all together say how (MQTT-3.3.4-2, MQTT-3.3.4-4)."""
        asked: dict[str, list[Subscription]] = {}
        for text, subscription in self._asked.items():
            for topic in self._protocol.retained.matching(tuple(text.split("/"))):
                asked.setdefault(topic, []).append(subscription)
        self._asked.clear()
        self._retained.update((topic, Match.of(subscriptions)) for topic, subscriptions in asked.items())

    # --- messages -------------------------------------------------------------------------------------------------

    def send(self, publication: Publication, now: float, push: int = 0) -> PushResult | None:
        """Send it where a subscription of this Session takes it, and keep it for later ones if it is to be retained.

        Args:
            publication: what.
            now: monotonic seconds.
            push: the push to report on.

        Returns:
            What became of it; None: that is reported, or will be.
        """
        if not topics.is_ours(publication.topic):
            return self._unheard()
        if publication.retain and not self._protocol.retain(publication, now):  # MQTT-3.3.1-8; 3.1.1: MQTT-3.3.1-12
            return PushResult.BUSY
        match = self._subscriptions.match(publication.topic)  # MQTT-3.3.2-3
        if match is not None:
            self._add(publication, match, now, push)
            return None
        if publication.retain:
            return PushResult.QUEUED  # whoever subscribes hears it
        return self._unheard()

    def _unheard(self) -> PushResult:
        self._protocol.counters["not_subscribed"] += 1
        return PushResult.REFUSED

    def hear(self, publication: Publication, now: float) -> bool:
        """What is published to everyone: whether this one hears it (MQTT-4.5.0-1)."""
        match = self._subscriptions.match(publication.topic)
        return match is not None and self._add(publication, match, now, 0)

    def _add(self, publication: Publication, match: Match, now: float, push: int) -> bool:
        copy = message.copy(publication, match, push=push)
        if not self._outbox.fits(publication, now, copy.qos):
            self._outbox.refuse(copy, publication.size)
            return False
        self._outbox.add(copy, publication.size, now)
        return True

    def acknowledged(self, connection: Connection, kind: int, body: bytes, now: float) -> None:
        """A PUBACK, PUBREC or PUBCOMP."""
        packet_id, reason = codec.decode_ack(kind, body, connection.v5)
        self._outbox.acknowledged(kind, packet_id, reason, now)


def answer(connection: Connection, packet: bytes) -> None:
    """Send what must follow, and has a code for each filter (MQTT-3.8.4-1, MQTT-3.8.4-6, MQTT-3.10.4-4).

    Raises:
        DecodeError: the client asked for more at once than it takes the answer to (MQTT-3.1.2-24).
    """
    if not connection.send(packet):
        raise DecodeError("answer_too_large", reasons.TOO_LARGE)


def check_filter(text: str) -> None:
    """Whether it is a topic filter at all (MQTT-4.7.1-1, MQTT-4.7.1-2, MQTT-4.7.3-1).

    Raises:
        DecodeError: it is none.
    """
    if not topics.is_filter(text):
        raise DecodeError("filter_invalid", reasons.MALFORMED)


def refuse_share(options: int) -> NoReturn:
    """A shared subscription (MQTT-4.8.2-1): the CONNACK said that there are none (MQTT 5 §3.2.2.3.13).

    Raises:
        DecodeError: always.
    """
    if options & subscribe.NO_LOCAL:
        raise wire.protocol_error()  # MQTT-3.8.3-4
    raise DecodeError("shared_subscription", reasons.NO_SHARED_SUBSCRIPTIONS)
