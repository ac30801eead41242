"""Every metric is documented as it is, and alerts ask for metrics that there are."""

import re

import pytest

from tests.docs.pages import DOCS
from vectorflow.domain.metrics import METRICS, Metric, MetricName

REFERENCE = DOCS / "reference" / "metrics.md"
HOW_TO = DOCS / "how-to" / "watch-and-alert.md"


def row(name: str, metric: Metric) -> str:
    labels = [
        f"`{label}`: {', '.join(values)}" if values else f"`{label}`"
        for label, values in metric.labels.items()
    ]
    unit = f", {metric.unit}" if metric.unit else ""
    return f"| `{name}` | {metric.kind}{unit} | {'; '.join(labels)} | {metric.meaning} |"


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_listed_as_it_is(name: MetricName) -> None:
    assert row(name, METRICS[name]) in REFERENCE.read_text("utf-8").splitlines()


def test_no_metric_is_listed_that_does_not_exist() -> None:
    rows = re.findall(r"^\| `(vectorflow_\w+)` ", REFERENCE.read_text("utf-8"), re.MULTILINE)

    assert rows == list(METRICS)


def test_alerts_ask_for_metrics_and_labels_that_there_are() -> None:
    text = HOW_TO.read_text("utf-8")
    asked = re.findall(r"\b(vectorflow_[a-z_]+[a-z])(?:\{([^}]*)\})?", text)

    assert len(asked) > 5
    for name, labels in asked:
        known = {str(one): METRICS[one].labels for one in METRICS}
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        assert base in known
        for label, value in re.findall(r"(\w+)=~?\"([^\"]*)\"", labels):
            values = known[base][label]
            assert not values or set(value.split("|")) <= set(values)
