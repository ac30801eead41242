"""Every metric is documented as it is, and alerts ask for metrics that there are."""

import re

import pytest

from tests.docs.pages import DOCS
from vectorflow.domain.metrics import METRICS, Metric, MetricName
from vectorflow.ledger.backlog import COUNTED_TO

TROUBLE = {
    "vectorflow_ledger_up",
    "vectorflow_oldest_ready_age_seconds",
    "vectorflow_paused_jobs",
    "vectorflow_dead_letters",
    "vectorflow_outages",
    "vectorflow_duty_trouble",
}
"""What tells that somebody has to look."""

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


RULES = re.findall(r"^ +expr: (.+)$", HOW_TO.read_text("utf-8"), re.MULTILINE)


def test_somebody_is_told_of_all_that_means_trouble() -> None:
    asked = {name for rule in RULES for name in re.findall(r"vectorflow_\w+", rule)}

    assert TROUBLE <= asked <= set(METRICS)


def test_somebody_is_told_of_work_that_waits_in_each_lane() -> None:
    waits = "vectorflow_oldest_ready_age_seconds"
    lanes = [lane for rule in RULES for lane in re.findall(rf'{waits}{{lane="(\w+)"}}', rule)]

    assert sorted(lanes) == sorted(METRICS[waits].labels["lane"])
    assert any(waits in rule and '{state="leased"}) == 0' in rule for rule in RULES)


def test_somebody_is_told_where_no_more_failures_are_counted() -> None:
    assert f"max(vectorflow_dead_letters) >= {COUNTED_TO}" in RULES


def test_somebody_is_told_of_every_process_that_does_not_answer() -> None:
    [watched] = [found[1] for rule in RULES if (found := re.match(r'up{job=~"(.+)"} == 0', rule))]
    scraped = re.findall(r"job_name: (\S+)", HOW_TO.read_text("utf-8"))

    assert len(scraped) == 2
    assert all(re.fullmatch(watched, job) for job in scraped)
