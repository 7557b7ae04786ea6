"""CoAP bodies in blocks over a terrible network, in virtual time: loss, duplication and reordering both ways.

Each body is made of its message's id, over and over: a block of another body in it would be seen, and so is one in a
response, which says the body back. Requests that are given up leave bodies behind; the next one must not find them.
"""

from collections.abc import Callable
from random import Random

import pytest

from thinbridge.device.coap import Request
from thinbridge.protocols.base import Closed, Entropy, Event, Inbound, Session
from thinbridge.protocols.coap import CoAP, CoAPSettings
from thinbridge.testing import Faults, Function, World, seeded

SEEDS = 60
FAULTS = {
    True: Faults(loss=0.15, duplicate=0.3, reorder=0.4, jitter=2.0),
    False: Faults(loss=0.01, duplicate=0.3, reorder=0.4, jitter=2.0),  # a NON that is lost ends its transfer
}
"""By whether messages are confirmed."""
TIMES = 20
"""How often a body says its id: some 120 bytes, eight blocks each way."""


def devices(seed: int, *, confirmable: bool) -> Callable[[bytes], Request]:
    """Makes a device that POSTs a long body in small blocks, its chance from the seed."""
    chance = Random(seed).randbytes
    return lambda payload: Request(
        "POST", "/log", payload * TIMES, entropy=chance, confirmable=confirmable, block_size=16
    )


def make(entropy: Entropy, seed: int) -> CoAP:
    """With little room in every third world: bodies and responses have to go before they are complete."""
    room = 200 if seed % 3 == 0 else 1 << 20
    return CoAP(CoAPSettings(uploads_in_all=room, downloads_in_all=room), entropy)


@pytest.mark.parametrize("confirmable", [True, False])
def test_a_body_arrives_as_it_was_sent_or_not_at_all(confirmable: bool) -> None:
    answered = 0
    for seed in range(SEEDS):
        core = make(seeded(seed), seed)
        function = Function(seed, latency=(0.0, 4.0), fail=0.05, refuse=0.05, lose=0.05)
        faults = FAULTS[confirmable]
        world = World(core, seed=seed, up=faults, down=faults, function=function, verified=seed % 2 == 0)
        bodies: list[bytes] = []

        def watch(session: Session, event: Event | Closed, bodies: list[bytes] = bodies) -> None:
            if isinstance(event, Inbound):
                bodies.append(event.data)

        world.watch = watch
        for _ in range(3):
            world.talk(devices(seed, confirmable=confirmable), messages=3, patience=300.0)
        world.run(7200.0)
        world.check()
        assert all(body == body[: len(body) // TIMES] * TIMES for body in bodies), (
            f"seed {seed}: a body that nobody sent"
        )
        assert len(bodies) == len(set(bodies)), f"seed {seed}: a body was delivered twice"
        assert not world.owner.live, f"seed {seed}: a session lives on"
        assert (core.room.octets, core.representations.octets, core.shared.entries) == (0, 0, 0), f"seed {seed}"
        answered += len(world.ledger.told)
    assert answered > SEEDS * 3  # of nine; no room, and functions that fail, are most of the rest
