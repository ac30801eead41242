import io

import pytest

from vectorflow.adapters.extractors.markdown import MarkdownExtractor


def _outline(text: str) -> list[tuple[tuple[str, ...], str]]:
    sections = MarkdownExtractor().extract(io.BytesIO(text.encode()))
    return [(section.headings, section.text) for section in sections]


def test_a_section_begins_at_each_heading_and_knows_the_path_to_it() -> None:
    text = "intro\n# A\none\n## B ##\ntwo\n#### C #x\n## \n\nD\n===\nfour"

    assert _outline(text) == [
        ((), "intro\n"),
        (("A",), "# A\none\n"),
        (("A", "B"), "## B ##\ntwo\n"),
        (("A", "B", "C #x"), "#### C #x\n"),
        (("A",), "## \n\n"),
        (("D",), "D\n===\nfour"),
    ]


def test_equal_headings_after_each_other_stay_two_sections() -> None:
    assert _outline("# A\n# A\n") == [(("A",), "# A\n"), (("A",), "# A\n")]


@pytest.mark.parametrize(
    "text",
    [
        "```\n# no\n```\n",
        "~~~ sh\n# no\n```\n# no\n~~~~\n",
        "```\n# no, and never closed\n",
        "    # code\n",
        "#hashtag\n",
        "####### seven\n",
        "> # quoted\n",
        "- item\n---\n",
        "two lines\nof text\n---\n",
        "text\n\n---\n",
        "***\n===\n",
        "| a |\n---\n",
        "#" + "x" * 3000 + "\n",
        "# " + "x" * 3000 + "\n",
    ],
)
def test_what_is_no_heading_makes_no_section(text: str) -> None:
    assert _outline(text) == [((), text)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_headings_are_found_with_every_kind_of_line_end(end: str) -> None:
    text = end.join(["# A", "", "B", "---", "# C"])

    assert [headings for headings, _ in _outline(text)] == [("A",), ("A", "B"), ("C",)]


def test_front_matter_is_a_section_of_its_own() -> None:
    text = "---\ntitle: x\n# no heading\n---\n# A\n"

    assert _outline(text) == [((), "---\ntitle: x\n# no heading\n---\n"), (("A",), "# A\n")]


@pytest.mark.parametrize("text", ["---\n\ntext\n\n---\n# A\n", "---\ntitle: never closed\n# A\n"])
def test_a_rule_at_the_top_is_no_front_matter(text: str) -> None:
    assert _outline(text)[-1] == (("A",), "# A\n")


def test_a_fence_after_front_matter_that_never_ends_is_still_a_fence() -> None:
    assert _outline("---\nx\n```\n# no\n```\n") == [((), "---\nx\n```\n# no\n```\n")]


def test_a_long_section_is_split_under_the_same_headings() -> None:
    text = "# A\n\n" + "Words, words.\n\n" * 30_000

    outline = _outline(text)

    assert len(outline) > 1
    assert {headings for headings, _ in outline} == {("A",)}
    assert all(section.startswith(("# A", "Words")) for _, section in outline)
