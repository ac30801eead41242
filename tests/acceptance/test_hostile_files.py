"""Files that want to hurt: each ends with a named reason, and its neighbours are embedded."""

import sys
from pathlib import Path

import pytest

from tests.acceptance import hostile, measured
from tests.acceptance.cli_process import CORPUS, Ran, vectorflow, write_corpus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MIB = 1 << 20
MOST_MEMORY = 1024 * MIB
"""Of any process of a run, whatever it reads; a sandbox is given less."""


def _codes(ran: Ran) -> dict[str, str]:
    failures = ran.json["failures"]
    assert isinstance(failures, list)
    return {failure["external_id"]: failure["code"] for failure in failures}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _embed(folder: Path) -> tuple[Ran, int]:
    """Embed `docs`, with `temporary` to itself; gives also the most memory of any process."""
    temporary = folder / "temporary"
    temporary.mkdir()
    report = folder / "most_memory"
    before = [sys.executable, measured.__file__, str(report)]
    ran = vectorflow(
        folder, "embed", "docs", "--json", before=before, seconds=400, TMPDIR=str(temporary)
    )
    return ran, int(report.read_text())


def test_hostile_files_fail_by_name_and_harm_no_neighbour(tmp_path: Path) -> None:
    docs = write_corpus(tmp_path / "docs")
    hostile.write(docs)

    ran, most_memory = _embed(tmp_path)
    found = vectorflow(tmp_path, "search", "question 3", "-k", "3", "--expect", "page3.md")
    told = vectorflow(tmp_path, "failures")

    codes = _codes(ran)
    ended = {file.name: codes.get(file.name, "read") for file in hostile.HOSTILE}
    wrong = {
        file.name: ended[file.name] for file in hostile.HOSTILE if ended[file.name] not in file.ends
    }
    assert wrong == {}
    assert ran.code == 4
    assert not codes.keys() & {f"page{number}.md" for number in range(CORPUS)}
    assert found.code == 0
    assert "fix:" in told.out
    assert "root:" not in told.out + ran.out + ran.err, "a file of the system was read"
    assert _size(tmp_path / ".vectorflow") < 2 * _size(docs) + 64 * MIB
    assert most_memory < MOST_MEMORY
    assert list((tmp_path / "temporary").iterdir()) == [], "something was left behind"
    assert not Path("/tmp/vectorflow-traversal").exists()  # noqa: S108 - what the archive names


@pytest.mark.parametrize(
    ("name", "head", "unit"),
    [
        ("line.txt", b"", b"incomprehensible "),
        ("solid.txt", b"", b"x"),
        ("line.csv", b"a,b\n", b"an unremarkable cell,"),
        ("line.jsonl", b'{"a": "', b"text "),
        ("line.json", b'{"a": "', b"text "),
        ("line.html", b"<p>", b"text "),
        ("line.md", b"# Title\n", b"incomprehensible "),
    ],
)
def test_100_megabytes_on_one_line_end_soon_in_bounded_memory(
    tmp_path: Path, name: str, head: bytes, unit: bytes
) -> None:
    docs = write_corpus(tmp_path / "docs")
    (docs / name).write_bytes(head + unit * (100_000_000 // len(unit)))

    ran, most_memory = _embed(tmp_path)

    assert ran.code in {0, 4}
    assert _codes(ran).keys() <= {name}
    assert _codes(ran).get(name) in {None, "limit_exceeded", "broken_file"}
    assert most_memory < MOST_MEMORY
