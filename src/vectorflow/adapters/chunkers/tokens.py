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
            begin = ends[-1] - self._overlap
            begins.append(text.cut_before(begin, begins[-1]) if begin > begins[-1] else ends[-1])
            ends.append(text.cut_before(begins[-1] + self._size, begins[-1]))
        return text.spans(
            [text.position(cut) for cut in begins], [text.position(cut) for cut in ends]
        )
