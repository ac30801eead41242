"""One document is the end of every worker that touches it; its neighbours are searchable."""

import fcntl
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.api_server import wait_until
from tests.acceptance.cli_process import COMMAND, CORPUS, environment, vectorflow, write_corpus
from vectorflow.domain.jobs import JobState
from vectorflow.domain.retries import LOST_ALONE, SUSPECT_AFTER
from vectorflow.errors import VectorFlowError
from vectorflow.ledger import reads
from vectorflow.ledger.database import Database
from vectorflow.ledger.reads import JobView

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

DEADLY = 66
CUT = f"""
import os

def cut(text):
    if "poison" in text and "SAFE" not in os.environ:
        os._exit({DEADLY})
    return [text]
"""
CHUNKER = {"VECTORFLOW_CHUNKING__CHUNKER": "./mine.py:cut"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Database]:
    """The ledger of a job whose documents are accepted, and on which nobody has worked."""
    write_corpus(tmp_path / "docs")
    (tmp_path / "docs" / "page2b.md").write_text("This is poison.")
    (tmp_path / "mine.py").write_text(CUT)
    data = tmp_path / ".vectorflow"
    data.mkdir()
    with (data / "worker.lock").open("w") as seat:
        fcntl.flock(seat, fcntl.LOCK_EX)
        embed = started(tmp_path, "embed", "docs")
        database = Database(f"sqlite:///{data / 'ledger.db'}")
        try:
            wait_until(lambda: is_listed(database))
        finally:
            embed.kill()
            embed.wait()
    yield database
    database.close()


def started(folder: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(**CHUNKER, VECTORFLOW_WORKER__POLL_SECONDS="0.05"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def is_listed(database: Database) -> bool:
    try:
        return job_of(database).docs_total is not None
    except VectorFlowError:  # the ledger is being made
        return False


def job_of(database: Database) -> JobView:
    return database.read_now(partial(reads.job, tenant="default", id=1))


def dies(worker: "subprocess.Popen[bytes]", ledger: Database) -> bool:
    """Let a worker work until it dies or the job has ended."""
    wait_until(lambda: worker.poll() is not None or job_of(ledger).state.ended)
    died = worker.poll() == DEADLY
    worker.terminate()
    worker.wait(30)
    return died


def test_a_document_over_which_workers_die_takes_no_neighbour_along(
    tmp_path: Path, ledger: Database
) -> None:
    deaths = 0
    while not job_of(ledger).state.ended:
        deaths += dies(started(tmp_path, "worker"), ledger)
        assert deaths <= SUSPECT_AFTER + LOST_ALONE

    assert deaths == SUSPECT_AFTER + LOST_ALONE
    job = job_of(ledger)
    assert (job.state, job.docs_done, job.docs_failed) == (JobState.PARTIAL, CORPUS, 1)
    (failure,) = ledger.read_now(partial(reads.failures, tenant="default"))
    assert (failure.external_id, failure.code) == ("page2b.md", "workers_died")

    again = vectorflow(tmp_path, "failures", "retry", "--wait", **CHUNKER, SAFE="yes")
    assert again.code == 0, again.err
    assert job_of(ledger).state is JobState.COMPLETED
