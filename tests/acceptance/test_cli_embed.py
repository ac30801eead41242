import os
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.cli_process import COMMAND, CORPUS, environment, vectorflow, write_corpus

KEYS = {
    "job_id",
    "status",
    "documents",
    "records",
    "new",
    "changed",
    "unchanged",
    "gone",
    "failed",
    "chunks_embedded",
    "embedding_calls",
    "tokens",
    "seconds",
    "failures",
}


def test_embed_says_where_it_works_and_prints_one_json_object(tmp_path: Path) -> None:
    write_corpus(tmp_path / "docs")

    first = vectorflow(tmp_path, "embed", "docs", "--json")
    again = vectorflow(tmp_path, "--json", "embed", "docs")

    assert first.code == again.code == 0
    assert first.err.splitlines()[0] == (
        "in-process, ./.vectorflow · index default (LanceDB) · hash 384-d"
        " · 512-token chunks, overlap 64"
    )
    assert first.json.keys() == KEYS
    assert first.json["new"] == first.json["records"] == CORPUS
    assert again.json["unchanged"] == CORPUS
    assert again.json["embedding_calls"] == 0


def test_a_search_finds_what_was_embedded_and_says_where_a_file_is(tmp_path: Path) -> None:
    write_corpus(tmp_path / "docs")
    vectorflow(tmp_path, "embed", "docs", "--metadata", "year=2024", "--metadata", "team=hr")
    text = "# Page 3\n\nThe answer to question 3 is 21."

    found = vectorflow(tmp_path, "search", text, "-k", "1", "--expect", "docs/page3.md")
    kept_out = vectorflow(
        tmp_path, "search", text, "--filter", "year=1999", "--json", "--expect", "page3.md"
    )

    assert found.code == kept_out.code == 0
    assert found.out.startswith(" 1 1.00  page3.md  chunk 0")
    assert "page3.md is at rank 1" in found.out
    assert kept_out.json["hits"] == []
    assert "in the index, but not among the best 0 hits" in str(kept_out.json["expect"])


def test_a_document_that_fails_makes_the_job_partial_and_alone_failed(tmp_path: Path) -> None:
    write_corpus(tmp_path / "docs")
    (tmp_path / "docs" / "bad.md").write_bytes(b"\0\1\2")

    partial = vectorflow(tmp_path, "embed", "docs")
    again = vectorflow(tmp_path, "embed", "docs")
    alone = vectorflow(tmp_path, "embed", "docs/bad.md")
    causes = vectorflow(tmp_path, "failures")

    assert (partial.code, again.code, alone.code) == (4, 4, 3)
    assert f"PARTIAL  {CORPUS} of {CORPUS + 1} files are searchable" in partial.out
    assert "failed   bad.md  binary_content: not searchable" in partial.out
    assert "vectorflow failures 1" in partial.out
    assert "fix: send a file of a type that is read" in causes.out


def test_a_dry_run_tells_and_changes_nothing(tmp_path: Path) -> None:
    write_corpus(tmp_path / "docs")

    told = vectorflow(tmp_path, "embed", "docs", "--dry-run")
    jobs = vectorflow(tmp_path, "jobs", "list", "--json")

    assert told.code == 0
    assert f"{CORPUS} files   {CORPUS} new" in told.out
    assert "$0.00 local" in told.out
    assert jobs.json == {"jobs": []}


def test_deleting_over_half_of_a_directory_has_to_be_allowed(tmp_path: Path) -> None:
    docs = write_corpus(tmp_path / "docs")
    vectorflow(tmp_path, "embed", "docs")
    for page in list(docs.iterdir())[:4]:
        page.unlink()

    refused = vectorflow(tmp_path, "embed", "docs", "--json")
    allowed = vectorflow(tmp_path, "embed", "docs", "--json", "--allow-delete")

    assert refused.code == 1
    assert "--allow-delete" in str(refused.json["error"])
    assert (allowed.code, allowed.json["gone"], allowed.json["records"]) == (0, 4, CORPUS - 4)


def test_an_empty_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()

    ran = vectorflow(tmp_path, "embed", "docs")

    assert ran.code == 1
    assert "there is nothing to embed here" in ran.err
    assert "Traceback" not in ran.err


def test_stdin_is_a_document_with_the_id_it_is_given(tmp_path: Path) -> None:
    ran = vectorflow(tmp_path, "embed", "-", "--id", "note", stdin="Remember the milk.")
    found = vectorflow(tmp_path, "search", "Remember the milk.")

    assert ran.code == 0
    assert " 1 1.00  note" in found.out


def test_the_index_of_another_data_directory_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path / "docs")
    shared = f"lancedb://{tmp_path / 'shared'}"
    vectorflow(tmp_path, "embed", "docs", "--store", shared, "--data-dir", "one")

    ran = vectorflow(tmp_path, "embed", "docs", "--store", shared, "--data-dir", "two", "--json")

    assert ran.code == 1
    assert '"code": "foreign_index"' in ran.out


def test_an_unreadable_directory_deletes_nothing(tmp_path: Path) -> None:
    docs = write_corpus(tmp_path / "docs")
    locked = write_corpus(docs / "locked", count=2)
    vectorflow(tmp_path, "embed", "docs")
    locked.chmod(0)

    try:
        ran = vectorflow(tmp_path, "embed", "docs", before=_without_rights_of_root())
    finally:
        locked.chmod(0o755)

    again = vectorflow(tmp_path, "embed", "docs", "--json")
    assert ran.code == 4
    assert "locked/  unreadable_source" in ran.out
    assert (again.json["gone"], again.json["unchanged"]) == (0, CORPUS + 2)


@pytest.mark.slow
def test_an_interrupted_embed_goes_on_with_the_same_command(tmp_path: Path) -> None:
    write_corpus(tmp_path / "docs", count=1500)
    process = subprocess.Popen(
        [*COMMAND, "embed", "docs"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    _wait_for_a_job(tmp_path / ".vectorflow" / "ledger.db")

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    again = vectorflow(tmp_path, "embed", "docs", "--json")

    assert process.returncode == 130
    assert "the same command goes on where it stopped" in err
    assert "Traceback" not in err
    assert (again.code, again.json["records"]) == (0, 1500)


def _wait_for_a_job(ledger: Path) -> None:
    for _ in range(3000):
        if ledger.exists():
            with closing(sqlite3.connect(ledger)) as database:
                try:
                    if database.execute("SELECT 1 FROM jobs").fetchone():
                        return
                except sqlite3.OperationalError:
                    pass  # it is being made
        time.sleep(0.01)
    pytest.fail("no job was made")


def _without_rights_of_root() -> list[str]:
    """Root reads everything, unless it gives that up."""
    if os.getuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root reads everything, and there is no setpriv")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
