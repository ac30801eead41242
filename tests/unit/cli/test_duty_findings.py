"""What the doctor says of the recurring duties."""

import pytest

from vectorflow.cli.checks import Finding, examine_duties
from vectorflow.ledger.reads import DutyView

NOW = 1_000_000.0


def duty(
    name: str,
    *,
    every: float,
    began: float,
    took: float | None = 0.0,
    error: str | None = None,
) -> DutyView:
    """Give a duty that began so many seconds ago and took so long; None: it still runs."""
    return DutyView(
        name=name,
        every=every,
        last_run_at=NOW - began,
        ended_at=None if took is None else NOW - began + took,
        last_result="done",
        error=error,
        next_run_at=NOW - began + every,
    )


REAP = duty("reap", every=3.0, began=1.0)


def look(*duties: DutyView) -> list[Finding]:
    return examine_duties(duties, NOW)


def test_a_duty_in_time_says_when_it_ran_and_is_due() -> None:
    (found,) = look(duty("garbage", every=600.0, began=120.0))

    assert found.state == "ok"
    assert found.text == "garbage ran 2 min ago: done; due again in 8 min"
    assert found.facts["overdue"] is False
    assert found.facts["next_run_at"] == NOW + 480


@pytest.mark.parametrize(
    ("late", "text"),
    [
        (duty("forget", every=3600.0, began=20_000.0), "nobody has begun it"),
        (duty("forget", every=3600.0, began=12_000.0, took=None), "no run has ended for 3 h"),
        (
            duty("forget", every=3600.0, began=10.0, error="unavailable"),
            "the last run failed with unavailable",
        ),
    ],
)
def test_a_duty_that_is_not_done_while_others_are_is_a_note(late: DutyView, text: str) -> None:
    reap, forget = look(REAP, late)

    assert (reap.state, forget.state) == ("ok", "note")
    assert forget.text.endswith(text)
    assert "duty_failed" in forget.fix


def test_a_duty_that_nobody_began_yet_says_so() -> None:
    expected = DutyView(
        name="optimize",
        every=300.0,
        last_run_at=None,
        ended_at=None,
        last_result=None,
        error=None,
        next_run_at=NOW - 120,
    )

    _, found = look(REAP, expected)

    assert (found.state, found.text) == ("ok", "optimize never ran; due for 2 min")


def test_a_run_that_takes_a_while_is_no_note() -> None:
    _, found = look(REAP, duty("optimize", every=300.0, began=500.0, took=None))

    assert found.state == "ok"
    assert found.facts["running"] is True


def test_while_nobody_works_no_duty_is_late() -> None:
    (found,) = look(duty("forget", every=3600.0, began=90_000.0))

    assert found.state == "ok"
    assert found.facts["overdue"] is False
    assert "due for 1 d" in found.text
