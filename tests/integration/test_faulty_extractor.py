"""A fault of an extractor that nobody foresaw costs its document, and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

import vectorflow as vf
from vectorflow.adapters.extractors.csv import CsvExtractor
from vectorflow.domain.documents import Section


def _faulty(_self: CsvExtractor, source: BinaryIO) -> Iterator[Section]:
    raise ZeroDivisionError(source.read())


async def test_its_neighbours_are_embedded_and_nothing_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(CsvExtractor, "extract", _faulty)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "faulty.csv").write_text("secret,words\n1,2\n")
    (tmp_path / "docs" / "fine.txt").write_text("A neighbour.")

    async with vf.aopen(data_dir=tmp_path / "data", embedder="hash:8") as flow:
        report = await flow.embed(tmp_path / "docs")

    assert report.records == 1
    assert [(one.external_id, one.code) for one in report.failures] == [
        ("faulty.csv", "document_failed")
    ]
    assert "ZeroDivisionError" in report.failures[0].message
    assert "secret" not in report.failures[0].message + caplog.text
