"""A stream server's end leaves no connection open, wherever each of them stands on its way to being served."""

import asyncio
import gc
import socket

import pytest

from thinbridge.testing.closing import TURNS, close


@pytest.mark.parametrize("turns", range(TURNS + 2))
def test_a_connection_that_comes_at_the_end_is_closed_too(turns: int) -> None:
    """A transport that nobody has closed warns when it is collected, which fails here."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await reader.read()
        finally:
            serving.discard(task)
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()) as device:  # the kernel takes it, not yet we
            for _ in range(turns):
                await asyncio.sleep(0)
            await close(server, serving)
            assert not serving
            device.settimeout(5)
            try:
                assert await asyncio.to_thread(device.recv, 1) == b""
            except ConnectionResetError:
                assert turns < 2  # the loop had not looked at its sockets yet: we never took it

    asyncio.run(main())
    gc.collect()
