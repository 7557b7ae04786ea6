"""Nothing acknowledged is lost: 2,000 QoS 1 messages, a sink that fails, a bridge that is killed."""

import asyncio
import random

import pytest
from tests.faults.process import BridgeProcess
from tests.faults.publisher import Publisher

from thinbridge.testing.function import Answer, Sink, failing

DEVICES, EACH, KILLS = 20, 100, 5


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kills", [0, KILLS])
def test_every_acknowledged_message_is_at_the_sink(kills: int) -> None:
    async def main() -> None:
        script = failing(11, 0.3, Answer(503), lambda posted: Answer(204))
        async with Sink(script) as sink, BridgeProcess(sink.url) as bridge:
            devices = [Publisher(f"device-{n}", bridge.ports["mqtt"], EACH) for n in range(DEVICES)]
            publishing = asyncio.gather(*(device.run() for device in devices))
            chance = random.Random(kills)
            done = 0
            for _ in range(kills):  # spread over the run: each time some progress was made
                goal = done + chance.randrange(150, 300)
                while done < goal and not publishing.done():
                    await asyncio.sleep(0.005)
                    done = sum(len(device.acknowledged) for device in devices)
                await bridge.kill()
                await bridge.start()
            await publishing
            status = await bridge.terminate()
        assert status == 0, bridge.log.decode()
        acknowledged = set().union(*(device.acknowledged for device in devices))
        at_the_sink = {posted.body for posted in sink.accepted}
        assert len(acknowledged) == DEVICES * EACH
        assert acknowledged - at_the_sink == set()  # lost
        assert at_the_sink - acknowledged == set()  # unexpected
        if not kills:
            assert len(sink.accepted) == DEVICES * EACH  # duplicated: none without a kill
            assert len({posted.headers["ce-id"] for posted in sink.accepted}) == DEVICES * EACH
        assert b"Traceback" not in bridge.log

    asyncio.run(main())
