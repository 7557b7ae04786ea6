"""What comes under one client id: from its connection into its window, and the acknowledgements back."""

from collections import Counter
from collections.abc import Callable

from paho.mqtt.client import MQTTMessage

from thinbridge.adapters.mqtt_broker import messages
from thinbridge.adapters.mqtt_broker.link import Link
from thinbridge.adapters.mqtt_broker.window import Use, Window
from thinbridge.protocols.mqtt import reasons
from thinbridge.protocols.mqtt.codec import Publish
from thinbridge.protocols.mqtt.message import Publication


class Consumer:
    """One client id that this bridge connects under; its link's `Owner`.

    Args:
        link: makes its connection, given itself.
        window: of its messages.
        counters: what is dropped.
        arrived: told of each new message.
        changed: told when the connection stands (True) or is gone (False).
        published: told of the broker's acknowledgements of what this connection published.
    """

    def __init__(
        self,
        link: Callable[["Consumer"], Link],
        window: Window,
        counters: Counter[str],
        arrived: Callable[["Consumer", Use, Publish], None],
        changed: Callable[["Consumer", bool], None],
        published: Callable[[int, int], None],
    ) -> None:
        self.window = window
        self.published = published
        self.link = link(self)
        self.leaving = False
        """It takes nothing new: the bridge drains, or another takes the client id over."""
        self._counters = counters
        self._arrived, self._changed = arrived, changed

    # --- what its link says ---------------------------------------------------------------------------------------

    def up(self, present: bool) -> None:
        """Connected."""
        self.window.connected(present)
        self._pace()
        self._changed(self, True)

    def failed(self) -> None:
        """It could not connect."""
        self._counters["connection_failed"] += 1

    def down(self, taken_over: bool) -> None:
        """Not connected any more."""
        if taken_over:
            self._counters["taken_over"] += 1
        self._counters["connection_lost"] += 1
        self.window.disconnected()
        self._changed(self, False)

    def received(self, message: MQTTMessage) -> None:
        """A PUBLISH; what can be no event is acknowledged in its turn, so that it does not come for ever."""
        if self.leaving:
            self._counters["draining"] += 1  # not acknowledged: the broker keeps it, for whoever is next
            return
        publish = messages.publish_of(message)
        size = len(message.payload) if publish is None else messages.size_of(publish)
        digest = hash((None if publish is None else publish.topic, bytes(message.payload)))
        if message.qos:
            use = self.window.arrived(message.mid, message.dup, digest, size)
            if use is not None:
                use.qos = message.qos
        else:
            use = self.window.counted(0, size)
        if use is None:
            self._acknowledge()
        elif publish is None:
            self._counters["topic_invalid"] += 1
            self.decided(use, reasons.SUCCESS)
        else:
            self._arrived(self, use, publish)
        self._pace()

    # --- what its endpoint says -----------------------------------------------------------------------------------

    def decided(self, use: Use, reason: int) -> None:
        """A message was accepted, or refused by the function."""
        self.window.decided(use, reason)
        self._acknowledge()
        self._pace()

    def leave(self) -> None:
        """Take nothing new; what is open goes on.

        Reading does, too: what is published by this connection still has to be acknowledged.
        """
        self.leaving = True
        self._pace()

    def say(self, message: Publication) -> None:
        """Publish by this connection, if it stands."""
        if self.link.connected:
            self.link.publish(message)

    def _acknowledge(self) -> None:
        for use in self.window.acknowledge():
            self.link.acknowledge(use.packet_id, use.qos)

    def _pace(self) -> None:
        """Read on, or not. The broker's own bound is not relied upon: mosquitto goes past a Receive Maximum."""
        if self.window.full and not self.leaving:
            self.link.pause()
        else:
            self.link.resume()
