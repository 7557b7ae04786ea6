"""What `run` and `dev` have in common: the event loop, and signals that end it well."""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from typing import Any, Final

from thinbridge.cli import console
from thinbridge.protocols.base import Transport
from thinbridge.settings import Settings
from thinbridge.telemetry import Throttle, configure, loop_errors

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""A pod's end, Ctrl-C, and a terminal that is closed."""
FORGEABLE: Final = (
    "addresses can be forged here: one that has proven nothing gets at most three times the bytes it sent, "
    "by CoAP only a 4.01 until it repeats its Echo; list networks where that can't be in trusted_networks"
)


class Stop:
    """The wish to end: the first signal sets it, the second one ends everything at once."""

    def __init__(self) -> None:
        self._wished = asyncio.Event()
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # not under nohup
                loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if self._wished.is_set() and self._task is not None:
            self._task.cancel()
        self._wished.set()

    async def wait(self) -> None:
        """Until the first signal."""
        await self._wished.wait()


def serve(main: Callable[[Stop], Coroutine[Any, Any, None]]) -> int:
    """Run `main` on the fastest loop there is.

    Returns:
        The exit status: 0 after a drain, 130 if a second signal cut it short. A bad setting ends with 2 instead.
    """
    with console.mistakes():
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(_with_signals(main))
        except (asyncio.CancelledError, KeyboardInterrupt):
            return 130
    return 0


async def _with_signals(main: Callable[[Stop], Coroutine[Any, Any, None]]) -> None:
    throttle = Throttle(logging.getLogger("thinbridge"))
    asyncio.get_running_loop().set_exception_handler(loop_errors(throttle))
    try:
        await main(Stop())
    finally:
        throttle.flush()


def log_as(settings: Settings) -> None:
    """Send logs to stderr, the way the settings want them."""
    json = {"auto": None, "json": True, "text": False}[settings.log_format]
    configure(json=json, level=settings.log_level.upper())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def forgeable(settings: Settings) -> list[str]:
    """The listeners for datagrams that hear more than trusted networks, by name."""
    datagrams = (one for one in settings.listen if one.protocol.transport is Transport.DATAGRAM)
    return [one.name for one in datagrams if not _is_trusted(one.host, settings)]


def _is_trusted(host: str, settings: Settings) -> bool:
    try:
        address = ip_address(host)
    except ValueError:  # a name; what it stands for is not known here
        return host == "localhost"
    return any(address in network for network in settings.trusted_networks)
