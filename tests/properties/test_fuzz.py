"""A little of `make fuzz` with every run: 20,000 mutated inputs for each installed protocol, and the odd one."""

import pytest
from tests.fuzz import SEEDS, Broken, corpus, fuzz, hexes, protocols
from tests.tftp_plugin.thinbridge_tftp import TFTP
from tests.toys.reliable import Reliable, ReliableSession

from thinbridge.protocols.base import Path

CORES = {one.name: one for one in protocols(None)}


@pytest.mark.parametrize("name", CORES)
def test_mutated_inputs_raise_nothing_and_leave_nothing(name: str) -> None:
    report = fuzz(CORES[name], 20_000, seed=1)
    assert report.events > 20, "the inputs are too broken to get anywhere"


def test_the_odd_protocol_too() -> None:
    assert fuzz(TFTP, 5_000, seed=1).inputs == 5_000


class Fragile(ReliableSession):
    def receive(self, data: bytes, path: Path, now: float) -> None:
        if data[3:4] == b"H":
            raise IndexError
        super().receive(data, path, now)


class Hoarder(ReliableSession):
    hoard: list[bytes] = []  # noqa: RUF012  # that is the fault

    def receive(self, data: bytes, path: Path, now: float) -> None:
        self.hoard += [bytes((one, 1, 2)) for one in data]
        super().receive(data, path, now)


@pytest.fixture(autouse=True)
def _seeds_of_the_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SEEDS, "toy-reliable", (b"Q\0\1hello, bridge", b"A\0\1"))


def test_a_session_that_raises_is_found_with_its_input() -> None:
    protocol = type("Planted", (Reliable,), {"session_type": Fragile})
    with pytest.raises(Broken, match=r"toy-reliable, seed 1, input \d+: IndexError\(\)\n[0-9a-f]*48"):
        fuzz(protocol, 20_000, seed=1)


def test_memory_that_grows_is_found() -> None:
    protocol = type("Planted", (Reliable,), {"session_type": Hoarder})
    try:
        with pytest.raises(Broken, match="blocks of memory stay behind"):
            fuzz(protocol, 20_000, seed=1)
    finally:
        Hoarder.hoard.clear()


def test_vectors_of_any_shape_are_read() -> None:
    assert list(hexes({"a": [{"in": "0102", "name": "no hex"}, "ff00 ee"], "n": 7})) == [b"\1\2", b"\xff\0\xee"]
    assert corpus("nothing") == (bytes(range(64)),)
