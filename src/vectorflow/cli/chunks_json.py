"""The chunks of a document as one JSON object."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from vectorflow.cli import output
from vectorflow.cli.chunks_facts import View

if TYPE_CHECKING:
    from vectorflow.flow.chunks import Reading
    from vectorflow.service.chunks import Chunk, ChunkedSection

COMPARED = ("chunker", "size", "overlap", "summary", "chunks")
"""What two chunkers do not share."""


class JsonView(View):
    """Prints all at its end; with it, what ended the document early."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._chunks: list[list[Chunk]] = []

    def add(self, found: "ChunkedSection") -> bool:
        """Keep the chunks."""
        self._chunks = self._chunks or [[] for _ in found.chunks]
        for kept, chunks in zip(self._chunks, found.chunks, strict=True):
            kept.extend(chunks)
        return True

    def end(self, document: "Reading", fault: output.Fault | None) -> None:
        """Print the object."""
        first, *others = self._chunks or [[] for _ in document.chunkings]
        whole: dict[str, object] = {"file": self._file, **asdict(document.whole(first))}
        for by, chunks in enumerate(others, 1):
            other = asdict(document.whole(chunks, by=by))
            whole["compare"] = {name: other[name] for name in COMPARED}
        output.print_json(whole | ({"error": asdict(fault)} if fault else {}))
