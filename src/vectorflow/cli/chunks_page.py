"""The chunks of a document as one page that needs nothing else: no network, and no script to read.

All text of strangers is escaped, and by its own policy only the page's script runs.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from html import escape
from importlib.resources import files as package_files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from vectorflow.cli import files, output
from vectorflow.cli.chunks_facts import Agreement, View, attachments_of, facts_of, rows_of, sizes_of
from vectorflow.cli.chunks_rows import Segment, Side, rows

if TYPE_CHECKING:
    from vectorflow.flow.chunks import Reading
    from vectorflow.service.chunks import Chunk, ChunkedSection

MOST_CHARACTERS = 2 << 20
"""Text on a page, about: a browser lays out that much in a second or two."""

MOST_CHUNKS = 20_000
NAMES_SHOWN = 50
"""Attachments that are named."""

SIDES = "ab"
"""What the ids of the first and of the second chunker's chunks begin with."""

HUES = 4


class PageView(View):
    """Writes the page at its end; of a long document it shows the first chunks."""

    def __init__(self, name: str, path: Path | None, file: str) -> None:
        self._name = name
        self._path = path
        self._file = file
        self._found: list[ChunkedSection] = []
        self._agreement = Agreement()
        self._characters = 0
        self._chunks = 0

    def add(self, found: "ChunkedSection") -> bool:
        """Keep a section, as long as the page has room."""
        self._agreement.add(found)
        if self._characters < MOST_CHARACTERS and self._chunks < MOST_CHUNKS:
            self._found.append(found)
            self._characters += len(found.section.text)
            self._chunks += max(map(len, found.chunks))
        return True

    def end(self, document: "Reading", fault: output.Fault | None) -> None:
        """Write the page, unless nothing could be read."""
        if self._chunks or fault is None:
            page = self.page(document, fault).encode("utf-8", "replace")
            with files.written(self._name, self._path) as file:
                file.write(page)

    def page(self, document: "Reading", fault: output.Fault | None) -> str:
        """Put the page together."""
        shown = sum(len(found.chunks[0]) for found in self._found)
        notices = [*_limited(shown, document.tallies[0].chunks), *_broken(fault)]
        return Template(_part("html")).substitute(
            name=escape(output.plain(self._file)),
            how=escape(_how(document)),
            notices="".join(f'<p class="notice">{escape(notice)}</p>\n' for notice in notices),
            summary=_summary(document, self._agreement),
            properties=_properties(document),
            tabs=_tabs(document) if len(document.chunkings) > 1 else "",
            layout="two" if len(document.chunkings) > 1 else "one",
            rows="\n".join(_sections(self._found)),
            style=_part("css"),
            style_hash=_hash(_part("css")),
            script=_part("js"),
            script_hash=_hash(_part("js")),
        )


@cache
def _part(suffix: str) -> str:
    return (package_files("vectorflow.cli") / f"chunks_page.{suffix}").read_text("utf-8")


def _hash(part: str) -> str:
    """Name a script or a style as a content security policy does."""
    return f"sha256-{b64encode(hashlib.sha256(part.encode()).digest()).decode()}"


def _limited(shown: int, chunks: int) -> Iterator[str]:
    if shown < chunks:
        yield f"The first {shown:,} of {chunks:,} chunks are shown; the figures are of all."


def _broken(fault: output.Fault | None) -> Iterator[str]:
    if fault is not None:
        yield f"An embed fails ({fault.code}): {fault.message}. What to do: {fault.fix}."


def _how(document: "Reading") -> str:
    return f"read as {document.extractor}, tokens as {document.embedder} counts them"


def _summary(document: "Reading", agreement: Agreement) -> str:
    """Write the figures, a line for each chunker."""
    lines: list[str] = []
    for chunking, tally in zip(document.chunkings, document.tallies, strict=True):
        asked = {"chunker": chunking.chunker, "size": f"{chunking.size:,} {chunking.unit}"}
        alike = {"cuts alike": f"{agreement.alike:,}"} if len(document.chunkings) > 1 else {}
        lines.append(f'<dl class="figures">{_facts(asked | rows_of(tally.summary()) | alike)}</dl>')
    return "\n".join(lines)


