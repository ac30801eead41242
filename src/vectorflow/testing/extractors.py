"""What every extractor must do, as tests: subclass `ExtractorSuite` and give its fixtures."""

import hashlib
import io
import json
import unicodedata
from collections.abc import Mapping
from typing import BinaryIO, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorflow.domain.documents import MAX_SECTION, Section, SectionKind
from vectorflow.errors import DocumentFailed
from vectorflow.ports.extractor import Extractor
from vectorflow.testing.chunkers import MULTILINGUAL, SUITES, texts


class Trickle(io.BytesIO):
    """A source whose reads give less than asked, as sockets and archives do."""

    def __init__(self, data: bytes, steps: tuple[int, ...] = (1, 7, 3, 1000)) -> None:
        super().__init__(data)
        self._steps = steps
        self._turn = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._turn += 1
        step = self._steps[self._turn % len(self._steps)]
        return super().read(step if size is None or size < 0 else min(size, step))


def check_sections(sections: list[Section]) -> None:
    """Assert the laws of the port on one document."""
    start = 0
    for section in sections:
        assert section.start == start, "sections are not in order and without gaps"
        assert 0 < len(section.text) <= MAX_SECTION, "a section is empty or too long"
        assert "\ufffd" not in section.text, "a character was lost"
        start += len(section.text)


class ExtractorSuite:
    """The laws of the port on generated and real documents."""

    golden: ClassVar[Mapping[int, str]]
    """What `digest` gives for each revision there ever was."""

    @pytest.fixture
    def extractor(self) -> Extractor:
        """Give the extractor."""
        raise NotImplementedError

    @pytest.fixture
    def sample(self) -> bytes:
        """Give a document of its type with a bit of everything, of 1 to 100 KB."""
        raise NotImplementedError

    @pytest.fixture
    def large(self) -> bytes:
        """Give a document of its type with more than twice `MAX_SECTION` characters."""
        raise NotImplementedError

    @pytest.fixture
    def broken(self) -> bytes:
        """Give bytes that are not of its type."""
        raise NotImplementedError

    def test_sections_follow_each_other_without_gaps(
        self, extractor: Extractor, sample: bytes
    ) -> None:
        sections = sections_of(extractor, io.BytesIO(sample))

        check_sections(sections)
        assert "".join(section.text for section in sections).strip()

    def test_a_large_document_comes_in_bounded_sections(
        self, extractor: Extractor, large: bytes
    ) -> None:
        sections = sections_of(extractor, io.BytesIO(large))

        check_sections(sections)
        assert len(sections) > 2

    def test_the_same_bytes_give_the_same_sections_however_they_are_read(
        self, extractor: Extractor, sample: bytes
    ) -> None:
        at_once = list(extractor.extract(io.BytesIO(sample)))
        in_drops = list(extractor.extract(Trickle(sample)))

        assert at_once
        assert in_drops == at_once

    def test_reading_stops_when_the_iterator_is_closed(
        self, extractor: Extractor, large: bytes
    ) -> None:
        source = io.BytesIO(large)
        sections = iter(extractor.extract(source))

        first = next(sections)
        del sections

        assert isinstance(first, Section)
        assert first.start == 0
        assert source.tell() < len(large)

    def test_an_empty_source_gives_no_section(self, extractor: Extractor) -> None:
        assert list(extractor.extract(io.BytesIO())) == []

    def test_other_bytes_fail_the_document_without_quoting_it(
        self, extractor: Extractor, broken: bytes
    ) -> None:
        with pytest.raises(DocumentFailed) as caught:
            list(extractor.extract(io.BytesIO(broken)))

        assert caught.value.fix
        assert caught.value.__cause__ is None or "codec" not in str(caught.value.__cause__)

    def test_suffixes_are_in_lower_case_with_the_dot(self, extractor: Extractor) -> None:
        assert extractor.suffixes
        assert all(suffix == "" or suffix[0] == "." for suffix in extractor.suffixes)
        assert all(suffix == suffix.lower() for suffix in extractor.suffixes)

    def test_output_changes_only_with_the_revision(
        self, extractor: Extractor, sample: bytes, large: bytes
    ) -> None:
        documents = [sections_of(extractor, io.BytesIO(data)) for data in (sample, large)]

        digest = self.digest(documents)

        known = self.golden.get(extractor.revision)
        assert digest == known, (
            "these sections differ from those of this revision: raise `revision` by one, "
            f"and add {{{extractor.revision + 1}: {digest!r}}} to `golden`"
        )

    @staticmethod
    def digest(documents: list[list[Section]]) -> str:
        """Hash the sections of documents."""
        rows = [_row(section) for sections in documents for section in sections]
        return hashlib.blake2b(json.dumps(rows).encode(), digest_size=8).hexdigest()


def sections_of(extractor: Extractor, source: BinaryIO) -> list[Section]:
    """Extract a document, without what is attached to it."""
    return [piece for piece in extractor.extract(source) if isinstance(piece, Section)]


def _row(section: Section) -> list[object]:
    """Write a section down; what most have none of is left out, so that it costs no digest."""
    rest = (section.kind, section.header, section.language, dict(section.properties))
    row: list[object] = [section.start, section.text, section.headings, section.page]
    return row if rest == (SectionKind.TEXT, "", "", {}) else [*row, *rest]


def _as_written(text: str) -> str:
    """Leave out what marks text as something else: control characters and a byte order mark."""
    return (
        "".join(char for char in text if unicodedata.category(char) != "Cc" or char in "\t\n\r\v\f")
        .replace("\ufffd", "")
        .lstrip("\ufeff")
    )


class PlainExtractorSuite(ExtractorSuite):
    """Further laws of extractors whose text is the decoded source, to the character."""

    @given(
        text=texts().map(_as_written),
        encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
        steps=st.lists(st.integers(1, 50), min_size=1, max_size=4).map(tuple),
    )
    @settings(max_examples=150, deadline=None, suppress_health_check=SUITES)
    def test_the_sections_are_the_text(
        self, extractor: Extractor, text: str, encoding: str, steps: tuple[int, ...]
    ) -> None:
        sections = _sections(extractor, Trickle(text.encode(encoding), steps))

        assert "".join(section.text for section in sections) == text

    def test_line_ends_are_kept(self, extractor: Extractor) -> None:
        text = "one\r\ntwo\rthree\n\n# four\r\n" * 3

        sections = _sections(extractor, Trickle(text.encode(), (1,)))

        assert "".join(section.text for section in sections) == text

    def test_real_text_of_many_scripts_comes_whole(self, extractor: Extractor) -> None:
        sections = _sections(extractor, Trickle(MULTILINGUAL.encode()))

        assert "".join(section.text for section in sections) == MULTILINGUAL


def _sections(extractor: Extractor, source: BinaryIO) -> list[Section]:
    sections = sections_of(extractor, source)
    check_sections(sections)
    return sections
