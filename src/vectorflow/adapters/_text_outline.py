"""Lines of text -> sections below headings: what formats share whose text is their source."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from vectorflow.adapters._text_sections import bounded
from vectorflow.domain.documents import Section, SectionKind

MAX_LINE = 1024
"""Characters; what is longer goes through in pieces and is never a heading."""

# At the end of what has been read, a lone CR may yet turn out to be half of a CRLF.
_LINE = re.compile(rf"[^\r\n]{{0,{MAX_LINE - 1}}}(?:\r\n|\n|\r(?!\Z))|[^\r\n]{{{MAX_LINE}}}")


class Line(NamedTuple):
    """A line with its end, or a piece of one that is longer than `MAX_LINE`."""

    text: str
    begins: bool
    """Whether the line begins here; another piece came before otherwise."""
    ends: bool

    @property
    def whole(self) -> bool:
        """Tell whether it is all of a line."""
        return self.begins and self.ends

    @property
    def blank(self) -> bool:
        """Tell whether it is a line without anything to see."""
        return self.begins and not self.text.strip()


class Place(NamedTuple):
    """What the lines of one section have in common."""

    number: int
    """Counts places, so that two alike after each other stay two."""
    headings: tuple[str, ...] = ()
    kind: SectionKind = SectionKind.TEXT
    header: str = ""
    language: str = ""


class Placed(NamedTuple):
    """Text, and the section it belongs to."""

    place: Place
    text: str


class Outline:
    """Follows headings down the lines of one document."""

    def __init__(self) -> None:
        self.place = Place(0)
        self._path: list[tuple[int, str]] = []

    def open(self, level: int, title: str) -> None:
        """Go on below a heading: those as deep or deeper end."""
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._path.append((level, title))
        headings = tuple(title for _, title in self._path if title)
        self.place = Place(self.place.number + 1, headings)

    def turn(
        self, kind: SectionKind = SectionKind.TEXT, *, header: str = "", language: str = ""
    ) -> None:
        """Go on in another section under the same headings."""
        self.place = Place(
            self.place.number + 1, self.place.headings, kind, header=header, language=language
        )


def lines(pieces: Iterable[str]) -> Iterator[Line]:
    """Part text into lines, however its pieces were cut."""
    rest, begins = "", True
    for piece in pieces:
        text, at = rest + piece, 0
        while match := _LINE.match(text, at):
            found, at = match[0], match.end()
            ends = found.endswith(("\n", "\r"))
            yield Line(found, begins, ends)
            begins = ends
        rest = text[at:]
    if rest:
        yield Line(rest, begins, ends=True)


def sections(placed: Iterable[Placed], properties: Mapping[str, str]) -> Iterator[Section]:
    """Join what belongs to one section, each of `MAX_SECTION` characters at most."""
    start = 0
    for place, group in groupby(placed, lambda line: line.place):
        for text in bounded(line.text for line in group):
            yield Section(
                text=text,
                start=start,
                headings=place.headings,
                kind=place.kind,
                header=place.header,
                language=place.language,
                properties=properties,
            )
            start += len(text)
