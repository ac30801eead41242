"""Windows of tokens."""

from typing import ClassVar

from vectorflow.adapters._text_tokens import TokenizedText, windows
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
        TokenizedText.check(chunking)
        self._tokenizer = tokenizer
        self._chunking = chunking

    def chunk(self, section: Section) -> Spans:
        text = TokenizedText(section.text, self._tokenizer)
        return text.spans(windows(text, self._chunking, 0, len(section.text)))
