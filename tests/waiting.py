"""Waiting for something that a real socket or process will do: bounded, without a guess at how long it takes."""

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Let the loop turn until the condition holds; a `TimeoutError` says that it never did."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"it did not hold within {seconds} s")
        await asyncio.sleep(0.001)


def until_now(condition: Callable[[], object], seconds: float = 10) -> None:
    """The same where no loop turns: another process does it."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"it did not hold within {seconds} s")
        time.sleep(0.01)
