"""From settings to a bridge: every part made and joined, nothing opened yet. `cli` calls it."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from thinbridge import contract
from thinbridge.bridge import Bridge, Observer
from thinbridge.delivery import Change, Delivery, DeliveryLimits, Sink
from thinbridge.inbox import Inbox, InboxLimits
from thinbridge.protocols.base import Adapter, Endpoint, Limits, Protocol, Resource
from thinbridge.routes import GLOB, Route, Routes
from thinbridge.settings import LOCAL, Listener, Settings
from thinbridge.shells import DatagramShell, StreamShell
from thinbridge.telemetry import Recorder, Throttle, registry

_throttle = Throttle(logging.getLogger("thinbridge"))

OIDC_TOKEN = "/oidc/token"
"""Where a SinkBinding puts the token for its sink, the bridge's own: no route's other sink gets it."""


def build(settings: Settings, observer: Observer | None = None) -> Bridge:
    """A bridge of these settings; `start` opens it.

    Args:
        settings: with a sink.
        observer: sees every message.
    """
    recorder = Recorder()
    endpoints = [_endpoint(listener, settings) for listener in settings.listen]
    _offer(endpoints, settings)
    delivery = Delivery(
        _delivery_limits(settings),
        overrides=settings.ce_overrides,
        namespace=None if settings.namespace == LOCAL else settings.namespace,
        observe=lambda verdict, seconds: recorder.delivery(verdict._value_, seconds),
        notice=_notice,
    )
    bridge = Bridge(
        endpoints,
        delivery,
        _routes(settings),
        source=contract.source(settings.namespace, settings.name),
        replyto=settings.http.url,
        recorder=recorder,
        observer=observer,
    )
    bridge.inbox = Inbox(
        settings.http.host,
        settings.http.port,
        bridge,
        registry(endpoints, delivery, recorder),
        InboxLimits(body=settings.limits.body),
        settings.http.token_file,
    )
    return bridge


def rebuild(bridge: Bridge, settings: Settings) -> None:
    """Give a bridge that runs what can change while it does (`settings.RELOADED`); nothing that is open is touched."""
    bridge.reroute(_routes(settings))
    bridge.delivery.limits = _delivery_limits(settings)
    for endpoint in bridge.endpoints:
        endpoint.limits = _limits(settings)
    _offer(bridge.endpoints, settings)
    if bridge.inbox is not None:
        bridge.inbox.limits = InboxLimits(body=settings.limits.body)


def _routes(settings: Settings) -> Routes:
    return Routes([_whole(route, settings) for route in settings.routes], _whole(settings.default_route, settings))


def _notice(sink: Sink, change: Change) -> None:
    """A sink that fails now and then is a line a minute, not one for each time."""
    line = f"sink {sink.url} {change.value}"
    if change in (Change.WELL, Change.LETS_GO):
        _throttle.log(logging.INFO, line)
    else:
        _throttle.log(logging.WARNING, line, error=sink.error)


def _endpoint(listener: Listener, settings: Settings) -> Endpoint:
    scheme = listener.protocol(listener.options, os.urandom, listener.name)
    if isinstance(scheme, Adapter):
        return scheme.endpoint_at(listener.host, listener.port, _limits(settings))
    assert isinstance(scheme, Protocol), "the registry finds nothing else"
    where = (scheme, listener.name, listener.host, listener.port, _limits(settings))
    return DatagramShell(*where) if listener.stream is None else StreamShell(*where, listener.stream)


def _offer(endpoints: Sequence[Endpoint], settings: Settings) -> None:
    """Tell each endpoint the subjects that routes have for it by name."""
    for endpoint in endpoints:
        endpoint.offer(
            [
                Resource(route.subject, route.resource)
                for route in settings.routes
                if not set(route.subject) & GLOB and fnmatchcase(endpoint.name, route.endpoint)
            ]
        )


def _delivery_limits(settings: Settings) -> DeliveryLimits:
    limits = settings.limits
    return DeliveryLimits(
        deliveries=limits.deliveries,
        held_bytes=limits.held_bytes,
        body=limits.answer,
        held_answers=limits.held_answers,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        settings.limits.sessions,
        settings.limits.connections_per_address,
        trusted=settings.trusted_networks,
    )


def _whole(route: Route, settings: Settings) -> Route:
    """A route with what it leaves to the bridge."""
    own = settings.sink
    if own is not None and own.token_file is None:
        own = replace(own, token_file=OIDC_TOKEN)
    return replace(route, sink=route.sink or own, dead_letter=route.dead_letter or settings.dead_letter)
