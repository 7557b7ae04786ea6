"""How replicas hear of each other: a connection of its own, which keeps nothing, and the words that are retained.

The socket side of `replicas`. It is also the connection that answers and pushes go by, since the others come and go.
"""

import asyncio
import logging
import os
import random
from collections.abc import Callable
from typing import Final

from paho.mqtt.client import MQTTMessage

from thinbridge.adapters.mqtt_broker.link import Identity, Link, Owner, Will
from thinbridge.adapters.mqtt_broker.replicas import BEAT, Action, Replicas, State, Word, decode
from thinbridge.adapters.mqtt_broker.settings import BrokerSettings
from thinbridge.protocols.mqtt.message import Publication

LOG: Final = logging.getLogger(__name__)

TICK: Final = 0.25
"""Seconds between two looks; what is heard is looked at at once."""

WANTED: Final = "wanted"
"""The level below a seat's topic on which it is asked for; never retained."""


class Presence:
    """This replica among the others; its link's `Owner`.

    Args:
        settings: the listener's.
        own: the seat that this replica takes; None: any.
        link: makes the connection.
        act: does what was decided.
        allow: told of each seat that is held whether it may be dialled.
        speak: publishes by a seat's own connection, if that stands.
        changed: told when the connection stands or is gone.
        published: told of the broker's acknowledgements of what this connection published.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        own: int | None,
        link: Callable[[Identity, Owner], Link],
        act: Callable[[Action], None],
        allow: Callable[[int, bool], None],
        speak: Callable[[int, Publication], None],
        changed: Callable[[bool], None],
        published: Callable[[int, int], None],
    ) -> None:
        instance = os.urandom(8).hex()
        self.replicas = Replicas(instance, settings.replicas, own, settings.adopt_after, random.random)
        self.published = published
        self._topic, self._name = settings.presence_topic, settings.name
        self._act, self._allow, self._speak, self._changed = act, allow, speak, changed
        self.link = link(Identity(f"{settings.name}-{instance}", (f"{self._topic}/#",), keeps=False), self)
        self._beats = 0.0
        self._said = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Connect and listen."""
        self._loop = asyncio.get_running_loop()
        self.link.start()
        self._tick()

    async def stop(self) -> None:
        """Disconnect."""
        if self._timer is not None:
            self._timer.cancel()
        await self.link.stop()

    def identity(self, seat: int, filters: tuple[str, ...]) -> Identity:
        """As whom to connect under a seat."""
        word = Word(self.replicas.instance, State.FREE)
        return Identity(f"{self._name}-{seat}", filters, keeps=True, will=Will(f"{self._topic}/{seat}", word.encode()))

    def say(self, seat: int) -> None:
        """Tell the others that we have a seat."""
        if seat in self.replicas.held:
            self._speak(seat, self._retained(seat, self.replicas.state(seat)))

    def free(self, seat: int) -> Publication:
        """What to say of a seat that is left."""
        return self._retained(seat, Word(self.replicas.instance, State.FREE))

    def _retained(self, seat: int, word: Word) -> Publication:
        return Publication(f"{self._topic}/{seat}", word.encode(), 1, retain=True)

    def look(self) -> None:
        """Decide, and do it."""
        now = self._loop.time()
        for action in self.replicas.decide(now):
            self._act(action)
        for seat in self.replicas.held:
            self._allow(seat, self.replicas.may_connect(seat, now))

    def ask(self, seat: int) -> None:
        """Tell a seat's holder that it is wanted."""
        if self.link.connected:
            word = Word(self.replicas.instance, State.FREE)
            self.link.publish(Publication(f"{self._topic}/{seat}/{WANTED}", word.encode(), 1))

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK, self._tick)
        now = self._loop.time()
        if now - self._beats >= BEAT:
            self._beats = now
            for seat in self.replicas.held:
                self.say(seat)
        self.look()
        if self.replicas.unheard(now) and not self._said:
            self._said = True
            LOG.error("replicas don't hear each other: grant the bridge's user read and write of %s/#", self._topic)

    # --- what its link says ---------------------------------------------------------------------------------------

    def up(self, present: bool) -> None:
        """Connected; what is retained follows."""
        self.replicas.listening(self._loop.time())
        self._changed(True)

    def failed(self) -> None:
        """It could not connect: the others tell of that."""

    def down(self, taken_over: bool) -> None:
        """Not connected any more."""
        self.replicas.deaf()
        self._changed(False)

    def received(self, message: MQTTMessage) -> None:
        """A word about a seat, or nothing that is ours."""
        if message.qos:
            self.link.acknowledge(message.mid, message.qos)
        try:
            seat, _, rest = message.topic.removeprefix(f"{self._topic}/").partition("/")
        except UnicodeDecodeError:
            return
        word = decode(bytes(message.payload))
        if word is None or not (seat.isascii() and seat.isdecimal() and len(seat) < 4):
            return
        if rest == WANTED:
            self.replicas.wanted(int(seat), word.instance)
        elif not rest:
            self.replicas.heard(int(seat), word, self._loop.time())
        self._loop.call_soon(self.look)
