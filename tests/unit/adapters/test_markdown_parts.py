"""Tables, code and front matter of Markdown."""

import io
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.adapters.extractors.markdown import MarkdownExtractor
from vectorflow.domain.documents import MAX_SECTION, Section, SectionKind

FILES = Path(__file__).parents[2] / "files" / "markdown"

TABLE = "| Name | Size |\n| :--- | ---: |\n| one | 1 |\n| two | 2 |\n"
HEADER = "| Name | Size |\n| :--- | ---: |\n"
LONG = "".join(f"x_{number} = {number}\n" for number in range(300))
SHORT = "x = 1\n"


def _sections(text: str) -> list[Section]:
    sections = list(MarkdownExtractor().extract(io.BytesIO(text.encode())))
    assert "".join(section.text for section in sections) == text
    return sections


def _kinds(text: str) -> list[tuple[SectionKind, str]]:
    return [(section.kind, section.text) for section in _sections(text)]


def _properties(front_matter: str) -> Mapping[str, str]:
    sections = _sections(f"---\n{front_matter}\n---\n\n# Text\n\nText.\n")
    assert all(section.properties == sections[0].properties for section in sections)
    return sections[0].properties


def test_a_table_is_a_section_with_its_header_and_the_blank_lines_after_it() -> None:
    sections = _sections(f"# A\n\nBefore.\n\n{TABLE}\n\nAfter.\n")

    assert [(one.kind, one.text, one.header) for one in sections] == [
        (SectionKind.TEXT, "# A\n\nBefore.\n\n", ""),
        (SectionKind.TABLE, f"{TABLE}\n\n", HEADER),
        (SectionKind.TEXT, "After.\n", ""),
    ]
    assert {one.headings for one in sections} == {("A",)}


@pytest.mark.parametrize(
    "table",
    [
        "Name | Size\n--- | ---\none | 1\n",
        "|Name|\n|---|\n|one|\n",
        "   | a \\| b | c |\n   |:-:|-|\n",
        "| a | b |\r\n|---|---|\r\n| 1 | 2 |",
        "| a | b |\n|---|---|\n| 1 |\nwithout any pipe\n",
    ],
)
def test_tables_of_many_forms(table: str) -> None:
    assert _kinds(f"Text.\n{table}") == [(SectionKind.TEXT, "Text.\n"), (SectionKind.TABLE, table)]


@pytest.mark.parametrize(
    "text",
    [
        "| a | b |\n|---|\n| 1 | 2 |\n",
        "| a | b |\n\n|---|---|\n",
        "| a | b |\n| 1 | 2 |\n",
        "| a |\n---\n",
        "    | a | b |\n    |---|---|\n",
        "> | a | b |\n> |---|---|\n",
        "```\n| a | b |\n|---|---|\n```\n",
        "|---|---|\n",
    ],
)
def test_pipes_alone_make_no_table(text: str) -> None:
    assert _kinds(text) == [(SectionKind.TEXT, text)]


@pytest.mark.parametrize("other", ["# B\n", "> quote\n", "- item\n", "***\n", "```\nx\n```\n"])
def test_a_table_ends_where_something_else_begins(other: str) -> None:
    assert _kinds(TABLE + other) == [(SectionKind.TABLE, TABLE), (SectionKind.TEXT, other)]


def test_a_table_after_a_table_is_another_one() -> None:
    assert [text for _, text in _kinds(f"{TABLE}\n{TABLE}")] == [f"{TABLE}\n", TABLE]


def test_a_long_table_goes_on_in_sections_of_whole_rows_with_the_same_header() -> None:
    rows = "".join(f"| row {number} | {'cell ' * 20}|\n" for number in range(2000))

    sections = _sections(HEADER + rows)

    assert len(sections) > 2
    assert {(one.kind, one.header) for one in sections} == {(SectionKind.TABLE, HEADER)}
    assert all(one.text.startswith("| row") for one in sections[1:])
    assert max(len(one.text) for one in sections) <= 1 << 16


def test_a_row_longer_than_a_section_is_still_of_the_table() -> None:
    sections = _sections(f"{HEADER}| {'word ' * 100_000}| 1 |\n| two | 2 |\n")

    assert {one.kind for one in sections} == {SectionKind.TABLE}
    assert all(len(one.text) <= MAX_SECTION for one in sections)
    assert len(sections) == 3
    assert sections[-1].text == "| two | 2 |\n"


def test_long_code_is_a_section_between_its_fences() -> None:
    sections = _sections(f"Before.\n\n```py\n{LONG}```\n\nAfter.\n")

    assert [(one.kind, one.text, one.language) for one in sections] == [
        (SectionKind.TEXT, "Before.\n\n```py\n", ""),
        (SectionKind.CODE, f"{LONG}```\n\n", "python"),
        (SectionKind.TEXT, "After.\n", ""),
    ]


def test_short_code_stays_with_the_text_around_it() -> None:
    text = f"Before.\n\n```py\n{SHORT}```\n\nAfter.\n"

    assert _kinds(text) == [(SectionKind.TEXT, text)]


def test_code_becomes_long_at_two_thousand_characters() -> None:
    for length, kinds in ((1999, 1), (2000, 2)):
        text = f"Text.\n```\n{'x' * (length - 1)}\n```\n"

        assert len(_kinds(text)) == kinds


