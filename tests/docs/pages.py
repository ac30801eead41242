"""The pages of the documentation, and what they hold."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]

_FENCE = re.compile(r"^(`{3,}) *(\w*)[^\n]*\n(.*?)^\1 *$", re.MULTILINE | re.DOTALL)
_CODE_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(*languages: str) -> list[Block]:
    """All fenced blocks in one of these languages."""
    return [
        Block(
            page=name_of(page),
            line=text.count("\n", 0, match.start()) + 1,
            language=match[2],
            text=match[3],
        )
        for page, text in _texts()
        for match in _FENCE.finditer(text)
        if match[2] in languages
    ]


def code_spans() -> Iterator[tuple[str, str]]:
    """Page and text of everything between backticks in a line of prose."""
    for page, text in _texts():
        prose = _FENCE.sub("", text)
        yield from (
            (name_of(page), " ".join(match[1].split())) for match in _CODE_SPAN.finditer(prose)
        )


def links() -> Iterator[tuple[Path, str]]:
    """Page and target of every link that stays in the repository."""
    for page, text in _texts():
        for match in _LINK.finditer(_FENCE.sub("", text)):
            if "://" not in match[1] and not match[1].startswith("mailto:"):
                yield page, match[1]


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _texts() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        yield page, page.read_text("utf-8")
