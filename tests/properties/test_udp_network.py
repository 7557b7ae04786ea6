"""UDP over a terrible network, 500 seeds in virtual time: loss, duplication, reordering, new source ports."""

from thinbridge.device.udp import Datagram
from thinbridge.protocols.base import Entropy
from thinbridge.protocols.udp import UDP, UDPSettings
from thinbridge.testing import Burst, Faults, Function, Heard, converse

SEEDS = 500
TERRIBLE = Faults(loss=0.3, duplicate=0.2, reorder=0.3, jitter=0.5)
WORSE = Faults(loss=0.1, burst=Burst(), duplicate=0.3, reorder=0.3, jitter=1.0, corrupt=0.05, truncate=0.05, rebind=0.1)


def make(entropy: Entropy) -> UDP:
    return UDP(UDPSettings(), entropy)


def anything(result: object) -> Heard:
    """An answer whose bits may have flipped says nothing for sure."""
    return Heard(False)


def test_no_answer_is_crossed_lost_or_made_up() -> None:
    answered = asked = 0
    for seed in range(SEEDS):
        function = Function(seed, latency=(0, 3), fail=0.1, refuse=0.1, lose=0.05)
        setting = {"up": TERRIBLE, "down": TERRIBLE, "function": function}
        world = converse(make, Datagram, seed=seed, messages=2, patience=5.0, gap=6.0, fresh=True, world=setting)
        assert not world.ledger.unexpected
        assert not world.owner.live, f"seed {seed}: a session lives on"
        assert all(taken for _, _, taken in world.answered), f"seed {seed}: an exchange was not open when answered"
        asked += len(world.ledger.sent)
        answered += len(world.ledger.replies)
    assert 0.3 < answered / asked < 0.6  # 0.7 each way, 0.77 of the function, copies help


def test_corrupted_datagrams_and_new_ports_raise_nothing() -> None:
    for seed in range(SEEDS):
        setting = {"up": WORSE, "down": WORSE, "verified": False}
        world = converse(make, Datagram, seed=seed, messages=2, patience=5.0, world=setting, judge=anything)
        assert not world.owner.live
