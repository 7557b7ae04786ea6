"""Metrics for Prometheus. What a message costs here is one `Recorder` call; all else is read when somebody scrapes.

Every label has a fixed set of values: endpoints are settings, outcomes and verdicts are enums, reasons are names in
our own source. Nothing from the wire becomes a label. The table for users is in docs/operations.md.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

import thinbridge
from thinbridge.protocols.base import Outcome, PushResult

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds: a warm function answers in the first half, a cold start in the second, 60 s is the default deadline."""

MAX_REASONS: Final = 100
"""Reasons of one endpoint that are told apart: a stranger's protocol may count by what it hears."""


class Source(Protocol):
    """What is read of an endpoint."""

    @property
    def name(self) -> str:
        """Label `endpoint`."""

    @property
    def protocol(self) -> str:
        """Label `protocol`."""

    @property
    def sessions(self) -> int:
        """How many are live."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What was dropped, refused or evicted so far, by a fixed name."""


class Deliveries(Protocol):
    """What is read of the delivery."""

    @property
    def in_flight(self) -> int:
        """How many are under way."""

    @property
    def held_bytes(self) -> int:
        """What they and those that wait for their turn take."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened to them, by a fixed name."""


class Histogram:
    """Counts of seconds by bucket; cumulated only when read."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def cumulated(self) -> list[tuple[str, float]]:
        """Upper bound → how many are not above it, as the exposition format wants it."""
        return list(zip((*map(str, BUCKETS), "+Inf"), accumulate(self.counts), strict=True))


class Recorder:
    """What the bridge counts while messages pass: a dictionary entry each. The values are those of our own enums."""

    __slots__ = ("deliveries", "messages", "pushes")

    def __init__(self) -> None:
        self.messages: Counter[tuple[str, str]] = Counter()
        self.deliveries: dict[str, Histogram] = {}
        self.pushes: Counter[str] = Counter()

    def message(self, endpoint: str, outcome: str) -> None:
        """A message was answered, with an `Outcome`'s value."""
        self.messages[endpoint, outcome] += 1

    def delivery(self, verdict: str, seconds: float) -> None:
        """A delivery ended, with a `Verdict`'s value, this long after it was asked for."""
        histogram = self.deliveries.get(verdict)
        if histogram is None:
            histogram = self.deliveries[verdict] = Histogram()
        histogram.observe(seconds)

    def push(self, result: str) -> None:
        """A push ended, with a `PushResult`'s name in lower case."""
        self.pushes[result] += 1


def registry(sources: Sequence[Source], delivery: Deliveries, recorder: Recorder) -> CollectorRegistry:
    """All metrics of one bridge, for its `Inbox`; not the global ones, so that bridges in one process don't meet.

    Args:
        sources: the endpoints, read at every scrape.
        delivery: the bridge's delivery, likewise.
        recorder: what the bridge calls.
    """
    registry = CollectorRegistry()
    registry.register(_BridgeCollector(sources, delivery, recorder))
    ProcessCollector(registry=registry)
    return registry


class _BridgeCollector(Collector):
    """Reads everything when somebody scrapes."""

    def __init__(self, sources: Sequence[Source], delivery: Deliveries, recorder: Recorder) -> None:
        self._sources = sources
        self._delivery = delivery
        self._recorder = recorder

    def describe(self) -> Iterator[Metric]:
        """Nothing: to be registered is no reason to be read."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Every family, in the order of docs/operations.md."""
        info = GaugeMetricFamily("thinbridge_build_info", "The version that runs.", labels=["version"])
        info.add_metric([thinbridge.__version__], 1)
        yield info
        yield from self._endpoints()
        yield from self._deliveries()
        pushes = CounterMetricFamily("thinbridge_pushes", "POSTs to reply addresses, by result.", labels=["result"])
        for result in PushResult:
            name = result.name.lower()
            pushes.add_metric([name], self._recorder.pushes[name])
        yield pushes

    def _endpoints(self) -> Iterator[Metric]:
        labels = ["endpoint", "protocol"]
        sessions = GaugeMetricFamily("thinbridge_sessions", "Live sessions.", labels=labels)
        messages = CounterMetricFamily(
            "thinbridge_messages", "Messages answered, by outcome.", labels=[*labels, "outcome"]
        )
        dropped = CounterMetricFamily(
            "thinbridge_dropped", "What was dropped, refused or evicted, by reason.", labels=[*labels, "reason"]
        )
        for source in self._sources:
            where = [source.name, source.protocol]
            sessions.add_metric(where, source.sessions)
            for outcome in Outcome:
                count = self._recorder.messages[source.name, outcome.value]
                messages.add_metric([*where, outcome.name.lower()], count)
            for reason, count in _bounded(source.counters):
                dropped.add_metric([*where, reason], count)
        return iter((sessions, messages, dropped))

    def _deliveries(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "thinbridge_deliveries_in_flight", "Deliveries under way.", value=self._delivery.in_flight
        )
        yield GaugeMetricFamily(
            "thinbridge_delivery_held_bytes", "What they and those that wait take.", value=self._delivery.held_bytes
        )
        events = CounterMetricFamily(
            "thinbridge_delivery_events", "What happened to deliveries: verdicts, retries, …", labels=["reason"]
        )
        for reason, count in _bounded(self._delivery.counters):
            events.add_metric([reason], count)
        yield events
        seconds = HistogramMetricFamily(
            "thinbridge_delivery_seconds", "How long deliveries took, retries included, by verdict.", labels=["verdict"]
        )
        for verdict, histogram in self._recorder.deliveries.items():
            seconds.add_metric([verdict], histogram.cumulated(), histogram.total)
        yield seconds


def _bounded(counters: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """The first reasons by name, all others as `other`."""
    items = list(counters.items())
    yield from items[:MAX_REASONS]
    if len(items) > MAX_REASONS:
        yield "other", sum(count for _, count in items[MAX_REASONS:])
