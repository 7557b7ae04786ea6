"""The plugtest's server: `thinbridge dev` with the plugtest function behind it, one for all tests of a worker."""

from collections.abc import Iterator

import pytest
from tests.interop.dev import Dev, dev
from tests.interop.plugtest.wire import Device

FUNCTION = "tests/interop/plugtest/function"
ACK_DELAY, EARLY = 1.5, 0.2
"""Seconds until the empty ACK: on the first listener so long that quick answers are piggybacked even on a machine that
is busy, on the second one so short that nobody has to wait for separate responses."""
SEPARATE = 0.8
"""Seconds that /separate takes: in between."""
PERIOD = 1
"""Seconds after which /obs has another state."""


@pytest.fixture(scope="session")
def server() -> Iterator[Dev]:
    """It runs, and its function is awake."""
    listen = [f"coap://127.0.0.1:0?ack_delay={seconds}" for seconds in (ACK_DELAY, EARLY)]
    flags = [
        "--config",
        f"{FUNCTION}/bridge.yaml",
        "--idle",
        "300",
        "--drain",
        "1",
    ]  # clients that are gone acknowledge nothing
    with dev(FUNCTION, *flags, listen=listen, PLUGTEST_SEPARATE=str(SEPARATE), PLUGTEST_PERIOD=str(PERIOD)) as running:
        with Device(running.port("coap")) as first:
            request = first.request("GET", "/test")
            first.send(request)
            while (heard := first.hear(60)).token != request.token:  # the empty ACK, while the function starts
                pass
            first.acknowledge(heard)
        yield running
        assert "Traceback" not in running.log


@pytest.fixture
def device(server: Dev) -> Iterator[Device]:
    """A client that nobody has heard of yet."""
    with Device(server.port("coap")) as one:
        yield one


@pytest.fixture
def early(server: Dev) -> Iterator[Device]:
    """Another one, whose requests are acknowledged early, so that what takes long has a separate response."""
    with Device(server.port("coap", 1)) as one:
        yield one
