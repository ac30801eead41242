"""What comes with every section stays short, however long the document makes it."""

from collections.abc import Iterable

from vectorflow.adapters._blocks import (
    LONGEST_SAID,
    TABLE_SECTION,
    Block,
    Heading,
    Table,
    Text,
    header,
    sections,
)
from vectorflow.domain.documents import Section
from vectorflow.testing.extractors import check_sections

LONG = "word " * 100_000


def _sections(blocks: Iterable[Block], properties: dict[str, str] | None = None) -> list[Section]:
    found = [one for one in sections(blocks, properties) if isinstance(one, Section)]
    check_sections(found)
    return found


def test_a_heading_is_in_the_text_as_long_as_it_is_but_short_on_each_section() -> None:
    found = _sections([Heading(1, LONG), Text("below")])

    assert LONG.strip() in "".join(section.text for section in found)
    assert len(found) > 1
    assert {section.headings for section in found} == {(LONG[:LONGEST_SAID].strip(),)}


def test_what_a_document_says_of_itself_is_cut_short() -> None:
    (found,) = _sections([Text("text")], {"title": LONG, "author": "Ada"})

    assert found.properties == {"title": LONG[:LONGEST_SAID].strip(), "author": "Ada"}


def test_names_of_columns_that_fill_a_section_are_not_repeated() -> None:
    names = [LONG[: TABLE_SECTION // 2]] * 2
    rows = [["1", "2" * 100]] * 2000

    found = _sections([Table([names, *rows])])

    assert "".join(section.text for section in found).startswith(header(names))
    assert len(found) > 1
    assert {section.header for section in found} == {""}


def test_names_of_columns_that_leave_room_are_repeated() -> None:
    found = _sections([Table([["a", "b"], *[["1", "2" * 100]] * 2000])])

    assert len(found) > 1
    assert {section.header for section in found} == {header(["a", "b"])}
