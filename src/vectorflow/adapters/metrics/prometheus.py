"""Metrics in the text format of Prometheus."""

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from vectorflow.domain.metrics import METRICS, CounterName, HistogramName, MetricName, Sample
from vectorflow.ports.metrics import Metrics

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment name of the folder in which several processes of one server count together."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

BUCKETS = (0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds, from a local store to a book."""

_ADD_UP: Callable[[CollectorRegistry], object] = MultiProcessCollector  # which is not typed


class PrometheusMetrics(Metrics):
    """Counts in this process, or in a folder for all processes of a server; see `FOLDER`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        for name, metric in METRICS.items():
            given = (name, metric.meaning, list(metric.labels))
            if metric.kind == "counter":
                self._counters[name] = Counter(*given, registry=self._registry)
                _begin(self._counters[name], name)
            elif metric.kind == "histogram":
                histogram = Histogram(*given, registry=self._registry, buckets=BUCKETS)
                self._histograms[name] = histogram
                _begin(histogram, name)

    def count(self, name: CounterName, amount: int = 1, **labels: str) -> None:
        counter = self._counters[name]
        (counter.labels(**labels) if labels else counter).inc(amount)

    def observe(self, name: HistogramName, seconds: float, **labels: str) -> None:
        histogram = self._histograms[name]
        (histogram.labels(**labels) if labels else histogram).observe(seconds)

    def families(self) -> Iterator[Family]:
        """Give what was counted: here, or by all processes together where there is a folder."""
        registry = self._registry
        if os.environ.get(FOLDER):
            registry = CollectorRegistry()
            _ADD_UP(registry)
        return iter(registry.collect())


def written(samples: Iterable[Sample], metrics: Metrics) -> bytes:
    """Write samples, and what was counted."""
    families: list[Family] = list(_gauges(samples))
    if isinstance(metrics, PrometheusMetrics):
        families += map(_without_times, metrics.families())
    return generate_latest(_Collected(families))


class _Collected(Collector):
    """What is there already."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def _begin(counted: Counter | Histogram, name: MetricName) -> None:
    """Show zeros where all labels have known values, so that the first count is a rise."""
    labels = METRICS[name].labels
    if labels:
        for values in product(*labels.values()):
            counted.labels(*values)


def _gauges(samples: Iterable[Sample]) -> Iterable[Family]:
    families: dict[str, GaugeMetricFamily] = {}
    for name, value, labels in samples:
        if name not in families:
            names = list(METRICS[name].labels)
            families[name] = GaugeMetricFamily(name, METRICS[name].meaning, labels=names)
        values = [labels[label] for label in METRICS[name].labels]
        families[name].add_metric(values, value)
    return families.values()


def _without_times(family: Family) -> Family:
    """Leave out when each counter was made."""
    family.samples = [one for one in family.samples if not one.name.endswith("_created")]
    return family
