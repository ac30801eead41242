import re
from typing import get_args

import pytest

from vectorflow.domain.metrics import METRICS, CounterName, GaugeName, HistogramName, MetricName

NAMES = {
    "counter": set(get_args(CounterName)),
    "gauge": set(get_args(GaugeName)),
    "histogram": set(get_args(HistogramName)),
}


def test_every_name_is_explained_as_what_it_is() -> None:
    explained = {
        kind: {name for name, metric in METRICS.items() if metric.kind == kind} for kind in NAMES
    }

    assert explained == NAMES


@pytest.mark.parametrize("name", METRICS)
def test_a_name_says_whose_it_is_and_in_which_unit(name: MetricName) -> None:
    metric = METRICS[name]

    assert re.fullmatch(r"vectorflow_[a-z_]+", name)
    assert name.endswith("_total") == (metric.kind == "counter")
    assert name.endswith("_seconds") == metric.unit.startswith("seconds")


@pytest.mark.parametrize("name", METRICS)
def test_no_label_tells_one_customer_from_another(name: MetricName) -> None:
    allowed = {
        "call", "duty", "embedder", "kind", "lane", "outcome", "reason", "stage", "state",
        "system", "trouble", "version",
    }  # fmt: skip

    assert set(METRICS[name].labels) <= allowed
