"""What an extractor makes of bytes, for tests to look at."""

import io
from collections.abc import Sequence

from vectorflow.domain.documents import Section
from vectorflow.ports.extractor import Extractor
from vectorflow.testing.extractors import check_sections


def sections_of(extractor: Extractor, data: bytes) -> list[Section]:
    """Extract a document, and check the laws of the port on it."""
    found = list(extractor.extract(io.BytesIO(data)))
    sections = [one for one in found if isinstance(one, Section)]
    check_sections(sections)
    return sections


def text_of(extractor: Extractor, data: bytes) -> str:
    """Give all text of a document."""
    return "".join(section.text for section in sections_of(extractor, data))


def outline_of(sections: Sequence[Section]) -> list[tuple[str, ...]]:
    """Give the paths of headings, each once where it goes on."""
    paths = [section.headings for section in sections]
    return [path for at, path in enumerate(paths) if at == 0 or path != paths[at - 1]]


def tables_of(sections: Sequence[Section]) -> list[list[list[str]]]:
    """Give the rows of each table, its header first."""
    return [
        [
            [cell.strip() for cell in line.strip("|\n").split("|")]
            for line in section.text.strip().split("\n")
            if not line.startswith("| --- ")
        ]
        for section in sections
        if section.kind == "table"
    ]