def _properties(document: "Reading") -> str:
    facts = dict(document.properties)
    if attached := attachments_of(document, NAMES_SHOWN):
        facts["attached"] = attached
    if not facts:
        return ""
    return f"<details><summary>Properties</summary><dl>{_facts(facts)}</dl></details>"


def _facts(facts: Mapping[str, str]) -> str:
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in facts.items()
    )


def _tabs(document: "Reading") -> str:
    """Write the titles of the columns; where there is room for one, they choose which."""
    names = [escape(one.chunker) for one in document.chunkings]
    radios = [
        f'<input class="side" type="radio" name="side" id="side-{side}" aria-label="{name}"'
        f"{' checked' if side == SIDES[0] else ''}>"
        for side, name in zip(SIDES, names, strict=False)
    ]
    labels = [
        f'<label for="side-{side}">{name}</label>' for side, name in zip(SIDES, names, strict=False)
    ]
    return f'{"".join(radios)}<div class="two-titles">{"".join(labels)}</div>'


def _sections(found: Iterable["ChunkedSection"]) -> Iterator[str]:
    for one in found:
        kind = "row" if one.section.kind == "text" else "row mono"
        for sides in rows(one):
            cells = (
                _side(side, part, opens=part.chunk is not None and part.chunk is chunks[0])
                for side, part, chunks in zip(SIDES, sides, one.chunks, strict=False)
            )
            yield f'<div class="{kind}">{"".join(cells)}</div>'


def _side(side: str, part: Side, *, opens: bool) -> str:
    """Write the margin and the text of one chunker's side of a row; it may open a section."""
    margin = "" if part.chunk is None else _margin(side, part.chunk)
    if opens and part.chunk is not None:
        margin += _place(part.chunk)
    text = "".join(map(_segment, part.segments))
    if part.chunk is not None and part.chunk.header:
        header = escape(part.chunk.header)
        name = f"{side}{part.chunk.position}"
        text = f'<span class="again" data-header="{name}" title="repeated">{header}</span>{text}'
    return (
        f'<div class="{side} m">{margin}</div><div class="{side} t" data-side="{side}">{text}</div>'
    )


def _margin(side: str, chunk: "Chunk") -> str:
    name = f"{side}{chunk.position}"
    sizes = "".join(f"<span>{escape(size)}</span>" for size in sizes_of(chunk))
    return (
        f'<a class="h{chunk.position % HUES}" id="{name}" href="#{name}"'
        f' title="{escape(facts_of(chunk))}">{chunk.position:,}</a>{sizes}'
    )


def _place(chunk: "Chunk") -> str:
    """Write the page and the heading that a section stands under, below those it belongs to."""
    page = "" if chunk.page is None else f"<span>page {chunk.page}</span>"
    if not chunk.headings:
        return page
    *above, last = (escape(output.plain(heading)) for heading in chunk.headings)
    path = f'<span class="path">{" &gt; ".join(above)} &gt;</span>' if above else ""
    return f'{page}{path}<span class="heading">{last}</span>'


def _segment(segment: Segment) -> str:
    """Write a stretch of text; white space that no chunk holds is left without a band."""
    text, chunks = escape(segment.text), segment.chunks
    hidden = " hidden" if segment.hidden else ""
    begins = "" if segment.begins is None else f'<b class="from" data-n="{segment.begins}"></b>'
    if not chunks:
        return f"<span{hidden}>{text}</span>"
    held = " ".join(map(str, chunks))
    if len(chunks) == 1:
        return f'{begins}<span class="h{chunks[0] % HUES}" data-c="{held}"{hidden}>{text}</span>'
    both = f"in chunks {', '.join(map(str, chunks))}"
    return f'{begins}<span class="o" data-c="{held}" title="{both}"{hidden}>{text}</span>'
