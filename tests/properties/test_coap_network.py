"""CoAP over a terrible network, 500 seeds in virtual time: 30 % loss each way, duplication, reordering, late functions.

The devices are `thinbridge.device.coap`, which retransmits as RFC 7252 §4.2 says. Half of the worlds have addresses
that nothing has proven, so their requests are challenged by Echo first.
"""

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from thinbridge.device.coap import Request
from thinbridge.protocols.base import Entropy
from thinbridge.protocols.coap import CoAP, CoAPSettings
from thinbridge.testing import Burst, Faults, Function, World, converse, seeded

SEEDS = 500
TERRIBLE = Faults(loss=0.3, duplicate=0.2, reorder=0.3, jitter=0.5)
WORSE = Faults(loss=0.1, burst=Burst(), duplicate=0.3, reorder=0.3, jitter=1.0, corrupt=0.05, truncate=0.05, rebind=0.1)


def make(entropy: Entropy) -> CoAP:
    return CoAP(CoAPSettings(), entropy)


def devices(seed: int, *, confirmable: bool = True) -> Callable[[bytes], Request]:
    """Makes a device that POSTs a payload, its chance from the seed."""
    chance = Random(seed).randbytes
    return lambda payload: Request("POST", "/sensors/7", payload, entropy=chance, confirmable=confirmable)


def talk(seed: int, *, confirmable: bool, patience: float) -> World:
    function = Function(seed, latency=(0.0, 8.0), fail=0.1, refuse=0.1, lose=0.05)
    setting = {"up": TERRIBLE, "down": TERRIBLE, "function": function, "verified": seed % 2 == 0}
    device = devices(seed, confirmable=confirmable)
    return converse(make, device, seed=seed, messages=2, patience=patience, gap=3.0, world=setting)


@pytest.mark.parametrize("confirmable", [True, False])
def test_each_request_is_delivered_once_and_its_answer_is_true(confirmable: bool) -> None:
    asked = delivered = answered = 0
    for seed in range(SEEDS):
        world = talk(seed, confirmable=confirmable, patience=200.0 if confirmable else 20.0)
        deliveries = Counter(message for message, _ in world.ledger.started)
        twice = [message for message, count in deliveries.items() if count > 1]
        assert not twice, f"seed {seed}: a request was delivered twice"
        assert not world.ledger.restarted, f"seed {seed}: a key was delivered twice"
        assert not world.ledger.unexpected, f"seed {seed}"
        assert all(taken for _, _, taken in world.answered), f"seed {seed}: an exchange was not open when answered"
        assert not world.owner.live, f"seed {seed}: a session lives on"
        asked += len(world.ledger.sent)
        delivered += len(deliveries)
        answered += len(world.ledger.told)
    if confirmable:
        # Five transmissions each way: (1 - 0.49) ** 5 of the exchanges fail, Echo and the separate response besides.
        assert delivered / asked > 0.93
        assert answered / asked > 0.88
    else:
        assert 0.4 < delivered / asked < 0.8


def test_corrupted_datagrams_and_new_ports_raise_nothing() -> None:
    """What flipped bits make of a message is another message: the ledger has nothing to say about it."""
    for seed in range(SEEDS):
        verified = seed % 2 == 0
        world = World(make(seeded(seed)), seed=seed, up=WORSE, down=WORSE, verified=verified)
        for _ in range(3):
            world.talk(devices(seed), messages=2, patience=100.0)
        world.run(7200.0)
        assert not world.owner.faults, f"seed {seed}: {world.owner.faults}"
        assert not world.owner.live, f"seed {seed}: a session lives on"
        assert all(host.done for host in world.hosts)
