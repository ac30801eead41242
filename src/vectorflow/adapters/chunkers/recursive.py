"""As much as fits, cut at the best kind of place."""

from typing import ClassVar

from vectorflow.adapters._text_cuts import lines, paragraphs, sentences, words
from vectorflow.adapters._text_joins import Joined
from vectorflow.adapters._text_kinds import cut_by_kind
from vectorflow.adapters._text_tokens import TokenizedText
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Chunker, Spans
from vectorflow.ports.tokenizer import Tokenizer

_LEVELS = (paragraphs, lines, sentences, words)


class RecursiveChunker(Chunker):
    """Joins whole paragraphs; one that does not fit is cut into lines, sentences, words, tokens.

    A chunk begins with as many whole paragraphs, else lines, sentences or words, of the one before
    as fit into `overlap` tokens. Tables are cut between rows and code between its parts, without.
    """

    revision: ClassVar[int] = 1

    def __init__(self, tokenizer: Tokenizer, chunking: Chunking) -> None:
        TokenizedText.check(chunking)
        self._tokenizer = tokenizer
        self._chunking = chunking

    def chunk(self, section: Section) -> Spans:
        by_kind = cut_by_kind(section, self._tokenizer, self._chunking)
        return self._cut(section.text) if by_kind is None else by_kind

    def _cut(self, whole: str) -> Spans:
        text = TokenizedText(whole, self._tokenizer)
        joined = Joined(
            text=text,
            size=self._chunking.size,
            levels=_LEVELS,
            overlap=self._chunking.overlap,
            again=_LEVELS,
        )
        return text.spans(joined.chunks())
