import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cli.chunked import RowChunker, cutters, reading, sections, windows
from vectorflow.cli import chunks_page
from vectorflow.cli.chunks_page import PageView
from vectorflow.cli.output import Fault
from vectorflow.domain.documents import Attached, Section, SectionKind
from vectorflow.service.extract import Cutters
from vectorflow.testing.chunkers import MULTILINGUAL, texts

EVIL = "<script>alert('1')</script><img src=x onerror=alert(2)> &amp; \" </span></main>"
FAULT = Fault(code="broken_file", message="doc.md: <b>cut</b> short", fix="save it again")


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = {"a": "", "b": ""}
        """By the sides; without repeated headers."""
        self.segments: list[tuple[str, str]] = []
        """Positions of the chunks that hold a stretch, and the stretch."""
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.headers: list[str] = []
        self._side = self._within = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        self.elements.append((tag, facts))
        self._within = tag
        if tag in {"div", "aside", "a"}:
            self._side = facts.get("data-side") or ""

    def handle_data(self, data: str) -> None:
        facts = self.elements[-1][1] if self.elements else {}
        if self._within == "script":
            self.scripts.append(data)
        if self._within == "style":
            self.styles.append(data)
        if "data-header" in facts:
            self.headers.append(data)
        elif self._side:
            self.text[self._side] += data
            self.segments.append((facts.get("data-c") or "", data))

    def handle_endtag(self, tag: str) -> None:
        self._within = ""
        if tag == "div":
            self._side = ""

    def having(self, **wanted: str) -> list[dict[str, str | None]]:
        """Elements with these attributes; of `class_` one name will do."""
        names = {name.rstrip("_"): value for name, value in wanted.items()}
        return [
            facts
            for _, facts in self.elements
            if all(value in (facts.get(name) or "").split() for name, value in names.items())
        ]


def page(
    *pieces: Section | Attached,
    ways: tuple[Cutters, ...] = (windows(8, 2),),
    name: str = "doc.md",
    fault: Fault | None = None,
) -> Page:
    view, document = PageView("page.html", None, name), reading(pieces, *ways)
    for found in document.sections():
        assert view.add(found)
    return Page(view.page(document, fault))


def test_markup_in_text_names_and_properties_is_shown_and_never_runs() -> None:
    section = Section(text=EVIL, start=0, headings=(EVIL,), properties={EVIL: EVIL})
    attached = Attached(name=EVIL, data=b"")

    shown = page(section, attached, name=EVIL, fault=replace(FAULT, message=EVIL))

    assert shown.text["a"] == EVIL
    assert EVIL not in shown.html
    assert len(shown.scripts) == 1
    assert [tag for tag, _ in shown.elements if tag in {"script", "img", "main"}] == [
        "main", "script",
    ]  # fmt: skip
    assert not [name for _, facts in shown.elements for name in facts if name.startswith("on")]


@settings(deadline=None)
@given(text=texts(), overlap=st.integers(0, 7))
def test_the_page_holds_the_text_of_the_document_as_it_is(text: str, overlap: int) -> None:
    shown = page(*sections(f"x {text}"), ways=(windows(8, overlap),))

    assert shown.text["a"] == f"x {text}"


@pytest.mark.parametrize(
    "text", [MULTILINGUAL, "a\u202eb\u2066c", "\x1b[31mred", "\ufeffbom \U0010ffff"]
)
def test_odd_characters_stay(text: str) -> None:
    shown = page(*sections(text))

    assert shown.text["a"] == text


def test_half_a_character_does_not_stop_the_page(tmp_path: Path) -> None:
    view, document = (
        PageView("p", tmp_path / "p", "d"),
        reading(sections("half \ud800 of"), windows(8)),
    )
    for found in document.sections():
        view.add(found)
    view.end(document, None)

    assert Page((tmp_path / "p").read_text("utf-8")).text["a"] == "half ? of"


