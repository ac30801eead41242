"""Extract and chunk one document, stretch by stretch, in a worker thread."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from vectorflow.domain.documents import Attached, Section, canonical_json
from vectorflow.domain.manifests import MAX_PART_BYTES, MAX_PART_CHUNKS
from vectorflow.ports.chunker import Chunker, Spans


@dataclass(slots=True, kw_only=True)
class Stretch:
    """Chunks of a document that become one part: a value per chunk, in order."""

    texts: list[str] = field(default_factory=list[str])
    starts: list[int] = field(default_factory=list[int])
    ends: list[int] = field(default_factory=list[int])
    tokens: list[int] = field(default_factory=list[int])
    extras: list[str | None] = field(default_factory=list[str | None])
    """JSON that single chunks are stored with."""
    pages: list[int | None] = field(default_factory=list[int | None])
    headings: list[str | None] = field(default_factory=list[str | None])
    resume_at: int = 0
    """Characters of the document covered so far; always the end of a section."""
    size: int = 0
    """Bytes of text, roughly."""
    most: int = MAX_PART_CHUNKS
    """Chunks after which it is full."""
    closed: bool = False
    """Its batch has all the source lines it may have."""

    @property
    def full(self) -> bool:
        """It is time to commit."""
        if not self.texts:
            return False
        return self.closed or len(self.texts) >= self.most or self.size >= MAX_PART_BYTES

    def add(self, section: Section, chunker: Chunker) -> None:
        """Cut a section and append its chunks."""
        spans = chunker.chunk(section)
        starts, ends = spans.starts.tolist(), spans.ends.tolist()
        self.texts += _texts(section, spans)
        self.starts += [section.start + start for start in starts]
        self.ends += [section.start + end for end in ends]
        self.tokens += spans.tokens.tolist()
        self.extras += [_written(section.properties)] * len(starts)
        self.pages += [section.page] * len(starts)
        self.headings += [" > ".join(section.headings) or None] * len(starts)
        self.resume_at = section.start + len(section.text)
        self.size += sum(ends) - sum(starts)


class Cut(NamedTuple):
    """A stretch, and whether the document ends with it."""

    stretch: Stretch
    last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much one part of a document may hold, beside what every part may."""

    chunks: int = MAX_PART_CHUNKS
    lines: int | None = None
    """Source lines; None is no bound."""


def cut(
    pieces: Iterable[Section | Attached],
    chunker: Chunker,
    *,
    resume_at: int = 0,
    bounds: Bounds = Bounds(),
) -> Iterator[Cut | Attached]:
    """Give the stretches of what was extracted; those before `resume_at` characters are skipped.

    A document without chunks gives none, or one empty last stretch after others. What is attached
    to it comes as it is found, also before `resume_at`, and all of it before the last stretch.
    """
    stretch = Stretch(resume_at=resume_at, most=bounds.chunks)
    finished: Stretch | None = None
    for section, ends in _by_lines(pieces, bounds.lines):
        if isinstance(section, Attached):
            yield section
            continue
        if section.start < resume_at:
            continue
        if stretch.full:
            if finished is not None:
                yield Cut(finished, last=False)
            finished = stretch
            stretch = Stretch(resume_at=stretch.resume_at, most=bounds.chunks)
        stretch.add(section, chunker)
        stretch.closed = ends
    if finished is not None:
        yield Cut(finished, last=not stretch.texts)
    if stretch.texts:
        yield Cut(stretch, last=True)


def _texts(section: Section, spans: Spans) -> list[str]:
    """Give the text of each chunk, with the header before it where that is repeated."""
    bounds = zip(spans.starts.tolist(), spans.ends.tolist(), strict=True)
    texts = [section.text[start:end] for start, end in bounds]
    if spans.repeats is None:
        return texts
    repeats = spans.repeats.tolist()
    return [
        section.header + text if again else text for again, text in zip(repeats, texts, strict=True)
    ]


def _written(properties: Mapping[str, str]) -> str | None:
    return canonical_json(dict(properties)) if properties else None


def _by_lines(
    sections: Iterable[Section | Attached], lines: int | None
) -> Iterator[tuple[Section | Attached, bool]]:
    """Part sections where a batch has its lines; True for the last section of a batch."""
    left = lines or 0
    for section in sections:
        if lines is None or isinstance(section, Attached):
            yield section, False
            continue
        begin = 0
        for end in _line_ends(section.text):
            left -= 1
            if left == 0:
                yield _slice(section, begin, end), True
                begin, left = end, lines
        if begin < len(section.text):
            yield _slice(section, begin, len(section.text)), False


def _line_ends(text: str) -> Iterator[int]:
    at = text.find("\n")
    while at >= 0:
        yield at + 1
        at = text.find("\n", at + 1)


def _slice(section: Section, begin: int, end: int) -> Section:
    return replace(section, text=section.text[begin:end], start=section.start + begin)
