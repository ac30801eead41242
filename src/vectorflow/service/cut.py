"""Extract and chunk one document, stretch by stretch, in a worker thread."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from vectorflow.domain.documents import Section
from vectorflow.domain.manifests import MAX_PART_BYTES, MAX_PART_CHUNKS
from vectorflow.ports.chunker import Chunker
from vectorflow.ports.extractor import Extractor


@dataclass(slots=True, kw_only=True)
class Stretch:
    """Chunks of a document that become one part: a value per chunk, in order."""

    texts: list[str] = field(default_factory=list[str])
    starts: list[int] = field(default_factory=list[int])
    ends: list[int] = field(default_factory=list[int])
    tokens: list[int] = field(default_factory=list[int])
    pages: list[int | None] = field(default_factory=list[int | None])
    headings: list[str | None] = field(default_factory=list[str | None])
    resume_at: int = 0
    """Characters of the document covered so far; always the end of a section."""
    size: int = 0
    """Bytes of text, roughly."""

    @property
    def full(self) -> bool:
        """It is time to commit."""
        return len(self.texts) >= MAX_PART_CHUNKS or self.size >= MAX_PART_BYTES

    def add(self, section: Section, chunker: Chunker) -> None:
        """Cut a section and append its chunks."""
        spans = chunker.chunk(section)
        starts, ends = spans.starts.tolist(), spans.ends.tolist()
        self.texts += [section.text[start:end] for start, end in zip(starts, ends, strict=True)]
        self.starts += [section.start + start for start in starts]
        self.ends += [section.start + end for end in ends]
        self.tokens += spans.tokens.tolist()
        self.pages += [section.page] * len(starts)
        self.headings += [" > ".join(section.headings) or None] * len(starts)
        self.resume_at = section.start + len(section.text)
        self.size += sum(ends) - sum(starts)


class Cut(NamedTuple):
    """A stretch, and whether the document ends with it."""

    stretch: Stretch
    last: bool


def cut(
    source: BinaryIO, extractor: Extractor, chunker: Chunker, *, resume_at: int = 0
) -> Iterator[Cut]:
    """Give a document's stretches; those before `resume_at` characters are skipped.

    A document without chunks gives none, or one empty last stretch after others.
    """
    stretch = Stretch(resume_at=resume_at)
    finished: Stretch | None = None
    for section in extractor.extract(source):
        if section.start < resume_at:
            continue
        if stretch.full:
            if finished is not None:
                yield Cut(finished, last=False)
            finished, stretch = stretch, Stretch(resume_at=stretch.resume_at)
        stretch.add(section, chunker)
    if finished is not None:
        yield Cut(finished, last=not stretch.texts)
    if stretch.texts:
        yield Cut(stretch, last=True)
