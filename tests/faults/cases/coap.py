"""CoAP over networks that lose, in virtual time: what a device that follows RFC 7252 §4.2 sees of it.

A CON goes out five times at most, so it fails when each of the five, or its ACK, is lost: (1 − (1 − p)²)⁵. More than
chance allows would be the bridge's doing; see `bound` of each case. Four devices talk at a time, one message after
another, so that an answer has somebody to be crossed with.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final

from tests.faults.bursts import failures
from tests.faults.case import Case, Tally, chance, tally

from thinbridge.device.coap import Request
from thinbridge.protocols.coap import CoAP, CoAPSettings
from thinbridge.testing import Burst, Faults, Function, World, seeded

SEEDS: Final = 1000
MESSAGES: Final = 100  # of each seed: 10⁵ in all
PATIENCE: Final = 400.0
"""Seconds that a device waits: longer than its own five tries and the five of a separate response take together."""

QUICK: Final = 0.0, 0.5
SLOW: Final = 1.5, 8.0
"""Seconds that the function takes: within `ack_delay`, and past it."""

RATES: Final = 5, 10, 20, 30

BLOCK: Final = 64
BLOCKS: Final = 8


def play(
    seed: int,
    *,
    faults: Faults,
    devices: int = 4,
    latency: tuple[float, float] = QUICK,
    confirmable: bool = True,
    verified: bool = True,
    size: int = 0,
    **function: Any,
) -> Tally:
    """One world: 100 messages.

    Args:
        seed: where all chance comes from.
        faults: of both ways.
        devices: that share the messages.
        latency: seconds that the function takes, from and to.
        confirmable: whether they are CONs.
        verified: whether addresses are proven.
        size: bytes of a body, and so of its answer: it goes in blocks; 0: as short as it is.
        function: more for `Function`.
    """
    entropy = Random(seed).randbytes
    world = World(
        CoAP(CoAPSettings(), seeded(seed)),
        seed=seed,
        up=faults,
        down=faults,
        function=Function(seed, latency=latency, **function),
        verified=verified,
    )

    def device(payload: bytes) -> Request:
        how: dict[str, Any] = {"entropy": entropy, "confirmable": confirmable}
        return Request("POST", "/sensors/7", payload.ljust(size), **how, block_size=BLOCK if size else None)

    patience = PATIENCE if confirmable else 20.0
    for _ in range(devices):
        world.talk(device, messages=MESSAGES // devices, patience=patience, gap=0.1)
    world.run(1e6)
    result = tally(world.ledger)
    result.broken += world.owner.faults
    if world.ledger.restarted:
        result.broken.append(f"delivered twice: {world.ledger.restarted[:3]}")
    if world.owner.live:
        result.broken.append(f"{len(world.owner.live)} sessions never end")
    if confirmable and result.hidden > world.protocol.counters["gave_up"]:
        result.broken.append(f"{result.hidden} devices wait for ever, and no counter says so")
    result.broken = [f"seed {seed}: {what}" for what in result.broken]
    return result


def gone(loss: float) -> float:
    """The chance that a datagram, or the one that answers it, is lost."""
    return 1 - (1 - loss) ** 2


def _case(name: str, fault: str, bound: Callable[[int], float] | None, seeds: int = SEEDS, **how: Any) -> Case:
    return Case(f"coap-{name}", f"CoAP: {fault}", seeds, partial(play, **how), bound)


BURST: Final = Burst()
EVERYTHING: Final = Faults(loss=0.1, duplicate=0.2, reorder=0.3, jitter=0.5)

CASES: Final = (
    _case("none", "no fault", chance(0.0), faults=Faults()),
    *(
        _case(f"loss-{rate}", f"{rate} % lost each way", chance(gone(rate / 100) ** 5), faults=Faults(loss=rate / 100))
        for rate in RATES
    ),
    _case(
        "bursts",
        "bursts each way (Gilbert–Elliott: 2 % begin one, 4 datagrams long)",
        chance(*failures(BURST)),
        faults=Faults(burst=BURST),
        devices=1,  # the bound knows which datagrams a burst meets
    ),
    _case(
        "separate-20",
        "20 % lost each way, answers after the ACK (separate responses)",
        chance(2 * 0.2**5),  # five of the request, or five of the response: either one says that the other arrived
        faults=Faults(loss=0.2),
        latency=SLOW,
    ),
    _case(
        "unproven-20",
        "20 % lost each way, addresses unproven (Echo first)",
        chance(1.04 * gone(0.2) ** 5),  # the first of each device's 25 messages goes twice
        faults=Faults(loss=0.2),
        verified=False,
    ),
    _case(
        "non-20",
        "20 % lost each way, NON: sent once",
        chance(gone(0.2)),
        faults=Faults(loss=0.2),
        confirmable=False,
    ),
    *(
        _case(
            f"blocks-{rate}",
            f"{rate} % lost each way, bodies in 8 blocks up and 8 down",
            chance(1 - (1 - gone(rate / 100) ** 5) ** (2 * BLOCKS - 1)),  # so many requests, each with its five tries
            100,
            faults=Faults(loss=rate / 100),
            size=BLOCKS * BLOCK,
        )
        for rate in (10, 20)
    ),
    _case(
        "everything",
        "10 % lost, 20 % duplicated, 30 % reordered, 0.5 s of jitter; the function fails, refuses, and loses answers",
        None,
        faults=EVERYTHING,
        latency=(0.0, 8.0),
        fail=0.1,
        refuse=0.1,
        lose=0.05,
    ),
)
