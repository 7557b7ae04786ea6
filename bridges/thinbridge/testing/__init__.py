"""The public check kit: what every session promises, a terrible network in virtual time, a fake function, real chaos.

For authors of protocols, ours and strangers'; free of pytest, standard library only. `docs/testing.md` shows its use.

    check_protocol   what every session promises, as one call (`promises`)
    World, converse  devices, a protocol and a function over a terrible network, in virtual time, from a seed
    Function         the fake function in virtual time; `Sink` is the same as a small real HTTP server
    Mutator          broken variants of good messages, from a seed
    chaos            a proxy for real UDP and TCP sockets with the same faults: `python -m thinbridge.testing.chaos`
"""

from thinbridge.testing.function import Call, Function, Sink
from thinbridge.testing.host import Device
from thinbridge.testing.ledger import Heard, Ledger
from thinbridge.testing.mutate import Mutator
from thinbridge.testing.network import CLEAN, Burst, Faults
from thinbridge.testing.owner import Owner, seeded
from thinbridge.testing.promises import BrokenPromises, check_protocol
from thinbridge.testing.stage import Conversation
from thinbridge.testing.world import World, converse

__all__ = [
    "CLEAN",
    "BrokenPromises",
    "Burst",
    "Call",
    "Conversation",
    "Device",
    "Faults",
    "Function",
    "Heard",
    "Ledger",
    "Mutator",
    "Owner",
    "Sink",
    "World",
    "check_protocol",
    "converse",
    "seeded",
]
