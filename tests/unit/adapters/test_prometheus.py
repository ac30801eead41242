from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import get_args

import pytest

from tests.scraped import risen, scraped
from vectorflow.adapters.metrics.prometheus import PrometheusMetrics, written
from vectorflow.domain.metrics import METRICS, CounterName, HistogramName, Sample
from vectorflow.ports.metrics import NO_METRICS, Metrics, timed


def zeros() -> Iterator[str]:
    """What is counted by labels whose values are all known."""
    for name in (*get_args(CounterName), *get_args(HistogramName)):
        labels = METRICS[name].labels
        for values in product(*labels.values()):
            given = zip(labels, values, strict=True)
            shown = ",".join(f'{label}="{value}"' for label, value in given)
            base = f"{name}_count" if METRICS[name].kind == "histogram" else name
            yield f"{base}{{{shown}}}" if shown else base


def test_what_is_counted_begins_with_zeros() -> None:
    found = scraped(written([], PrometheusMetrics()))

    assert risen(written([], PrometheusMetrics())) == {}
    assert set(zeros()) == {key for key in found if "_bucket" not in key and "_sum" not in key}


def test_counts_add_up_by_labels() -> None:
    metrics = PrometheusMetrics()

    for _ in range(2):
        metrics.count("vectorflow_batches_total", kind="embed", outcome="ok")
    metrics.count("vectorflow_embedding_tokens_total", 512, embedder="openai")
    metrics.count("vectorflow_queue_messages_sent_total", 3)

    assert risen(written([], metrics)) == {
        'vectorflow_batches_total{kind="embed",outcome="ok"}': 2,
        'vectorflow_embedding_tokens_total{embedder="openai"}': 512,
        "vectorflow_queue_messages_sent_total": 3,
    }


def test_what_goes_well_is_timed_and_what_fails_is_not() -> None:
    metrics = PrometheusMetrics()

    with timed(metrics, "store"):
        pass
    with pytest.raises(ZeroDivisionError), timed(metrics, "embed"):
        raise ZeroDivisionError

    assert risen(written([], metrics)) == {
        'vectorflow_stage_duration_seconds_count{stage="store"}': 1
    }


def test_a_label_that_is_not_listed_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="label"):
        PrometheusMetrics().count("vectorflow_batches_total", kind="embed")


def test_samples_are_written_with_what_they_mean_and_in_any_order() -> None:
    page = written(
        [
            Sample("vectorflow_open_jobs", 2, {"state": "running"}),
            Sample("vectorflow_ledger_up", 1),
            Sample("vectorflow_open_jobs", 1, {"state": "paused"}),
        ],
        NO_METRICS,
    ).decode()

    assert scraped(page) == {
        'vectorflow_open_jobs{state="running"}': 2,
        'vectorflow_open_jobs{state="paused"}': 1,
        "vectorflow_ledger_up": 1,
    }
    assert f"# HELP vectorflow_open_jobs {METRICS['vectorflow_open_jobs'].meaning}" in page
    assert page.count("# TYPE vectorflow_open_jobs gauge") == 1


@pytest.mark.parametrize("made", [PrometheusMetrics(), NO_METRICS])
def test_both_are_metrics(made: object) -> None:
    assert isinstance(made, Metrics)


def test_a_folder_that_was_counted_in_by_nobody_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))

    assert written([], PrometheusMetrics()) == b""
