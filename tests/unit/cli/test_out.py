import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.cli.conftest import Command
from vectorflow.cli.out import Out, write
from vectorflow.errors import InvalidInput, NotFound
from vectorflow.service.vector_formats import PARQUET
from vectorflow.service.vectors import export_schema


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["docs", "--out", "v.csv"], "does not end in a suffix that says how to write it"),
        (["docs", "--out", "v"], "does not end in a suffix that says how to write it"),
        (["docs", "--out", ""], "does not end in a suffix that says how to write it"),
        (["docs", "--out", "nowhere/v.arrow"], "the folder of --out 'nowhere/v.arrow' does not"),
        (["docs", "--out", "folder.arrow"], "is no file"),
        (["docs", "--out", "docs/v.jsonl"], "lies where files are embedded from"),
        ([".", "--out", "docs/../v.jsonl"], "lies where files are embedded from"),
        (["docs/a.jsonl", "--out", "docs/a.jsonl"], "lies where files are embedded from"),
        (["docs", "--out", "v.jsonl", "--dry-run"], "a dry run has no records"),
    ],
)
def test_an_out_that_cannot_be_is_refused_before_anything_is_embedded(
    command: Command, arguments: list[str], message: str
) -> None:
    Path("docs").mkdir()
    Path("folder.arrow").mkdir()
    Path("docs/a.jsonl").write_text("text", encoding="utf-8")

    ran = command("embed", *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert message in " ".join(ran.err.split())
    assert "\nfix      " in ran.err
    assert not Path(".vectorflow").exists()


def test_a_wrong_suffix_names_the_good_ones(command: Command) -> None:
    ran = command("embed", ".", "--out", "v.csv", "--json")

    assert ran.error["fix"] == (
        "let it end in one of .ndjson, .jsonl, .arrow, .parquet, or give - for stdout"
    )


def test_records_and_a_report_in_json_cannot_both_be_on_stdout(command: Command) -> None:
    ran = command("embed", ".", "--out", "-", "--json")

    assert (ran.code, "both want stdout" in ran.error["message"]) == (2, True)


def test_a_hidden_file_in_the_folder_that_is_embedded_is_fine(command: Command) -> None:
    Path("a.txt").write_text("text", encoding="utf-8")

    assert command("embed", ".", "--out", ".v.ndjson").code == 0
    assert command("embed", ".", "--out", ".v.ndjson", "--json").code == 0

    assert json.loads(Path(".v.ndjson").read_text("utf-8"))["text"] == "text"
    assert sorted(path.name for path in Path().iterdir()) == [".v.ndjson", ".vectorflow", "a.txt"]


def test_a_file_that_cannot_be_finished_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    path.write_bytes(b"before")
    out = Out(name="v.parquet", path=path, form=PARQUET)
    schema = export_schema(3)

    def lost() -> Iterator[pa.RecordBatch]:
        yield from schema.empty_table().to_batches()
        raise NotFound("a vector is lost")

    with pytest.raises(NotFound):
        write(out, pa.RecordBatchReader.from_batches(schema, lost()), print)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]

    (tmp_path / "v.parquet").unlink()
    missing = Out(name="x/v.parquet", path=tmp_path / "x" / "v.parquet", form=PARQUET)
    with pytest.raises(InvalidInput, match=r"cannot write 'x/v\.parquet'"):
        write(missing, pa.RecordBatchReader.from_batches(schema, []), print)
