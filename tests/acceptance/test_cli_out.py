import json
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.acceptance.cli_process import COMMAND, CORPUS, environment, vectorflow, write_corpus


def test_out_has_all_records_of_what_was_listed_and_is_the_same_when_nothing_changed(
    tmp_path: Path,
) -> None:
    docs = write_corpus(tmp_path / "docs")
    other = write_corpus(tmp_path / "other", count=1)
    vectorflow(tmp_path, "embed", "other")

    first = vectorflow(tmp_path, "embed", "docs", "--out", "first.parquet", "--json")
    again = vectorflow(tmp_path, "embed", "docs", "--out", "again.parquet", "--json")
    (docs / "page0.md").write_text("Changed.", encoding="utf-8")
    changed = vectorflow(tmp_path, "embed", "docs", "--out", "first.parquet")

    assert (first.code, again.code, changed.code) == (0, 0, 0)
    assert (first.json["out"], first.json["records_written"]) == ("first.parquet", CORPUS)
    assert (again.json["unchanged"], again.json["records_written"]) == (CORPUS, CORPUS)
    before, after = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("again", "first"))
    texts = [path.read_text("utf-8").strip() for path in sorted(docs.iterdir())]
    assert before["document"].to_pylist() == [f"page{number}.md" for number in range(CORPUS)]
    assert before["text"].to_pylist()[1:] == texts[1:]
    assert sorted(str(text) for text in after["text"].to_pylist()) == sorted(texts)
    assert f"out      {CORPUS} records in first.parquet" in changed.out
    assert {path.name for path in tmp_path.iterdir()} == {
        ".vectorflow", "again.parquet", "first.parquet", docs.name, other.name,
    }  # fmt: skip


def test_an_unchanged_run_writes_the_same_bytes(tmp_path: Path) -> None:
    write_corpus(tmp_path / "docs")

    vectorflow(tmp_path, "embed", "docs", "--out", "one.arrow")
    vectorflow(tmp_path, "embed", "docs", "--out", "two.arrow")

    assert (tmp_path / "one.arrow").read_bytes() == (tmp_path / "two.arrow").read_bytes()
    table = pa.ipc.open_file(str(tmp_path / "one.arrow")).read_all()
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 384)


def test_stdout_has_records_alone_and_the_exit_code_is_that_of_the_job(tmp_path: Path) -> None:
    docs = write_corpus(tmp_path / "docs")
    (docs / "bad.md").write_bytes(b"\0\1\2")

    ran = vectorflow(tmp_path, "embed", "docs", "--out", "-")

    assert ran.code == 4
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["document"] for row in rows] == [f"page{number}.md" for number in range(CORPUS)]
    assert f"PARTIAL  {CORPUS} of {CORPUS + 1} files are searchable" in ran.err
    assert f"out      {CORPUS} records on stdout" in ran.err


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    write_corpus(tmp_path / "docs", count=200)

    command = [*COMMAND, "embed", "docs", "--out", "-"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.read(10)
        process.stdout.close()
        said = process.stderr.read().decode()

    assert first.startswith(b'{"id":')
    assert process.returncode == 0
    assert "Traceback" not in said
    assert "Exception" not in said
