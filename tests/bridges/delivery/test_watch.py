"""One timer for all deadlines, in virtual time."""

import asyncio
from collections.abc import Callable
from math import inf

from tests.bridges.delivery.virtual import VirtualLoop, play

from thinbridge.delivery.watch import GRAIN, Watch


class Item:
    """Remembers when it expired."""

    def __init__(self, due: float, then: Callable[["Item"], None]) -> None:
        self.due, self._then = due, then
        self.expirations: list[float] = []

    def expired(self, now: float) -> None:
        self.expirations.append(now)
        self._then(self)

    def cancel(self) -> None: ...


def test_everything_expires_in_its_time_and_once() -> None:
    async def scene(loop: VirtualLoop) -> None:
        watch: Watch[Item] = Watch(loop)
        start = loop.time()
        items = [Item(start + due, watch.discard) for due in (3.0, 1.0, 2.0, 1.001, 5.0)]
        for item in items:
            watch.add(item)
        watch.discard(items[4])
        await asyncio.sleep(10)
        assert [len(item.expirations) for item in items] == [1, 1, 1, 1, 0]
        for item in items[:4]:
            assert 0 <= item.expirations[0] - item.due <= GRAIN + 1e-9
        assert watch.close() == []

    play(scene)


def test_an_item_may_go_on_with_a_new_due_time() -> None:
    async def scene(loop: VirtualLoop) -> None:
        watch: Watch[Item] = Watch(loop)
        start = loop.time()

        def again(item: Item) -> None:
            item.due = item.due + 1 if len(item.expirations) < 3 else inf

        item = Item(start + 1, again)
        watch.add(item)
        await asyncio.sleep(10)
        assert [round(at - start) for at in item.expirations] == [1, 2, 3]
        item.due = loop.time() + 1
        watch.add(item)
        assert watch.close() == [item]
        await asyncio.sleep(10)
        assert len(item.expirations) == 3

    play(scene)


def test_the_end_of_one_may_be_the_end_of_another() -> None:
    async def scene(loop: VirtualLoop) -> None:
        watch: Watch[Item] = Watch(loop)
        items: list[Item] = []

        def all_over(_: Item) -> None:
            for item in items:
                watch.discard(item)
            added = Item(loop.time() + 1, watch.discard)
            watch.add(added)
            late.append(added)

        late: list[Item] = []
        items += [Item(loop.time() + 1, all_over), Item(loop.time() + 1, all_over)]
        for item in items:
            watch.add(item)
        await asyncio.sleep(5)
        assert sum(len(item.expirations) for item in items) == 1
        assert len(late[0].expirations) == 1

    play(scene)
