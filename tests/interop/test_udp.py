"""Plain UDP by netcat, against a whole bridge."""

import asyncio

import pytest
from tests.interop.bridges import run, world

from thinbridge.testing.function import Answer


@pytest.mark.peer("nc")
@pytest.mark.parametrize("message", ["hello", "grüße\n", "x" * 1400])
def test_the_answer_comes_back_to_the_sender(message: str) -> None:
    async def scene() -> None:
        async with world() as w:
            command = ["nc", "-u", "-w", 5, "-W", 1, "127.0.0.1", w.udp]
            assert await run(*command, stdin=message.encode()) == (0, message)

    asyncio.run(scene())


@pytest.mark.peer("nc")
def test_a_slow_function_still_finds_the_sender() -> None:
    async def scene() -> None:
        async with world(lambda posted: Answer(200, body=b"late", after=0.5)) as w:
            command = ["nc", "-u", "-w", 5, "-W", 1, "127.0.0.1", w.udp]
            assert await run(*command, stdin=b"x") == (0, "late")

    asyncio.run(scene())
