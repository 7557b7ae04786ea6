"""What a device publishes, and what it is told about it: one half of a Session. `downlink` is the other.

A PUBLISH becomes an `Inbound`, its answer a PUBACK or PUBREC, in the order in which the messages came; PUBREL is
answered at once. Called by the session, which it never calls.
"""

from collections import deque
from typing import TYPE_CHECKING

from thinbridge import contract
from thinbridge.errors import DecodeError
from thinbridge.protocols.base import Event, Inbound, Outcome, Reply
from thinbridge.protocols.mqtt import cloudevents, codec, properties, reasons, topics, wire
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.connection import Connection
from thinbridge.protocols.mqtt.exchanges import OPEN, WITHHELD, Exchange, Exchanges
from thinbridge.protocols.mqtt.inbound import Window
from thinbridge.protocols.mqtt.templates import Templates
from thinbridge.protocols.mqtt.unheard import NUMBER

if TYPE_CHECKING:
    from thinbridge.protocols.mqtt import MQTT


class Uplink:
    """The messages of a device.

    Args:
        protocol: settings and counters.
        key: of the Session, in what makes ids of events.
        allowed: topics that the device may publish to.
        events: where its messages are reported.
    """

    __slots__ = ("_allowed", "_events", "_key", "_protocol", "_window", "draining", "exchanges")

    def __init__(self, protocol: "MQTT", key: bytes, allowed: Templates, events: deque[Event]) -> None:
        settings = protocol.settings
        self._protocol = protocol
        self._key = key
        self._allowed = allowed
        self._events = events
        self._window = Window(settings.window)
        self.draining = False
        """No new messages."""
        self.exchanges = Exchanges(settings.replies, settings.replies_bytes, protocol.counters)

    @property
    def crowded(self) -> bool:
        """Read no further: the window is wider than clients' own, so it is bytes that count."""
        return self.exchanges.held > self._protocol.settings.held

    @property
    def unreleased(self) -> bool:
        """A PUBREL is still to come."""
        return bool(self._window.received)

    # --- messages -------------------------------------------------------------------------------------------------

    def publish(self, connection: Connection, first: int, body: bytes) -> None:
        """A PUBLISH, answered as its QoS asks for (MQTT-3.3.4-1).

        Raises:
            DecodeError: the connection can't go on.
        """
        publish = codec.decode_publish(first, body, connection.v5)
        topic = connection.topic(publish)
        if properties.SUBSCRIPTION_ID in publish.properties:
            raise wire.protocol_error()  # MQTT-3.3.4-6
        if publish.qos == 2 and publish.packet_id in self._window.received:
            self._protocol.counters["duplicates"] += 1
            connection.acknowledge(codec.PUBREC, publish.packet_id, reasons.SUCCESS)  # MQTT-4.3.3-10
        elif self.draining:
            self._protocol.counters["draining"] += 1  # withheld: the device keeps it for the next connection
        elif publish.qos:
            self._receive(connection, publish, topic, len(body))
        else:
            self._receive_qos0(connection, publish, topic, len(body))

    def _receive_qos0(self, connection: Connection, publish: Publish, topic: str, size: int) -> None:
        counters = self._protocol.counters
        if self.exchanges.qos0 >= self._protocol.settings.qos0_open:
            counters["qos0_dropped"] += 1
            return
        try:
            message = self._read(connection, publish, topic)
        except DecodeError as refusal:
            counters[refusal.reason] += 1
            return
        exchange = self.exchanges.begin(Exchange(0), message.response, message.correlation, size)
        self._events.append(_inbound(exchange, topic, message))

    def _receive(self, connection: Connection, publish: Publish, topic: str, size: int) -> None:
        """A new message, a resend of one that is open (absorbed), or of one that was not accepted (tried again)."""
        window, counters = self._window, self._protocol.counters
        digest = hash((topic, publish.data))
        used = window.find(publish, digest)
        if used is not None and used.here:
            counters["duplicates"] += 1
            return
        if connection.v5 and window.full():
            raise DecodeError("receive_maximum", reasons.RECEIVE_MAXIMUM)
        if used is not None and not self._withholds(connection, used):
            counters["duplicates"] += 1
            self._arrived(connection, used, None)
            return
        if window.received:
            window.received.discard(publish.packet_id)  # QoS 1 now: the device has lost its memory
        try:
            message = self._read(connection, publish, topic)
        except DecodeError as refusal:
            self._refuse(connection, publish, refusal)
            return
        exchange = self.exchanges.begin(used or Exchange(publish.qos), message.response, message.correlation, size)
        if used is None:
            exchange.packet_id, exchange.digest = publish.packet_id, digest
            number = window.unheard.take(publish, digest) or exchange.number.to_bytes(NUMBER)
            exchange.key = self._key + publish.packet_id.to_bytes(2) + number
        else:
            used.tried = True
        self._arrived(connection, exchange, _inbound(exchange, topic, message))

    def _refuse(self, connection: Connection, publish: Publish, refusal: DecodeError) -> None:
        """A message that is not taken: its acknowledgement says so, in its turn."""
        if not connection.v5:
            raise refusal  # MQTT-3.3.5-2, MQTT-4.8.0-2: it can't be told no, and a PUBACK would lose the message
        self._protocol.counters[refusal.reason] += 1
        exchange = Exchange(publish.qos)  # without a digest: read anew on another connection, which may be 3.1.1
        exchange.packet_id, exchange.reason = publish.packet_id, refusal.code
        exchange.text = reasons.text(refusal.reason)
        self._arrived(connection, exchange, None)

    def _read(self, connection: Connection, publish: Publish, topic: str) -> cloudevents.Message:
        """The message, if it is one that is taken.

        Raises:
            DecodeError: it is not; the reason is for its PUBACK or PUBREC.
        """
        if not topics.is_taken(topic):
            raise DecodeError("topic_refused", reasons.TOPIC_INVALID)
        if not self._allowed.allow(topic):
            raise DecodeError("publish_not_allowed", reasons.NOT_AUTHORIZED)
        if publish.properties:
            return cloudevents.read(publish)
        if self._protocol.settings.structured_311 and not connection.v5:
            return cloudevents.structured_or_plain(publish)
        return cloudevents.plain(publish)

    def _arrived(self, connection: Connection, exchange: Exchange, inbound: Inbound | None) -> None:
        inbound = self._window.add(exchange, inbound)
        if inbound is not None:
            self._events.append(inbound)
        else:
            self.acknowledge(connection)

    def release(self, connection: Connection, body: bytes) -> None:
        """A PUBREL: PUBCOMP follows at once (MQTT-4.3.3-11).

        Raises:
            DecodeError: malformed, or before its PUBREC.
        """
        packet_id, _ = codec.decode_ack(codec.PUBREL, body, connection.v5)
        known = self._window.release(packet_id)
        connection.acknowledge(codec.PUBCOMP, packet_id, reasons.SUCCESS if known else reasons.PACKET_ID_UNKNOWN)

    # --- answers --------------------------------------------------------------------------------------------------

    def answer(self, connection: Connection | None, number: int, reply: Reply) -> Exchange | None:
        """An exchange has its answer; the acknowledgements that are due go out. None: it is not open.

        Raises:
            DecodeError: it was not accepted, and the connection that waits for that has to end.
        """
        exchange = self.exchanges.find(number)
        if exchange is None:
            return None
        outcome = reply.outcome
        if outcome is Outcome.PENDING:
            self.exchanges.wait(exchange)
        else:
            self.exchanges.end(exchange)
            if outcome is not Outcome.ACCEPTED:
                self._protocol.counters[f"not_{outcome.name.lower()}"] += 1
        if exchange.qos and exchange.reason == OPEN:
            self._decide(connection, exchange, reply)
        return exchange

    def _decide(self, connection: Connection | None, exchange: Exchange, reply: Reply) -> None:
        """What its acknowledgement says, or that it gets none: MQTT has no other way to say so than to hang up."""
        outcome = reply.outcome
        if outcome in (Outcome.ACCEPTED, Outcome.PENDING):
            exchange.reason = reasons.SUCCESS  # the sink owns it: MQTT-4.3.2-4, MQTT-4.3.3-8
        elif outcome is Outcome.REFUSED:
            exchange.reason, exchange.text = reasons.refused(reply.status), reasons.diagnosis(reply)
        else:
            exchange.reason = WITHHELD
        if connection is None:
            return
        if exchange.reason == reasons.SUCCESS or not self._withholds(connection, exchange):
            self.acknowledge(connection)
        elif exchange.here:
            raise DecodeError("withheld", reasons.QUOTA)

    def _withholds(self, connection: Connection, exchange: Exchange) -> bool:
        """Whether it gets no PUBACK or PUBREC on this connection; the device's next resend is tried again.

        3.1.1 has no PUBACK that says no; the listener says what to do instead. A refusal may have come while the device
        was away, so it is the connection that is asked for the PUBACK, not the one that the message came by.
        """
        if exchange.reason >= reasons.FAILURE:
            return not connection.v5 and self._protocol.settings.on_refused == "close"
        return exchange.reason == WITHHELD

    def acknowledge(self, connection: Connection) -> None:
        """Send the acknowledgements that are due; let in what waited for room."""
        window = self._window
        while window.acknowledge(connection):
            while (inbound := window.admit()) is not None:
                self._events.append(inbound)

    # --- its connections ------------------------------------------------------------------------------------------

    def detach(self) -> None:
        """The connection is gone; what it has sent is delivered all the same, and acknowledged to the next one."""
        for exchange in self._window.disconnect():
            self.exchanges.end(exchange)


def _inbound(exchange: Exchange, topic: str, message: cloudevents.Message) -> Inbound:
    return Inbound(
        exchange.number,
        contract.MQTT_MESSAGE,
        topic,
        message.attributes,
        message.content_type,
        message.data,
        exchange.key or None,
        0.0,
        exchange.qos > 0,
        exchange.response is not None,
        message.expires,
        message.event,
    )
