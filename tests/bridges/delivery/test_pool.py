"""Connections to one sink: reuse, limits, who gets the next one, idle ones, the end."""

import asyncio

from tests.bridges.delivery.virtual import EVENT, OK, SINK, Told, VirtualLoop, play

from thinbridge.delivery import Answer, Delivery, DeliveryLimits, Terms, Verdict
from thinbridge.delivery.pool import Pool


def send(delivery: Delivery, loop: VirtualLoop, count: int, seconds: float = 60.0) -> list[Told]:
    told = [Told(loop) for _ in range(count)]
    for each in told:
        delivery.deliver(EVENT, Terms(SINK), loop.time() + seconds, each)
    return told


def pool_of(delivery: Delivery) -> Pool:
    (pool,) = delivery._pools.values()
    assert isinstance(pool, Pool)
    return pool


def test_never_more_connections_than_the_limit_and_first_come_first_served() -> None:
    async def scene(loop: VirtualLoop) -> None:
        loop.scripts["sink.test"] = iter([[1.0, OK]] * 99)
        delivery = Delivery(DeliveryLimits(connections=4))
        told = send(delivery, loop, 12)
        for each in told:
            assert (await each.wait()).verdict is Verdict.ACCEPTED
            assert pool_of(delivery).size == 4
        assert [round(each.at - told[0].at) for each in told] == [0] * 4 + [1] * 4 + [2] * 4
        assert len(loop.wires) == 4
        await delivery.close()

    play(scene)


def test_last_in_first_out_and_what_nobody_uses_is_closed() -> None:
    async def scene(loop: VirtualLoop) -> None:
        loop.scripts["sink.test"] = iter([[0.1, OK]] * 99)
        delivery = Delivery(DeliveryLimits(idle=30.0))
        for each in send(delivery, loop, 5):
            await each.wait()
        assert pool_of(delivery).size == 5
        for _ in range(30):
            await asyncio.sleep(1)
            (each,) = send(delivery, loop, 1)
            await each.wait()
        assert [wire.closed for wire in loop.wires].count(False) == 1
        await asyncio.sleep(30.1)
        assert pool_of(delivery).size == 0
        await asyncio.sleep(100)
        (each,) = send(delivery, loop, 1)
        assert (await each.wait()).verdict is Verdict.ACCEPTED
        await delivery.close()

    play(scene)


def test_a_closing_connection_is_passed_over() -> None:
    async def scene(loop: VirtualLoop) -> None:
        delivery = Delivery()
        (each,) = send(delivery, loop, 1)
        await each.wait()
        loop.wires[0].abort()  # `connection_lost` comes one turn of the loop later
        (each,) = send(delivery, loop, 1)
        assert (await each.wait()).verdict is Verdict.ACCEPTED
        assert len(loop.wires) == 2
        assert delivery.counters == {"accepted": 2}
        await delivery.close()

    play(scene)


def test_one_failed_connection_is_the_failure_of_one() -> None:
    async def scene(loop: VirtualLoop) -> None:
        loop.dials = [ConnectionRefusedError()]
        delivery = Delivery()
        for each in send(delivery, loop, 3):
            assert (await each.wait()).verdict is Verdict.ACCEPTED
        assert delivery.counters == {"accepted": 3, "unreachable": 1, "retried": 1}
        await delivery.close()

    play(scene)


def test_a_free_connection_comes_before_one_that_is_being_opened() -> None:
    async def scene(loop: VirtualLoop) -> None:
        loop.dials, loop.scripts["sink.test"] = [0.0, 3.0], iter([[1.0, OK]] * 2)
        delivery = Delivery()
        first, second = send(delivery, loop, 2)
        assert (await first.wait()).verdict is (await second.wait()).verdict is Verdict.ACCEPTED
        assert len(loop.wires) == 1
        await asyncio.sleep(5)
        assert (len(loop.wires), pool_of(delivery).size) == (2, 2)
        await delivery.close()

    play(scene)


