"""The end of a stream server of asyncio, with all of its connections. Used by `function` and `chaos`."""

import asyncio
from collections.abc import Set as AbstractSet
from typing import Final

TURNS: Final = 4
"""Turns of the loop from a connection's acceptance to the first step of the task that serves it. Until then nobody
could close it, and asyncio forgets those that a server has accepted and not begun when it closes."""


async def close(server: asyncio.Server, serving: AbstractSet[asyncio.Task[None]]) -> None:
    """Close a server's port and its connections.

    Args:
        server: made by `asyncio.start_server`.
        serving: the tasks that serve connections, each there from its first step on; a cancelled one closes its own.
    """
    for sock in server.sockets:
        asyncio.get_running_loop().remove_reader(sock.fileno())  # accept no more
    for _ in range(TURNS):
        await asyncio.sleep(0)
    server.close()
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    await server.wait_closed()
