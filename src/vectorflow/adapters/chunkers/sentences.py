"""One chunk a sentence."""

from collections.abc import Iterable
from typing import ClassVar

from vectorflow.adapters._text_cuts import paragraphs, sentences
from vectorflow.adapters._text_tokens import CharacterText, TokenizedText, stretches, windows
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Chunker, Spans
from vectorflow.ports.tokenizer import Tokenizer


class SentenceChunker(Chunker):
    """Cuts after every sentence, and one of more than `size` into windows.

    A blank line ends a sentence too. Only windows of one sentence overlap.
    """

    revision: ClassVar[int] = 1
    measure: ClassVar[type[TokenizedText]] = TokenizedText

    def __init__(self, tokenizer: Tokenizer, chunking: Chunking) -> None:
        self.measure.check(chunking)
        self._tokenizer = tokenizer
        self._chunking = chunking

    def chunk(self, section: Section) -> Spans:
        text = self.measure(section.text, self._tokenizer)
        whole = 0, len(section.text)
        places = {*paragraphs(section.text, *whole), *sentences(section.text, *whole)}
        each = list(stretches(section.text, places))
        fit = (units <= self._chunking.size for units in text.units_of_each(each))
        return text.spans(
            span
            for ends, fits in zip(each, fit, strict=True)
            for span in self._cut(text, ends, fits=fits)
        )

    def _cut(
        self, text: TokenizedText, ends: tuple[int, int], *, fits: bool
    ) -> Iterable[tuple[int, int]]:
        if fits and text.alone(*ends) <= self._chunking.size:
            return (ends,)
        return windows(text, self._chunking, *ends)


class SentenceByCharactersChunker(SentenceChunker):
    """The same with a `size` in characters."""

    revision: ClassVar[int] = 2
    measure: ClassVar[type[TokenizedText]] = CharacterText
