"""Observing over networks that lose, in virtual time: states are published and pushed, devices must end with the last.

What a device may miss are states between two that it heard (RFC 7641 §1.3: eventual consistency). So `failed` counts
devices that did not get the last one, a quarter of an hour after it was said; `lost`, where devices acknowledge, pushes
whose delivery was reported and that never arrived.
"""

from functools import partial
from typing import Final

from tests.bridges.protocols.coap.watching import World
from tests.faults.case import Case, Tally, chance

from thinbridge.protocols.base import PushResult
from thinbridge.protocols.coap.codes import Type
from thinbridge.testing import Burst, Faults

DEVICES: Final = 5
STATES: Final = 40
SEEDS: Final = 100  # 20,000 states × devices in a case

HOUR: Final = 3600.0


def play(seed: int, *, faults: Faults, kind: int) -> Tally:
    """One world: 40 states in five minutes, and then peace."""
    world = World(seed, faults, kind, DEVICES)
    for _ in range(STATES):
        world.at(world.random.random() * 300, world.change)
    world.run(HOUR / 4)
    turned = [watcher for watcher in world.watchers if watcher.values != sorted(watcher.values)]
    said = [f"{len(turned)} devices saw an older state after a newer one"] if turned else []
    return Tally(
        messages=DEVICES * STATES,
        failed=sum(not watcher.observes for watcher in world.watchers),
        lost=sum(
            kind == Type.CON and result is PushResult.DELIVERED and value not in watcher.heard
            for watcher, value, result in world.results
        ),
        broken=[f"seed {seed}: {what}" for what in (*world.owner.faults, *said)],
    )


TERRIBLE: Final = Faults(loss=0.2, burst=Burst(0.02, 0.3), jitter=0.5, reorder=0.2, behind=2.0, duplicate=0.2)

CASES: Final = (
    Case(
        "coap-observe-con-20",
        "CoAP, observing by CON: 20 % lost each way",
        SEEDS,
        partial(play, faults=Faults(loss=0.2), kind=Type.CON),
        chance(0.0),
    ),
    Case(
        "coap-observe-non-20",
        "CoAP, observing by NON: 20 % lost each way",
        SEEDS,
        partial(play, faults=Faults(loss=0.2), kind=Type.NON),
        chance(0.0),
    ),
    Case(
        "coap-observe-terrible",
        "CoAP, observing by CON: 20 % lost, bursts, 20 % reordered by 2 s, 20 % duplicated",
        SEEDS,
        partial(play, faults=TERRIBLE, kind=Type.CON),
        chance(0.0),
    ),
)
