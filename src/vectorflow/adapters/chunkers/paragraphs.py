"""Whole paragraphs, joined to chunks."""

from collections.abc import Iterator
from typing import ClassVar

from vectorflow.adapters._text_cuts import paragraphs, sentences, words
from vectorflow.adapters._text_tokens import CharacterText, TokenizedText, stretches, windows
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Chunker, Spans
from vectorflow.ports.tokenizer import Tokenizer


class ParagraphChunker(Chunker):
    """Joins paragraphs until three quarters of `size` are full; longer ones become windows.

    A blank line ends a paragraph. Only windows of one paragraph overlap.
    """

    revision: ClassVar[int] = 1
    measure: ClassVar[type[TokenizedText]] = TokenizedText

    def __init__(self, tokenizer: Tokenizer, chunking: Chunking) -> None:
        self.measure.check(chunking)
        self._tokenizer = tokenizer
        self._chunking = chunking

    def chunk(self, section: Section) -> Spans:
        text = self.measure(section.text, self._tokenizer)
        return text.spans(
            span for joined in self._joined(text) for span in self._cut(text, *joined)
        )

    def _joined(self, text: TokenizedText) -> Iterator[tuple[int, int]]:
        held: tuple[int, int] | None = None
        places = paragraphs(text.text, 0, len(text.text))
        for start, stop in stretches(text.text, places):
            if held and text.units(held[0], stop) > self._chunking.size:
                yield held
                held = None
            held = (held[0] if held else start, stop)
            if text.units(*held) * 4 >= self._chunking.size * 3:
                yield held
                held = None
        if held:
            yield held

    def _cut(self, text: TokenizedText, begin: int, end: int) -> Iterator[tuple[int, int]]:
        return windows(text, self._chunking, begin, end)


class ParagraphByCharactersChunker(ParagraphChunker):
    """The same with a `size` in characters, and overlap.

    A chunk that has room left goes on with whole words of the next, `overlap` characters at most.
    """

    revision: ClassVar[int] = 2
    measure: ClassVar[type[TokenizedText]] = CharacterText

    def _cut(self, text: TokenizedText, begin: int, end: int) -> Iterator[tuple[int, int]]:
        room = self._chunking.size - text.units(begin, end)
        if room < 0:
            return super()._cut(text, begin, end)
        most = end + min(room, self._chunking.overlap)
        places = (*words(text.text, end, most), *sentences(text.text, end, most))
        return iter([(begin, max(filter(text.is_whole, places), default=end))])
