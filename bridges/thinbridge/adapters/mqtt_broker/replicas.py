"""Which client ids of a pool this replica has, and which it takes over from one that is gone. Pure.

What the broker keeps for a client id is delivered to nobody else, so the share of a replica that died would stay there:
a survivor has to connect *as* it. To connect as one that lives would throw it out. So each replica tells the others, by
retained messages that the broker hands to every newcomer, which ids it has (`state`), again and again (`BEAT`); the
broker itself says, by its will, when one is gone. An id is a *seat*:

    held      somebody's own
    adopted   taken over from one that is gone, until somebody wants it
    free      nobody's: its holder has left, died, or not been heard of for `LEASE`

A replica has one seat of its own. If none is free, it asks the holder of an adopted one to leave it, and waits. Nothing
here has to be exact for nothing to be lost: the broker lets only one connection have a client id, and sends what is not
acknowledged to the next. At worst two replicas want a seat at once; then the one whose word the broker passes on last
keeps it, and the other looks for another.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

BEAT: Final = 5.0
"""Seconds between two words of a holder."""
LEASE: Final = 15.0
"""Seconds without one, after which a seat counts as free: a broker that crashed has sent no will."""
SETTLE: Final = 1.0
"""Seconds of listening before anything is decided: what is retained has come by then."""
JITTER: Final = 0.5
"""Seconds: replicas that start together don't take the same seat."""
SPREAD: Final = 1.0
"""Seconds that each seat a replica has makes it slower to adopt one more: those with fewer come first."""
ASK: Final = 2.0
"""Seconds between two words to the holder of an adopted seat."""
PATIENCE: Final = 10.0
"""Seconds for it to finish what it has; then the seat is taken."""


class State(Enum):
    """What a replica says of a seat."""

    HELD = "held"
    ADOPTED = "adopted"
    FREE = "free"


class Word(NamedTuple):
    """What is said of a seat."""

    instance: str
    """Random, one a process."""
    state: State

    def encode(self) -> bytes:
        """As a payload."""
        return json.dumps({"instance": self.instance, "state": self.state.value}).encode()


def decode(payload: bytes) -> Word | None:
    """A payload; None: it is none of ours."""
    if len(payload) > 256:
        return None
    try:
        content = json.loads(payload)
        instance = content["instance"]
        return Word(instance, State(content["state"])) if isinstance(instance, str) else None
    except (ValueError, KeyError, TypeError):
        return None


class Act(Enum):
    """What is to be done about a seat."""

    TAKE = "take"
    """Connect under it."""
    LEAVE = "leave"
    """Finish what is open, and disconnect."""
    DROP = "drop"
    """Another has it: disconnect at once."""
    ASK = "ask"
    """Tell its holder that it is wanted."""
    SAY = "say"
    """Say that it is held."""


class Action(NamedTuple):
    """One thing to do."""

    act: Act
    seat: int


@dataclass(slots=True)
class Seat:
    """A client id as the others tell of it."""

    holder: str = ""
    state: State | None = None
    """None: it has never been used."""
    since: float = 0.0
    """When that was heard last, or it became free."""
    slower: float = 0.0
    """Chance, drawn when it became free."""


@dataclass(slots=True)
class Held:
    """A seat of ours."""

    adopted: bool
    connected: bool = False
    since: float = 0.0
    """When it was first connected since our own word of it came back; 0: not yet."""
    heard: bool = False
    """Our own word of it came back: what others say from now on was said after it."""


