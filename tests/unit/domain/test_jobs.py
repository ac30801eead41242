import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.domain.jobs import JobState, ended_state


@pytest.mark.parametrize(
    ("total", "failed", "state"),
    [
        (0, 0, JobState.COMPLETED),
        (3, 0, JobState.COMPLETED),
        (3, 1, JobState.PARTIAL),
        (3, 3, JobState.FAILED),
        (1, 1, JobState.FAILED),
    ],
)
def test_a_job_ends_as_its_documents_did(total: int, failed: int, state: JobState) -> None:
    assert ended_state(total=total, failed=failed) is state


@given(st.integers(0, 9), st.integers(0, 9))
def test_every_end_is_an_end(done: int, failed: int) -> None:
    assert ended_state(total=done + failed, failed=failed).ended


def test_a_job_that_runs_or_is_paused_has_not_ended() -> None:
    assert {state for state in JobState if not state.ended} == {JobState.RUNNING, JobState.PAUSED}
