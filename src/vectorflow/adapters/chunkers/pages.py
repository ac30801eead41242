"""One chunk a page."""

from typing import ClassVar

from vectorflow.adapters._text_rows import cut_rows
from vectorflow.adapters._text_tokens import TokenizedText, windows
from vectorflow.domain.documents import Section, SectionKind
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Chunker, Spans
from vectorflow.ports.tokenizer import Tokenizer


class PageChunker(Chunker):
    """Gives every page or slide as one chunk, and one that does not fit in windows that overlap.

    What a document parts further, such as by headings inside of a page, stays parted: a chunk never
    reaches over a section. Tables that do not fit are cut between rows.
    """

    revision: ClassVar[int] = 1

    def __init__(self, tokenizer: Tokenizer, chunking: Chunking) -> None:
        TokenizedText.check(chunking)
        self._tokenizer = tokenizer
        self._chunking = chunking

    def chunk(self, section: Section) -> Spans:
        if section.kind is SectionKind.TABLE:
            return cut_rows(section, self._tokenizer, self._chunking)
        text = TokenizedText(section.text, self._tokenizer)
        return text.spans(windows(text, self._chunking, 0, len(section.text)))
