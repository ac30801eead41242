"""Plain text."""

from collections.abc import Iterator
from typing import BinaryIO, ClassVar

from vectorflow.adapters._text_decoding import decoded
from vectorflow.adapters._text_sections import bounded
from vectorflow.domain.documents import Section
from vectorflow.ports.extractor import Extractor


class TextExtractor(Extractor):
    """Gives text as it is, in sections that end between paragraphs."""

    revision: ClassVar[int] = 1
    sandboxed: ClassVar[bool] = False
    # fmt: off
    suffixes: ClassVar[tuple[str, ...]] = (
        "", ".txt", ".text", ".log", ".out", ".err",
        ".toml", ".ini", ".cfg", ".conf", ".cnf", ".properties", ".env", ".yaml", ".yml",
        ".tex", ".bib", ".adoc", ".asciidoc", ".org",
        ".srt", ".vtt",
        ".diff", ".patch", ".po", ".pot",
    )
    # fmt: on

    def extract(self, source: BinaryIO) -> Iterator[Section]:
        start = 0
        for text in bounded(decoded(source)):
            yield Section(text=text, start=start)
            start += len(text)
