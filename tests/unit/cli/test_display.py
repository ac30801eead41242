import json
import logging
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.cli import output
from vectorflow.cli.logs import Human, JsonLines
from vectorflow.cli.place import folded
from vectorflow.cli.progress import State, drawing, lines
from vectorflow.cli.report import causes, headline, served
from vectorflow.domain.jobs import JobState
from vectorflow.flow import Progress, Report
from vectorflow.ledger.reads import FailureView, JobProgress, JobView
from vectorflow.service.submit import Scan


def job(state: JobState = JobState.RUNNING, **counters: int) -> JobView:
    names = set(JobView.__dataclass_fields__) - {
        "id", "state", "index", "scope", "error", "created_at", "ended_at", "started",
    }  # fmt: skip
    return JobView(
        id=7,
        state=state,
        index="default",
        scope="docs",
        error=None,
        created_at=0.0,
        ended_at=None,
        started=True,
        **{name: counters.get(name, 0) for name in names},
    )


def report(**facts: int) -> Report:
    names = {
        "documents", "records", "new", "changed", "unchanged", "gone", "failed", "records_new",
        "records_old", "chunks_embedded", "embedding_calls", "tokens",
    }  # fmt: skip
    counts = {name: facts.get(name, 0) for name in names}
    return Report(
        job_id=7,
        status=JobState.COMPLETED,
        index="default",
        seconds=1.0,
        failures=(),
        **counts,
    )


def failure(name: str, code: str = "pdf_encrypted", served_version: int | None = 3) -> FailureView:
    return FailureView(
        job=7,
        external_id=name,
        uri="",
        attempted_version=4,
        served_version=served_version,
        code=code,
        message="it is locked",
        fix="remove the password",
        stage="extract",
        retryable=False,
        attempts=1,
        chunk=None,
    )


def drawn(state: State) -> list[str]:
    return [drawing(line, unicode=True).plain.rstrip() for line in lines(state)]


def test_progress_is_shown_as_scan_extract_and_embed() -> None:
    state = (
        State()
        .after(Progress(scan=Scan(documents=318, seen=318)))
        .after(
            Progress(
                job=job(
                    documents_new=12,
                    documents_changed=3,
                    documents_unchanged=301,
                    documents_gone=2,
                    docs_failed=1,
                ),
                work=JobProgress(extracted=14, chunks=561),
                embedded=402,
            )
        )
    )

    shown = drawn(replace(state, embedding_for=10.0))

    assert shown == [
        "scan     318 files   12 new   3 changed   301 unchanged   2 gone",
        "extract  ████████████████████  15/15 files                    1 failed",
        "embed    ██████████████░░░░░░  402/561 chunks                 0:04 left",
    ]


def test_progress_stays_within_eighty_columns() -> None:
    counters = dict.fromkeys(("documents_new", "docs_failed"), 99_999)
    state = State(
        scan=Scan(documents=99_999, seen=99_999),
        job=job(**counters),
        work=JobProgress(extracted=99_999, chunks=9_999_999),
        embedded=5_000_000,
        embedding_for=9999.0,
    )

    assert max(map(len, drawn(state))) <= 80


def test_vectors_that_were_not_embedded_are_shown_as_cached() -> None:
    ended = job(JobState.COMPLETED, documents_new=1, records_new=10, chunks_embedded=4)

    shown = drawn(
        State(scan=Scan(documents=1), job=ended, work=JobProgress(extracted=1, chunks=10))
    )

    assert shown[-1] == f"embed    {'█' * 20}  10/10 chunks   (6 cached)"


def test_a_terminal_without_unicode_gets_plain_bars() -> None:
    state = State(scan=Scan(documents=2), job=job(documents_new=2), work=None)

    assert drawing(lines(state)[-1], unicode=False).plain == f"extract  {'.' * 20}  0/2 files"


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"new": 12, "changed": 3}, "15 files are searchable"),
        ({"new": 1}, "1 file is searchable"),
        ({"new": 15, "failed": 1}, "14 of 15 files are searchable"),
        ({"documents": 318, "unchanged": 318}, "nothing to do: 318 files unchanged"),
        ({"documents": 1, "gone": 2}, "2 files deleted"),
    ],
)
def test_the_headline_says_what_became_of_the_documents(
    facts: dict[str, int], sentence: str
) -> None:
    assert headline(report(**facts)) == sentence


def test_a_job_that_is_followed_was_scanned_by_somebody_else() -> None:
    state = State().after(Progress(job=job(documents_new=2, docs_done=1)))

    assert [line.label for line in lines(state)] == ["extract"]


def test_failures_are_grouped_by_cause_the_most_frequent_first() -> None:
    found = (failure("a"), failure("b", "empty_document", None), failure("c", "empty_document"))

    groups = causes(found)

    assert [[one.external_id for one in group] for group in groups] == [["b", "c"], ["a"]]
    assert served(found[0]) == "version 3 is still served"
    assert served(found[1]) == "not searchable"


@given(st.lists(st.text("ab ", min_size=1, max_size=30), min_size=1), st.integers(10, 80))
def test_the_first_line_breaks_between_its_parts_only(parts: list[str], width: int) -> None:
    found = folded(parts, width)

    assert " · ".join(line[2:] if number else line for number, line in enumerate(found)) == (
        " · ".join(parts)
    )
    assert all(len(line) <= max(width, len(parts[0]), 32) for line in found)


@given(st.text())
def test_no_text_of_strangers_can_steer_the_terminal(text: str) -> None:
    shown = output.plain(text)

    assert shown.isprintable()


def test_an_escape_code_in_a_name_is_not_printed() -> None:
    assert output.plain("a\x1b[31mb\nc") == "a\N{REPLACEMENT CHARACTER}[31mb c"


def test_a_log_line_holds_the_event_and_its_fields() -> None:
    record = logging.makeLogRecord(
        {"name": "x", "levelname": "WARNING", "msg": "batch_released", "batch_id": 7, "created": 0}
    )

    human, entry = Human().format(record), json.loads(JsonLines().format(record))

    assert human.endswith("warning batch_released batch_id=7")
    assert entry == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "warning",
        "logger": "x",
        "event": "batch_released",
        "batch_id": 7,
    }


def test_a_log_line_of_an_error_says_where_it_was() -> None:
    try:
        {}["k"]
    except KeyError:
        record = logging.makeLogRecord({"msg": "batch_failed", "exc_info": sys.exc_info()})

    assert "KeyError" in Human().format(record)
    assert "KeyError" in json.loads(JsonLines().format(record))["exception"]