class Replicas:
    """The seats of a pool, from one replica's place.

    Args:
        instance: this process's random name.
        count: how many seats there are.
        own: the one that this replica takes; None: any.
        adopt_after: seconds before a seat that is free is adopted.
        chance: in [0, 1).
    """

    def __init__(
        self, instance: str, count: int, own: int | None, adopt_after: float, chance: Callable[[], float]
    ) -> None:
        self.instance = instance
        self.held: dict[int, Held] = {}
        self._seats = [Seat() for _ in range(count)]
        self._own, self._adopt_after, self._chance = own, adopt_after, chance
        self._settled: float | None = None  # decisions from then on; None: nothing is heard
        self._actions: list[Action] = []
        self._claim: tuple[int, float] | None = None  # the seat that it will take, and when
        self._asked: tuple[int, float, float] | None = None  # the seat asked for: since when, when again

    def state(self, seat: int) -> Word:
        """What to say of a seat of ours."""
        return Word(self.instance, State.ADOPTED if self.held[seat].adopted else State.HELD)

    @property
    def waiting(self) -> bool:
        """It has no seat of its own."""
        return not any(not held.adopted for held in self.held.values())

    def may_connect(self, seat: int, now: float) -> bool:
        """Whether a seat of ours may be dialled: nobody else is known to have it."""
        known = self._seats[seat]
        theirs = known.state in (State.HELD, State.ADOPTED) and known.holder != self.instance
        return self._settled is not None and now >= self._settled and not theirs

    # --- what is heard --------------------------------------------------------------------------------------------

    def listening(self, now: float) -> None:
        """From now on words come in; what is retained first."""
        self._settled = now + SETTLE
        for seat in self._seats:  # who was there before an outage may be about to say so again
            if seat.state is not State.FREE:
                seat.since = now

    def deaf(self) -> None:
        """Nothing comes in any more; nothing is decided until it does."""
        self._settled = self._claim = self._asked = None
        for held in self.held.values():
            held.heard = False

    def heard(self, number: int, word: Word, now: float) -> None:
        """A word about a seat."""
        if not 0 <= number < len(self._seats):
            return
        seat, held = self._seats[number], self.held.get(number)
        if word.state is State.FREE:
            self._left(number, seat, held, word, now)
            return
        seat.holder, seat.state, seat.since = word.instance, word.state, now
        if held is None:
            return
        if word.instance == self.instance:
            held.heard, held.since = True, 0.0
        elif held.heard:
            self._lose(number)

    def _left(self, number: int, seat: Seat, held: Held | None, word: Word, now: float) -> None:
        """Its holder has left it, or the broker says so; a will that comes late is not about who has it by now."""
        if held is not None:
            if word.instance != self.instance:
                self._actions.append(Action(Act.SAY, number))
            elif seat.holder == self.instance:
                seat.state = State.FREE
            return
        if seat.state is None or (seat.state is not State.FREE and seat.holder == word.instance):
            self._free(seat, now)

    def _free(self, seat: Seat, now: float) -> None:
        seat.holder, seat.state, seat.since, seat.slower = "", State.FREE, now, self._chance() * SPREAD

    def wanted(self, number: int, instance: str) -> None:
        """Somebody without a seat wants one."""
        held = self.held.get(number)
        if held is not None and held.adopted and instance != self.instance:
            self._actions.append(Action(Act.LEAVE, number))

    def connected(self, number: int, now: float) -> None:
        """Our connection under a seat stands."""
        if number in self.held:
            self.held[number].connected = True
            self.held[number].since = self.held[number].since or now

    def unheard(self, now: float) -> bool:
        """Whether we speak and don't hear ourselves, so nobody does: who may not publish is told so by MQTT 5 only."""
        return any(held.since and now - held.since > 2 * BEAT for held in self.held.values())

    def lost(self, number: int) -> None:
        """Our connection under a seat is gone; if it was taken over, whoever has it says so, or has said so."""
        held = self.held.get(number)
        if held is not None:
            held.connected = held.heard = False
            seat = self._seats[number]
            if seat.holder not in ("", self.instance) and seat.state is not State.FREE:
                self._lose(number)

    def left(self, number: int, now: float) -> None:
        """A seat of ours has been left."""
        self.held.pop(number, None)
        self._free(self._seats[number], now)

    def _lose(self, number: int) -> None:
        del self.held[number]
        self._actions.append(Action(Act.DROP, number))

    # --- what is decided ------------------------------------------------------------------------------------------

    def decide(self, now: float) -> Sequence[Action]:
        """What to do now; call it after anything was heard, and now and then."""
        if self._settled is not None and now >= self._settled:
            self._decide(now)
        actions, self._actions = self._actions, []
        return actions

    def _decide(self, now: float) -> None:
        for seat in self._seats:
            gone = seat.state in (State.HELD, State.ADOPTED) and seat.holder != self.instance
            if gone and now - seat.since > LEASE:
                self._free(seat, now)
        for number, held in list(self.held.items()):  # somebody has it since we were last connected
            if not held.connected and not self.may_connect(number, now):
                self._lose(number)
        if self.waiting:
            self._look_for_one(now)
        else:
            self._claim = self._asked = None
            self._adopt(now)

    def _look_for_one(self, now: float) -> None:
        adopted = next(iter(self.held), None)
        if adopted is not None and self._own is None:
            self.held[adopted].adopted = False
            self._actions.append(Action(Act.SAY, adopted))
            return
        choice = self._choose()
        if choice is None:
            return
        if self._seats[choice].state is State.ADOPTED:
            self._ask(choice, now)
        elif self._claim is None or self._claim[0] != choice:
            self._claim = choice, now + self._chance() * JITTER
        elif now >= self._claim[1]:
            self._take(choice, adopted=False)

    def _choose(self) -> int | None:
        """The seat to look for: one that was left, before one that another looks after, before a new one."""
        if self._own is not None:
            return None if self._seats[self._own].state is State.HELD else self._own
        if self._claim is not None and self._seats[self._claim[0]].state in (State.FREE, None):
            return self._claim[0]
        if self._asked is not None and self._seats[self._asked[0]].state is State.ADOPTED:
            return self._asked[0]
        for state in (State.FREE, State.ADOPTED):
            seats = [number for number, seat in enumerate(self._seats) if seat.state is state]
            if seats:
                return seats[int(self._chance() * len(seats))]
        return next((number for number, seat in enumerate(self._seats) if seat.state is None), None)

    def _ask(self, number: int, now: float) -> None:
        if self._asked is None or self._asked[0] != number:
            self._asked = number, now, now
        _, since, again = self._asked
        if now - since > PATIENCE:
            self._take(number, adopted=False)
        elif now >= again:
            self._asked = number, since, now + ASK
            self._actions.append(Action(Act.ASK, number))

    def _adopt(self, now: float) -> None:
        for number, seat in enumerate(self._seats):
            if seat.state is State.FREE and number not in self.held:
                due = seat.since + self._adopt_after + seat.slower + SPREAD * (len(self.held) - 1)
                if now >= due:
                    self._take(number, adopted=True)

    def _take(self, number: int, *, adopted: bool) -> None:
        self._claim = self._asked = None
        self.held[number] = Held(adopted)
        self._seats[number].holder = self.instance
        self._seats[number].state = State.FREE  # until our own word of it comes back
        self._actions.append(Action(Act.TAKE, number))
