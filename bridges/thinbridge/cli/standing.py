"""A bridge from start to end, as `thinbridge run` has it: open, serve, drain, stop."""

import logging
from typing import Any, Final

from prometheus_client import CollectorRegistry

from thinbridge import registry
from thinbridge.assembly import build
from thinbridge.bridge import Bridge
from thinbridge.cli.rereading import Source, rereading
from thinbridge.cli.serving import FORGEABLE, Stop, forgeable
from thinbridge.inbox import Inbox
from thinbridge.protocols.base import Outbound, PushResult
from thinbridge.settings import Settings
from thinbridge.telemetry import fields

log = logging.getLogger("thinbridge")

NOWHERE: Final = ("0.0.0.0", "::")
"""Addresses that stand for all of a machine's own, so for none that another one could dial."""


async def stand(settings: Settings, stop: Stop, source: Source | None = None) -> None:
    """Serve until `stop` says so; then drain.

    Args:
        settings: what the bridge is.
        stop: when it ends.
        source: the file that the settings came from, to be reread when it changes; None: there is none.

    Raises:
        SettingsError: a port is taken; nothing is left open.
    """
    if settings.sink is None:
        await _wait_for_binding(settings, stop)
        return
    bridge = build(settings)
    await bridge.start()
    try:
        _announce(bridge, settings)
        async with rereading(bridge, settings, source):
            await stop.wait()
        log.info("draining", extra=fields(seconds=settings.drain))
        if await bridge.drain(settings.drain):
            log.info("drained")
        else:
            log.warning(
                "drain ran out of time, what was open stays unanswered",
                extra=fields(in_flight=bridge.state()["in_flight"]),
            )
    finally:
        await bridge.stop()


def _announce(bridge: Bridge, settings: Settings) -> None:
    for endpoint in bridge.endpoints:
        does = "listening" if registry.find(endpoint.protocol).listens else "taking messages"
        log.info(does, extra=fields(endpoint=endpoint.name, protocol=endpoint.protocol, url=endpoint.url))
    for name in forgeable(settings):
        log.warning(FORGEABLE, extra=fields(endpoint=name))
    if bridge.inbox is not None:
        log.info("health, metrics and inbox", extra=fields(endpoint="http", url=bridge.inbox.url))
        if settings.http.url is None and settings.http.host in NOWHERE:
            log.warning(
                "every replyto begins with this, which no other machine can reach: say in http.url how functions do",
                extra=fields(endpoint="http", url=bridge.inbox.url),
            )
    assert settings.sink is not None
    log.info("ready", extra=fields(sink=settings.sink.uri))


class _Waiting:
    """The gate of a pod that has no sink yet: alive, not ready."""

    async def post(self, token: str, exchange: int, outbound: Outbound) -> PushResult | None:
        return None

    async def publish(self, subject: str, outbound: Outbound) -> int:
        return 0

    def live(self) -> bool:
        return True

    def ready(self) -> bool:
        return False

    def state(self) -> dict[str, Any]:
        return {"waiting": "for a SinkBinding to set K_SINK"}


async def _wait_for_binding(settings: Settings, stop: Stop) -> None:
    """A SinkBinding changes the pod's template, so the sink comes with the next pod; until then nothing listens."""
    inbox = Inbox(settings.http.host, settings.http.port, _Waiting(), CollectorRegistry())
    await inbox.start()
    try:
        log.warning("no sink: waiting for a SinkBinding to set K_SINK", extra=fields(endpoint="http", url=inbox.url))
        await stop.wait()
    finally:
        await inbox.stop()
