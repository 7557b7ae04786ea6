"""Metrics: what is counted is shown, by labels that no device can choose."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import thinbridge
from thinbridge.protocols.base import Outcome, PushResult
from thinbridge.telemetry import Recorder, registry
from thinbridge.telemetry.metrics import BUCKETS


@dataclass
class Endpoint:
    """What is read of one."""

    name: str
    protocol: str
    sessions: int = 0
    counters: Counter[str] = field(default_factory=Counter)


@dataclass
class Deliveries:
    """What is read of it."""

    in_flight: int = 0
    held_bytes: int = 0
    counters: Counter[str] = field(default_factory=Counter)


def series(shown: CollectorRegistry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What a scrape gets, without the process's own, parsed by the library's parser."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(shown).decode())
        for sample in family.samples
        if sample.name.startswith("thinbridge_")
    }


def test_every_family() -> None:
    endpoint, deliveries, recorder = Endpoint("coap", "coap", 3), Deliveries(2, 4096), Recorder()
    endpoint.counters["amplification"] = 5
    deliveries.counters["retried"] = 7
    recorder.message("coap", Outcome.ACCEPTED.value)
    recorder.message("coap", Outcome.BAD_GATEWAY.value)
    recorder.delivery("accepted", 0.004)
    recorder.push(PushResult.GONE.name.lower())
    found = series(registry([endpoint], deliveries, recorder))
    where = (("endpoint", "coap"), ("protocol", "coap"))
    assert found["thinbridge_build_info", (("version", thinbridge.__version__),)] == 1
    assert found["thinbridge_sessions", where] == 3
    assert found["thinbridge_dropped_total", (*where, ("reason", "amplification"))] == 5
    messages = {outcome: found["thinbridge_messages_total", tuple(sorted((*where, ("outcome", outcome))))]
                for outcome in ("accepted", "pending", "refused", "overloaded", "unknown", "bad_gateway")}  # fmt: skip
    assert messages == {
        "accepted": 1, "pending": 0, "refused": 0, "overloaded": 0, "unknown": 0, "bad_gateway": 1,
    }  # fmt: skip
    assert found["thinbridge_deliveries_in_flight", ()] == 2
    assert found["thinbridge_delivery_held_bytes", ()] == 4096
    assert found["thinbridge_delivery_events_total", (("reason", "retried"),)] == 7
    assert found["thinbridge_delivery_seconds_count", (("verdict", "accepted"),)] == 1
    assert found["thinbridge_delivery_seconds_sum", (("verdict", "accepted"),)] == 0.004
    assert found["thinbridge_pushes_total", (("result", "gone"),)] == 1
    assert found["thinbridge_pushes_total", (("result", "delivered"),)] == 0


def test_the_docs_list_every_metric() -> None:
    recorder, endpoint = Recorder(), Endpoint("coap", "coap", counters=Counter(empty=1))
    recorder.delivery("accepted", 0.004)
    shown = registry([endpoint], Deliveries(counters=Counter(retried=1)), recorder)
    families = text_string_to_metric_families(generate_latest(shown).decode())
    documented = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert name.startswith("process_") or f"| `{name}` | {family.type} |" in documented


def test_histogram_buckets() -> None:
    """A bound belongs to its bucket; more than the last is only in `+Inf`."""
    recorder = Recorder()
    for seconds in (0.0, 0.001, 0.0011, 60.0, 60.1):
        recorder.delivery("accepted", seconds)
    found = series(registry([], Deliveries(), recorder))

    def below(bound: str) -> float:
        return found["thinbridge_delivery_seconds_bucket", (("le", bound), ("verdict", "accepted"))]

    assert [below(bound) for bound in ("0.001", "0.0025", "30.0", "60.0", "+Inf")] == [2, 3, 3, 4, 5]
    assert len([key for key in found if key[0] == "thinbridge_delivery_seconds_bucket"]) == len(BUCKETS) + 1


def test_endpoints_that_come_later_are_shown() -> None:
    endpoints: list[Endpoint] = []
    shown = registry(endpoints, Deliveries(), Recorder())
    assert not any(name == "thinbridge_sessions" for name, _ in series(shown))
    endpoints.append(Endpoint("mqtt", "mqtt"))
    assert any(name == "thinbridge_sessions" for name, _ in series(shown))


def test_series_are_constant() -> None:
    """100,000 topics, even through a protocol that counts by them."""
    endpoint, deliveries, recorder = Endpoint("mqtt", "mqtt"), Deliveries(), Recorder()
    shown = registry([endpoint], deliveries, recorder)

    def traffic(topics: range) -> int:
        for topic in topics:
            endpoint.counters[f"dropped_{topic}"] += 1
            deliveries.counters[f"sink_{topic}"] += 1
            recorder.message(endpoint.name, Outcome.ACCEPTED.value)
            recorder.delivery("accepted", topic / 1000)
            recorder.push("delivered")
        return len(series(shown))

    assert traffic(range(1000)) == traffic(range(1000, 100_000))
    found = series(shown)
    where = (("endpoint", "mqtt"), ("protocol", "mqtt"))
    assert found["thinbridge_dropped_total", (*where, ("reason", "other"))] == 100_000 - 100
    assert found["thinbridge_dropped_total", (*where, ("reason", "dropped_0"))] == 1


def test_two_bridges_in_one_process() -> None:
    first, second = Recorder(), Recorder()
    first.push("delivered")
    for recorder, count in ((first, 1), (second, 0)):
        found = series(registry([], Deliveries(), recorder))
        assert found["thinbridge_pushes_total", (("result", "delivered"),)] == count


def test_the_process_is_shown() -> None:
    shown = registry([], Deliveries(), Recorder())
    assert (shown.get_sample_value("process_resident_memory_bytes") or 0) > 1_000_000
