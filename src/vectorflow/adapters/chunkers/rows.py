"""Whole rows of tables."""

from typing import ClassVar

from vectorflow.adapters._text_rows import cut_rows
from vectorflow.adapters._text_tokens import TokenizedText
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Chunker, Spans
from vectorflow.ports.tokenizer import Tokenizer


class RowChunker(Chunker):
    """Joins as many rows as fit, one a line, and puts a table's header before each chunk of them.

    A header that takes more than half of a chunk is not repeated. A row that does not fit is cut
    into sentences, words, tokens. There is no overlap: a row says no more beside the one before.
    """

    revision: ClassVar[int] = 1

    def __init__(self, tokenizer: Tokenizer, chunking: Chunking) -> None:
        TokenizedText.check(chunking)
        self._tokenizer = tokenizer
        self._chunking = chunking

    def chunk(self, section: Section) -> Spans:
        return cut_rows(section, self._tokenizer, self._chunking)
