"""Whole lines, joined to chunks."""

from typing import ClassVar

from vectorflow.adapters._text_cuts import lines, sentences, words
from vectorflow.adapters._text_joins import Joined
from vectorflow.adapters._text_tokens import TokenizedText
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Chunker, Spans
from vectorflow.ports.tokenizer import Tokenizer


class LineChunker(Chunker):
    """Joins as many lines as fit; one that does not fit is cut into sentences, words, tokens.

    A chunk begins with as many whole lines of the one before as fit into `overlap` tokens.
    """

    revision: ClassVar[int] = 1

    def __init__(self, tokenizer: Tokenizer, chunking: Chunking) -> None:
        TokenizedText.check(chunking)
        self._tokenizer = tokenizer
        self._chunking = chunking

    def chunk(self, section: Section) -> Spans:
        text = TokenizedText(section.text, self._tokenizer)
        joined = Joined(
            text=text,
            size=self._chunking.size,
            levels=(lines, sentences, words),
            overlap=self._chunking.overlap,
            again=(lines,),
        )
        return text.spans(joined.chunks())
