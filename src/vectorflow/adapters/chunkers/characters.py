"""Windows of characters."""

from typing import ClassVar

from vectorflow.adapters._text_tokens import CharacterText, windows
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Chunker, Spans
from vectorflow.ports.tokenizer import Tokenizer


class CharacterChunker(Chunker):
    """Cuts every `size` characters, each window beginning with the last `overlap` of those before.

    A window is shorter where it would part what readers see as one character.
    """

    revision: ClassVar[int] = 2

    def __init__(self, tokenizer: Tokenizer, chunking: Chunking) -> None:
        CharacterText.check(chunking)
        self._tokenizer = tokenizer
        self._chunking = chunking

    def chunk(self, section: Section) -> Spans:
        text = CharacterText(section.text, self._tokenizer)
        return text.spans(windows(text, self._chunking, 0, len(section.text)))