def test_a_failed_connection_that_nobody_waits_for_any_more() -> None:
    async def scene(loop: VirtualLoop) -> None:
        loop.dials, loop.scripts["sink.test"] = [0.0, 99.0], iter([[1.0, OK]] * 2)
        delivery = Delivery(DeliveryLimits(connect=4.0))
        for each in send(delivery, loop, 2):
            assert (await each.wait()).verdict is Verdict.ACCEPTED
        await asyncio.sleep(5)
        assert pool_of(delivery).size == 1
        assert delivery.counters == {"accepted": 2}
        await delivery.close()

    play(scene)


def test_a_connection_that_ended_before_we_heard_of_it_is_none() -> None:
    """A sink at its limit accepts and closes; uvloop may tell of that before `create_connection` returns."""

    async def scene(loop: VirtualLoop) -> None:
        loop.stillborn = 2
        delivery = Delivery(DeliveryLimits(connections=2))
        for each in send(delivery, loop, 4):
            assert (await each.wait()).verdict is Verdict.ACCEPTED
        assert delivery.counters["lost"] == 2
        assert pool_of(delivery).size <= 2
        await delivery.close()

    play(scene)


def test_a_place_that_gets_free_is_taken() -> None:
    async def scene(loop: VirtualLoop) -> None:
        loop.scripts["sink.test"] = iter([[1.0, b"garbage"], OK])
        delivery = Delivery(DeliveryLimits(connections=1), rng=lambda: 1.0)
        bad, good = send(delivery, loop, 2)
        assert (await good.wait()).verdict is Verdict.ACCEPTED
        assert (await bad.wait()).verdict is Verdict.ACCEPTED
        assert good.at < bad.at
        await delivery.close()

    play(scene)


def test_a_replacement_that_comes_too_late_is_for_anyone() -> None:
    """The deadline of a stale delivery passes while its own new connection is being opened."""

    async def scene(loop: VirtualLoop) -> None:
        loop.scripts["sink.test"] = iter([OK, None])
        loop.dials = [0.0, 4.0]
        delivery = Delivery()
        (each,) = send(delivery, loop, 1)
        await each.wait()
        (stale,) = send(delivery, loop, 1, seconds=2.0)
        assert await stale.wait() == Answer(Verdict.UNKNOWN)
        (other,) = send(delivery, loop, 1)
        assert (await other.wait()).verdict is Verdict.ACCEPTED
        assert (len(loop.wires), delivery.counters["stale"]) == (2, 1)
        for each in send(delivery, loop, 2):
            assert (await each.wait()).verdict is Verdict.ACCEPTED
        await asyncio.sleep(10)
        assert len(loop.wires) == 3  # as many as were missing, and no more
        await delivery.close()

    play(scene)


def test_a_place_is_kept_for_the_replacement() -> None:
    async def scene(loop: VirtualLoop) -> None:
        loop.scripts["sink.test"] = iter([OK, [1.0, None], OK, OK])
        delivery = Delivery(DeliveryLimits(connections=1))
        for each in send(delivery, loop, 1):
            await each.wait()
        told = send(delivery, loop, 2)
        assert [(await each.wait()).verdict for each in told] == [Verdict.ACCEPTED] * 2
        assert told[0].at <= told[1].at
        assert (len(loop.wires), delivery.counters["stale"]) == (2, 1)
        await delivery.close()

    play(scene)


def test_close_ends_what_is_being_opened() -> None:
    async def scene(loop: VirtualLoop) -> None:
        loop.dials = [99.0] * 3
        delivery = Delivery()
        told = send(delivery, loop, 3)
        await asyncio.sleep(0.1)
        await delivery.close()
        assert [each.answers for each in told] == [[Answer(Verdict.CANCELLED)]] * 3
        assert (loop.wires, pool_of(delivery).size) == ([], 0)

    play(scene)
