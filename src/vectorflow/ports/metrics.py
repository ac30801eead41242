"""The port `metrics`: what a process counts, for those who watch it."""

import time
from abc import abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from vectorflow.domain.metrics import CounterName, HistogramName, StageName


@runtime_checkable
class Metrics(Protocol):
    """Counts; any thread may call it, it waits for nothing and raises nothing.

    Each call names all labels that `vectorflow.domain.metrics` lists for the name.
    """

    @abstractmethod
    def count(self, name: CounterName, amount: int = 1, **labels: str) -> None:
        """Add to a counter."""
        ...

    @abstractmethod
    def observe(self, name: HistogramName, seconds: float, **labels: str) -> None:
        """Note how long something took."""
        ...


class NoMetrics(Metrics):
    """Counts nothing, as nobody asks."""

    def count(self, name: CounterName, amount: int = 1, **labels: str) -> None:
        """Do nothing."""

    def observe(self, name: HistogramName, seconds: float, **labels: str) -> None:
        """Do nothing."""


NO_METRICS = NoMetrics()


@contextmanager
def timed(metrics: Metrics, stage: StageName) -> Generator[None]:
    """Note how long a stage takes, if it goes well."""
    began = time.perf_counter()
    yield
    seconds = time.perf_counter() - began
    metrics.observe("vectorflow_stage_duration_seconds", seconds, stage=stage)
