"""What bursts of loss do to a confirmable exchange, computed and not played: the bound for `cases/coap.py`.

Each direction is good or bad (Gilbert–Elliott), and moves by a step with each datagram that it carries. A message goes
out five times; each time that it arrives, its answer moves the other direction. So an exchange is a walk over the four
states of both directions, which ends where an answer arrives or the fifth is lost, and there the next one begins.
"""

from collections.abc import Iterator

from thinbridge.protocols.coap.outgoing import MAX_RETRANSMIT
from thinbridge.testing import Burst

State = tuple[bool, bool]
"""Whether the way up, and the way down, is bad."""
STATES: tuple[State, ...] = ((False, False), (False, True), (True, False), (True, True))
ROUNDS = 200


def failures(burst: Burst) -> tuple[float, float]:
    """The chance that an exchange fails in the long run, and how many fail in a row on average."""
    walks = {state: _exchange(burst, state) for state in STATES}
    start = dict.fromkeys(STATES, 1 / len(STATES))
    for _ in range(ROUNDS):  # until it is where exchanges begin in the long run
        start = {
            state: sum(start[one] * (ends[0][state] + ends[1][state]) for one, ends in walks.items())
            for state in STATES
        }
    failing = {state: sum(start[one] * ends[1][state] for one, ends in walks.items()) for state in STATES}
    chance = sum(failing.values())
    again = sum(failing[state] / chance * sum(walks[state][1].values()) for state in STATES)
    return chance, 1 / (1 - again)


def _exchange(burst: Burst, begin: State) -> tuple[dict[State, float], dict[State, float]]:
    """Where an exchange ends, with which chance: answered, and not."""
    answered, going = dict.fromkeys(STATES, 0.0), {state: float(state == begin) for state in STATES}
    for _ in range(1 + MAX_RETRANSMIT):
        left = dict.fromkeys(STATES, 0.0)
        for (up, down), chance in going.items():
            for up_next, lost, share in _carry(burst, up):
                if lost:
                    left[up_next, down] += chance * share
                    continue
                for down_next, answer_lost, rest in _carry(burst, down):
                    (left if answer_lost else answered)[up_next, down_next] += chance * share * rest
        going = left
    return answered, going


def _carry(burst: Burst, bad: bool) -> Iterator[tuple[bool, bool, float]]:
    """A datagram on a direction: the state that it is in then, whether the datagram is lost, how probable that is."""
    becomes = 1 - burst.leave if bad else burst.enter
    yield False, False, 1 - becomes
    yield True, True, becomes * burst.loss
    yield True, False, becomes * (1 - burst.loss)
