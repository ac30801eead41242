"""Every real file says where it comes from, and may be passed on."""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

FILES = Path(__file__).parents[1] / "files"
OWN = {"README.md", ".gitattributes"}
PERMISSIVE = {
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSD-3-Clause, Apache-2.0",
    "FSFAP",
    "ISC",
    "MIT",
    "PSF-2.0",
    "public domain",
}
MOST_BYTES = 5_000_000


class Row(NamedTuple):
    patterns: list[str]
    origin: str
    licence: str


def _rows() -> list[Row]:
    found: list[Row] = []
    for line in (FILES / "README.md").read_text("utf-8").splitlines():
        if line.startswith("| `"):
            files, origin, licence = (cell.strip() for cell in line.strip("|").split("|"))
            found.append(Row(re.findall(r"`([^`]+)`", files), origin, licence))
    return found


def _files() -> list[str]:
    found = (path.relative_to(FILES).as_posix() for path in FILES.rglob("*") if path.is_file())
    return sorted(set(found) - OWN)


def test_every_file_has_exactly_one_origin() -> None:
    patterns = [pattern for row in _rows() for pattern in row.patterns]

    for name in _files():
        assert sum(fnmatchcase(name, pattern) for pattern in patterns) == 1, name


def test_every_origin_has_a_file() -> None:
    names = _files()

    for row in _rows():
        assert row.origin
        for pattern in row.patterns:
            assert any(fnmatchcase(name, pattern) for name in names), pattern


def test_every_licence_lets_us_pass_files_on() -> None:
    assert {row.licence for row in _rows()} <= PERMISSIVE


def test_there_are_many_and_all_are_small() -> None:
    names = _files()

    assert len(names) >= 110
    assert sum((FILES / name).stat().st_size for name in names) < MOST_BYTES
