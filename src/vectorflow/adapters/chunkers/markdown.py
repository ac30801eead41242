"""Markdown, cut between its blocks."""

from functools import partial
from typing import ClassVar

from vectorflow.adapters._markdown_cuts import outline
from vectorflow.adapters._text_cuts import lines, sentences, within, words
from vectorflow.adapters._text_joins import Joined
from vectorflow.adapters._text_kinds import cut_by_kind
from vectorflow.adapters._text_tokens import TokenizedText
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Chunker, Spans
from vectorflow.ports.tokenizer import Tokenizer


class MarkdownChunker(Chunker):
    """Joins whole paragraphs, lists, tables and fenced code; a heading stays with what follows it.

    One that does not fit is cut between items, rows or lines of code; then at sentences, lines,
    words, tokens. A chunk begins with as many whole blocks, else items or sentences, of the one
    before as fit into `overlap` tokens. Tables and code that are sections of their own are cut
    between rows and parts, without overlap.

    It serves HTML and all other types too, since what is extracted of them is Markdown.
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
        blocks, items = (partial(within, places) for places in outline(whole))
        joined = Joined(
            text=text,
            size=self._chunking.size,
            levels=(blocks, items, sentences, lines, words),
            overlap=self._chunking.overlap,
            again=(blocks, items, sentences),
        )
        return text.spans(joined.chunks())
