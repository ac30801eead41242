import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.adapters.extractors.rst import RstExtractor

FILES = Path(__file__).parents[2] / "files" / "rst"


def _outline(text: str) -> list[tuple[tuple[str, ...], str]]:
    sections = RstExtractor().extract(io.BytesIO(text.encode()))
    return [(section.headings, section.text) for section in sections]


def test_levels_follow_the_order_in_which_styles_are_first_used() -> None:
    text = (
        "intro\n\n====\nBook\n====\n\none\n\nPart\n====\n\nChapter\n-------\ntwo\n\n"
        "Other part\n==========\n\n ====\n"
    )

    assert _outline(text) == [
        ((), "intro\n\n"),
        (("Book",), "====\nBook\n====\n\none\n\n"),
        (("Book", "Part"), "Part\n====\n\n"),
        (("Book", "Part", "Chapter"), "Chapter\n-------\ntwo\n\n"),
        (("Book", "Other part"), "Other part\n==========\n\n ====\n"),
    ]


def test_a_title_with_an_overline_may_be_indented() -> None:
    text = "###########\n  A title\n###########\n"

    assert _outline(text) == [(("A title",), text)]


@pytest.mark.parametrize(
    "title",
    ["1. First", ":mod:`json` --- encoder", "``code``", "*emphasis*", "Why?", "日本語", "A"],
)
def test_titles_of_many_kinds(title: str) -> None:
    text = f"{title}\n{'~' * max(4, len(title))}\n\nText.\n"

    assert _outline(text) == [((title,), text)]


def test_an_underline_may_be_shorter_than_its_title_but_not_by_nature() -> None:
    assert _outline("A long title\n----\n") == [(("A long title",), "A long title\n----\n")]
    assert _outline("A long title\n---\n") == [((), "A long title\n---\n")]


@pytest.mark.parametrize(
    "text",
    [
        "Before\n\n----------\n\nAfter\n",
        "two lines\nof text\n-------\n",
        "many lines\nof a text\nwithout end\n-----------\n",
        "- an item\n---------\n",
        ".. directive::\n--------------\n",
        ":field: value\n-------------\n",
        ">>> print(1)\n------------\n",
        "| a line\n--------\n",
        "Code::\n\n    Title\n    =====\n",
        "=====  =====\nA      B\n=====  =====\n1      2\n=====  =====\n",
        "+-----+-----+\n| A   | B   |\n+=====+=====+\n| 1   | 2   |\n+-----+-----+\n",
        "=====\nTitle\n-----\n",
        "Title\n=-=-=\n",
        "x" * 3000 + "\n" + "=" * 3000 + "\n",
    ],
)
def test_what_is_no_heading_makes_no_section(text: str) -> None:
    assert _outline(text) == [((), text)]


def test_a_title_right_below_another_heading_needs_no_blank_line() -> None:
    assert [headings for headings, _ in _outline("A\n====\nB\n----\nC\n----\n")] == [
        ("A",),
        ("A", "B"),
        ("A", "C"),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_headings_are_found_with_every_kind_of_line_end(end: str) -> None:
    text = end.join(["One", "===", "", "Two", "---", "", "===", "Six", "==="])

    assert [headings for headings, _ in _outline(text)] == [
        ("One",),
        ("One", "Two"),
        ("One", "Two", "Six"),
    ]


def test_a_document_that_ends_in_what_may_be_a_heading_is_whole() -> None:
    for text in ("Title", "====\nTitle", "====", "Title\n===="):
        assert "".join(section for _, section in _outline(text)) == text


def test_a_real_document_of_three_levels() -> None:
    text = (FILES / "urllib3-advanced-usage.rst").read_text("utf-8")

    outline = _outline(text)

    assert "".join(section for _, section in outline) == text
    assert [headings[1:] for headings, _ in outline] == [
        (),
        ("Customizing Pool Behavior",),
        ("Streaming and I/O",),
        ("Proxies",),
        ("Proxies", "HTTP and HTTPS Proxies"),
        ("Proxies", "Your proxy appears to only use HTTP and not HTTPS"),
        ("Proxies", "SOCKS Proxies"),
        ("Custom TLS Certificates",),
        ("Custom SNI Hostname",),
        ("Verifying TLS against a different host",),
        ("Client Certificates",),
        ("TLS minimum and maximum versions",),
        ("Certificate Validation and macOS",),
        ("TLS Warnings",),
        ("Brotli Encoding",),
        ("Zstandard Encoding",),
        ("Decrypting Captured TLS Sessions with Wireshark",),
        ("Custom SSL Contexts",),
    ]


def test_a_real_document_whose_title_has_an_overline() -> None:
    outline = _outline((FILES / "email-architecture.rst").read_text("utf-8"))

    assert [headings[1:] for headings, _ in outline] == [
        (),
        ("Overview",),
        ("The Model",),
        ("Message Lifecycle",),
        ("Header Policy Control During Lifecycle",),
        ("Handling Binary Data",),
        ("Backward Compatibility",),
        ("New Algorithm",),
    ]
    assert outline[0][0] == (":mod:`email` Package Architecture",)


@given(
    st.lists(
        st.sampled_from(
            [
                "Title\n",
                "=====\n",
                "-----\n",
                "  Indented\n",
                "\n",
                "::\n",
                "- x\n",
                "==  ==\r\n",
                "end",
            ]
        ),
        max_size=20,
    )
)
def test_any_order_of_lines_loses_none(parts: list[str]) -> None:
    text = "".join(parts)

    assert "".join(section for _, section in _outline(text)) == text