@pytest.mark.parametrize("begin", ["", "---\ntitle: x\n---\n"])
def test_a_fence_that_opens_the_document_is_no_section_of_its_own(begin: str) -> None:
    assert _kinds(f"{begin}```\n{LONG}```\n")[-1] == (SectionKind.CODE, f"```\n{LONG}```\n")


def test_code_whose_fence_is_never_closed_is_whole() -> None:
    assert _kinds(f"Text.\n```\n{LONG}")[-1] == (SectionKind.CODE, LONG)
    assert _kinds(f"Text.\n```\n{SHORT}") == [(SectionKind.TEXT, f"Text.\n```\n{SHORT}")]


def test_short_code_after_a_table_is_text_again() -> None:
    assert _kinds(f"{TABLE}\n```\n{SHORT}```\n") == [
        (SectionKind.TABLE, f"{TABLE}\n"),
        (SectionKind.TEXT, f"```\n{SHORT}```\n"),
    ]


@pytest.mark.parametrize(
    ("info", "language"),
    [
        ("python", "python"),
        (" JS title=x.js", "javascript"),
        ("{.rust .numberLines}", "rust"),
        ("{code-block} c++", "cpp"),
        ("{r, echo=FALSE}", "r"),
        ("C#", "csharp"),
        ("brainfuck", "brainfuck"),
        ("", ""),
    ],
)
def test_the_language_is_the_first_word_after_the_fence(info: str, language: str) -> None:
    assert _sections(f"Text.\n\n~~~{info}\n{LONG}~~~\n")[-1].language == language


@pytest.mark.parametrize(
    ("front_matter", "properties"),
    [
        ("title: A title", {"title": "A title"}),
        ("Title: \"Quoted: 'so' # and\"", {"title": "Quoted: 'so' # and"}),
        ("author: 'Ada'  # of course", {"author": "Ada"}),
        ("title: C# in depth # yes", {"title": "C# in depth"}),
        ("date: 2026-11-26", {"created": "2026-11-26"}),
        ("date: 2026-11-26 10:30:00 +0100", {"created": "2026-11-26T10:30:00+01:00"}),
        ("date: 2026-11-26T10:30:00Z", {"created": "2026-11-26T10:30:00+00:00"}),
        ("lang: de\nlanguage: fr", {"language": "de"}),
        ("date: 26 November\ntitle: x", {"title": "x"}),
        ("title:\n  nested: yes\nauthor: [Ada, Bob]", {}),
        ("title: |\n  folded", {}),
        ("tags: x\n  title: nested", {}),
        ('title: "with \\" escapes"', {}),
    ],
)
def test_simple_entries_of_the_front_matter_are_properties(
    front_matter: str, properties: Mapping[str, str]
) -> None:
    assert _properties(front_matter) == properties


def test_a_value_too_long_for_every_record_is_no_property() -> None:
    assert _properties(f"title: {'long ' * 300}\nauthor: Ada") == {"author": "Ada"}


def test_what_looks_like_an_entry_in_the_text_is_none() -> None:
    assert all(one.properties == {} for one in _sections("title: x\n\n# A\n"))


def test_a_real_document_with_a_table_and_long_code() -> None:
    sections = _sections((FILES / "arborist.md").read_text("utf-8"))

    found = [(one.headings[1:], one.kind) for one in sections if one.kind is not SectionKind.TEXT]
    assert found == [
        (("USAGE",), SectionKind.CODE),
        (("DATA STRUCTURES", "Package Dependency Flags"), SectionKind.TABLE),
    ]
    code, table = (one for one in sections if one.kind is not SectionKind.TEXT)
    assert code.language == "javascript"
    assert code.text.startswith("const Arborist = require('@npmcli/arborist')\n")
    assert code.text.rstrip().endswith("})\n```")
    assert table.header.startswith("| extraneous | peer |")
    assert table.text.startswith(table.header)
    assert table.text.count("\n| ") == 11


@pytest.mark.parametrize("after", ["", "Words.\n"])
def test_blank_lines_after_the_front_matter_are_of_it(after: str) -> None:
    sections = _sections(f"---\ntitle: x\n---\n\n \n{after}")

    assert [section.text for section in sections] == [
        text for text in ("---\ntitle: x\n---\n\n \n", after) if text
    ]


@given(
    st.lists(
        st.sampled_from(
            [
                "---\n", "title: x\n", "Words.\n", "# Heading\n", "===\n", "\n", "| a | b |\n",
                "|---|:-:|\n", "a | b\r\n", "```js\n", "~~~\n", "```\n", "- item\n", "    code\n",
                "> quote\n", "code(1);\n" * 230, "| row |" * 200 + "\n", "no end",
            ]
        ),
        max_size=20,
    )
)  # fmt: skip
def test_any_order_of_parts_gives_whole_sections(parts: list[str]) -> None:
    sections = _sections("".join(parts))

    for before, section in zip([None, *sections], sections, strict=False):
        assert bool(section.header) == (section.kind is SectionKind.TABLE)
        assert section.text.strip() or section is sections[0]
        if section.kind is SectionKind.TABLE and (
            before is None or before.header != section.header
        ):
            assert section.text.startswith(section.header)
