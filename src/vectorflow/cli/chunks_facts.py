"""What is said of chunks, on the terminal and on the page alike."""

from typing import TYPE_CHECKING, Protocol

from vectorflow.cli import output

if TYPE_CHECKING:
    from vectorflow.flow.chunks import Attachment, Reading
    from vectorflow.service.chunks import Chunk, ChunkedSection, ChunkSummary


class View(Protocol):
    """Shows the chunks of one document."""

    def add(self, found: "ChunkedSection") -> bool:
        """Take in the next section; False once nobody reads any more."""
        ...

    def end(self, document: "Reading", fault: output.Fault | None) -> None:
        """Take in that the document has ended, perhaps early for a fault."""
        ...


class Agreement:
    """Counts where several chunkers cut at the same place."""

    def __init__(self) -> None:
        self.alike = 0
        """Places where all of them cut; where a section ends all of them must, and none counts."""

    def add(self, found: "ChunkedSection") -> None:
        """Take in the chunks of a section."""
        cuts = [{chunk.end for chunk in chunks[:-1]} for chunks in found.chunks]
        self.alike += len(set.intersection(*cuts))


def facts_of(chunk: "Chunk") -> str:
    """Say where a chunk lies, by page, headings and characters, and how long it is."""
    page = "" if chunk.page is None else f"page {chunk.page}"
    headings = " > ".join(map(output.plain, chunk.headings))
    where = [page, headings, f"characters {chunk.start:,}-{chunk.end:,}"]
    return " · ".join(filter(None, [*where, *sizes_of(chunk)]))


def sizes_of(chunk: "Chunk") -> list[str]:
    """Say how long a chunk is, and what of it is not new."""
    parts = [output.count(chunk.tokens, "token")]
    if chunk.overlap:
        parts.append(f"overlap {chunk.overlap_tokens:,}")
    if chunk.header:
        parts.append("header repeated")
    return parts


def rows_of(summary: "ChunkSummary") -> dict[str, str]:
    """Sum up, a fact each."""
    return {
        "chunks": f"{summary.chunks:,}",
        "tokens": f"{summary.tokens:,}",
        "in a chunk": f"{summary.tokens_min:,} to {summary.tokens_max:,}",
        "median": f"{summary.tokens_median:,}",
        "filled": f"{summary.fill:.0%}",
        "overlap": f"{summary.overlap:.0%}",
    }


def attachments_of(document: "Reading", most: int) -> str:
    """Name what is attached, which an embed makes documents of their own; empty if nothing is."""
    named = list(map(_named, document.attachments[:most]))
    left = len(document.attachments) - len(named)
    return ", ".join([*named, f"and {left:,} more"] if left else named)


def _named(attachment: "Attachment") -> str:
    return f"{output.plain(attachment.name)} ({output.count(attachment.size, 'byte')})"