def test_only_the_script_of_the_page_may_run_and_nothing_is_loaded() -> None:
    shown = page(*sections("text"))

    [policy] = [facts["content"] for _, facts in shown.elements if "http-equiv" in facts]
    style, script = map(_hash, (shown.styles[0], shown.scripts[0]))
    assert policy == (
        f"default-src 'none'; style-src '{style}'; script-src '{script}';"
        " base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"https?:|//[a-z]|\burl\(|@import|\bsrc=|\bstyle=", shown.html)


def _hash(part: str) -> str:
    return f"sha256-{b64encode(sha256(part.encode()).digest()).decode()}"


def test_an_overlap_has_a_shade_of_its_own_and_names_its_chunks() -> None:
    shown = page(*sections("one two three four five"), ways=(windows(3, 1),))

    assert [segment for segment in shown.segments if segment[1].strip()] == [
        ("0", "one two "),
        ("0 1", "three"),
        ("1", "four five"),
    ]
    [shade] = [facts for facts in shown.having(class_="o") if "data-c" in facts]
    assert shade["title"] == "in chunks 0, 1"
    assert [facts["data-n"] for facts in shown.having(class_="from")] == ["1"]


def test_neighbours_have_different_bands() -> None:
    shown = page(*sections(" ".join("abcdefgh")), ways=(windows(1),))

    bands = [facts["class"] for _, facts in shown.elements if "data-c" in facts]
    assert len(bands) == 8
    assert all(one != two for one, two in pairwise(bands))


def test_a_margin_has_number_tokens_page_and_headings_of_a_chunk() -> None:
    section = Section(text="one two three", start=0, page=7, headings=("Light", "Lamp"))

    shown = page(section)

    [link] = shown.having(id="a0")
    assert link["href"] == "#a0"
    assert link["title"] == "page 7 · Light > Lamp · characters 0-13 · 3 tokens"
    place = '<span class="path">Light &gt;</span><span class="heading">Lamp</span>'
    assert f"<span>3 tokens</span><span>page 7</span>{place}" in shown.html


def test_a_repeated_header_is_shown_before_the_rows_it_belongs_to() -> None:
    text = "| a |\n| 1 |\n| 2 |\n"
    table = Section(text=text, start=0, kind=SectionKind.TABLE, header="| a |\n")

    shown = page(table, ways=(cutters(RowChunker()),))

    assert shown.headers == ["| a |\n", "| a |\n"]
    assert [facts["data-header"] for facts in shown.having(class_="again") if "title" in facts] == [
        "a1", "a2",
    ]  # fmt: skip
    assert shown.text["a"] == text
    assert len(shown.having(class_="mono")) == 3


def test_two_chunkers_stand_side_by_side_in_rows_of_the_same_text() -> None:
    text = "one two three four five six seven"

    shown = page(*sections(text), ways=(windows(4, 1), windows(2)))

    assert (shown.text["a"], shown.text["b"]) == (text, text)
    assert len(shown.having(class_="two")) == 1
    assert len(shown.having(id="b3")) == 1
    assert [facts["for"] for tag, facts in shown.elements if tag == "label"] == ["side-a", "side-b"]


def test_a_long_document_shows_its_first_chunks_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunks_page, "MOST_CHUNKS", 4)

    shown = page(*sections(*["one two "] * 9), ways=(windows(1),))

    assert "The first 4 of 18 chunks are shown" in shown.html
    assert shown.text["a"] == "one two " * 2


def test_a_short_document_is_shown_whole() -> None:
    assert "The first" not in page(*sections("one two")).html


def test_what_ended_a_document_early_is_told() -> None:
    shown = page(*sections("one"), fault=FAULT)

    assert (
        "An embed fails (broken_file): doc.md: &lt;b&gt;cut&lt;/b&gt; short."
        " What to do: save it again."
    ) in shown.html


def test_a_document_that_has_attachments_alone_has_a_page() -> None:
    shown = page(Attached(name="map.pdf", data=b"123"))

    assert "<dt>attached</dt><dd>map.pdf (3 bytes)</dd>" in shown.html


def test_no_page_is_written_where_there_is_nothing_to_see(tmp_path: Path) -> None:
    view = PageView("page.html", tmp_path / "page.html", "doc.md")

    view.end(reading([], windows(8)), FAULT)

    assert list(tmp_path.iterdir()) == []


def _luminance(colour: str) -> float:
    """Relative luminance of a colour. Source: WCAG 2.2, definition of it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_is_readable_on_every_shade_in_light_and_dark(scheme: int) -> None:
    css = (files("vectorflow.cli") / "chunks_page.css").read_text("utf-8")
    block = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))

    grounds = {
        name: value for name, value in colours.items() if name not in {"ink", "quiet", "line"}
    }

    assert len(grounds) == 8
    for name, value in grounds.items():
        assert _contrast(colours["ink"], value) >= 7, name
    assert _contrast(colours["quiet"], colours["ground"]) >= 4.5
