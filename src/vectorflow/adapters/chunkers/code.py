"""Source code, cut by its syntax."""

from typing import ClassVar

from vectorflow.adapters import _syntax_trees  # says at once that the library is missing
from vectorflow.adapters._code_cuts import cut_code
from vectorflow.adapters._text_rows import cut_rows
from vectorflow.adapters._text_tokens import TokenizedText
from vectorflow.domain.documents import Section, SectionKind
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Chunker, Spans
from vectorflow.ports.tokenizer import Tokenizer


class CodeChunker(Chunker):
    """Joins whole functions, classes and statements, with the comments and decorators above them.

    One that does not fit is cut between its own parts; then at blank lines, lines, words, tokens,
    as text without a known language is. There is no overlap. Tables are cut between rows.
    """

    revision: ClassVar[int] = 1
    languages: ClassVar[tuple[str, ...]] = tuple(_syntax_trees.GRAMMARS)

    def __init__(self, tokenizer: Tokenizer, chunking: Chunking) -> None:
        TokenizedText.check(chunking)
        self._tokenizer = tokenizer
        self._chunking = chunking

    def chunk(self, section: Section) -> Spans:
        cut = cut_rows if section.kind is SectionKind.TABLE else cut_code
        return cut(section, self._tokenizer, self._chunking)
