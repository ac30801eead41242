"""Windows of tokens."""

from typing import ClassVar

from vectorflow.adapters._text_tokens import TokenizedText, check
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Chunker, Spans
from vectorflow.ports.tokenizer import Tokenizer


class TokenChunker(Chunker):
    """Cuts every `size` tokens, each window beginning with the last `overlap` of the one before.

    A window is shorter where it would part a character.
    """

    revision: ClassVar[int] = 1

    def __init__(self, tokenizer: Tokenizer, chunking: Chunking) -> None:
        check(chunking)
        self._tokenizer = tokenizer
        self._size = chunking.size
        self._overlap = chunking.overlap

    def chunk(self, section: Section) -> Spans:
        text = TokenizedText(section.text, self._tokenizer)
        begins, ends = [0], [text.cut_before(self._size, 0)]
        while ends[-1] < text.count:
            begin, end = self._next(text, begins[-1], ends[-1])
            begins.append(begin)
            ends.append(end)
        return text.spans([text.position(at) for at in begins], [text.position(at) for at in ends])

    def _next(self, text: TokenizedText, begin: int, end: int) -> tuple[int, int]:
        if end - self._overlap > begin:
            again = text.cut_before(end - self._overlap, begin)
            further = text.cut_before(again + self._size, again)
            if further > end:
                return again, further
        return end, text.cut_before(end + self._size, end)
