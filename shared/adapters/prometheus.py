"""Metrics through prometheus-client: the table of shared.metrics in a registry of the process's own."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from shared.metrics import METRICS, Metric, Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# A restated day takes 30 ms, ten million rows take minutes.
SECONDS_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Prometheus:
    """Metrics of one process; see shared.metrics.Metrics. Safe to share between threads."""

    def __init__(self, metrics: Sequence[Metric] = METRICS) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._counters = {m: Counter(*_described(m), registry=self._registry) for m in metrics if m.kind == "counter"}
        self._gauges = {m: Gauge(*_described(m), registry=self._registry) for m in metrics if m.kind == "gauge"}
        self._histograms = {
            m: Histogram(*_described(m), registry=self._registry, buckets=SECONDS_BUCKETS)
            for m in metrics
            if m.kind == "histogram"
        }

    def count(self, metric: Metric, *labels: str, amount: float = 1) -> None:
        """Add to a counter."""
        counter = self._counters[metric]
        (counter.labels(*labels) if labels else counter).inc(amount)

    def observe(self, metric: Metric, *labels: str, seconds: float) -> None:
        """Add one duration to a histogram."""
        histogram = self._histograms[metric]
        (histogram.labels(*labels) if labels else histogram).observe(seconds)

    def note(self, metric: Metric, *labels: str, value: float) -> None:
        """Set a gauge."""
        gauge = self._gauges[metric]
        (gauge.labels(*labels) if labels else gauge).set(value)

    def ask(self, samples: Callable[[], Sequence[Sample]]) -> None:
        """Call `samples` whenever the metrics are read; it must not raise."""
        self._registry.register(_Asked(samples))

    def page(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _Asked(Collector):
    def __init__(self, samples: Callable[[], Sequence[Sample]]) -> None:
        self._samples = samples

    def collect(self) -> Iterable[GaugeMetricFamily]:
        families: dict[Metric, GaugeMetricFamily] = {}
        for sample in self._samples():
            metric = sample.metric
            family = families.setdefault(metric, GaugeMetricFamily(*_described(metric)[:2], labels=metric.labels))
            family.add_metric(sample.labels, sample.value)
        return families.values()


def _described(metric: Metric) -> tuple[str, str, tuple[str, ...]]:
    return metric.name, metric.description, metric.labels
